"""Exported files: every format gives what PyTorch gives, says what it is, and is refused when it is off."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from featdepth_ros.cli.support.check_frames import rendered_frames
from featdepth_ros.errors import ConfigError, FeatDepthError
from featdepth_ros.export import onnx_files, openvino_files
from featdepth_ros.export.export import ExportRequest, ExportResult, export_model
from featdepth_ros.export.facts import GraphFacts
from featdepth_ros.export.graph import example_inputs, graph_of
from featdepth_ros.export.parity import ABS_REL, CheckFrames, compare, run_over, torch_runner
from featdepth_ros.geometry.se3 import refocused_motion
from featdepth_ros.models.base import FeatDepthModel
from featdepth_ros.models.build import build_model
from featdepth_ros.models.checkpoints import load_model

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
pytestmark = pytest.mark.slow

SIZE = (64, 96)
PAGE = Path(__file__).resolve().parents[2] / "docs" / "export.md"


@pytest.fixture(scope="module")
def model() -> FeatDepthModel:
    return load_model("compact")


@pytest.fixture(scope="module")
def frames() -> CheckFrames:
    """Four pictures of smooth noise that move by two pixels each, with a truth of 5 m."""
    rng = np.random.default_rng(0)
    coarse = torch.from_numpy(rng.random((1, 3, 12, 16), dtype=np.float32))
    wide = torch.nn.functional.interpolate(coarse, (SIZE[0], SIZE[1] + 8), mode="bicubic").clamp(0, 1)[0].numpy()
    images = [np.ascontiguousarray(wide[:, :, 2 * i : 2 * i + SIZE[1]]) for i in range(4)]
    truth = [np.full((SIZE[0] // 2, SIZE[1] // 2), 5.0, np.float32)] * 4
    return CheckFrames(images, np.array([80.0, 80.0, 47.5, 31.5], np.float32), truth)


@pytest.fixture(scope="module")
def exported(model: FeatDepthModel, frames: CheckFrames, tmp_path_factory: pytest.TempPathFactory) -> ExportResult:
    """The compact model as ONNX, for one image at once."""
    output = tmp_path_factory.mktemp("export") / "compact.onnx"
    return export_model(model, ExportRequest("onnx", output, SIZE, weights_sha256="abc"), frames)


def outputs_of(runner, model: FeatDepthModel, frames: CheckFrames) -> list[dict[str, np.ndarray]]:
    return [outputs for _, outputs in run_over(runner, graph_of(model), frames)]


def test_the_graph_is_the_model(model: FeatDepthModel, frames: CheckFrames) -> None:
    found = outputs_of(torch_runner(graph_of(model)), model, frames)
    earlier, later = (torch.from_numpy(image)[None] for image in frames.images[:2])
    with torch.inference_mode():
        disparity = model.depth(later)[0]
        maps = [model.encode(x) for x in (earlier, later)]
        motion = model.pose_from_features(*maps, camera=torch.from_numpy(frames.intrinsics)[None])
    np.testing.assert_allclose(found[1]["disparity"], disparity.numpy(), rtol=2e-5)
    np.testing.assert_allclose(found[1]["axisangle"], motion[0].numpy(), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found[1]["translation"], motion[1].numpy(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("nets", [("depth", "pose"), ("depth",)])
def test_the_graph_of_a_published_architecture(nets: tuple[str, ...], frames: CheckFrames) -> None:
    model = build_model("baseline_r18").eval()
    model.nets = nets
    graph = graph_of(model)
    assert graph.has_pose == ("pose" in nets)
    found = [outputs for _, outputs in run_over(torch_runner(graph), graph, frames)]
    earlier, later = (torch.from_numpy(image)[None] for image in frames.images[:2])
    with torch.inference_mode():
        np.testing.assert_allclose(found[1]["disparity"], model.depth(later)[0].numpy(), rtol=1e-4)
        if "pose" in nets:
            resized = [torch.nn.functional.interpolate(x, (192, 640), mode="bilinear") for x in (earlier, later)]
            axisangle, translation = model.pose(*resized)
            np.testing.assert_allclose(found[1]["axisangle"], axisangle.numpy(), atol=1e-6)
            np.testing.assert_allclose(found[1]["translation"], translation.numpy(), atol=1e-6)
            assert refocused_motion(axisangle, translation, torch.ones(1))[0].shape == (1, 3)


def test_the_onnx_file_says_what_it_is(exported: ExportResult, model: FeatDepthModel) -> None:
    onnx_model, facts = onnx_files.read_onnx(exported.files[0])
    assert facts == exported.facts
    assert facts is not None and facts.info == model.info and facts.weights_sha256 == "abc"
    assert [entry.version for entry in onnx_model.opset_import if not entry.domain] == [onnx_files.OPSET]
    assert exported.parity.errors["disparity"] < 1e-5 and exported.parity.errors["translation"] < 1e-4


def test_the_parts_of_a_cut_graph_give_what_the_whole_gives(
    exported: ExportResult, model: FeatDepthModel, frames: CheckFrames, tmp_path: Path
) -> None:
    expected = outputs_of(torch_runner(graph_of(model)), model, frames)
    onnx_model, facts = onnx_files.read_onnx(exported.files[0])
    assert facts is not None
    parts = [onnx_files.onnx_runner(part, 1) for part in onnx_files.cut_onnx(onnx_model, facts)]
    sides = {"onnx": parts}
    if pytest.importorskip("openvino"):
        openvino_files.write_openvino(exported.files[0], facts, tmp_path / "compact.xml", half=False)
        assert openvino_files.read_openvino(tmp_path / "compact.xml")[1] == facts
        cut = openvino_files.cut_openvino(tmp_path / "compact.xml", facts)
        sides["openvino"] = [openvino_files.compile_openvino(part, threads=1) for part in cut]
    for name, (frame, motion) in sides.items():

        def run(inputs, frame=frame, motion=motion):
            seen = frame(inputs)
            return seen | motion({**inputs, **seen})

        parity = compare(expected, outputs_of(run, model, frames), "fp32", model.info, frames)
        assert parity.passes, (name, parity)


def test_int8_is_calibrated_and_held_to_the_truth(
    exported: ExportResult, model: FeatDepthModel, frames: CheckFrames, tmp_path: Path
) -> None:
    graph = graph_of(model)
    seen = list(run_over(torch_runner(graph), graph, frames))
    onnx_files.quantise_onnx(exported.files[0], tmp_path / "int8.onnx", [inputs for inputs, _ in seen][1:])
    assert (tmp_path / "int8.onnx").stat().st_size < 0.5 * exported.files[0].stat().st_size
    assert onnx_files.read_onnx(tmp_path / "int8.onnx")[1] == exported.facts
    given = outputs_of(onnx_files.onnx_runner(tmp_path / "int8.onnx", 1), model, frames)
    parity = compare([outputs for _, outputs in seen], given, "int8", model.info, frames)
    assert parity.abs_rel is not None
    assert parity.errors[ABS_REL] == pytest.approx(parity.abs_rel[1] / parity.abs_rel[0] - 1.0)
    assert 1e-4 < parity.errors["disparity"] < 0.5  # it is another arithmetic, and the same network


@pytest.mark.parametrize("name", ["compact-nc", "compact-open"])
def test_int8_of_the_weights_that_ship_is_accurate_enough(name: str, tmp_path: Path) -> None:
    size = (128, 416)
    request = ExportRequest("onnx", tmp_path / "int8.onnx", size, precision="int8")
    result = export_model(load_model(name), request, rendered_frames(size, 8))
    assert result.parity.errors["disparity"] < 0.03  # with the first blocks in int8 as well it is 0.05 and more


def test_a_torch_program_takes_any_batch(model: FeatDepthModel, frames: CheckFrames, tmp_path: Path) -> None:
    request = ExportRequest("torch-export", tmp_path / "compact.pt2", SIZE, batch=0)
    result = export_model(model, request, frames)
    extra = dict.fromkeys(result.facts.entries(), "")
    program = torch.export.load(str(result.files[0]), extra_files=extra)
    assert GraphFacts.from_entries(extra) == result.facts
    for batch in (1, 4):
        outputs = program.module()(*example_inputs(graph_of(model), batch, SIZE).values())
        assert len(outputs[0]) == len(outputs[-1]) == batch


def test_a_file_that_is_off_is_refused_and_the_worst_output_named(
    model: FeatDepthModel, frames: CheckFrames, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_other(graph, facts, path):
        changed = graph_of(model)
        changed.model.pose_head.shift8.weight.data.mul_(3.0)
        program = torch.export.export(changed, tuple(example_inputs(graph, 1, SIZE).values()))
        torch.export.save(program, str(path))

    monkeypatch.setattr("featdepth_ros.export.torch_programs.write_program", write_other)
    with pytest.raises(FeatDepthError, match=r"output '(axisangle|translation)' is .* allowed is 0.001"):
        export_model(model, ExportRequest("torch-export", tmp_path / "off.pt2", SIZE), frames)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (("onnx", Path("a.pt2"), SIZE), "ends in .onnx"),
        (("onnx", Path("a.onnx"), (50, 96)), "multiples of 32"),
        (("torch-export", Path("a.pt2"), SIZE, 1, "int8"), "int8 is written as onnx or openvino"),
    ],
)
def test_requests_that_cannot_be_are_refused(values, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        ExportRequest(*values)


def test_the_consumer_of_the_page_needs_nothing_else(
    exported: ExportResult, model: FeatDepthModel, frames: CheckFrames, tmp_path: Path
) -> None:
    code = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[-1]
    assert len(code.strip().splitlines()) <= 21
    (tmp_path / "consumer.py").write_text(
        f"import sys\nsys.modules['featdepth_ros'] = sys.modules['torch'] = None\n{code}"
    )
    names = []
    for index, image in enumerate(frames.images[:2]):
        names.append(str(tmp_path / f"{index}.npy"))
        np.save(names[-1], np.round(image.transpose(1, 2, 0) * 255).astype(np.uint8))
    command = [sys.executable, str(tmp_path / "consumer.py"), str(exported.files[0]), *names]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    numbers = [float(word) for word in done.stdout.splitlines()[-1].split()[1:]]
    camera = np.array([0.9 * SIZE[1], 0.9 * SIZE[1], (SIZE[1] - 1) / 2, (SIZE[0] - 1) / 2], np.float32)
    rounded = [np.round(image * 255).astype(np.float32) / 255 for image in frames.images[:2]]
    expected = outputs_of(torch_runner(graph_of(model)), model, CheckFrames(rounded, camera))[-1]
    info = json.loads(exported.facts.info.to_json())
    low, high = 1 / info["max_depth"], 1 / info["min_depth"]
    assert numbers[0] == pytest.approx(np.median(1 / (low + (high - low) * expected["disparity"])), rel=1e-4)
    np.testing.assert_allclose(
        numbers[1:], np.r_[expected["axisangle"][0], expected["translation"][0]], rtol=1e-3, atol=1e-5
    )


def test_a_signal_ends_no_process_after_openvino_has_left() -> None:
    """The main thread loads the plugin, another drops what was compiled. The end of a child is still told."""
    pytest.importorskip("openvino")
    code = """
import gc, signal, subprocess, threading
import openvino
from openvino import opset13 as ops
from featdepth_ros.export.openvino_files import compile_openvino

told = []
signal.signal(signal.SIGCHLD, lambda *_: told.append(1))
x = ops.parameter([1, 4], name="x")
model = openvino.Model([ops.relu(x)], [x], "m")
kept = [compile_openvino(model, "fp32", 1, [])]
del model, x

def drop():
    kept.clear()
    gc.collect()

thread = threading.Thread(target=drop)
thread.start()
thread.join()
subprocess.run(["true"], check=True)
print("alive", bool(told))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.split() == ["alive", "True"], (done.returncode, done.stderr)
