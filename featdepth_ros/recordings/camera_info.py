"""Former module of `featdepth_ros.messages.camera_info`, kept for existing callers."""

from featdepth_ros.messages.camera_info import camera_from_info, distortion_of, info_fields, is_calibrated

__all__ = ["camera_from_info", "distortion_of", "info_fields", "is_calibrated"]
