"""Former module of `featdepth_ros.messages.images`, kept for existing callers."""

from featdepth_ros.messages.images import depth_from_message, rgb_from_message

__all__ = ["depth_from_message", "rgb_from_message"]
