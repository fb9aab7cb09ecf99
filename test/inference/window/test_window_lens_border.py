"""A lens whose rectified picture reaches beyond what it shows: nothing is tracked, or judged, out there."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.inference.frame import RectifiedViews
from featdepth_ros.inference.motion import MotionState
from featdepth_ros.inference.types import Motion
from featdepth_ros.inference.validity import _agrees_with_earlier
from featdepth_ros.inference.window import tracks
from featdepth_ros.inference.window.config import WindowConfig
from featdepth_ros.inference.window.types import WindowState
from featdepth_ros.inference.window.window import Window
from featdepth_ros.simulation.simulate import Simulation, SimulationConfig

WIDTH, HEIGHT, FRAMES = 320, 240, 7
#: A fisheye whose rectified view is wider than the lens, and strong radial distortion that bends outwards.
CAMERAS = {
    "fisheye": CameraModel(
        WIDTH, HEIGHT, 190.0, 190.0, 159.5, 119.5, "equidistant", (0.02, -0.01, 0.0, 0.0),
        projection=(110.0, 110.0, 159.5, 119.5),
    ),
    "radial": CameraModel(
        WIDTH, HEIGHT, 200.0, 200.0, 159.5, 119.5, "plumb_bob", (0.25, 0.05, 0.0, 0.0),
        projection=(170.0, 170.0, 159.5, 119.5),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Rectified:
    """Rectified pictures of a rendered room with true depth, and what the lens shows of them."""

    camera: CameraModel
    seen: NDArray[np.bool_]
    greys: list[NDArray[np.uint8]]
    depths: list[NDArray[np.float32]]
    motions: list[NDArray[np.float64]]


@pytest.fixture(scope="module", params=CAMERAS)
def rectified(request) -> Rectified:
    camera = CAMERAS[request.param]
    frames = list(Simulation(SimulationConfig(scene="room", seed=3, frames=FRAMES, camera=camera), threads=1))
    views = RectifiedViews(camera, (WIDTH, HEIGHT), (96, 128), torch.device("cpu"))
    assert views.full_seen is not None and views.full.camera is not None
    assert 0.1 < 1 - views.full_seen.mean() < 0.7
    greys, depths = [], []
    for frame in frames:
        image = (views.full.apply(frame.image)[0].permute(1, 2, 0).numpy() * 255).astype(np.uint8)
        greys.append(cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY))
        depths.append(np.nan_to_num(views.full.apply_nearest(frame.depth).numpy(), nan=3.0))
    poses = [frame.T_world_camera for frame in frames]
    motions = [np.eye(4)] + [se3.inverse(a) @ b for a, b in pairwise(poses)]
    return Rectified(views.full.camera, views.full_seen, greys, depths, motions)


def run(rectified, seen):
    """Results, and how many points lie where the lens shows nothing, of all."""
    window, results, outside, points = Window(WindowConfig(scale="relative")), [], 0, 0
    whole = tracks.trackable(rectified.seen)
    for index, grey in enumerate(rectified.greys):
        result = window.step(grey, rectified.camera, (index + 1) * 50_000_000, rectified.depths[index], seen=seen)
        columns, rows = np.rint(window._map.to_image(window._sight.found)).astype(int).T
        outside, points = outside + int((~whole[rows, columns]).sum()), points + len(rows)
        results.append(result)
    return results, outside, points


def test_no_point_lies_where_the_lens_shows_nothing(rectified):
    _, outside, _ = run(rectified, None)
    assert outside > 0  # else the test would show nothing
    results, outside, points = run(rectified, rectified.seen)
    assert outside == 0 and points > 50 * FRAMES
    assert all(result.state is WindowState.TRACKED for result in results[1:])
    for result, truth in zip(results[3:], rectified.motions[3:], strict=True):
        turned = result.T_previous_current[:3, :3] @ truth[:3, :3].T
        assert np.linalg.norm(se3.vector_from_rotation(turned)) < np.radians(0.3)


def test_a_picture_that_the_lens_fills_needs_no_mask():
    camera = CameraModel(WIDTH, HEIGHT, 190.0, 190.0, 159.5, 119.5)
    assert RectifiedViews(camera, (WIDTH, HEIGHT), (96, 128), torch.device("cpu")).full_seen is None


def test_depth_is_not_judged_by_what_the_earlier_picture_did_not_see():
    camera = CameraModel(32, 24, 30.0, 30.0, 15.5, 11.5)
    depth, earlier = torch.full((1, 1, 24, 32), 5.0), torch.full((1, 1, 24, 32), 5.0)
    earlier[..., :10] = 50.0  # what a network makes of the border
    in_image = torch.ones(48, 64, dtype=torch.bool)
    in_image[:, :20] = False
    motion = Motion(MotionState.TRACKED, np.eye(4), 1, np.eye(6))
    assert not _agrees_with_earlier(depth, earlier, camera, motion)[..., 1:-1, 1:9].any()
    assert _agrees_with_earlier(depth, earlier, camera, motion, in_image).all()
