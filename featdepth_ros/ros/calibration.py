"""Conversion between CameraInfo messages and camera models (REP-104), cached for each calibration."""

from __future__ import annotations

from sensor_msgs.msg import CameraInfo, RegionOfInterest

from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.messages.camera_info import info_fields
from featdepth_ros.messages.plausibility import usable_camera
from featdepth_ros.ros.images import header_message


def info_from_camera(camera: CameraModel, stamp: int, frame_id: str) -> CameraInfo:
    """Return the CameraInfo of a camera. Without distortion it has plumb_bob and five zeros, like image_proc's.

    Args:
        camera: the camera; `camera_from_info` inverts this function.
        stamp: stamp of the header, nanoseconds.
        frame_id: optical frame of the header.
    """
    fields = info_fields(camera)
    x_offset, y_offset, height, width, do_rectify = fields.pop("roi")
    region = RegionOfInterest(x_offset=x_offset, y_offset=y_offset, height=height, width=width, do_rectify=do_rectify)
    return CameraInfo(header=header_message(stamp, frame_id), roi=region, **fields)


class Calibration:
    """Converts camera_info to a camera model; repeated messages reuse the last model."""

    def __init__(self) -> None:
        self._key: tuple[object, ...] | None = None
        self._camera: tuple[CameraModel | None, str] = (None, "")

    def camera(self, msg: CameraInfo, rectified: bool, size: tuple[int, int]) -> tuple[CameraModel | None, str]:
        """Return the camera and an empty string, or None and why there is none, see `usable_camera`.

        The reason is empty if K[0] of the message is 0, which means uncalibrated.

        Args:
            msg: camera_info that belongs to an image.
            rectified: whether that image is rectified.
            size: (width, height) of that image in pixels.
        """
        roi = msg.roi
        key = (
            (msg.width, msg.height, msg.distortion_model, bytes(msg.d), msg.binning_x, msg.binning_y, rectified, size),
            (bytes(msg.k), bytes(msg.r), bytes(msg.p), roi.x_offset, roi.y_offset, roi.width, roi.height),
        )
        if key != self._key:
            self._camera, self._key = usable_camera(msg, rectified, size), key
        return self._camera
