"""Other weights take over while images flow: pose, scale and depth go on as if nothing had happened."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from featdepth_ros import Estimator, load_model
from featdepth_ros.errors import FeatDepthError
from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.inference.backends import choice
from featdepth_ros.inference.backends.cache import Cache
from featdepth_ros.inference.backends.comparison import ENOUGH, EVERY, SeenPictures
from featdepth_ros.inference.config import EstimatorConfig
from featdepth_ros.inference.networks import Networks
from featdepth_ros.inference.rig.rig import Rig
from featdepth_ros.inference.rig.shot import Shot
from featdepth_ros.inference.scale import ScaleEstimator
from featdepth_ros.inference.types import Estimate, MotionState
from featdepth_ros.models.base import FeatDepthModel
from featdepth_ros.models.build import build_model
from featdepth_ros.models.info import ModelInfo
from featdepth_ros.recordings.frame import Frame
from featdepth_ros.simulation import Simulation, SimulationConfig, default_camera

CAMERA = CameraModel(320, 96, 185.0, 185.0, 159.5, 47.5)
FRAMES, SWAP_AT = 26, 14


def farther(factor: float) -> FeatDepthModel:
    """The weights that ship, all depths of which are larger by a factor."""
    model = load_model("compact-nc")
    model.info = model.info.with_(
        min_depth=model.info.min_depth * factor, max_depth=model.info.max_depth * factor, name="farther"
    )
    return model


@pytest.fixture(scope="module")
def drive() -> list[Frame]:
    pytest.importorskip("numba")
    pytest.importorskip("scipy")
    return list(Simulation(SimulationConfig(scene="room", seed=7001, frames=FRAMES, camera=default_camera(416, 128))))


def path_and_depth(drive: list[Frame], swapped: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions of the camera (N, 3), median published depths and scale factors (N,)."""
    torch.set_num_threads(1)
    estimator = Estimator(load_model("compact-nc"), EstimatorConfig(backend="torch"), device="cpu")
    pose, places, depths, factors = np.eye(4), [], [], []
    for index, frame in enumerate(drive):
        if swapped and index == SWAP_AT:
            estimator.swap_model(farther(1.3))
        estimate = estimator.step(frame.image, frame.camera, frame.stamp_ns)
        assert index == 0 or estimate.motion.state is MotionState.TRACKED
        pose = pose @ estimate.motion.T_previous_current
        places.append(pose[:3, 3])
        depths.append(float(np.median(estimate.depth)))
        factors.append(estimate.scale.factor)
    return np.array(places), np.array(depths), np.array(factors)


@pytest.mark.slow
def test_weights_of_another_scale_change_neither_path_nor_depth(drive: list[Frame]) -> None:
    places, depths, factors = path_and_depth(drive, swapped=False)
    swapped_places, swapped_depths, swapped_factors = path_and_depth(drive, swapped=True)
    np.testing.assert_array_equal(swapped_places[:SWAP_AT], places[:SWAP_AT])
    np.testing.assert_allclose(swapped_factors[SWAP_AT:], factors[SWAP_AT:] / 1.3, rtol=1e-4)
    np.testing.assert_allclose(swapped_depths, depths, rtol=0.02)
    steps, swapped_steps = (np.linalg.norm(np.diff(p, axis=0), axis=1) for p in (places, swapped_places))
    assert np.median(steps) > 0.01, "the camera moves"
    np.testing.assert_allclose(swapped_steps, steps, rtol=0.02)


@pytest.mark.parametrize("scale", ["auto", "factor", "relative", "camera_height"])
def test_every_source_of_scale_holds_what_it_was(scale: str) -> None:
    facts = {"architecture": "compact", "scale_kind": "metric", "focal": (0.6, 1.9), "metric_height_m": 1.0}
    old = ModelInfo().with_(**facts, scale_factor=2.0)
    new = old.with_(scale_factor=3.0, focal=(0.7, 1.7))
    config = EstimatorConfig(scale=scale, scale_factor=5.0, camera_height_m=2.0)  # type: ignore[arg-type]
    estimator = ScaleEstimator(old, config)
    if scale == "camera_height":
        estimator._log_heights.extend([0.4, 0.5, 0.6, 0.5, 0.5])
    before = estimator.state(CAMERA)
    estimator.take_weights(new, math.log(1.3), CAMERA)
    after = estimator.state(CAMERA)
    assert after.factor / 1.3 == pytest.approx(before.factor, rel=1e-9), "depth was 1.3 of the new one, and is now too"
    assert (after.kind, after.source) == (before.kind, before.source)
    estimator.take_weights(old, -math.log(1.3), CAMERA)
    assert estimator.state(CAMERA).factor == pytest.approx(before.factor, rel=1e-9)


def test_without_anything_published_other_weights_bring_their_own_scale() -> None:
    info = ModelInfo().with_(scale_kind="metric", scale_factor=2.0)
    estimator = ScaleEstimator(info, EstimatorConfig())
    estimator.take_weights(info.with_(scale_factor=3.0), None, CAMERA)
    assert estimator.state(CAMERA).factor == 3.0


