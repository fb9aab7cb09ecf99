"""Refinement on several recordings, and one that is stopped and goes on."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from plane_world import DEPTH_M, SIZE, STEP_M, PlaneModel, Wall

from featdepth_ros.errors import ConfigError, RecordingError
from featdepth_ros.models.weights_io import read_weights
from featdepth_training.refine import steps as refinement
from featdepth_training.refine.config import RefineConfig
from featdepth_training.refine.gate import GateLimits, HeldOutFigures, judge, told_apart
from featdepth_training.refine.refine import refine

pytestmark = pytest.mark.slow

CONFIG = RefineConfig(size=SIZE, steps=12, lr=5e-3, device="cpu", checkpoint_every=4)


def too_slow() -> PlaneModel:
    return PlaneModel(DEPTH_M, 0.6 * STEP_M)


def named(name: str, **changes: Any) -> Wall:
    wall = Wall(**changes)
    wall.name = name
    return wall


def test_each_recording_is_held_out_and_unusable_ones_are_left(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    output = tmp_path / "refined.safetensors"
    report = refine(too_slow(), [named("one"), named("still", step_px=0), named("two")], output, CONFIG, work=tmp_path)
    assert report.recording == "one, two" and "left out" in caplog.text
    assert (report.frames, report.train_clips, report.held_out_clips) == (44, 28, 8)
    assert report.verdict.accepted and report.after.photometric < report.before.photometric
    written = read_weights(output)
    assert written.info is not None and "on drawn recordings 'one', 'two' (28 clips)" in written.info.training
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    measured = [line for line in lines if line["kind"] == "held_out"]
    assert [line["step"] for line in measured] == [0, 12]
    assert measured[1]["photometric"] == pytest.approx(report.after.photometric)
    assert list((tmp_path / "tensorboard").glob("events*")) and not (tmp_path / "refine.pt").exists()
    with pytest.raises(RecordingError, match="0 recordings"):
        refine(too_slow(), [named("still", step_px=0), named("quiet", step_px=0)], None, CONFIG)
    half = named("half")
    half.partner_name = "right"
    with pytest.raises(ConfigError, match="'one' was opened without a stereo partner"):
        refine(too_slow(), [half, named("one")], None, CONFIG)


def test_a_stopped_refinement_goes_on_to_the_very_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = refine(too_slow(), named("one"), tmp_path / "whole.safetensors", CONFIG, work=tmp_path / "a")
    original, count = refinement.training_terms, 0

    def interrupt(*arguments: Any) -> Any:
        nonlocal count
        count += 1
        if count == 7:
            os.kill(os.getpid(), signal.SIGINT)
        return original(*arguments)

    monkeypatch.setattr(refinement, "training_terms", interrupt)
    stopped = refine(too_slow(), named("one"), tmp_path / "stopped.safetensors", CONFIG, work=tmp_path / "b")
    monkeypatch.setattr(refinement, "training_terms", original)
    assert stopped.steps == 7 and (tmp_path / "b" / "refine.pt").is_file()
    again = refine(too_slow(), named("one"), tmp_path / "again.safetensors", CONFIG, work=tmp_path / "b", resume=True)
    assert again.steps == whole.steps == 12 and again.after == whole.after
    states = [read_weights(tmp_path / f"{name}.safetensors").state for name in ("whole", "again")]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert not (tmp_path / "b" / "refine.pt").exists()
    steps = [json.loads(line)["step"] for line in (tmp_path / "b" / "metrics.jsonl").read_text().splitlines()]
    assert steps == sorted(steps)
    with pytest.raises(ConfigError, match="name it with work"):
        refine(too_slow(), named("one"), None, CONFIG, resume=True)


def test_a_checkpoint_of_another_refinement_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = refinement.training_terms

    def die(*arguments: Any) -> Any:
        if (tmp_path / "refine.pt").exists():
            raise MemoryError  # as a kill after the first checkpoint
        return original(*arguments)

    monkeypatch.setattr(refinement, "training_terms", die)
    with pytest.raises(MemoryError):
        refine(too_slow(), named("one"), None, CONFIG, work=tmp_path)
    monkeypatch.setattr(refinement, "training_terms", original)
    with pytest.raises(ConfigError, match=r"lr \(0.005, now 0.01\)"):
        refine(too_slow(), named("one"), None, replace(CONFIG, lr=1e-2), work=tmp_path, resume=True)
    assert refine(too_slow(), named("one"), None, CONFIG, work=tmp_path, resume=True).steps == 12


BEFORE = HeldOutFigures(clips=9, photometric=0.10, depth_frames=9, abs_rel=0.250, abs_rel_median_scaled=0.20)


def test_depth_in_metres_is_judged_where_the_weights_claim_it() -> None:
    after = replace(BEFORE, photometric=0.09, abs_rel=0.258)
    assert judge(BEFORE, after, 1.03).reasons == ("AbsRel (as it is) rose from 0.2500 to 0.2580",)
    assert judge(BEFORE, replace(after, abs_rel=0.252), 1.01).accepted
    right = replace(BEFORE, abs_rel=0.001)
    assert judge(right, replace(right, abs_rel=0.04), 1.04).accepted  # depth that is right stays right
    assert not judge(right, replace(right, abs_rel=0.051), 1.05).accepted
    assert judge(BEFORE, after, 1.03, limits=GateLimits(right=0.3)).accepted
    relative = replace(BEFORE, abs_rel=None)
    assert judge(relative, replace(after, abs_rel=None), 1.03).accepted


def test_numbers_are_told_apart() -> None:
    assert told_apart(0.1, 0.2) == ["0.1000", "0.2000"]
    assert told_apart(0.100001, 0.100003) == ["0.100001", "0.100003"]
    assert told_apart(0.5, 0.5) == ["0.5000", "0.5000"]
