from __future__ import annotations

from typing import Any

import pytest
from sensor_msgs.msg import CameraInfo

from featdepth_ros.errors import CalibrationError
from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.messages.camera_info import camera_from_info, is_calibrated
from featdepth_ros.ros.calibration import info_from_camera


def info(**changes: Any) -> CameraInfo:
    """A plain 640x480 pinhole CameraInfo with some fields changed."""
    msg = info_from_camera(CameraModel(640, 480, 500.0, 510.0, 319.0, 241.0), 7, "camera")
    for name, value in changes.items():
        if name == "roi":
            msg.roi.x_offset, msg.roi.y_offset, msg.roi.width, msg.roi.height = value
        else:
            setattr(msg, name, value)
    return msg


def test_outgoing_info_of_a_pinhole_camera() -> None:
    msg = info()
    assert list(msg.k) == [500.0, 0.0, 319.0, 0.0, 510.0, 241.0, 0.0, 0.0, 1.0]
    assert list(msg.p) == [500.0, 0.0, 319.0, 0.0, 0.0, 510.0, 241.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    assert list(msg.r) == [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    assert list(msg.d) == [0.0] * 5
    assert (msg.distortion_model, msg.header.frame_id, msg.header.stamp.nanosec) == ("plumb_bob", "camera", 7)


ROTATION = (0.8, 0.6, 0.0, -0.6, 0.8, 0.0, 0.0, 0.0, 1.0)


@pytest.mark.parametrize(
    "camera",
    [
        CameraModel(640, 480, 500.0, 510.0, 319.0, 241.0),
        CameraModel(640, 480, 500.0, 510.0, 319.0, 241.0, "plumb_bob", (0.1, -0.2, 0.001, 0.002, 0.05)),
        CameraModel(640, 480, 500.0, 510.0, 319.0, 241.0, "plumb_bob", (0.1, -0.2, 0.001, 0.002)),
        CameraModel(640, 480, 500.0, 510.0, 319.0, 241.0, "rational_polynomial", tuple(0.01 * i for i in range(8))),
        CameraModel(640, 480, 280.0, 280.0, 319.0, 241.0, "equidistant", (0.0, 0.0, 0.0, 0.0)),
        CameraModel(640, 480, 280.0, 280.0, 319.0, 241.0, "equidistant", (0.1, 0.2, -0.1, 0.05)),
        CameraModel(
            640, 480, 500.0, 510.0, 319.0, 241.0,
            rectification=ROTATION, projection=(450.0, 450.0, 320.0, 240.0), roi=(16, 8, 320, 240), binning=(2, 2),
        ),
    ],
)  # fmt: skip
def test_round_trip(camera: CameraModel) -> None:
    assert camera_from_info(info_from_camera(camera, 1, "camera")) == camera


def test_uncalibrated_is_none_whatever_else_it_says() -> None:
    msg = CameraInfo(width=640, height=480, distortion_model="nonsense")
    assert not is_calibrated(msg)
    assert camera_from_info(msg) is None


@pytest.mark.parametrize("name", ["equidistant", "fisheye"])
def test_names_of_the_fisheye_model(name: str) -> None:
    camera = camera_from_info(info(distortion_model=name, d=[0.1, 0.2, 0.3, 0.4]))
    assert camera is not None
    assert (camera.distortion_model, camera.distortion) == ("equidistant", (0.1, 0.2, 0.3, 0.4))


def test_zeros_mean_absent() -> None:
    camera = camera_from_info(info(distortion_model="", d=[], r=[0.0] * 9, p=[0.0] * 12, roi=(0, 0, 0, 0)))
    assert camera == CameraModel(640, 480, 500.0, 510.0, 319.0, 241.0)
    assert camera is not None and camera.is_pinhole


def test_full_roi_is_no_roi() -> None:
    camera = camera_from_info(info(roi=(0, 0, 640, 480)))
    assert camera is not None and camera.roi is None


def test_delivered_size_with_roi_and_binning() -> None:
    camera = camera_from_info(info(roi=(10, 20, 300, 200), binning_x=2, binning_y=4))
    assert camera is not None and camera.delivered_size == (150, 50)


def test_rectified_image_takes_p_and_drops_the_rest() -> None:
    p = [450.0, 0.0, 320.0, 12.0, 0.0, 451.0, 240.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    msg = info(distortion_model="plumb_bob", d=[0.1, 0.0, 0.0, 0.0, 0.0], r=list(ROTATION), p=p)
    assert camera_from_info(msg, rectified=True) == CameraModel(640, 480, 450.0, 451.0, 320.0, 240.0)
    raw = camera_from_info(msg)
    assert raw is not None and raw.projection == (450.0, 451.0, 320.0, 240.0)
    assert raw.distortion_model == "plumb_bob"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"width": 0}, "0x480"),
        ({"d": [0.1, 0.2, 0.3]}, "has 3 coefficients"),
        ({"d": [0.1] * 7}, "expected 4 or 5"),
        ({"distortion_model": "rational_polynomial", "d": [0.1] * 5}, "expected 8"),
        ({"distortion_model": "equidistant", "d": []}, "without coefficients"),
        ({"distortion_model": "equidistant", "d": [0.1] * 5}, "expected 4"),
        ({"distortion_model": "plum_bob", "d": [0.1, 0.0, 0.0, 0.0]}, "did you mean 'plumb_bob'"),
        ({"distortion_model": "", "d": [0.1, 0.0, 0.0, 0.0]}, "no distortion model is named"),
        ({"d": [float("nan")] * 5}, "non-finite"),
        ({"k": [float("inf"), 0.0, 1.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0]}, "non-finite"),
        ({"k": [500.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0]}, "focal"),
        ({"k": [-500.0, 0.0, 1.0, 0.0, 500.0, 1.0, 0.0, 0.0, 1.0]}, "focal"),
        ({"roi": (600, 0, 100, 100)}, "outside"),
        ({"roi": (0, 0, 100, 0)}, "roi"),
    ],
)
def test_malformed_calibrations_are_refused_in_words(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(CalibrationError, match=says):
        camera_from_info(info(**changes))
