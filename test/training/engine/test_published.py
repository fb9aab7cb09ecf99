"""The original's checkpoints (mmcv 0.4.4) resume: the very weights, Adam's moments by name, the iteration."""

from __future__ import annotations

import copy
import dataclasses
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from drawn_clips import drawn_clip, tiny_config
from torch import Tensor, nn

from featdepth_ros.errors import CheckpointError
from featdepth_ros.models.build import build_model
from featdepth_training.data.cache import write_cache
from featdepth_training.data.loader import train_loader
from featdepth_training.data.sampling import Plan
from featdepth_training.engine.optimiser import rate_factor
from featdepth_training.engine.published import Published, as_state, read_state
from featdepth_training.engine.run import train
from featdepth_training.engine.trainer import Trainer

pytestmark = pytest.mark.slow

ITERATION, TOTAL = 7, 9
Make = Callable[..., Trainer]


def recipe(folder: Path | None = None, **changes: Any) -> dict[str, Any]:
    data: dict[str, Any] = {"augment": {"haze": 0.0}, "sequence": {"standing": 0.0}}
    if folder is not None:
        data |= {"kind": "prepared", "prepared": {"caches": [str(folder)], "held_out": 0.2}}
    return {
        "model": {"architecture": "mono_fm_r18"},
        "data": data,
        "stages": [{"steps": TOTAL, "sizes": [[64, 64]], "batch_size": 1}],
        "objective": {"photometric": 1.0, "features": 1e-3, "smoothness": 1e-3},
        "optimiser": {"kind": "adam", "lr": 1e-4, "encoder_lr_factor": 1.0, "weight_decay": 0.0, "clip_norm": 35.0},
        "schedule": {"kind": "step", "warmup_steps": 0, "milestones": [0.5]},
        "engine": {"tensorboard": False, "threads": 1, "validate_every": 0, "log_every": 1},
        **changes,
    }


@dataclass(frozen=True)
class Original:
    """A file of the original: where it lies, its model, its content."""

    path: Path
    model: nn.Module
    content: dict[str, Any]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Original:
    """Write what the original's runner writes, after two steps of Adam.

    Keys and parameters of the model are those of the original in its order. Adam was given every parameter; those of
    the frozen feature net and of the unused ``fc`` layers never had a gradient.
    """
    torch.manual_seed(4)
    model = build_model("mono_fm_r18")
    optimiser = torch.optim.Adam(list(model.parameters()), lr=1e-4)
    for _ in range(2):
        for name, parameter in model.named_parameters():
            if not name.startswith("extractor.") and ".fc." not in name:
                parameter.grad = torch.randn_like(parameter) * 1e-3
        optimiser.step()
    optimiser.zero_grad()
    adam = optimiser.state_dict()
    group = adam["param_groups"][0]
    # torch 1.1 numbers parameters by their place in memory, and counts steps in whole numbers.
    place = {number: 140_000_000_000_000 + 7919 * (number * 31 % 1009) for number in group["params"]}
    state = {place[n]: {**entry, "step": int(entry["step"])} for n, entry in adam["state"].items()}
    kept = {key: group[key] for key in ("betas", "eps", "weight_decay", "amsgrad")}
    group = {**kept, "lr": 5e-5, "initial_lr": 1e-4, "params": [place[n] for n in group["params"]]}
    content = {
        "meta": {"epoch": 3, "iter": ITERATION, "mmcv_version": "0.4.4", "time": "Tue Nov 10 11:12:13 2020"},
        "state_dict": OrderedDict((key, value.clone()) for key, value in model.state_dict().items()),
        "optimizer": {"state": state, "param_groups": [group]},
    }
    path = tmp_path_factory.mktemp("original") / "epoch_3.pth"
    torch.save(content, path, _use_new_zipfile_serialization=False)
    return Original(path, model, content)


def resumed(make_trainer: Make, path: Path, **changes: Any) -> tuple[Trainer, list[str]]:
    """A trainer that went on from the file, or from one that differs in ``changes``."""
    trainer = make_trainer("resumed", tiny_config(**recipe()), resumed=True)
    found = read_state(path)
    assert isinstance(found, Published)
    state, notes = as_state(dataclasses.replace(found, **changes), trainer)
    trainer.load_state_dict(state)
    return trainer, notes


