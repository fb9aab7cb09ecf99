"""CameraInfo messages of camera models (REP-104). The way back is `messages.camera_info`, as bags need it too."""

from __future__ import annotations

from sensor_msgs.msg import CameraInfo, RegionOfInterest

from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.messages.camera_info import info_fields
from featdepth_ros.ros.images import header_message


def info_from_camera(camera: CameraModel, stamp: int, frame_id: str) -> CameraInfo:
    """Return the CameraInfo of a camera; an undistorted one gets plumb_bob with five zeros, as image_proc writes it.

    Args:
        camera: the camera; `camera_from_info` of the result gives it back.
        stamp: nanoseconds.
        frame_id: optical frame.
    """
    fields = info_fields(camera)
    x_offset, y_offset, height, width, do_rectify = fields.pop("roi")
    region = RegionOfInterest(x_offset=x_offset, y_offset=y_offset, height=height, width=width, do_rectify=do_rectify)
    return CameraInfo(header=header_message(stamp, frame_id), roi=region, **fields)
