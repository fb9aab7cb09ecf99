"""Indoor RGB-D folders in their documented layouts: intrinsics, depth units, association by stamp, poses."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from stereo_layouts import write_image

from featdepth_ros.errors import ImageError
from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.recordings import open_recording
from featdepth_ros.recordings.files.images import read_depth


def _depth(path: Path, value: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    depth = np.full((32, 48), value, np.uint16)
    depth[0, 0], depth[0, 1] = 0, 65535
    assert cv2.imwrite(str(path), depth)


def test_tum(tmp_path: Path) -> None:
    root = tmp_path / "rgbd_dataset_freiburg2_desk"
    colour, depth = ["# color images\n# timestamp filename\n"], ["# depth maps\n"]
    for index in range(3):
        seconds = f"1311868164.{100_000 + 33_333 * index:06d}"
        write_image(root / "rgb" / f"{seconds}.png", index)
        colour.append(f"{seconds} rgb/{seconds}.png\n")
        late = f"1311868164.{100_000 + 33_333 * index + (5_000 if index != 1 else 21_000):06d}"  # 20 ms are too much
        if index != 1:
            _depth(root / "depth" / f"{late}.png", 5000 * (index + 1))
            depth.append(f"{late} depth/{late}.png\n")
    (root / "rgb.txt").write_text("".join(colour))
    (root / "depth.txt").write_text("".join(depth))
    (root / "groundtruth.txt").write_text(
        "# timestamp tx ty tz qx qy qz qw\n1311868164.0900 1 2 3 0 0 0 1\n1311868164.1100 3 2 3 0 0 0 1\n"
    )
    recording = open_recording(root)
    assert recording.kind == "tum" and recording.rate_hz == pytest.approx(30.0, abs=0.01)
    assert recording.camera == CameraModel(
        48, 32, 520.908620, 521.007327, 325.141442, 249.701764, "plumb_bob",
        (0.231222, -0.784899, -0.003257, -0.000105, 0.917205),
    )  # fmt: skip
    first, second, third = recording
    assert [f.stamp_ns % 10**9 for f in (first, second, third)] == [100_000_000, 133_333_000, 166_666_000]
    assert first.depth is not None and second.depth is None and third.depth is not None
    assert first.depth[5, 5] == 1.0 and third.depth[5, 5] == 3.0 and np.isnan(first.depth[0, 0])
    assert first.T_world_camera is not None and third.T_world_camera is None
    np.testing.assert_allclose(first.T_world_camera[:3, 3], [2.0, 2.0, 3.0], atol=1e-9)  # half way


def test_seven_scenes(tmp_path: Path) -> None:
    for index in range(3):
        write_image(tmp_path / f"frame-{index:06d}.color.png", index)
        _depth(tmp_path / f"frame-{index:06d}.depth.png", 1000 * (index + 1))
        pose = np.eye(4)
        pose[:3, 3] = [0.1 * index, 0.0, -0.5]
        (tmp_path / f"frame-{index:06d}.pose.txt").write_text(
            "".join("\t ".join(f"{v:.7e}" for v in row) + "\t \n" for row in pose)
        )
    recording = open_recording(tmp_path)
    assert recording.camera == CameraModel(48, 32, 585.0, 585.0, 320.0, 240.0)
    frame = list(recording)[2]
    assert (recording.kind, frame.name, frame.stamp_ns) == ("seven_scenes", "frame-000002", 66_666_667)
    assert frame.depth is not None and frame.depth[5, 5] == 3.0 and np.isnan(frame.depth[0, :2]).all()
    assert frame.T_world_camera is not None
    np.testing.assert_allclose(frame.T_world_camera[:3, 3], [0.2, 0.0, -0.5], atol=1e-6)
    (tmp_path / "camera-intrinsics.txt").write_text("52.5 0 24\n0 53.5 16\n0 0 1\n")
    assert open_recording(tmp_path).camera == CameraModel(48, 32, 52.5, 53.5, 24.0, 16.0)
    (tmp_path / "frame-000001.pose.txt").write_text("1 0 0\n")
    recording = open_recording(tmp_path)  # truth is worth having and no condition
    assert [frame.T_world_camera is None for frame in recording] == [False, True, False]
    assert "frame-000001.pose.txt, line 1: expected 4 finite numbers, found 3" in recording.notes[0]


@pytest.mark.parametrize(("shape", "kind"), [((4, 6, 3), np.uint16), ((4, 6), np.uint8)])
def test_depth_is_one_channel_of_16_bits(tmp_path: Path, shape: tuple[int, ...], kind: type) -> None:
    path = tmp_path / "depth.png"
    assert cv2.imwrite(str(path), np.full(shape, 200, kind))
    with pytest.raises(ImageError, match="expected a 16-bit PNG of one channel"):
        read_depth(path, 1000.0)