def test_the_next_step_is_that_of_plain_adam(make_trainer: Make, original: Original) -> None:
    """Our step after resuming equals Adam's over the original's list of parameters, with the file's own state."""
    model, content = copy.deepcopy(original.model), original.content
    trainer, notes = resumed(make_trainer, original.path)
    assert trainer.step == ITERATION
    assert "epoch 3, iteration 7" in notes[0]
    assert notes[1:] == [f"Adam's moments of {len(content['optimizer']['state'])} parameters are used"]
    assert trainer.loop.average is not None
    assert all(torch.equal(trainer.loop.average.values[key], value) for key, value in content["state_dict"].items())

    plan = Plan(trainer.config, trainer.loop.train_set.sources, trainer.processes)
    batch = next(iter(train_loader(trainer.loop.train_set, plan, trainer.step)))
    assert not isinstance(batch, Exception)
    batch = batch.in_floats()
    gradients = _gradients(trainer, batch)
    factor = rate_factor(ITERATION, TOTAL, trainer.config.schedule)
    assert factor == 0.5
    plain = torch.optim.Adam(list(model.parameters()), lr=1.0)
    plain.load_state_dict(content["optimizer"])
    plain.param_groups[0]["lr"] = 1e-4 * factor
    for name, parameter in model.named_parameters():
        parameter.grad = gradients.get(name)
    plain.step()

    result = trainer.loop.take_step([batch])
    assert result.applied
    ours = dict(trainer.model.named_parameters())
    moved = 0
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(ours[name], parameter, rtol=0, atol=1e-8, msg=lambda m, n=name: f"{n}: {m}")
        moved += not torch.equal(ours[name].detach(), content["state_dict"][name])
    assert moved > 100


def _gradients(trainer: Trainer, batch: Any) -> dict[str, Tensor]:
    """The clipped gradients of the trainer's next step, by name; the trainer stays as it was."""
    probe = copy.copy(trainer)
    probe.model = copy.deepcopy(trainer.model)
    loop = copy.copy(trainer.loop)
    loop.terms = probe._terms
    loop._micro_batch(batch, trainer.step)["total"].backward()
    torch.nn.utils.clip_grad_norm_(probe.model.parameters(), trainer.config.optimiser.clip_norm)
    return {name: p.grad for name, p in probe.model.named_parameters() if p.grad is not None}


def test_a_run_goes_on_from_the_file(tmp_path: Path, original: Original, capsys: pytest.CaptureFixture[str]) -> None:
    write_cache(tmp_path / "clips", {"made": "drawn", "frames": 2}, 5, 2, drawn_clip)
    config = tmp_path / "run.yaml"
    config.write_text(yaml.safe_dump(recipe(tmp_path / "clips")), encoding="utf-8")
    outcome = train(str(config), tmp_path / "out", ["optimiser.lr=2e-4"], resume=str(original.path), device="cpu")
    said = capsys.readouterr().out
    assert f"resumed from {original.path} at step {ITERATION}" in said
    assert "changed: optimiser.lr: 0.0001 -> 0.0002" in said
    assert outcome.complete and outcome.steps == TOTAL
    assert outcome.checkpoint is not None
    steps = {int(entry["step"]) for entry in read_state(outcome.checkpoint)["optimiser"]["state"].values()}
    assert steps == {2 + TOTAL - ITERATION}


def test_without_optimiser_the_weights_alone(make_trainer: Make, original: Original) -> None:
    trainer, notes = resumed(make_trainer, original.path, optimiser=None)
    assert notes[1] == "the file holds no optimiser: only the weights are used, and Adam starts anew"
    assert not trainer.loop.optimiser.state and trainer.step == ITERATION
    found = trainer.model.state_dict()
    assert all(torch.equal(found[key], value) for key, value in original.content["state_dict"].items())


def test_an_optimiser_of_other_weights_is_refused(make_trainer: Make, original: Original) -> None:
    adam = original.content["optimizer"]
    first, *rest = adam["param_groups"][0]["params"]
    swapped = {**adam, "param_groups": [{"params": [*rest, first]}]}
    with pytest.raises(CheckpointError, match=r"exp_avg of DepthEncoder.encoder.conv1.weight is \(64,\)"):
        resumed(make_trainer, original.path, optimiser=swapped)
    short = {**adam, "param_groups": [{"params": rest}]}
    with pytest.raises(CheckpointError, match=r"does not fit its weights: it is over .* parameters.*--finetune"):
        resumed(make_trainer, original.path, optimiser=short)


def test_what_does_not_fit_is_refused_before_anything_is_rendered(tmp_path: Path, original: Original) -> None:
    config, output, other = tmp_path / "run.yaml", tmp_path / "out", tmp_path / "other.pth"
    config.write_text(yaml.safe_dump(recipe()), encoding="utf-8")

    def refused(path: Path, match: str, *overrides: str) -> None:
        with pytest.raises(CheckpointError, match=match):
            train(str(config), output, overrides, resume=str(path), device="cpu")
        assert not output.exists()

    match = "holds a mono_fm_r18 model; this run trains baseline_r18.*model.architecture=mono_fm_r18"
    refused(original.path, match, "model.architecture=baseline_r18", "objective.features=0")
    match = r"iteration 7 \(epoch 3\), and this run ends at step 5.*stages.0.steps="
    refused(original.path, match, "stages.0.steps=5")
    torch.save({"state_dict": {"weight": torch.ones(1)}}, other)
    refused(other, "does not say at which iteration.*--finetune")
    torch.save({"weight": torch.ones(1)}, other)
    refused(other, "nor one of the original")
    other.write_bytes(b"PK\x03\x04 and no more")
    refused(other, "cannot be read")
    refused(tmp_path / "none.pt", "no checkpoint at")
