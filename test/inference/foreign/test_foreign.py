"""Networks of others: our own one, dressed in every convention, gives our own results back."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from dressing import dress

from featdepth_ros import Estimator
from featdepth_ros.cli.main import main
from featdepth_ros.cli.support.depth_predictor import DepthPredictor
from featdepth_ros.errors import CheckpointError, ConfigError
from featdepth_ros.export.export import ExportRequest, facts_of
from featdepth_ros.export.graph import DepthGraph, graph_of
from featdepth_ros.inference.backends.loading import load_networks
from featdepth_ros.inference.config import EstimatorConfig
from featdepth_ros.inference.foreign.convention import NAMED, Convention
from featdepth_ros.inference.foreign.network import ForeignFile
from featdepth_ros.models.base import FeatDepthModel
from featdepth_ros.models.checkpoints import load_model
from featdepth_ros.simulation import Simulation, SimulationConfig, default_camera

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
pytestmark = pytest.mark.slow

SIZE = (128, 416)
#: Frames of the rendered drive.
FRAMES = 20


@pytest.fixture(scope="module")
def model() -> FeatDepthModel:
    return load_model("compact")


@pytest.fixture(scope="module")
def drive() -> list:
    return list(Simulation(SimulationConfig(frames=FRAMES, seed=8, camera=default_camera(620, 188))))


@pytest.fixture(scope="module")
def depth_graph(model: FeatDepthModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compact model's depth alone, as ONNX."""
    from featdepth_ros.export.onnx_files import write_onnx

    path = tmp_path_factory.mktemp("foreign") / "depth.onnx"
    graph = DepthGraph(graph_of(model).model, False)
    write_onnx(graph, facts_of(graph, ExportRequest("onnx", path, SIZE)), path)
    return path


def estimates(networks, frames, config: EstimatorConfig):
    estimator = Estimator(networks, config, device="cpu")
    return [estimator.step(f.image, f.camera, f.stamp_ns) for f in frames], estimator


def native(model: FeatDepthModel, frames, **options):
    return estimates(model, frames, EstimatorConfig(input_size=SIZE, precision="fp32", backend="torch", **options))


def abs_rel(estimate, frame, *, scaled: bool = False) -> float:
    truth = cv2.resize(frame.depth, estimate.depth.shape[::-1], interpolation=cv2.INTER_NEAREST)
    known = np.isfinite(truth) & (truth > 0.5) & (truth < 60)
    depth, real = estimate.depth[known], truth[known]
    if scaled:
        depth = depth * np.median(real) / np.median(depth)
    return float(np.mean(np.abs(depth - real) / real))


CONVENTIONS = {
    "metres": Convention("depth"),
    "imagenet": replace(NAMED["depth-anything-v2-metric"], short_side=None, multiple=1),
    "channels last, blue first": Convention("depth", layout="NHWC", colour="bgr", mean=(0.5,) * 3, std=(0.5,) * 3),
    "canonical": replace(NAMED["da3-metric"], long_side=None, multiple=1),
}


@pytest.mark.parametrize("name", CONVENTIONS)
def test_metres_come_back(name: str, depth_graph: Path, model: FeatDepthModel, drive: list, tmp_path: Path) -> None:
    convention = CONVENTIONS[name]
    # what the network of others means is metres for the camera at hand, unless it says so by a focal length
    path = dress(depth_graph, tmp_path / "other.onnx", convention, model.info, sky_rows=16)
    loaded = ForeignFile(path, convention)
    options = {"motion": "auto", "depth": "network", "estimate_motion": False}
    compensated = convention.kind == "canonical_depth"
    (expected,), _ = native(model, drive[:1], focal_compensation=compensated, **options)
    (found,), estimator = estimates(loaded, drive[:1], EstimatorConfig(**options))
    assert estimator.backend == "onnxruntime" and found.scale.kind == "metric_unverified"
    rows = slice(36, None) if convention.invalid_output else slice(None)
    np.testing.assert_allclose(found.depth[rows], expected.depth[rows], rtol=0.01)
    if convention.invalid_output:
        assert not found.valid[:30].any() and found.valid[40:].mean() > 0.5 and np.isfinite(found.depth).all()


def test_a_confidence_output_says_what_is_not_valid(
    depth_graph: Path, model: FeatDepthModel, drive: list, tmp_path: Path
) -> None:
    # the dressed network is sure of its upper 16 of 64 rows alone
    convention = Convention("depth", invalid_output="confidence", invalid_below=0.5)
    path = dress(depth_graph, tmp_path / "other.onnx", convention, model.info, sky_rows=16)
    options = {"motion": "auto", "depth": "network", "estimate_motion": False}
    (expected,), _ = native(model, drive[:1], focal_compensation=False, **options)
    (found,), _ = estimates(ForeignFile(path, convention), drive[:1], EstimatorConfig(**options))
    assert not found.valid[34:].any() and found.valid[:30].mean() > 0.2 and np.isfinite(found.depth).all()
    np.testing.assert_allclose(found.depth[:30], expected.depth[:30], rtol=0.01)


