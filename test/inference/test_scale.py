"""Scale: its sources, the ground plane, and the compensation of another focal length."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from featdepth_ros.errors import CheckpointError
from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.geometry.ground import ground_height
from featdepth_ros.inference.config import EstimatorConfig
from featdepth_ros.inference.scale import ScaleEstimator
from featdepth_ros.models.checkpoints import load_model
from featdepth_ros.models.info import ModelInfo
from featdepth_ros.models.presets import with_known_facts

CAMERA = CameraModel(320, 96, 185.6, 184.3, 159.5, 47.5)


def street(height: float, pitch_rad: float = 0.0, noise: float = 0.0) -> NDArray[np.float32]:
    """Depth of a flat ground under a camera ``height`` above it, with a wall 40 units ahead."""
    v, u = np.mgrid[0:96, 0:320].astype(np.float64)
    rays = np.stack([(u - CAMERA.cx) / CAMERA.fx, (v - CAMERA.cy) / CAMERA.fy, np.ones_like(u)])
    down = np.array([0.0, math.cos(pitch_rad), math.sin(pitch_rad)])
    slope = np.tensordot(down, rays, 1)
    depth = np.where(slope > 1e-3, height / np.maximum(slope, 1e-3), 40.0).clip(max=40.0)
    random = np.random.default_rng(0)
    return (depth * (1 + noise * random.standard_normal(depth.shape))).astype(np.float32)


@pytest.mark.parametrize("pitch_deg", [-4.0, 0.0, 6.0])
def test_ground_height_is_found(pitch_deg: float) -> None:
    measured = ground_height(street(1.65, math.radians(pitch_deg), noise=0.02), CAMERA)
    assert measured == pytest.approx(1.65, rel=0.03)


def test_a_wall_is_not_ground() -> None:
    assert ground_height(np.full((96, 320), 5.0, dtype=np.float32), CAMERA) is None


def test_camera_height_becomes_the_scale_after_a_few_frames() -> None:
    config = EstimatorConfig(scale="camera_height", camera_height_m=1.2)
    scale = ScaleEstimator(ModelInfo(), config)
    assert scale.state(CAMERA).kind == "relative"
    for _ in range(10):
        scale.observe(street(0.3, noise=0.02), CAMERA)
    state = scale.state(CAMERA)
    assert (state.kind, state.source) == ("metric", "camera_height")
    assert state.factor == pytest.approx(4.0, rel=0.03)
    assert 0 < state.variance < 0.01


def test_published_stereo_weights_are_metric_by_their_factor() -> None:
    info = ModelInfo(scale_kind="metric", scale_factor=36.0, focal=(0.58, 1.92))
    kitti = CameraModel(640, 192, 0.58 * 640, 1.92 * 192, 319.5, 95.5)
    state = ScaleEstimator(info, EstimatorConfig()).state(kitti)
    assert (state.kind, state.source) == ("metric_unverified", "factor")
    assert state.factor == pytest.approx(36.0)


def test_relative_weights_stay_relative_until_told_a_factor() -> None:
    assert ScaleEstimator(ModelInfo(), EstimatorConfig()).state(CAMERA).kind == "relative"
    told = ScaleEstimator(ModelInfo(), EstimatorConfig(scale="factor", scale_factor=2.5)).state(CAMERA)
    assert (told.kind, told.factor) == ("metric", 2.5)


TRAINED = ModelInfo(scale_kind="metric", focal=(0.58, 1.92), metric_height_m=1.65, scale_sigma=0.2)


@pytest.mark.parametrize(
    ("height", "focal", "sigma"),
    [(1.6, 1.0, 0.2), (0.9, 1.0, 0.5), (None, 1.0, 0.5), (1.65 * 3.0, 3.0, 0.5)],
    ids=["as trained", "another height", "no ground", "another lens"],
)
def test_metres_are_surer_where_the_ground_is_seen_as_in_training(
    height: float | None, focal: float, sigma: float
) -> None:
    """The network's metres are never verified by the network itself; what they are worth depends on the picture."""
    camera = CameraModel(320, 96, focal * CAMERA.fx, focal * CAMERA.fy, CAMERA.cx, CAMERA.cy)
    info = TRAINED.with_(input_size=(96, 320))
    scale = ScaleEstimator(info, EstimatorConfig())
    before = scale.state(camera)
    seen = np.full((96, 320), 5.0, dtype=np.float32) if height is None else street(height, noise=0.02)
    for _ in range(60):
        state = scale.update(torch.from_numpy(seen)[None, None], camera)
    assert before.kind == state.kind == "metric_unverified" and state.in_metres
    assert before.variance == pytest.approx(0.5**2)
    assert math.sqrt(state.variance) == pytest.approx(sigma)
    assert math.sqrt(scale.state(None).variance) > 0.5


def test_the_weights_that_ship_say_where_their_metres_hold() -> None:
    for name in ("compact-nc", "compact-open"):
        info = load_model(name).info
        assert info.metric_height_m == 1.65 and "streets" in info.metric_place and 0.1 < info.scale_sigma < 0.5
    told = ModelInfo(name="compact-nc", metric_height_m=0.4, scale_sigma=0.1)
    assert with_known_facts(told) is told


@pytest.mark.parametrize("fields", ['{"metric_height_m": -1}', '{"scale_sigma": 0}', '{"metric_height_m": "high"}'])
def test_facts_about_metres_are_checked(fields: str) -> None:
    with pytest.raises(CheckpointError, match="cannot be read"):
        ModelInfo.from_json(fields)


def test_focal_ratio_compares_pixels_of_the_networks_input() -> None:
    info = ModelInfo(focal=(0.58, 1.92), input_size=(192, 640))
    estimator = ScaleEstimator(info, EstimatorConfig())
    same = CameraModel(640, 192, 0.58 * 640, 1.92 * 192, 319.5, 95.5)
    assert estimator.ratio(same) == pytest.approx(1.0)
    # Half the size of input: everything looks half as large, as through half the focal length.
    assert estimator.ratio(same.resized(320, 96)) == pytest.approx(0.5)
    tele = CameraModel(640, 192, 2 * 0.58 * 640, 2 * 1.92 * 192, 319.5, 95.5)
    assert estimator.ratio(tele) == pytest.approx(2.0)
    assert estimator.ratio(None) == 1.0
    assert ScaleEstimator(info, EstimatorConfig(focal_compensation=False)).ratio(tele) == 1.0
    assert ScaleEstimator(ModelInfo(), EstimatorConfig()).ratio(tele) == 1.0


def test_focal_ratio_is_the_same_for_numbers_and_tensors() -> None:
    info = ModelInfo(focal=(0.58, 1.92))
    fx, fy = torch.tensor([371.2, 742.4]), torch.tensor([368.64, 737.28])
    np.testing.assert_allclose(info.focal_ratio(fx, fy).numpy(), [1.0, 2.0], rtol=1e-6)
    assert info.focal_ratio(742.4, 737.28) == pytest.approx(2.0)
    with pytest.raises(CheckpointError, match="unknown"):
        ModelInfo().focal_ratio(1.0, 1.0)


def test_an_unknown_camera_makes_metric_weights_less_sure() -> None:
    info = ModelInfo(scale_kind="metric", focal=(0.58, 1.92))
    estimator = ScaleEstimator(info, EstimatorConfig())
    assert estimator.state(None).variance > estimator.state(CAMERA).variance > 0
