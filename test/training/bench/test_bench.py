"""The benchmarks measure what they say, on tiny networks and images; the original takes part where it is at hand."""

from __future__ import annotations

import json
import mmap
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from featdepth_ros.cli.main import main
from featdepth_ros.errors import ConfigError, FeatDepthError, RecordingError
from featdepth_training.bench.loader import bench_loader
from featdepth_training.bench.measure import machine_speed, operations, peak_mib, resident_mib
from featdepth_training.bench.problem import StepProblem, make_inputs
from featdepth_training.bench.process import running
from featdepth_training.bench.reference_dataset import reference_dataset
from featdepth_training.bench.sides import OwnStep, check_checkout, gradients
from featdepth_training.bench.step import bench_step

pytestmark = pytest.mark.slow

REFERENCE = os.environ.get("FEATDEPTH_REFERENCE", "")
TINY = StepProblem("mono_fm_r18", 64, 96, pose_size=(64, 96))


def test_a_step_is_measured(tmp_path: Path) -> None:
    arguments = ["step", "--size", "64x96", "--architecture", "mono_fm_r18", "--steps", "1"]
    assert main(["bench", *arguments, "--json", str(tmp_path / "step.json")]) == 0
    figures = json.loads((tmp_path / "step.json").read_text())
    assert (figures["height"], figures["width"], figures["steps"], figures["threads"]) == (64, 96, 1, 1)
    assert figures["reference"] is None and figures["comparison"] is None
    own = figures["own"]
    # three times (forward, and backward by input and by weights) what the networks alone do
    assert own["flops"] > 2e9
    assert own["bytes"] > 4 * sum(p.numel() for p in OwnStep(TINY).parameters)
    assert own["peak_mib"] > 100 and own["step_s"] > 0 and own["step_cpu_s"] > 0
    assert own["gflops"] == pytest.approx(own["flops"] / own["step_s"] / 1e9)
    assert 0 < own["share_of_floor"]
    assert own["losses"][0] == pytest.approx(own["loss"], rel=1e-5)
    assert all(figures["machine"][name] > 0 for name in ("matmul_gflops", "conv_gflops", "copy_gb_s"))


def test_steps_go_on_from_one_another_and_the_feature_net_stays() -> None:
    torch.manual_seed(0)
    side = OwnStep(TINY)
    before = {name: value.clone() for name, value in side.model.state_dict().items()}
    loss, found = gradients(side)
    assert side.step() == pytest.approx(loss, rel=1e-5) and side.step() != pytest.approx(loss, rel=1e-3)
    after = side.model.state_dict()
    changed = {name.split(".")[0] for name, value in before.items() if not torch.equal(value, after[name])}
    assert changed == {"DepthEncoder", "DepthDecoder", "PoseEncoder", "PoseDecoder"}
    assert {name.split(".")[0] for name in found} == changed