def test_relative_inverse_depth_is_solved_with_the_window(
    depth_graph: Path, model: FeatDepthModel, drive: list, tmp_path: Path
) -> None:
    convention = Convention("inverse_depth")
    path = dress(depth_graph, tmp_path / "other.onnx", convention, model.info, affine=(37.0, 1.5))
    expected, _ = native(model, drive, scale="relative")
    found, estimator = estimates(ForeignFile(path, convention), drive, EstimatorConfig())
    assert estimator.motion_source == "window" and estimator.depth_source == "fused"
    assert found[-1].scale.kind == "relative"
    late = range(10, FRAMES)
    native_error = np.mean([abs_rel(expected[i], drive[i], scaled=True) for i in late])
    other_error = np.mean([abs_rel(found[i], drive[i], scaled=True) for i in late])
    assert other_error < 1.1 * native_error, (other_error, native_error)
    # without the shift solved, the same network is far off
    wrong = [1.0 / np.maximum(37.0 / expected[i].depth + 1.5, 1e-3) for i in late]
    scaled = [abs_rel(replace(found[i], depth=w), drive[i], scaled=True) for i, w in zip(late, wrong, strict=True)]
    assert np.mean(scaled) > 1.5 * native_error


@pytest.mark.parametrize(("meant", "said"), [("inverse_depth", "depth"), ("depth", "inverse_depth")])
def test_a_wrong_convention_is_told_within_20_frames(
    meant: str, said: str, depth_graph: Path, model: FeatDepthModel, drive: list, tmp_path: Path
) -> None:
    path = dress(depth_graph, tmp_path / "other.onnx", Convention(meant), model.info, affine=(5.0, 0.5))
    for kind, told in ((said, True), (meant, False)):
        _, estimator = estimates(ForeignFile(path, Convention(kind)), drive, EstimatorConfig())
        assert any("its convention is wrong" in note for note in estimator.notes) == told, kind


def test_what_cannot_be_is_refused_in_words(
    depth_graph: Path, model: FeatDepthModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = dress(depth_graph, tmp_path / "other.onnx", Convention("depth"), model.info)
    with pytest.raises(ConfigError, match="is not beside it; name the format of the network"):
        load_networks(path)
    with pytest.raises(ConfigError, match="did you mean 'midas-small'"):
        load_networks(path, convention="midas_small")
    with pytest.raises(CheckpointError, match="has no output 'sky'"):
        load_networks(path, convention="da3-metric")
    with pytest.raises(ConfigError, match="without a pose network"):
        Estimator(ForeignFile(path, Convention("depth")), EstimatorConfig(motion="network"), device="cpu")
    relative = dress(depth_graph, tmp_path / "relative.onnx", Convention("inverse_depth"), model.info)
    for scale in ("factor", "camera_height"):
        with pytest.raises(ConfigError, match="cannot make it metric"):
            Estimator(ForeignFile(relative, Convention("inverse_depth")), EstimatorConfig(scale=scale), device="cpu")
    with pytest.raises(ConfigError, match="takes only images of 128x416"):
        ForeignFile(path, Convention("depth")).size_for(640, 480, (192, 640))
    with pytest.raises(ConfigError, match="leave out convention"):
        load_networks(depth_graph, convention="midas-small")
    with pytest.raises(ConfigError, match="backend 'openvino' cannot run"):
        Estimator(ForeignFile(path, Convention("depth")), EstimatorConfig(backend="openvino"), device="cpu")
    for verb in (["export", "--format", "onnx", "--output", str(tmp_path / "o.onnx")], ["weights", "info"]):
        words = [*verb, "--weights", str(path)] if verb[0] == "export" else [*verb, str(path)]
        assert main(words) == 1
        assert "is a network for another run time" in capsys.readouterr().err


@pytest.mark.parametrize("flip", [False, True])
def test_evaluation_takes_a_network_of_others(
    flip: bool, depth_graph: Path, model: FeatDepthModel, drive: list, tmp_path: Path
) -> None:
    path = dress(depth_graph, tmp_path / "other.onnx", Convention("depth", colour="bgr"), model.info)
    (tmp_path / "other.yaml").write_text("kind: depth\ncolour: bgr\n")
    ours, other = (DepthPredictor(str(name), None, "cpu", flip) for name in ("compact", path))
    np.testing.assert_allclose(other(drive[0].image), ours(drive[0].image), rtol=1e-3)
    assert other.metres_per_unit == 1.0
    dress(depth_graph, tmp_path / "relative.onnx", Convention("inverse_depth"), model.info)
    (tmp_path / "relative.yaml").write_text("kind: inverse_depth\n")
    assert DepthPredictor(str(tmp_path / "relative.onnx"), None, "cpu", flip).metres_per_unit is None


def test_infer_takes_a_network_of_others(depth_graph: Path, model: FeatDepthModel, tmp_path: Path) -> None:
    (tmp_path / "shots").mkdir()
    for i in range(2):
        image = torch.rand((96, 160, 3), generator=torch.Generator().manual_seed(i))
        cv2.imwrite(str(tmp_path / "shots" / f"{i}.png"), (image * 255).byte().numpy())
    path = dress(depth_graph, tmp_path / "other.onnx", Convention("depth"), model.info)
    (tmp_path / "other.yaml").write_text("kind: depth\n")
    words = ["infer", str(tmp_path / "shots"), "--weights", str(path), "--output", str(tmp_path / "out")]
    assert main([*words, "--json", str(tmp_path / "summary.json")]) == 0
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["backend"] == "onnxruntime" and summary["scale_kind"] == "metric_unverified"
    assert summary["network_size"] == list(SIZE) and summary["motion"] == "none"
