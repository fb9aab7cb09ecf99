"""Runs that are stopped, killed, resumed, refused a disk: nothing is lost, nothing changes."""

from __future__ import annotations

import errno
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import tiny_config

from featdepth_ros.errors import CheckpointError, FeatDepthError
from featdepth_training import checkpoint as checkpoint_module
from featdepth_training.checkpoint import CheckpointFolder, read_checkpoint, write_checkpoint
from featdepth_training.monitor import Monitor
from featdepth_training.signals import StopRequest
from featdepth_training.trainer import Outcome, Trainer

Make = Callable[..., Trainer]


def run(trainer: Trainer, stop: StopRequest | None = None) -> Outcome:
    monitor = Monitor(trainer.output, trainer.step, trainer.config.total_steps, tensorboard=False)
    try:
        return trainer.run(monitor, stop)
    finally:
        monitor.close()


def same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return bool(a == b)


class KilledError(Exception):
    pass


@pytest.fixture
def one_thread() -> None:
    torch.set_num_threads(1)


def test_resumed_after_a_kill_equals_uninterrupted(make_trainer: Make, one_thread: None) -> None:
    """Killed a step after the newest checkpoint, in the middle of an epoch; a stage of another size follows."""
    whole = make_trainer("whole")
    run(whole)
    killed = make_trainer("killed")
    step = killed._one_step

    def dies_later(batch: Any) -> Any:
        if killed.step == 3:
            raise KilledError
        return step(batch)

    killed._one_step = dies_later  # type: ignore[method-assign]
    with pytest.raises(KilledError):
        run(killed)
    torch.manual_seed(99)  # a new process has another state
    resumed = make_trainer("killed")
    newest = resumed.checkpoints.latest()
    assert newest is not None and newest.name == "step_00000002.pt"
    resumed.load_state_dict(read_checkpoint(newest))
    outcome = run(resumed)
    assert outcome.complete and outcome.steps == 4
    first, second = whole.state_dict(), resumed.state_dict()
    for key in first:
        assert same(first[key], second[key]), key
    one, two = (
        [json.loads(line) for line in (t.output / "metrics.jsonl").read_text().splitlines()] for t in (whole, resumed)
    )
    shown = [[(r["step"], r["kind"], r.get("total")) for r in records] for records in (one, two)]
    assert shown[0] == shown[1]


def test_sigterm_finishes_the_step_and_saves(make_trainer: Make, one_thread: None) -> None:
    trainer = make_trainer("stopped")
    step = trainer._one_step

    def signalled(batch: Any) -> Any:
        result = step(batch)
        if trainer.step == 0:
            os.kill(os.getpid(), signal.SIGTERM)
        return result

    trainer._one_step = signalled  # type: ignore[method-assign]
    before = signal.getsignal(signal.SIGTERM)
    with StopRequest() as stop:
        outcome = run(trainer, stop)
        assert stop.requested == "SIGTERM"
    assert signal.getsignal(signal.SIGTERM) is before
    assert not outcome.complete and outcome.steps == 1
    assert outcome.checkpoint is not None and read_checkpoint(outcome.checkpoint)["step"] == 1
    assert outcome.weights.is_file()


def test_last_few_and_best_are_kept(make_trainer: Make, one_thread: None) -> None:
    config = tiny_config(
        engine={"checkpoint_every": 1, "validate_every": 3, "keep_last": 2, "tensorboard": False, "threads": 1}
    )
    outcome = run(make_trainer("kept", config))
    names = sorted(p.name for p in (outcome.weights.parent / "checkpoints").iterdir())
    assert names == ["best.pt", "step_00000003.pt", "step_00000004.pt"]
    assert outcome.validation["abs_rel"] >= read_checkpoint(outcome.weights.parent / "checkpoints/best.pt")["best"]


def test_a_full_disk_leaves_the_old_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "step.pt"
    write_checkpoint(path, {"format": 1, "value": torch.ones(3)})

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint_module.torch, "save", full)
    with pytest.raises(CheckpointError, match="No space left.*intact"):
        write_checkpoint(path, {"format": 1, "value": torch.zeros(3)})
    assert [p.name for p in tmp_path.iterdir()] == ["step.pt"]
    assert torch.equal(read_checkpoint(path)["value"], torch.ones(3))


def test_damaged_and_foreign_checkpoints_are_refused(tmp_path: Path, make_trainer: Make) -> None:
    cut = tmp_path / "cut.pt"
    write_checkpoint(cut, {"format": 1, "value": torch.ones(1000)})
    cut.write_bytes(cut.read_bytes()[:500])
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_checkpoint(cut)
    other = tmp_path / "other.pt"
    torch.save({"weight": torch.ones(1)}, other)
    with pytest.raises(CheckpointError, match="not a training checkpoint"):
        read_checkpoint(other)
    trainer = make_trainer("foreign")
    state = trainer.state_dict()
    state["model"] = {"weight": torch.ones(1)}
    path = CheckpointFolder(tmp_path / "f", 1).save(state, 1)
    with pytest.raises(CheckpointError, match="does not fit"):
        trainer.load_state_dict(read_checkpoint(path))


def test_nothing_but_nan_ends_the_run_with_words(make_trainer: Make, one_thread: None) -> None:
    config = tiny_config(engine={"max_nonfinite": 1, "tensorboard": False, "threads": 1, "validate_every": 0})
    trainer = make_trainer("nan", config)
    with torch.no_grad():
        next(p for p in trainer.model.parameters() if p.requires_grad).fill_(float("nan"))
    with pytest.raises(FeatDepthError, match="2 steps in a row.*lower optimiser.lr"):
        run(trainer)
    assert trainer.skipped == 2
    dumped = sorted((trainer.output / "nonfinite").iterdir())
    assert [p.name for p in dumped] == ["step_00000000_0_0.pt", "step_00000001_0_0.pt"]
    assert torch.load(dumped[0], weights_only=True)["images"].shape == (2, 2, 3, 64, 96)
