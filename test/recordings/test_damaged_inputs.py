"""Bytes that changed on the way: every reader gives what it can, or an error of the package in words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from bag_files import write_plain_mcap, write_ros1, write_storage_file

from featdepth_ros.errors import FeatDepthError
from featdepth_ros.messages.decode import decode_image
from featdepth_ros.recordings import open_recording, parse_camera
from featdepth_ros.recordings.datasets.pose_files import read_pose_file

TEXTS = {
    "manager.yaml": "image_width: 64\nimage_height: 48\ndistortion_model: plumb_bob\ncamera_matrix: {rows: 3, cols: 3, "
    "data: [40, 0, 31, 0, 40, 23, 0, 0, 1]}\ndistortion_coefficients: {data: [0.1, 0, 0, 0, 0]}\n",
    "orb.yaml": "%YAML:1.0\nCamera.type: PinHole\nCamera.fx: 40.0\nCamera.fy: 41.0\nCamera.cx: 31.5\nCamera.cy: 23.5\n",
    "vins.yaml": "model_type: PINHOLE\nprojection_parameters:\n  fx: 40.0\n  fy: 41.0\n  cx: 31.5\n  cy: 23.5\n",
    "ost.ini": "[image]\nwidth\n64\nheight\n48\n[cam]\ncamera matrix\n40 0 31\n0 40 23\n0 0 1\ndistortion\n0 0 0 0 0\n",
    "cameras.txt": "# list\n1 OPENCV 64 48 40.0 41.0 32.0 24.0 -0.1 0.01 0.002 0.003\n",
}
POSES = {
    "tum.txt": "# t x y z qx qy qz qw\n1305031102.1753 1 2 3 0 0 0 1\n1305031102.2753 1 2 3 0 0 0 1\n",
    "euroc.csv": "#t\n1403636579763555584,1,2,3,1,0,0,0,5\n1403636579813555584,1,2,3,1,0,0,0,5\n",
    "kitti.txt": "1 0 0 1 0 1 0 2 0 0 1 3\n1 0 0 2 0 1 0 2 0 0 1 3\n",
}


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """Return bytes with some changed, cut out, doubled, or the end cut off."""
    result = bytearray(data)
    for _ in range(int(rng.integers(1, 4))):
        if not result:
            break
        at, kind = int(rng.integers(len(result))), int(rng.integers(5))
        length = int(rng.integers(1, 12))
        if kind == 0:
            result[at] = int(rng.integers(256))
        elif kind == 1:
            del result[at : at + length]
        elif kind == 2:
            result[at:at] = result[at : at + length]
        elif kind == 3:
            result[at : at + length] = rng.integers(0, 256, length, dtype=np.uint8).tobytes()
        else:
            del result[at:]
    return bytes(result)


def _survives(path: Path, data: bytes, read: Callable[[], object], times: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    messages = []
    for _ in range(times):
        path.write_bytes(mutated(data, rng))
        try:
            read()
        except FeatDepthError as error:
            messages.append(str(error))
    assert messages and all(messages)  # damage was done, and said


@pytest.mark.parametrize("name", TEXTS)
def test_calibration_files(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    _survives(path, TEXTS[name].encode(), lambda: parse_camera(str(path), (64, 48)), 150, seed=1)


@pytest.mark.parametrize("name", POSES)
@pytest.mark.parametrize("skip_bad", [False, True])
def test_pose_files(tmp_path: Path, name: str, skip_bad: bool) -> None:
    path = tmp_path / name
    _survives(path, POSES[name].encode(), lambda: read_pose_file(path, skip_bad=skip_bad), 200, seed=2)


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_pictures(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x{suffix}"
    picture = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    data = cv2.imencode(suffix, picture)[1].tobytes()
    _survives(path, data, lambda: decode_image(path.read_bytes()), 200, seed=3)


@pytest.mark.parametrize("kind", ["ros1.bag", "sqlite.db3", "chunks.mcap", "plain.mcap", "ros1.mcap"])
def test_bags(tmp_path: Path, kind: str) -> None:
    path = tmp_path / kind
    if kind == "ros1.bag":
        write_ros1(path, range(4))
    elif kind in ("sqlite.db3", "chunks.mcap"):
        write_storage_file(path, range(4), "sqlite3" if kind == "sqlite.db3" else "mcap")
    else:
        write_plain_mcap(path, range(4), ros1=kind == "ros1.mcap")
    _survives(path, path.read_bytes(), lambda: list(open_recording(path)), 60, seed=4)