def test_weights_that_do_not_fit_are_refused_in_words() -> None:
    estimator = Estimator(load_model("compact-nc"), EstimatorConfig(backend="torch"), device="cpu")
    other = farther(1.0)
    for changes, words in (
        ({"input_size": (96, 320)}, r"\(height, width\) \(96, 320\)"),
        ({"scale_kind": "relative"}, "scale relative"),
        ({"architecture": "mono_fm_r18"}, "architecture mono_fm_r18"),
    ):
        other.info = estimator.info.with_(**changes)
        with pytest.raises(FeatDepthError, match=words):
            estimator.swap_model(other)
    assert estimator.info.name == "compact-nc"


def test_all_cameras_of_a_rig_follow_each_in_its_scale() -> None:
    torch.manual_seed(3)
    info = ModelInfo(architecture="compact", scale_kind="metric", input_size=(64, 128))
    config = EstimatorConfig(precision="fp32", motion="network", backend="torch", max_depth=1e4, min_depth=1e-3)
    model, other = build_model("compact", info).eval(), build_model("compact", info).eval()
    other.load_state_dict(model.state_dict())
    other.info = info.with_(min_depth=info.min_depth * 1.3, max_depth=info.max_depth * 1.3)
    rig, still = (Rig(model, {"a": config, "b": config}, "a", ["b"], device="cpu") for _ in range(2))
    pictures = np.random.default_rng(0).integers(0, 256, (2, 96, 320, 3), dtype=np.uint8)

    def steps(which: Rig, stamp: int) -> Iterator[Estimate]:
        shots = [Shot(n, np.roll(p, stamp, 1), CAMERA, stamp * 10**8) for n, p in zip("ab", pictures, strict=True)]
        for _, answer in which.steps(shots):
            assert isinstance(answer, Estimate), answer
            yield answer

    for stamp in range(EVERY * ENOUGH):
        list(steps(rig, stamp)), list(steps(still, stamp))
    rig.swap(rig.prepare_swap(other))
    for got, expected in zip(steps(rig, 50), steps(still, 50), strict=True):
        np.testing.assert_allclose(got.depth, expected.depth, rtol=1e-3)
        assert got.scale.factor == pytest.approx(expected.scale.factor / 1.3, rel=1e-4)
    assert {camera.info.max_depth for camera in rig.cameras.values()} == {info.max_depth * 1.3}


def test_the_back_end_that_computes_is_built_for_the_new_weights_before_they_take_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openvino")
    size, other_size, cpu = (64, 96), (96, 96), torch.device("cpu")
    built: list[tuple[tuple[int, int], list[str], bool]] = []

    def build(_model: object, _checksum: str, size: tuple[int, int], suffixes: list[str], *rest: object) -> None:
        built.append((size, suffixes, bool(rest[1])))
        raise FeatDepthError("not today")

    monkeypatch.setattr(choice, "build", build)
    networks = Networks(load_model("compact-nc"), cpu, "fp32", "auto", Cache(tmp_path))
    networks._choice._settled[size] = SimpleNamespace(name="openvino")
    networks._choice._settled[other_size] = networks._choice._serving
    successor = networks.successor(farther(1.3))
    assert built == [(size, [".xml"], True)], "beside those who need the processor, and for the size in use alone"
    networks.become(successor)
    assert networks.info.name == "farther" and "not today" in networks.note
    assert networks._choice.for_image(torch.zeros((1, 3, *size))).name == "torch", "PyTorch goes on where it fails"


def test_a_swap_waits_for_pictures_and_refuses_depth_that_is_not_finite() -> None:
    torch.manual_seed(3)
    info = ModelInfo(architecture="compact", scale_kind="metric", input_size=(64, 128))
    config = EstimatorConfig(precision="fp32", motion="network", backend="torch", max_depth=1e4, min_depth=1e-3)
    model, broken = build_model("compact", info).eval(), build_model("compact", info).eval()
    rig = Rig(model, {"": config}, "", device="cpu")
    with torch.no_grad():
        for parameter in broken.parameters():
            parameter.fill_(float("nan"))
    picture = np.random.default_rng(0).integers(0, 256, (96, 320, 3), dtype=np.uint8)
    waits: list[int] = []

    def wait() -> None:
        waits.append(len(waits))
        list(rig.steps([Shot("", np.roll(picture, len(waits), 1), CAMERA, len(waits) * 10**8)]))

    with pytest.raises(FeatDepthError, match="not finite"):
        rig.prepare_swap(broken, wait)
    assert len(waits) == EVERY * (ENOUGH - 1) + 1


def test_pictures_without_published_depth_do_not_count() -> None:
    seen = SeenPictures()
    for _ in range(EVERY * 4):
        seen.add(torch.zeros(1, 3, 8, 8), torch.full((1, 1, 4, 4), 200.0), 1.0, (0.1, 80.0))
    assert len(seen) == 0 and seen.log_ratio(lambda image: image[:, :1]) is None
