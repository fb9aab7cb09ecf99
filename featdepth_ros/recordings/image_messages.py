"""Images for readers of recordings: the earlier place of `featdepth_ros.messages.images`, kept for callers."""

from featdepth_ros.messages.images import depth_from_message, rgb_from_message

__all__ = ["depth_from_message", "rgb_from_message"]
