"""Networks beside the tracks, and what PyTorch is asked for: the same results as one after the other."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from featdepth_ros import Estimator
from featdepth_ros.errors import ImageError
from featdepth_ros.geometry.transfers import HostCopy, to_device
from featdepth_ros.inference.backends.cuda_graphs import Graphed
from featdepth_ros.inference.config import EstimatorConfig
from featdepth_ros.inference.frame import RectifiedFrame, Rectifier
from featdepth_ros.inference.networks import Networks
from featdepth_ros.models.base import FeatDepthModel
from featdepth_ros.models.checkpoints import load_model
from featdepth_ros.simulation import Simulation, SimulationConfig, default_camera

SIZE = (64, 192)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def model() -> FeatDepthModel:
    return load_model("compact")


@pytest.fixture(scope="module")
def drive() -> list:
    return list(Simulation(SimulationConfig(frames=8, seed=8, camera=default_camera(320, 96))))


@pytest.mark.parametrize("options", [{}, {"motion": "network", "depth": "network"}, {"scale": "camera_height"}])
def test_networks_beside_the_tracks_change_nothing(model: FeatDepthModel, drive: list, options: dict) -> None:
    config = EstimatorConfig(input_size=SIZE, precision="fp32", backend="torch", camera_height_m=1.65, **options)
    beside, after = (Estimator(model, config, device="cpu") for _ in range(2))
    for frame in drive:
        found = beside.step(frame.image, frame.camera, frame.stamp_ns)
        begun, stages = after.begin(frame.image, frame.camera, frame.stamp_ns)
        expected = after.complete(after._networks.encode(begun), stages)
        np.testing.assert_array_equal(found.depth, expected.depth)
        np.testing.assert_array_equal(found.valid, expected.valid)
        np.testing.assert_array_equal(found.motion.T_previous_current, expected.motion.T_previous_current)
        assert {"rectify", "sight", "motion", "depth", "fusion"} <= found.stage_ms.keys()
    assert found.motion.state.name == "TRACKED"


def test_what_the_networks_raise_reaches_whoever_asks(model: FeatDepthModel) -> None:
    networks = Networks(model, CPU, "fp32")

    def frame(size: tuple[int, int]) -> RectifiedFrame:
        return Rectifier(lambda _w, _h: size, CPU).rectify(np.zeros((70, 90, 3), np.uint8), None, 0)

    (wrong,), (right,) = (networks.encode_ahead([frame(size)]) for size in ((60, 90), (64, 96)))
    with pytest.raises(ImageError, match="multiples of 32"):
        _ = wrong.network_depth
    assert right.network_depth.shape == (1, 1, 32, 48) and right.networks_ms > 0


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_rows_of_a_batch_are_what_each_image_gives(model: FeatDepthModel, drive: list, precision: str) -> None:
    networks = Networks(model, CPU, precision)
    rectifier = Rectifier(lambda _w, _h: SIZE, CPU)
    frames = [rectifier.rectify(f.image, f.camera, f.stamp_ns) for f in drive[:2]]
    together, single = networks.encode_all(frames), [networks.encode(frame) for frame in frames]
    tolerance = 1e-4 if precision == "fp32" else 2e-2
    for both, one in zip(together, single, strict=True):
        assert both.network_depth.dtype == torch.float32 and both.network_depth.shape == (1, 1, 32, 96)
        torch.testing.assert_close(both.network_depth, one.network_depth, rtol=tolerance, atol=0)
    for pair in (together, single):
        camera = frames[1].camera
        axisangle, translation = networks.motion(pair[0].observation, pair[1].observation, camera, 1.0)
        assert axisangle.shape == translation.shape == (3,) and 0.1 < float(translation.norm()) < 10.0


def test_away_from_a_gpu_nothing_is_copied_or_recorded() -> None:
    calls = []

    def doubled(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        calls.append(x)
        return (2 * x,)

    graphed, x = Graphed(doubled), torch.ones(2)
    for _ in range(5):
        torch.testing.assert_close(graphed(x)[0], torch.full((2,), 2.0))
    assert len(calls) == 5
    assert HostCopy(x).get() is x and to_device(x, CPU) is x


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_gives_what_the_processor_gives(model: FeatDepthModel, drive: list) -> None:
    estimators = [
        Estimator(model, EstimatorConfig(input_size=SIZE, precision="fp32", motion="network"), device=name)
        for name in ("cpu", "cuda")
    ]
    for frame in drive:  # from the fourth on as CUDA graphs
        expected, found = (e.step(frame.image, frame.camera, frame.stamp_ns) for e in estimators)
        np.testing.assert_allclose(found.depth, expected.depth, rtol=1e-3)
        moved = [e.motion.T_previous_current for e in (expected, found)]
        np.testing.assert_allclose(moved[1], moved[0], atol=1e-3)
