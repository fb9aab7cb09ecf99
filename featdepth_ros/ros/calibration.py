"""CameraInfo messages of camera models (REP-104) and back, once for every calibration that comes."""

from __future__ import annotations

from sensor_msgs.msg import CameraInfo, RegionOfInterest

from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.messages.camera_info import info_fields
from featdepth_ros.messages.plausibility import usable_camera
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


class Calibration:
    """Turns camera_info into a camera, once for every different calibration."""

    def __init__(self) -> None:
        self._key: tuple[object, ...] | None = None
        self._camera: tuple[CameraModel | None, str] = (None, "")

    def camera(self, msg: CameraInfo, rectified: bool, size: tuple[int, int]) -> tuple[CameraModel | None, str]:
        """Return the camera and an empty string, or None and why there is none, see `usable_camera`.

        The reason is empty where the message itself says that the camera is not calibrated.

        Args:
            msg: the camera_info of an image.
            rectified: whether that image is rectified.
            size: its (width, height) in pixels.
        """
        roi = msg.roi
        key = (
            (msg.width, msg.height, msg.distortion_model, bytes(msg.d), msg.binning_x, msg.binning_y, rectified, size),
            (bytes(msg.k), bytes(msg.r), bytes(msg.p), roi.x_offset, roi.y_offset, roi.width, roi.height),
        )
        if key != self._key:
            self._camera, self._key = usable_camera(msg, rectified, size), key
        return self._camera
