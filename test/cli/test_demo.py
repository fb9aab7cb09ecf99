"""``featdepth demo``: the drive that it renders has a robot's tree of frames."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("numba")
pytest.importorskip("rosbags")

from featdepth_ros.cli.demo import _rendered
from featdepth_ros.messages.cloud_filter import CloudFilter
from featdepth_ros.recordings.bags.source import BagSource
from featdepth_ros.recordings.bags.transforms import static_transform
from featdepth_ros.recordings.open import open_recording


def test_the_base_stands_on_the_road_so_that_costmaps_get_points(tmp_path: Path) -> None:
    """`~/points_filtered` takes heights of 0.1 to 2 m over `base_link`: walls and cars, and none of the road."""
    bag = _rendered(argparse.Namespace(scene="street", seed=0, seconds=0.2, rate=10.0), tmp_path)
    T_base_camera = static_transform(BagSource(bag), "base_link", "camera_optical_frame")
    assert T_base_camera is not None and T_base_camera[2, 3] == pytest.approx(1.65)
    frame = next(iter(open_recording(bag)))
    camera, depth = frame.camera, np.asarray(frame.depth, np.float32)
    assert camera is not None
    v, u = np.indices(depth.shape, dtype=np.float32)
    rays = np.stack([(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, np.ones_like(u)], axis=-1)
    points = (rays * depth[..., None]).reshape(-1, 3)[depth.ravel() < 20.0]
    heights = points @ T_base_camera[2, :3] + T_base_camera[2, 3]
    road = np.abs(heights) < 0.1
    assert road.mean() > 0.2, "the road lies at the base's height"
    kept = CloudFilter(0.1, 2.0, 30.0, 0.0).kept(points.astype(np.float32), T_base_camera)
    assert 0.05 < kept.mean() < 0.8 and not kept[road].any()
