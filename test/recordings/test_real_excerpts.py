"""Excerpts of real recordings, where the tests are told of them: intrinsics and stamps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.recordings import open_recording, read_trajectory


def test_kitti_odometry_00(test_data: Path) -> None:
    recording = open_recording(test_data / "kitti_odometry" / "sequences" / "00")
    assert (recording.kind, len(recording)) == ("kitti_odometry", 160)
    assert recording.camera == CameraModel(1241, 376, 718.856, 718.856, 607.1928, 185.2157)
    first, second, *_ = recording
    assert (first.stamp_ns, second.stamp_ns, second.name) == (0, 103_735_900, "000001")
    assert second.T_world_camera is not None and 0.5 < second.T_world_camera[2, 3] < 1.2  # forward, metres


def test_kitti_raw_drive_0001(test_data: Path) -> None:
    drive = test_data / "kitti_raw" / "2011_09_26" / "2011_09_26_drive_0001_sync"
    recording = open_recording(drive, "image_03")
    assert (recording.kind, len(recording)) == ("kitti_raw", 108) and recording.rate_hz == pytest.approx(9.7, abs=0.3)
    assert recording.camera == CameraModel(1242, 375, 721.5377, 721.5377, 609.5593, 172.854)
    first = next(iter(recording))
    text = (drive / "image_03" / "timestamps.txt").read_text().split()[1]
    assert f"{first.stamp_ns % 10**9:09d}" == text.split(".")[1]


def test_euroc_v1_01(test_data: Path) -> None:
    recording = open_recording(test_data / "euroc" / "V1_01_easy_static")
    assert (recording.kind, recording.rate_hz) == ("euroc", pytest.approx(20.0, abs=1e-3))
    assert recording.camera == CameraModel(
        752, 480, 458.654, 457.296, 367.215, 248.375, "plumb_bob",
        (-0.28340811, 0.07395907, 0.00019359, 1.76187114e-05),
    )  # fmt: skip
    read = list(recording)
    assert len(read) == 6 and read[0].stamp_ns == 1403715273262142976
    assert np.array_equal(read[0].image[..., 0], read[0].image[..., 2])  # grey, repeated


def test_tum_freiburg1(test_data: Path) -> None:
    recording = open_recording(test_data / "tum_freiburg1_rpy")
    assert recording.camera is not None and recording.camera.distortion == (
        0.262383, -0.953104, -0.005358, 0.002628, 1.163314,
    )  # fmt: skip
    first = next(iter(recording))
    assert (len(recording), first.stamp_ns) == (50, 1305031229528748000)
    assert first.depth is not None and 0.4 < np.nanmedian(first.depth) < 6.0
    assert first.T_world_camera is not None


def test_seven_scenes(test_data: Path) -> None:
    recording = open_recording(test_data / "seven_scenes_kitchen")
    assert recording.camera == CameraModel(640, 480, 585.0, 585.0, 320.0, 240.0)
    first = next(iter(recording))
    assert (len(recording), first.name, recording.rate_hz) == (150, "frame-000000", 30.0)
    assert first.depth is not None and np.isnan(first.depth).any() and np.nanmax(first.depth) < 20.0
    assert first.T_world_camera is not None and first.T_world_camera[0, 3] == pytest.approx(-0.34045634)


def test_t265_ros1_bag(test_data: Path) -> None:
    path = test_data / "bag_t265_ros1" / "trimmed_locoffice.bag"
    recording = open_recording(path, "/camera/fisheye1/image_raw", camera="286,286,424,400")
    read = list(recording)
    assert [f.stamp_ns for f in read] == [1553180224360915899, 1553180224394249439, 1553180224427582741]
    assert read[0].image.shape == (800, 848, 3) and recording.rate_hz == pytest.approx(30.0, abs=0.1)
    trajectory = read_trajectory(path)
    assert len(trajectory) == 19
    np.testing.assert_allclose(np.linalg.det([pose[:3, :3] for _, pose in trajectory]), 1.0, atol=1e-9)


def test_stereo_of_kitti_raw_drive_0001(test_data: Path) -> None:
    drive = test_data / "kitti_raw" / "2011_09_26" / "2011_09_26_drive_0001_sync"
    recording = open_recording(drive, partner="auto")
    first = next(iter(recording))
    assert recording.partner_name == "image_03" and not recording.notes
    assert first.partner is not None and first.partner.image.shape == first.image.shape
    assert first.partner.T_partner_camera[0, 3] == pytest.approx(-0.5327, abs=1e-4)
    assert abs(first.partner.stamp_ns - first.stamp_ns) < 5_000_000


def test_stereo_of_euroc_v1_01(test_data: Path) -> None:
    recording = open_recording(test_data / "euroc" / "V1_01_easy_static", partner="auto")
    read = list(recording)
    assert all(f.partner is not None and f.partner.stamp_ns == f.stamp_ns for f in read) and len(read) == 6
    partner = read[0].partner
    assert partner is not None and partner.camera is not None and partner.camera.fx == 457.587
    assert np.linalg.norm(partner.T_partner_camera[:3, 3]) == pytest.approx(0.110, abs=5e-4)
    assert partner.T_partner_camera[0, 3] < 0


def test_stereo_of_sparse_euroc_pairs(test_data: Path) -> None:
    rig = test_data / "euroc" / "V1_01_easy_static" / "mav0"
    recording = open_recording(
        test_data / "euroc" / "V1_01_easy_pairs",
        camera=str(rig / "cam0" / "sensor.yaml"),
        partner="auto",
        partner_camera=str(rig / "cam1" / "sensor.yaml"),
    )
    first = next(iter(recording))
    assert (len(recording), recording.partner_name, first.stamp_ns) == (100, "1", 1403715273262142976)
    assert first.partner is not None and first.partner.T_partner_camera[0, 3] == pytest.approx(-0.110, abs=5e-4)
