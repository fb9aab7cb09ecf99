"""Stereo partners of data set folders: calibration, baseline and its sign, which image belongs to which frame."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from stereo_layouts import (
    DISTORTIONS,
    INTRINSICS,
    SIZE,
    START_NS,
    STEP_NS,
    T_BODY_CAM0,
    euroc,
    kitti_raw,
    line,
    pairs_of,
    projection,
    read_back,
    right_of,
    sensor_yaml,
    write_image,
)

from featdepth_ros.errors import CalibrationError, RecordingError
from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.recordings import open_recording
from featdepth_ros.recordings.calibration.extrinsics import extrinsics_of_files
from featdepth_ros.recordings.calibration.stereo import choose_partner, counterparts, longest_gap_ns, pair_by_stamp


def _rectified(focal: float, right_m: float) -> list[str]:
    """Cameras 2 and 3 of a day: 6 cm left of camera 0, and ``right_m`` beside that."""
    left, right = projection(focal, 24.5, 15.25, -0.06), projection(focal, 24.5, 15.25, -0.06 + right_m)
    return [line("P_rect_00", projection(focal, 24.5, 15.25, 0.0)), line("P_rect_02", left), line("P_rect_03", right)]


def test_kitti_raw_drives_of_two_days_have_their_own_calibration(tmp_path: Path) -> None:
    days = (("2011_09_26", 36.0, 0.5327), ("2011_09_28", 35.0, 0.5371))
    for day, focal, baseline in days:
        drive = kitti_raw(tmp_path / day, 1, _rectified(focal, baseline))
        for topic, sign in (("image_02", -1), ("image_03", 1)):
            recording = open_recording(drive, topic, partner="auto")
            assert recording.camera == CameraModel(*SIZE, focal, focal, 24.5, 15.25)
            frames = list(recording)
            assert recording.partner_name == ("image_03" if sign < 0 else "image_02") and len(frames) == 5
            partner = frames[2].partner
            assert partner is not None and partner.camera == recording.camera
            assert partner.T_partner_camera.dtype == np.float64
            expected = np.eye(4)
            expected[0, 3] = sign * baseline
            np.testing.assert_allclose(partner.T_partner_camera, expected, atol=1e-6)
    assert pairs_of(recording) == [(i, i) for i in range(5)] and not recording.notes


def test_kitti_raw_unrectified_pairs_take_r_and_t(tmp_path: Path) -> None:
    lines = []
    T_camera_first = {}
    for number, (x_m, angle) in ((2, (-0.06, 0.01)), (3, (0.47, -0.02))):
        rotation = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
        T_camera_first[number] = np.eye(4)
        T_camera_first[number][:3, :3] = rotation
        T_camera_first[number][:3, 3] = rotation @ [-x_m, 0.0, 0.0]
        k = [[40.0 + number, 0, 24], [0, 41.0, 16], [0, 0, 1]]
        values = {"K": k, "D": [-0.37, 0.2, 0.001, 0.002, -0.07 * number]}
        values |= {"R": rotation, "T": T_camera_first[number][:3, 3]}
        lines += [line(f"{letter}_{number:02d}", value) for letter, value in values.items()]
    drive = kitti_raw(tmp_path / "2011_09_26", 9, lines, kind="extract")
    frame = next(iter(open_recording(drive, partner="image_03")))
    assert frame.camera is not None and frame.camera.distortion == (-0.37, 0.2, 0.001, 0.002, -0.14)
    assert frame.partner is not None and frame.partner.camera is not None
    assert (frame.partner.camera.fx, frame.partner.camera.distortion[4]) == (43.0, -0.21)
    T_left, T_right = (np.array(T_camera_first[number]) for number in (2, 3))
    np.testing.assert_allclose(frame.partner.T_partner_camera, T_right @ np.linalg.inv(T_left), atol=1e-6)
    assert frame.partner.T_partner_camera[0, 3] < -0.5  # the right camera sees things further left


def test_kitti_raw_pairs_by_stamp_not_by_index(tmp_path: Path) -> None:
    # image_03 runs one frame ahead: its file 0 was taken with file 1 of image_02, 2 ms later
    drive = kitti_raw(
        tmp_path / "2011_09_26", 1, _rectified(36.0, 0.54), shifts_ns={"image_03": 102_000_000},
        missing={"image_02": [3], "image_03": [1]},
    )  # fmt: skip
    recording = open_recording(drive, partner="auto")
    assert pairs_of(recording) == [(0, None), (1, 0), (2, None), (4, 3)]
    frames = list(recording)
    assert frames[1].stamp_ns == 1_317_042_145_694_360_375  # 13:02:25.694360375 UTC
    assert frames[1].partner is not None and frames[1].partner.stamp_ns == frames[1].stamp_ns + 2_000_000
    assert recording.notes == ["2 of 4 frames have no image of image_03 within 50 ms, so they have no partner"]
    told = open_recording(drive, partner="auto", rate_hz=5.0)  # changes the time base, not the pairs
    assert pairs_of(told) == pairs_of(recording)
    first = list(told)[1]
    assert first.stamp_ns == 200_000_000 and first.partner is not None and first.partner.stamp_ns == 202_000_000
    (drive / "image_03" / "timestamps.txt").unlink()  # nothing but the numbers is left
    assert pairs_of(open_recording(drive, partner="auto")) == [(0, 0), (1, None), (2, 2), (4, 4)]


def test_a_broken_partner_image_loses_no_frame(tmp_path: Path) -> None:
    drive = kitti_raw(tmp_path / "2011_09_26", 1, _rectified(36.0, 0.54))
    data = drive / "image_03" / "data"
    (data / "0000000001.png").write_bytes((data / "0000000001.png").read_bytes()[:60])
    cv2.imwrite(str(data / "0000000003.png"), np.zeros((10, 10, 3), np.uint8))
    recording = open_recording(drive, partner="auto")
    assert pairs_of(recording) == [(0, 0), (1, None), (2, 2), (3, None), (4, 4)] and not recording.skipped
    assert len(recording.notes) == 2
    assert "frame 0000000001" in recording.notes[0] and "ends early" in recording.notes[0]
    assert "image_03/0000000003.png" in recording.notes[1] and "10x10" in recording.notes[1]
    assert len(pairs_of(recording)) == 5 and len(recording.notes) == 2  # said once


def test_kitti_odometry(tmp_path: Path) -> None:
    sequence = tmp_path / "sequences" / "03"
    offsets = (0.0, 0.54, -0.06, 0.47)
    for camera in range(4):
        for index in range(4):
            if (camera, index) != (3, 2):
                write_image(sequence / f"image_{camera}" / f"{index:06d}.png", index, camera)
    (sequence / "calib.txt").write_text(
        "".join(line(f"P{c}", projection(30.0 + c, 24.0, 16.0, x)) for c, x in enumerate(offsets))
    )
    (sequence / "times.txt").write_text("".join(f"{0.1037 * i:.6e}\n" for i in range(4)))
    for topic, other, x_m in (
        ("image_2", "image_3", -0.53),
        ("image_0", "image_1", -0.54),
        ("image_1", "image_0", 0.54),
    ):
        recording = open_recording(tmp_path, topic, partner="auto")
        frames = list(recording)
        assert (recording.partner_name, frames[1].stamp_ns) == (other, 103_700_000)
        assert frames[1].partner is not None and frames[1].partner.camera is not None
        assert frames[1].partner.camera.fx == 30.0 + int(other[-1])
        np.testing.assert_allclose(frames[1].partner.T_partner_camera[:3, 3], [x_m, 0.0, 0.0], atol=1e-5)
    recording = open_recording(tmp_path, partner="auto")
    assert pairs_of(recording) == [(0, 0), (1, 1), (2, None), (3, 3)]
    assert "1 of 4 frames have no image of image_3" in recording.notes[0]
    grey = next(iter(open_recording(tmp_path, "image_2", partner="image_0")))
    assert grey.partner is not None and grey.partner.T_partner_camera[0, 3] == pytest.approx(-0.06)
    assert next(iter(open_recording(tmp_path))).partner is None


def test_euroc_takes_both_sensor_files(tmp_path: Path) -> None:
    root = euroc(tmp_path / "V1_01", without={"cam0": [1], "cam1": [3]})
    recording = open_recording(root, partner="auto")
    assert pairs_of(recording) == [(0, 0), (2, 2), (3, None), (4, 4)] and recording.partner_name == "cam1"
    frame = list(recording)[1]
    assert frame.stamp_ns == START_NS + 2 * STEP_NS and frame.name == str(frame.stamp_ns)
    assert frame.partner is not None and frame.partner.stamp_ns == frame.stamp_ns
    assert frame.camera == CameraModel(*SIZE, *INTRINSICS[0], "plumb_bob", DISTORTIONS[0])
    assert frame.partner.camera == CameraModel(*SIZE, *INTRINSICS[1], "plumb_bob", DISTORTIONS[1])
    T_left_right = np.linalg.inv(T_BODY_CAM0) @ right_of(T_BODY_CAM0)
    np.testing.assert_allclose(frame.partner.T_partner_camera, np.linalg.inv(T_left_right), atol=1e-12)
    assert frame.partner.T_partner_camera[0, 3] == pytest.approx(-0.11 * np.cos(0.02))
    # the other way round it is the inverse
    back = next(iter(open_recording(root, "cam1", partner="auto"))).partner
    assert back is not None
    np.testing.assert_allclose(back.T_partner_camera, T_left_right, atol=1e-12)


def test_euroc_cameras_that_drift_apart_are_no_pairs(tmp_path: Path) -> None:
    assert pairs_of(open_recording(euroc(tmp_path / "near", shift_ns=20_000_000), partner="cam1")) == [
        (i, i) for i in range(5)
    ]
    # 40 ms late is 10 ms before the next frame
    shifted = open_recording(euroc(tmp_path / "far", shift_ns=40_000_000), partner="cam1")
    assert pairs_of(shifted) == [(0, None), (1, 0), (2, 1), (3, 2), (4, 3)]
    with pytest.raises(RecordingError, match=r"no stereo pairs: 5 of 5 frames have no image of cam1 within 25 ms"):
        open_recording(euroc(tmp_path / "apart", shift_ns=10_000_000_000), partner="cam1")


def test_euroc_without_calibration(tmp_path: Path) -> None:
    root = euroc(tmp_path / "V1_01")
    right = (root / "mav0" / "cam1" / "sensor.yaml").rename(tmp_path / "right.yaml")
    with pytest.raises(CalibrationError, match=r"none of its partner 'cam1'; give the calibration files of both"):
        open_recording(root, partner="auto")
    given = next(
        iter(
            open_recording(root, partner="auto", camera=str(root / "mav0/cam0/sensor.yaml"), partner_camera=str(right))
        )
    )
    assert given.partner is not None and given.partner.T_partner_camera[0, 3] == pytest.approx(-0.11 * np.cos(0.02))
    with pytest.raises(CalibrationError, match=r"the pose of the partner 'cam1' is not known"):
        open_recording(root, partner="auto", partner_camera="30,30,24,16")


def _suffixed(folder: Path, stamps: list[tuple[int, int]], left: str = "0", right: str = "1") -> Path:
    for index, (first, second) in enumerate(stamps):
        write_image(folder / f"{first}_{left}.png", index, 0)
        if second:
            write_image(folder / f"{second}_{right}.png", index, 1)
    return folder


@pytest.mark.parametrize(("left", "right"), [("0", "1"), ("left", "right")])
def test_folder_whose_names_end_in_two_cameras(tmp_path: Path, left: str, right: str) -> None:
    second = 1_000_000_000
    folder = _suffixed(
        tmp_path / "shots",
        [(START_NS, START_NS + 9), (START_NS + second, 0), (START_NS + 3 * second,) * 2],
        left,
        right,
    )
    calibrations = []
    for camera, T in enumerate((T_BODY_CAM0, right_of(T_BODY_CAM0))):
        calibrations.append(tmp_path / f"cam{camera}.yaml")
        calibrations[-1].write_text(sensor_yaml(T, INTRINSICS[camera], DISTORTIONS[camera]))
    first, other = map(str, calibrations)
    recording = open_recording(folder, camera=first, partner="auto", partner_camera=other)
    assert pairs_of(recording) == [(0, 0), (1, None), (2, 2)] and recording.partner_name == right
    frames = list(recording)
    assert [f.stamp_ns - START_NS for f in frames] == [0, second, 3 * second]
    assert frames[0].name == f"{START_NS}_{left}"
    assert frames[0].partner is not None and frames[0].partner.stamp_ns == START_NS + 9
    assert frames[0].partner.camera == CameraModel(*SIZE, *INTRINSICS[1], "plumb_bob", DISTORTIONS[1])
    assert frames[0].partner.T_partner_camera[0, 3] == pytest.approx(-0.11 * np.cos(0.02))
    alone = open_recording(folder, right)
    assert [read_back(f.image) for f in alone] == [(0, 1), (2, 1)] and "camera" in alone.notes[0]
    with pytest.raises(CalibrationError, match=f"none of the camera and its partner '{right}'"):
        open_recording(folder, partner="auto")
    with pytest.raises(CalibrationError, match="the same position"):
        open_recording(folder, camera=first, partner="auto", partner_camera=first)


def test_two_folders_pair_by_name(tmp_path: Path) -> None:
    for index in range(4):
        write_image(tmp_path / "left" / f"shot{index}.png", index, 0)
        if index != 1:
            write_image(tmp_path / "right" / f"shot{index}.png", index, 1)
    calibration = tmp_path / "right.yaml"
    calibration.write_text(
        "fx: 30\nfy: 30\ncx: 24\ncy: 16\n"
        "T_partner_camera: [[1, 0, 0, -0.25], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]\n"
    )
    for wanted in ("auto", "right", str(tmp_path / "right")):
        recording = open_recording(
            tmp_path / "left", camera="30,30,24,16", partner=wanted, partner_camera=str(calibration)
        )
        assert pairs_of(recording) == [(0, 0), (1, None), (2, 2), (3, 3)]
        partner = next(iter(recording)).partner
        assert partner is not None and partner.T_partner_camera[0, 3] == -0.25
        assert recording.notes == ["1 of 4 frames have no image of right of the same name, so they have no partner"]
    calibration.write_text(calibration.read_text().replace("[1, 0, 0, -0.25]", "[2, 0, 0, -0.25]"))
    with pytest.raises(CalibrationError, match="T_partner_camera is not a rigid motion"):
        open_recording(tmp_path / "left", camera="30,30,24,16", partner="auto", partner_camera=str(calibration))
    with pytest.raises(RecordingError, match=r"no camera 'rihgt'.*did you mean 'right'"):
        open_recording(tmp_path / "left", camera="30,30,24,16", partner="rihgt")


def test_kalibr_camchain_and_camera_info_files(tmp_path: Path) -> None:
    for name in ("left", "right"):
        write_image(tmp_path / name / "a.png", 0, int(name == "right"))
    entry = (
        "  camera_model: pinhole\n  intrinsics: [30, 30, 24, 16]\n"
        "  distortion_model: radtan\n  distortion_coeffs: [0, 0, 0, 0]\n"
    )
    chain = tmp_path / "camchain.yaml"
    rows = (
        "  T_cn_cnm1:\n  - [1.0, 0.0, 0.0, -0.1]\n  - [0.0, 1.0, 0.0, 0.0]\n"
        "  - [0.0, 0.0, 1.0, 0.0]\n  - [0.0, 0.0, 0.0, 1.0]\n"
    )
    chain.write_text(f"cam0:\n{entry}cam1:\n{entry}{rows}")
    for first, partner_camera, x_m in (
        (str(chain), None, -0.1),  # the other of two
        (f"{chain}#cam0", f"{chain}#cam1", -0.1),
        (f"{chain}#cam1", f"{chain}#cam0", 0.1),
    ):
        recording = open_recording(tmp_path / "left", camera=first, partner="auto", partner_camera=partner_camera)
        partner = next(iter(recording)).partner
        assert partner is not None and partner.T_partner_camera[0, 3] == pytest.approx(x_m)
    manager = (
        "image_width: 48\nimage_height: 32\ndistortion_model: plumb_bob\n"
        "camera_matrix: {data: [31, 0, 24, 0, 31, 16, 0, 0, 1]}\n"
        "rectification_matrix: {data: [1, 0, 0, 0, 1, 0, 0, 0, 1]}\n"
    )
    for name, offset in (("left", 0.0), ("right", -30.0 * 0.2)):
        data = f"projection_matrix: {{data: [30, 0, 24, {offset}, 0, 30, 16, 0, 0, 0, 1, 0]}}\n"
        (tmp_path / f"{name}.yaml").write_text(manager + data)
    recording = open_recording(
        tmp_path / "left",
        camera=str(tmp_path / "left.yaml"),
        partner="auto",
        partner_camera=str(tmp_path / "right.yaml"),
    )
    partner = next(iter(recording)).partner
    assert partner is not None and partner.T_partner_camera[0, 3] == pytest.approx(-0.2)


def test_a_camchain_of_three_is_followed_link_by_link(tmp_path: Path) -> None:
    """Each ``T_cn_cnm1`` maps the camera before to its own: two links in a row, the turned one first."""
    turned = se3.make(se3.rotation_from_vector((0.0, 0.5, 0.0)), (-0.1, 0.0, 0.02))
    shifted = se3.make(np.eye(3), (-0.3, 0.05, 0.0))
    chain: dict[str, dict[str, object]] = {
        f"cam{n}": {"camera_model": "pinhole", "intrinsics": [30, 30, 24, 16]} for n in range(3)
    }
    chain["cam1"]["T_cn_cnm1"], chain["cam2"]["T_cn_cnm1"] = turned.tolist(), shifted.tolist()
    path = tmp_path / "chain.yaml"
    path.write_text(yaml.safe_dump(chain))
    model = CameraModel(*SIZE, 30.0, 30.0, 24.0, 16.0)
    for first, second, expected in (
        ("cam0", "cam2", shifted @ turned),
        ("cam2", "cam0", np.linalg.inv(shifted @ turned)),
        ("cam1", "cam2", shifted),
    ):
        found = extrinsics_of_files(f"{path}#{first}", f"{path}#{second}", model, model)
        np.testing.assert_allclose(found, expected, atol=1e-12)


def test_where_there_is_no_partner(tmp_path: Path) -> None:
    drive = kitti_raw(tmp_path / "2011_09_26", 1, _rectified(36.0, 0.54))
    with pytest.raises(RecordingError, match=r"no camera 'image_01'.*the others are: image_03"):
        open_recording(drive, partner="image_01")
    with pytest.raises(RecordingError, match="is the camera itself"):
        open_recording(drive, partner="image_02")
    with pytest.raises(RecordingError, match="without a partner; name the partner"):
        open_recording(drive, partner_camera="1,1,1,1")
    (drive.parent / "calib_cam_to_cam.txt").unlink()
    with pytest.raises(CalibrationError, match="none of the camera and its partner 'image_03'"):
        open_recording(drive, partner="auto")
    write_image(tmp_path / "one.png", 0)
    with pytest.raises(RecordingError, match="of one camera; there is no partner 'auto'"):
        open_recording(tmp_path / "one.png", partner="auto")


def test_names_of_counterparts() -> None:
    names = ["image_00", "image_01", "image_02", "image_03", "cam0", "cam1", "cam10", "/Left/image", "/Right/image"]
    names += ["/d435/infra1/image_rect_raw", "/d435/infra2/image_rect_raw", "/a0/cam0", "/a0/cam1", "/a1/cam0"]
    for first, second in (
        ("image_00", "image_01"), ("image_02", "image_03"), ("cam0", "cam1"), ("/Left/image", "/Right/image"),
        ("/d435/infra1/image_rect_raw", "/d435/infra2/image_rect_raw"),
    ):  # fmt: skip
        assert counterparts(first, names) == {second: True} and counterparts(second, names) == {first: False}
        assert choose_partner("x", names, second, "auto") == first
    with pytest.raises(RecordingError, match="several could be the partner of '/a0/cam0'; name it: /a1/cam0, /a0/cam1"):
        choose_partner("x", names, "/a0/cam0", "auto")
    with pytest.raises(RecordingError, match="no camera is obviously the partner of 'cam10'"):
        choose_partner("x", names, "cam10", "auto")


def test_pairs_by_stamp_are_mutually_nearest() -> None:
    assert pair_by_stamp([0, 100, 200], [95, 104, 290], 50) == [None, 1, None]
    assert pair_by_stamp([0, 10], [4], 50) == [0, None]  # used once, by the nearer
    assert pair_by_stamp([30, 10, 20], [21, 9, 31], 5) == [2, 1, 0]
    assert pair_by_stamp([5, 5], [5, 5], 0) == [0, None]
    assert pair_by_stamp([], [1], 5) == [] and pair_by_stamp([1], [], 5) == [None]
    big = 1_403_715_273_262_142_976
    assert pair_by_stamp([big, big + 1], [big + 1, big + 2], 0) == [None, 0]  # exact, as a double would not be
    assert longest_gap_ns(20.0) == 25_000_000 and longest_gap_ns(0.5) == 50_000_000
