"""Runs that are stopped, resumed, refused a disk, not finite: nothing is lost, and what changes is told."""

from __future__ import annotations

import copy
import errno
import math
import os
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from drawn_clips import tiny_config
from runs import same
from torch import nn

from featdepth_ros import load_model
from featdepth_ros.errors import CheckpointError, FeatDepthError
from featdepth_training.engine import checkpoint as checkpoint_module
from featdepth_training.engine.checkpoint import CheckpointFolder, write_checkpoint
from featdepth_training.engine.ema import WeightAverage
from featdepth_training.engine.published import read_state
from featdepth_training.engine.run import _changes
from featdepth_training.engine.step import StepResult, train_step
from featdepth_training.engine.trainer import Outcome, Trainer
from featdepth_training.monitoring.monitor import Monitor
from featdepth_training.processes.signals import StopRequest

pytestmark = pytest.mark.slow

Make = Callable[..., Trainer]


def run(trainer: Trainer, stop: StopRequest | None = None) -> Outcome:
    monitor = Monitor(trainer.output, trainer.step, trainer.config.total_steps, tensorboard=False)
    try:
        return trainer.run(monitor, stop)
    finally:
        monitor.close()


@pytest.fixture
def one_thread() -> None:
    torch.set_num_threads(1)


def test_sigterm_finishes_the_step_and_saves(make_trainer: Make, one_thread: None) -> None:
    trainer = make_trainer("stopped")
    step = trainer.loop.take_step

    def signalled(batch: Any) -> Any:
        result = step(batch)
        if trainer.step == 0:
            os.kill(os.getpid(), signal.SIGTERM)
        return result

    trainer.loop.take_step = signalled  # type: ignore[method-assign]
    before = signal.getsignal(signal.SIGTERM)
    with StopRequest() as stop:
        outcome = run(trainer, stop)
        assert stop.requested == "SIGTERM"
    assert signal.getsignal(signal.SIGTERM) is before
    assert not outcome.complete and outcome.steps == 1
    assert outcome.checkpoint is not None and read_state(outcome.checkpoint)["step"] == 1
    assert outcome.weights.is_file()


def test_the_average_of_every_step_is_what_is_exported(make_trainer: Make, one_thread: None) -> None:
    trainer = make_trainer("averaged")
    expected = WeightAverage(trainer.model, trainer.config.engine.ema_decay)
    step = trainer.loop.take_step

    def followed(batches: Any) -> StepResult:
        result = step(batches)
        expected.update(trainer.model)
        return result

    trainer.loop.take_step = followed  # type: ignore[method-assign]
    outcome = run(trainer)
    assert expected.updates == 4
    assert trainer.loop.average is not None and same(trainer.loop.average.values, expected.values)
    exported = load_model(str(outcome.weights)).state_dict()
    assert same(exported, expected.values)
    assert not same(exported, dict(trainer.model.state_dict()))


def test_only_the_named_part_is_trained(make_trainer: Make, one_thread: None) -> None:
    """The others keep weights and running statistics to the bit, also in the average."""
    trainer = make_trainer("motion", tiny_config(model={"initial": "none", "trained": ["pose_head"]}))
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    exported = load_model(str(run(trainer).weights)).state_dict()
    for after in (trainer.model.state_dict(), exported):
        changed = {name.split(".")[0] for name, value in after.items() if not torch.equal(value, before[name])}
        assert changed == {"pose_head"}


def test_the_optimiser_gets_the_clipped_gradient(make_trainer: Make, one_thread: None) -> None:
    """After one step Adam's first moment is a share of the gradient, whose norm the configuration limits."""
    stage = {"steps": 1, "sizes": [[64, 64]], "batch_size": 1}
    trainer = make_trainer("clipped", tiny_config(stages=[stage], optimiser={"clip_norm": 0.01}))
    run(trainer)
    moments = [state["exp_avg"].flatten() for state in trainer.loop.optimiser.state.values()]
    share = 1 - trainer.config.optimiser.betas[0]
    assert float(torch.cat(moments).norm()) == pytest.approx(share * 0.01, rel=1e-3)


def test_every_group_follows_the_schedule_at_its_own_rate(make_trainer: Make, one_thread: None) -> None:
    schedule = {"kind": "constant", "warmup_steps": 8, "warmup_ratio": 0.0}
    trainer = make_trainer("rates", tiny_config(schedule=schedule, optimiser={"encoder_lr_factor": 0.25}))
    run(trainer)
    rates = {group["lr"] / group["base_lr"] for group in trainer.loop.optimiser.param_groups}
    assert rates == {3 / 8}  # the last of four steps
    assert len({group["lr"] for group in trainer.loop.optimiser.param_groups}) == 2


def test_last_few_and_best_are_kept(make_trainer: Make, one_thread: None) -> None:
    config = tiny_config(
        engine={"checkpoint_every": 1, "validate_every": 3, "keep_last": 2, "tensorboard": False, "threads": 1}
    )
    outcome = run(make_trainer("kept", config))
    names = sorted(p.name for p in (outcome.weights.parent / "checkpoints").iterdir())
    assert names == ["best.pt", "step_00000003.pt", "step_00000004.pt"]
    assert outcome.validation["abs_rel"] >= read_state(outcome.weights.parent / "checkpoints/best.pt")["best"]


