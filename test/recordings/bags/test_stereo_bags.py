"""Stereo partners of bags: topics, extrinsics of P and of TF, pairing in the order of recording, what is missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from stereo_layouts import (
    DISTORTIONS,
    INTRINSICS,
    SIZE,
    START_NS,
    STEP_NS,
    T_BODY_CAM0,
    BagCamera,
    pairs_of,
    projection,
    right_of,
    ros1_stereo_bag,
    ros2_stereo_bag,
    sensor_yaml,
)

from featdepth_ros.errors import CalibrationError, RecordingError
from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.recordings import Partner, Recording, open_recording

LEFT = projection(36.0, 24.5, 15.25, 0.0)
RIGHT = projection(36.0, 24.5, 15.25, 0.12)
PAIR: tuple[BagCamera, BagCamera] = (
    ("/stereo/left/image_rect", "stereo_optical", LEFT, None),
    ("/stereo/right/image_rect", "stereo_optical", RIGHT, None),
)


def _first_partner(recording: Recording) -> Partner:
    partner = next(frame.partner for frame in recording if frame.partner is not None)
    return partner


def _sensor_files(folder: Path) -> list[str]:
    files = []
    for camera, T in enumerate((T_BODY_CAM0, right_of(T_BODY_CAM0))):
        files.append(str(folder / f"sensor{camera}.yaml"))
        Path(files[-1]).write_text(sensor_yaml(T, INTRINSICS[camera], DISTORTIONS[camera]))
    return files


def _euroc_bag(path: Path, kind: str) -> Path:
    if kind == "ros1":
        return ros1_stereo_bag(path.with_suffix(".bag"))
    return ros2_stereo_bag(path, [(f"/cam{c}/image_raw", f"cam{c}", None, None) for c in (0, 1)], 5)


@pytest.mark.parametrize("kind", ["ros1", "ros2"])
def test_euroc_bag_with_its_sensor_files(tmp_path: Path, kind: str) -> None:
    bag = _euroc_bag(tmp_path / "V1_01_easy", kind)
    camera, partner_camera = _sensor_files(tmp_path)
    recording = open_recording(bag, "/cam0/image_raw", camera, partner="auto", partner_camera=partner_camera)
    assert recording.partner_name == "/cam1/image_raw" and pairs_of(recording) == [(i, i) for i in range(5)]
    frame = list(recording)[3]
    assert frame.stamp_ns == START_NS + 3 * STEP_NS and frame.partner is not None
    assert frame.partner.stamp_ns == frame.stamp_ns
    assert recording.camera == CameraModel(*SIZE, *INTRINSICS[0], "plumb_bob", DISTORTIONS[0])
    assert frame.partner.camera == CameraModel(*SIZE, *INTRINSICS[1], "plumb_bob", DISTORTIONS[1])
    expected = np.linalg.inv(right_of(T_BODY_CAM0)) @ T_BODY_CAM0
    np.testing.assert_allclose(frame.partner.T_partner_camera, expected, atol=1e-12)
    assert expected[0, 3] < -0.1
    assert frame.partner.image.flags.writeable
    # without a topic: the first of the only pair, or the one beside a named partner
    for topic, partner, found in ((None, "auto", "/cam1/image_raw"), (None, "cam0/image_raw", "/cam0/image_raw")):
        files = (camera, partner_camera) if partner == "auto" else (partner_camera, camera)
        chosen = open_recording(bag, topic, files[0], partner=partner, partner_camera=files[1])
        assert chosen.partner_name == found
    assert next(iter(open_recording(bag, "/cam0/image_raw"))).partner is None


@pytest.mark.parametrize("kind", ["ros1", "ros2"])
def test_bag_without_calibration(tmp_path: Path, kind: str) -> None:
    bag = _euroc_bag(tmp_path / "V1_01_easy", kind)
    with pytest.raises(CalibrationError, match="none of the camera and its partner '/cam1/image_raw'; give the calib"):
        open_recording(bag, "/cam0/image_raw", partner="auto")
    with pytest.raises(CalibrationError, match="the pose of the partner '/cam1/image_raw' is not known"):
        open_recording(bag, "/cam0/image_raw", "30,30,24,16", partner="auto", partner_camera="30,30,24,16")


def test_baseline_of_a_camera_info_pair(tmp_path: Path) -> None:
    bag = ros2_stereo_bag(tmp_path / "bag", PAIR)
    recording = open_recording(bag, partner="auto")
    assert recording.camera == CameraModel(*SIZE, 36.0, 36.0, 24.5, 15.25)
    expected = np.eye(4)
    expected[0, 3] = -0.12
    np.testing.assert_allclose(_first_partner(recording).T_partner_camera, expected, atol=1e-12)
    assert pairs_of(recording) == [(i, i) for i in range(6)] and not recording.notes
    expected[0, 3] = 0.12
    right = open_recording(bag, "/stereo/right/image_rect", partner="/stereo/left/image_rect")
    np.testing.assert_allclose(_first_partner(right).T_partner_camera, expected, atol=1e-12)
    ros1 = open_recording(ros1_stereo_bag(tmp_path / "old.bag", p=(LEFT, RIGHT)), partner="auto")
    assert _first_partner(ros1).T_partner_camera[0, 3] == pytest.approx(-0.12)


def _turn(angle: float) -> np.ndarray:
    return np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])


def test_raw_topics_are_placed_between_their_rectified_frames(tmp_path: Path) -> None:
    turns = (_turn(0.03), _turn(-0.05))
    cameras: list[BagCamera] = [
        ("/left/image_raw", "left", LEFT, turns[0]),
        ("/right/image_raw", "right", RIGHT, turns[1]),
    ]
    bag = ros2_stereo_bag(tmp_path / "bag", cameras)
    expected = np.eye(4)
    expected[0, 3] = -0.12
    recording = open_recording(bag, partner="auto")
    assert recording.camera is not None and recording.camera.rectification is not None
    np.testing.assert_allclose(_first_partner(recording).T_partner_camera, expected, atol=1e-12)
    # calibrations that know of no rectification: the turns of the mounted cameras are in T itself
    mounted = open_recording(bag, None, "36,36,24.5,15.25", partner="auto", partner_camera="36,36,24.5,15.25")
    turned = _first_partner(mounted).T_partner_camera
    np.testing.assert_allclose(turned[:3, :3], turns[1].T @ turns[0], atol=1e-12)
    np.testing.assert_allclose(turned[:3, 3], turns[1].T @ [-0.12, 0.0, 0.0], atol=1e-12)


def test_extrinsics_from_tf_static(tmp_path: Path) -> None:
    mono = projection(36.0, 24.5, 15.25, 0.0)
    cameras: list[BagCamera] = [
        ("/cam0/image_raw", "cam0_optical", mono, None),
        ("/cam1/image_raw", "cam1_optical", mono, None),
    ]
    T_base_cam1 = right_of(T_BODY_CAM0)
    T_mast_base = np.eye(4)
    T_mast_base[2, 3] = 1.5
    transforms = {
        "cam0_optical": ("base", T_BODY_CAM0), "cam1_optical": ("mast", T_mast_base @ T_base_cam1),
        "base": ("mast", T_mast_base),
    }  # fmt: skip
    recording = open_recording(ros2_stereo_bag(tmp_path / "bag", cameras, transforms=transforms), partner="auto")
    expected = np.linalg.inv(T_base_cam1) @ T_BODY_CAM0
    np.testing.assert_allclose(_first_partner(recording).T_partner_camera, expected, atol=1e-9)
    assert expected[0, 3] < -0.1 and "cam1_optical beside cam0_optical in /tf_static" in recording.notes[0]
    del transforms["base"]
    with pytest.raises(CalibrationError, match="the pose of the partner '/cam1/image_raw' is not known; give"):
        open_recording(ros2_stereo_bag(tmp_path / "apart", cameras, transforms=transforms), partner="auto")
    with pytest.raises(CalibrationError, match=r"the pose of the partner .* is not known"):
        open_recording(ros2_stereo_bag(tmp_path / "none", cameras), partner="auto")


@pytest.mark.parametrize("shift_ns", [0, 15_000_000, -15_000_000])
def test_dropped_late_and_broken_images(tmp_path: Path, shift_ns: int) -> None:
    bag = ros2_stereo_bag(
        tmp_path / "bag", PAIR, 9, shift_ns, without={0: [2], 1: [0, 5, 8]}, broken={0: [6], 1: [3]}
    )  # fmt: skip
    recording = open_recording(bag, "/stereo/left/image_rect", partner="auto")
    for _ in range(2):
        assert pairs_of(recording) == [(0, None), (1, 1), (3, None), (4, 4), (5, None), (7, 7), (8, None)]
        assert [skipped.name for skipped in recording.skipped] == ["000005"]  # the sixth message: index 6
    frames = list(recording)
    assert frames[1].partner is not None and frames[1].partner.stamp_ns == frames[1].stamp_ns + shift_ns
    assert [f.stamp_ns for f in frames] == [START_NS + i * STEP_NS for i in (0, 1, 3, 4, 5, 7, 8)]
    assert len(recording.notes) == 2
    assert "frame 000002 has no partner" in recording.notes[0] and "50 bytes" in recording.notes[0]
    expected = "3 of 7 frames have no image of /stereo/right/image_rect within 25 ms, so they have no partner"
    assert recording.notes[1] == expected


def test_a_partner_that_stops_holds_no_more_than_a_few_frames_back(tmp_path: Path) -> None:
    bag = ros2_stereo_bag(tmp_path / "bag", PAIR, 24, without={1: range(3, 24)})
    recording = open_recording(bag, partner="auto")
    assert [frame.stamp_ns for frame in recording] == [START_NS + i * STEP_NS for i in range(24)]
    assert pairs_of(recording)[:5] == [(0, 0), (1, 1), (2, 2), (3, None), (4, None)]


def test_topics_that_are_no_pair(tmp_path: Path) -> None:
    three = [*PAIR, ("/rear/image_raw", "rear", LEFT, None)]
    bag = ros2_stereo_bag(tmp_path / "bag", three, 2)
    with pytest.raises(
        RecordingError, match="no camera is obviously the partner of '/rear/image_raw'; name it: /stereo"
    ):
        open_recording(bag, "/rear/image_raw", partner="auto")
    with pytest.raises(RecordingError, match=r"there is no topic /stereo/rigth/image_rect.*did you mean"):
        open_recording(bag, "/rear/image_raw", partner="/stereo/rigth/image_rect")
    with pytest.raises(RecordingError, match="is the camera itself"):
        open_recording(bag, "/rear/image_raw", partner="/rear/image_raw")
    with pytest.raises(RecordingError, match="several image topics"):
        open_recording(bag, partner="/rear/image_raw")
    assert open_recording(bag, partner="auto").partner_name == "/stereo/right/image_rect"  # the only pair of the three