def test_two_problems_of_one_seed_are_one() -> None:
    first, second = make_inputs(TINY), make_inputs(TINY)
    assert all(torch.equal(first[key], second[key]) for key in first)
    colours = [value for key, value in first.items() if key[0] == "color"]
    assert all(0 <= float(c.min()) and float(c.max()) <= 1 for c in colours)
    assert all(not torch.equal(colours[0], other) for other in colours[1:])
    for a, b in zip(OwnStep(TINY).model.parameters(), OwnStep(TINY).model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_operations_of_a_known_product() -> None:
    a, b = torch.ones(8, 16), torch.ones(16, 4)
    flops, moved = operations(lambda: a @ b)
    assert (flops, moved) == (2 * 8 * 16 * 4, 4 * (8 * 16 + 16 * 4 + 8 * 4))


def test_memory_of_a_known_tensor() -> None:
    before = resident_mib()
    # Fresh pages for certain: an allocator may hand out what it kept of tensors freed before.
    held = torch.frombuffer(mmap.mmap(-1, 128 << 20), dtype=torch.float32).fill_(1.0)
    assert resident_mib() - before > 100 <= peak_mib() and held[0] == 1


def test_machine_speed_is_positive() -> None:
    assert all(value > 0 for value in machine_speed("cpu", 16).values())


@pytest.mark.parametrize("kind", [["step"], ["loader", "--cache", "nowhere"]])
def test_a_wrong_checkout_is_a_sentence(kind: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    drive = ["--drive", str(tmp_path)] if kind[0] == "loader" else []
    assert main(["bench", *kind, "--reference", str(tmp_path), *drive]) == 1
    error = capsys.readouterr().err
    assert "net.py" in error and str(tmp_path) in error and "expected a checkout" in error


def test_contradictions_are_refused(tmp_path: Path) -> None:
    for change, words in (
        ({"architecture": "compact"}, "expected mono_fm_r18"),
        ({"height": 70}, "multiples of 32"),
        ({"device": "cuda"}, "no CUDA GPU"),
    ):
        if change.get("device") == "cuda" and torch.cuda.is_available():
            continue
        with pytest.raises(ConfigError, match=words):
            StepProblem(**change)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="is no folder"):
        check_checkout(tmp_path / "nowhere")
    with pytest.raises(RecordingError, match="no cache"):
        bench_loader(TINY, tmp_path)


def test_code_that_cannot_be_imported_is_reported(tmp_path: Path) -> None:
    file = tmp_path / "mono" / "model" / "mono_fm" / "net.py"
    file.parent.mkdir(parents=True)
    file.write_text("import a_package_nobody_has\n")
    with pytest.raises(FeatDepthError, match="a_package_nobody_has"), running(TINY, tmp_path):
        pass


def test_the_loader_is_measured(tmp_path: Path) -> None:
    from featdepth_ros.recordings.open import open_recording
    from featdepth_ros.recordings.selection import SelectionConfig
    from featdepth_training.prepare.config import PrepareConfig
    from featdepth_training.prepare.prepare import prepare

    cv2 = pytest.importorskip("cv2")
    texture = (np.random.default_rng(0).random((96, 300, 3)) * 255).astype(np.uint8)
    (tmp_path / "images").mkdir()
    for i in range(6):
        cv2.imwrite(str(tmp_path / "images" / f"{i:03d}.png"), cv2.blur(texture, (5, 5))[:, 8 * i : 8 * i + 128])
    recording = open_recording(str(tmp_path / "images"), None, "80,80,63.5,47.5", None)
    prepare(recording, tmp_path / "cache", PrepareConfig(64, 96, 3, selection=SelectionConfig()))
    figures = bench_loader(TINY, tmp_path / "cache", rounds=1)
    assert figures["images_per_sample"] == 3 and figures["reference_images_per_s"] is None
    assert figures["loader_images_per_s"] >= figures["augmented_images_per_s"] * 0.5 > 0
    assert figures["loader_images_per_core_s"] > 0 and figures["augmented_images_per_core_s"] > 0
    assert figures["ratio"] == pytest.approx(figures["loader_images_per_s"] / figures["step_images_per_s"])


@pytest.mark.skipif(not REFERENCE, reason="FEATDEPTH_REFERENCE names no checkout of the original")
def test_beside_the_original() -> None:
    figures = bench_step(StepProblem("mono_fm_r18", 64, 96), Path(REFERENCE), steps=1)
    compared = figures["comparison"]
    assert compared["loss_relative_difference"] < 1e-5
    assert compared["gradient_cosine"] > 0.9999 and compared["gradients_of_one_side_only"] == []
    assert figures["reference"]["flops"] > figures["own"]["flops"]
    assert compared["memory_ratio"] < 1


@pytest.mark.skipif(not REFERENCE, reason="FEATDEPTH_REFERENCE names no checkout of the original")
def test_a_drive_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="holds 0 stereo pairs"):
        reference_dataset(Path(REFERENCE), tmp_path, TINY)