def test_a_full_disk_leaves_the_old_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "step.pt"
    write_checkpoint(path, {"format": 1, "value": torch.ones(3)})

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint_module.torch, "save", full)
    with pytest.raises(CheckpointError, match=r"No space left.*intact"):
        write_checkpoint(path, {"format": 1, "value": torch.zeros(3)})
    assert [p.name for p in tmp_path.iterdir()] == ["step.pt"]
    assert torch.equal(read_state(path)["value"], torch.ones(3))


def test_damaged_and_foreign_checkpoints_are_refused(tmp_path: Path, make_trainer: Make) -> None:
    cut = tmp_path / "cut.pt"
    write_checkpoint(cut, {"format": 1, "value": torch.ones(1000)})
    cut.write_bytes(cut.read_bytes()[:500])
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_state(cut)
    other = tmp_path / "other.pt"
    torch.save({"weight": torch.ones(1)}, other)
    with pytest.raises(CheckpointError, match="not a training checkpoint"):
        read_state(other)
    trainer = make_trainer("foreign")
    state = trainer.state_dict()
    state["model"] = {"weight": torch.ones(1)}
    path = CheckpointFolder(tmp_path / "f", 1).save(state, 1)
    with pytest.raises(CheckpointError, match="does not fit"):
        trainer.load_state_dict(read_state(path))


def test_nothing_but_nan_ends_the_run_with_words(make_trainer: Make, one_thread: None) -> None:
    config = tiny_config(engine={"max_nonfinite": 1, "tensorboard": False, "threads": 1, "validate_every": 0})
    trainer = make_trainer("nan", config)
    with torch.no_grad():
        next(p for p in trainer.model.parameters() if p.requires_grad).fill_(float("nan"))
    with pytest.raises(FeatDepthError, match=r"2 steps in a row.*lower optimiser.lr"):
        run(trainer)
    assert trainer.loop.skipped == 2
    newest = trainer.checkpoints.latest()
    assert newest is not None and newest.name == "step_00000002.pt"
    assert read_state(newest)["skipped_in_a_row"] == 0  # whoever resumes there has as many again
    dumped = sorted((trainer.output / "nonfinite").iterdir())
    assert [p.name for p in dumped] == ["step_00000000_0_0.pt", "step_00000001_0_0.pt"]
    assert torch.load(dumped[0], weights_only=True)["images"].shape == (2, 2, 3, 64, 96)


def test_not_finite_in_one_micro_batch_of_two_changes_nothing() -> None:
    """Weights, Adam's state, running statistics and their counter stay; a good step counts as one batch."""
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    optimiser = torch.optim.Adam(net.parameters(), 0.1)

    def terms(factor: float) -> dict[str, torch.Tensor]:
        return {"total": net(torch.randn(5, 3)).square().mean() * factor}

    def step(*factors: float) -> StepResult:
        micro = [partial(terms, factor) for factor in factors]
        return train_step(net, micro, optimiser, list(net.parameters()), 1.0)

    assert step(1.0, 1.0).applied
    before = copy.deepcopy((net.state_dict(), optimiser.state_dict()))
    assert int(before[0]["1.num_batches_tracked"]) == 1
    result = step(1.0, float("nan"))
    assert not result.applied and math.isnan(result.terms["total"])
    assert same(before, (net.state_dict(), optimiser.state_dict()))
    assert step(1.0, 1.0).applied


def test_present_settings_count_and_changes_are_told(make_trainer: Make) -> None:
    old = make_trainer("old")
    state = {**old.state_dict(), "best": 0.25, "processes": 2}
    changed = {"optimiser": {"lr": 5e-4, "betas": [0.8, 0.99]}}
    new = make_trainer("new", tiny_config(**changed), resumed=True)
    assert _changes(state, new) == [
        "changed: optimiser.betas: [0.9, 0.999] -> [0.8, 0.99]",
        "changed: optimiser.lr: 0.001 -> 0.0005",
        "changed: processes: 2 -> 1",
    ]
    new.load_state_dict(state)
    assert {group["betas"] for group in new.loop.optimiser.param_groups} == {(0.8, 0.99)}
    assert max(group["base_lr"] for group in new.loop.optimiser.param_groups) == 5e-4
    assert new.validator.best == 0.25


def test_best_is_compared_with_like(make_trainer: Make) -> None:
    """A figure on other clips or sizes is no measure of what follows."""
    state = {**make_trainer("old").state_dict(), "best": 0.25}
    stage = {"steps": 4, "sizes": [[64, 128]], "batch_size": 1}
    other = make_trainer("new", tiny_config(stages=[stage]), resumed=True)
    assert any(line.startswith("changed: measured_on") for line in _changes(state, other))
    other.load_state_dict(state)
    assert other.validator.best == float("inf")


def test_an_average_that_the_checkpoint_lacks_starts_from_its_weights(make_trainer: Make) -> None:
    trainer = make_trainer("new", resumed=True)
    state = copy.deepcopy(trainer.state_dict())
    for value in state["model"].values():
        value += 1
    trainer.load_state_dict({**state, "average": None})
    assert trainer.loop.average is not None
    assert same(trainer.loop.average.values, state["model"])


def test_a_signal_passed_on_is_no_second_wish(monkeypatch: pytest.MonkeyPatch) -> None:
    """What torchrun passes on every process has had from the terminal; a later one stops the run at once."""
    now = 100.0
    monkeypatch.setattr("featdepth_training.processes.signals.time.monotonic", lambda: now)
    with StopRequest() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.requested == "SIGINT"
        now += 60
        with pytest.raises(KeyboardInterrupt):  # noqa: PT012 - Python handles the signal a moment later
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)
