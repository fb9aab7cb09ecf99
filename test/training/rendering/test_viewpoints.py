from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from featdepth_ros.errors import ConfigError
from featdepth_training.config.loading import from_dict
from featdepth_training.config.schema import RenderedConfig
from featdepth_training.objectives.ground import ground_heights
from featdepth_training.rendering.rendered import ClipRenderer, clip_counts, hidden_share, prepare_caches
from featdepth_training.rendering.scenes import SCENES
from featdepth_training.rendering.viewpoints import Movement, draw_camera, drive, optical_axes, ride


def test_optical_axes_are_rep_103() -> None:
    """World x east, y north, z up; columns right, down, forward."""
    np.testing.assert_allclose(optical_axes(0, 0, 0), [[0, 0, 1], [-1, 0, 0], [0, -1, 0]], atol=1e-12)
    left = optical_axes(math.pi / 2, 0, 0)
    np.testing.assert_allclose(left[:, 2], [0, 1, 0], atol=1e-12)
    up = optical_axes(0, 0.3, 0)
    assert up[2, 2] == pytest.approx(math.sin(0.3))
    rolled = optical_axes(0, 0, 0.3)
    assert rolled[2, 0] < 0  # the right side goes down
    for axes in (left, up, rolled, optical_axes(0.3, -0.2, 0.1)):
        np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-12)
        assert np.linalg.det(axes) == pytest.approx(1.0)


def test_movement_goes_along_its_velocity() -> None:
    going = Movement(np.array([1.0, 2.0, 3.0]), np.array([0.5, 0.0, 0.0]), 0.0, 0.0, 0.0, np.zeros(3))
    poses = going.poses(3, np.random.default_rng(0))
    motion = np.linalg.inv(poses[1]) @ poses[0]
    np.testing.assert_allclose(motion[:3, 3], [0.0, 0.0, -0.5], atol=1e-12)  # what is ahead comes nearer
    np.testing.assert_allclose(poses[2][:3, 3], [2.0, 2.0, 3.0])


def test_cameras_stay_in_their_range() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        camera = draw_camera(rng, 96, 224, (100.0, 200.0))
        assert 90 < camera.fx < 222 and 0.8 < camera.fx / camera.fy < 1.25
        assert abs(camera.cx - 111.5) < 15 and camera.is_pinhole


def test_hidden_views_are_told() -> None:
    depth = np.full((10, 10), 3.0)
    assert hidden_share(depth) == 0.0
    depth[:2] = 0.2
    assert hidden_share(depth) == pytest.approx(0.2)
    depth[5, 5] = 0.05
    assert hidden_share(depth) == 1.0
    assert hidden_share(np.full((4, 4), np.nan)) == 1.0


def test_clips_are_shared_among_kinds(tmp_path: Path) -> None:
    config = RenderedConfig(scenes=("street", "room", "clutter"), shares=(0.5, 0.3, 0.2))
    counts = clip_counts(config, 100)
    assert sum(counts) == 100
    np.testing.assert_allclose(counts, [50, 30, 20], atol=1)
    assert clip_counts(config, 3) == [1, 1, 1]
    assert clip_counts(RenderedConfig(scenes=("street", "room")), 7) in ([3, 4], [4, 3])
    wrong = from_dict({"data": {"rendered": {"scenes": ["street", "room"], "shares": [1.0]}}})
    with pytest.raises(ConfigError, match="expected 2 numbers"):
        prepare_caches(wrong, tmp_path)


@pytest.mark.slow
def test_harsh_light_changes_the_picture_and_not_the_scene() -> None:
    settings = {"frames": 1, "height": 96, "width": 224, "seed": 3}
    soft, harsh = (ClipRenderer(RenderedConfig(**settings, harsh_light=share), "street", 0, 0)(4) for share in (0, 1))
    np.testing.assert_array_equal(soft.depth, harsh.depth)
    assert np.abs(soft.images.astype(float) - harsh.images).mean() > 5


@pytest.mark.parametrize("kind", ["street", "lane"])
def test_a_cars_camera_keeps_its_height_and_looks_along_the_road(kind: str) -> None:
    scene = SCENES[kind].make(3)
    for seed in range(20):
        movement = ride(scene, np.random.default_rng(seed), 1.65)
        ground = scene.ground_height(*movement.position[:2])[0]
        assert movement.position[2] - ground == pytest.approx(1.65, rel=0.05)
        slope = math.atan2(movement.velocity[2], np.hypot(*movement.velocity[:2]))
        assert abs(movement.pitch - slope) < 0.04 and abs(movement.roll) < 0.04
    free = [drive(scene, np.random.default_rng(seed)).pitch for seed in range(20)]
    assert np.std(free) > 0.02  # what the height takes away


@pytest.mark.slow
def test_clips_of_a_cars_camera_see_the_road_where_its_height_says() -> None:
    settings = RenderedConfig(frames=1, height=96, width=224, seed=3, camera_height_m=1.65)
    heights = []
    for index in range(0, 40, 8):
        clip = ClipRenderer(settings, "street", 0, 0)(index)
        fx, fy, cx, cy = clip.camera
        found, believed = ground_heights(
            torch.from_numpy(clip.depth[0].astype(np.float32))[None, None], torch.tensor([[fx, fy, cx, cy]]).float()
        )
        if bool(believed):
            heights.append(float(found))
    assert len(heights) >= 3
    assert np.median(heights) == pytest.approx(1.65, rel=0.06)
