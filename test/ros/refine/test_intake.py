"""From depth_node's topics to the buffer: what belongs together, and where a stretch ends."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from nav_msgs.msg import Odometry
from sensor_msgs.msg import CameraInfo, Image

from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.inference.odometry import UNKNOWN_VARIANCE
from featdepth_ros.recordings.buffer.segments import read_stored
from featdepth_ros.recordings.buffer.writer import BufferWriter
from featdepth_ros.recordings.datasets.pose_files import read_pose_file
from featdepth_ros.ros.calibration import info_from_camera
from featdepth_ros.ros.frames.tree import Edge, FrameTree
from featdepth_ros.ros.images import header_message, image_message
from featdepth_ros.ros.refine.intake import Filler, Joined, Joiner

CAMERA = CameraModel(160, 96, 90.0, 90.0, 79.5, 47.5)
START, STEP_NS = 1_700_000_000_000_000_000, 100_000_000
_TEXTURE = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (96, 2000, 3), dtype=np.uint8), (0, 0), 1.5)
TEXTURE = cv2.normalize(_TEXTURE, None, 0, 255, cv2.NORM_MINMAX)
#: The camera sits half a metre before the base, looking along its x axis.
T_BASE_CAMERA = se3.make(se3.T_BODY_OPTICAL[:3, :3], np.array([0.5, 0.0, 0.0]))


def image(index: int) -> Image:
    pixels = np.ascontiguousarray(TEXTURE[:, 3 * index : 3 * index + 160])
    return image_message(pixels, "rgb8", START + index * STEP_NS, "camera_optical")


def odometry(index: int, x: float, variance: float = 1e-4) -> Odometry:
    msg = Odometry(header=header_message(START + index * STEP_NS, "odom"), child_frame_id="base_link")
    msg.pose.pose.position.x, msg.pose.pose.orientation.w = x, 1.0
    msg.twist.twist.linear.x = 0.5
    msg.twist.covariance[0] = variance
    return msg


def info(index: int = 0) -> CameraInfo:
    return info_from_camera(CAMERA, START + index * STEP_NS, "camera_optical")


def fill(folder: Path, frames: list[Any]) -> Filler:
    tree = FrameTree()
    tree.set("camera_optical", Edge("base_link", T_BASE_CAMERA, static=True))
    filler = Filler(lambda: BufferWriter(folder, 100.0), tree, lambda: True)
    filler.start()
    for frame in frames:
        filler.offer(frame)
        end = time.monotonic() + 10.0
        while filler._queue and time.monotonic() < end:
            time.sleep(0.001)
    filler.stop(10.0)
    return filler


def stored(folder: Path) -> list[int]:
    return [s.frames for p in sorted(folder.iterdir()) if (s := read_stored(p)) is not None]


def test_pictures_are_joined_with_the_odometry_of_their_stamp() -> None:
    joined: list[Joined] = []
    joiner = Joiner(joined.append, lambda: 100.0)
    joiner.on_image(image(0))
    assert not joined, "there is no calibration yet"
    joiner.on_info(info())
    joiner.on_image(image(1))
    assert [j.odometry for j in joined] == [None], "nobody publishes odometry"
    joiner.on_odometry(odometry(2, 0.1))
    joiner.on_image(image(2))
    joiner.on_image(image(3))
    joiner.on_image(image(4))
    joiner.on_odometry(odometry(4, 0.2))
    assert [None if j.odometry is None else j.odometry.pose.pose.position.x for j in joined] == [None, 0.1, 0.2]


def test_no_more_pictures_than_the_rate_allows() -> None:
    joined: list[Joined] = []
    joiner = Joiner(joined.append, lambda: 5.0)
    joiner.on_info(info())
    for index in range(20):
        joiner.on_image(image(index))
    assert len(joined) == 10


def test_poses_are_the_cameras_and_a_stretch_ends_where_motion_is_lost_or_the_pose_jumps(tmp_path: Path) -> None:
    frames = [Joined(image(i), info(i), odometry(i, 0.05 * i)) for i in range(6)]
    frames.append(Joined(image(6), info(6), odometry(6, 0.25, UNKNOWN_VARIANCE)))
    frames += [Joined(image(i), info(i), odometry(i, 0.05 * i)) for i in range(7, 12)]
    frames += [Joined(image(i), info(i), odometry(i, 3.0 + 0.05 * i)) for i in range(12, 17)]
    filler = fill(tmp_path, frames)
    assert filler.trouble == "" and stored(tmp_path) == [6, 5, 5]
    poses = read_pose_file(tmp_path / "000001" / "poses.txt", "tum").poses
    for index, pose in enumerate(poses):
        expected = se3.make(np.eye(3), np.array([0.05 * index, 0.0, 0.0])) @ T_BASE_CAMERA
        np.testing.assert_allclose(pose, expected, atol=1e-8)


def test_uncalibrated_pictures_and_a_disk_that_refuses_are_told(tmp_path: Path) -> None:
    blank = CameraInfo(header=header_message(START, "camera_optical"), width=160, height=96)
    filler = fill(tmp_path / "a", [Joined(image(0), blank, None)])
    assert "no calibration" in filler.trouble
    (tmp_path / "file").write_text("")
    filler = fill(tmp_path / "file", [Joined(image(0), info(), None)])
    assert "cannot store images" in filler.trouble


def test_offering_never_waits_for_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BufferWriter, "add", lambda *_: time.sleep(0.2))
    filler = Filler(lambda: BufferWriter(tmp_path, 100.0), FrameTree(), lambda: True)
    filler.start()
    began = time.monotonic()
    for index in range(50):
        filler.offer(Joined(image(index), info(index), None))
    assert time.monotonic() - began < 0.5
    filler.stop(10.0)
