"""Resumes from checkpoints of the original FeatDepth training (mmcv 0.4.4, ``epoch_<n>.pth``).

Such a file holds ``meta`` (epoch, iter), ``state_dict`` and ``optimizer``. The last is the state of Adam over all
parameters of the model, in its order. Parameters that never had a gradient have no entry.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from featdepth_ros.errors import CheckpointError
from featdepth_ros.models.checkpoints import model_from_weights
from featdepth_ros.models.info import ModelInfo
from featdepth_ros.models.weights_io import read_weights
from featdepth_training.config.schema import TrainConfig
from featdepth_training.engine.checkpoint import FORMAT, read_torch

if TYPE_CHECKING:
    from featdepth_training.engine.trainer import Trainer

#: Keys of Adam's state for a parameter.
_MOMENTS = ("exp_avg", "exp_avg_sq")


@dataclass(frozen=True)
class Published:
    """A checkpoint of the original.

    Attributes:
        path: path of the file.
        architecture: name for `build_model`, inferred from the keys.
        weights: key -> float32 tensor, in the order of the file.
        optimiser: state of the optimiser; None: the file has none.
        iteration, epoch: numbers of finished optimiser steps and epochs.
    """

    path: Path
    architecture: str
    weights: dict[str, Tensor]
    optimiser: Mapping[str, Any] | None
    iteration: int
    epoch: int

    def check(self, config: TrainConfig) -> None:
        """Check that a run with this configuration can continue from the checkpoint.

        Raises:
            CheckpointError: the architecture differs, or the run ends before the checkpoint's step.
        """
        if self.architecture != config.model.architecture:
            raise CheckpointError(
                f"{self.path} holds a {self.architecture} model; this run trains {config.model.architecture}. Set "
                f"model.architecture={self.architecture}"
            )
        if self.iteration >= config.total_steps:
            raise CheckpointError(
                f"{self.path} is at iteration {self.iteration} (epoch {self.epoch}), and this run ends at step "
                f"{config.total_steps}; steps count from the original's first, so give the last stage more, for "
                f"instance stages.{len(config.stages) - 1}.steps="
                f"{config.stages[-1].steps + self.iteration - config.total_steps + 10000}"
            )


def read_state(path: Path) -> dict[str, Any] | Published:
    """Read a checkpoint of this package or of the original.

    Raises:
        CheckpointError: the file is missing, damaged, or of neither kind.
    """
    content = read_torch(path)
    if isinstance(content, dict) and content.get("format") == FORMAT:
        return content
    if not isinstance(content, Mapping) or not isinstance(content.get("state_dict"), Mapping):
        raise CheckpointError(
            f"{path} is not a training checkpoint of format {FORMAT}, nor one of the original (state_dict, optimizer, "
            "meta); is it a weights file? Start from weights with --finetune"
        )
    meta = content.get("meta")
    if not isinstance(meta, Mapping) or not isinstance(meta.get("iter"), int):
        raise CheckpointError(
            f"{path} does not say at which iteration it was written (meta.iter), so no run can continue there; start "
            "from its weights with --finetune"
        )
    weights = dataclasses.replace(read_weights(path), info=ModelInfo(name=path.stem))
    optimiser = content.get("optimizer")
    return Published(
        path=path,
        architecture=model_from_weights(weights).info.architecture,
        weights=weights.state,
        optimiser=optimiser if isinstance(optimiser, Mapping) else None,
        iteration=int(meta["iter"]),
        epoch=int(meta.get("epoch", 0)),
    )


def as_state(published: Published, trainer: Trainer) -> tuple[dict[str, Any], list[str]]:
    """Return the state from which ``trainer`` continues, and notes to print.

    The settings of the trainer's configuration are used; the notes list differences to those of the file. The average
    of the weights starts from the weights.

    Raises:
        CheckpointError: the optimiser's entries do not match the weights.
    """
    notes = [f"{published.path.name} is the original's, epoch {published.epoch}, iteration {published.iteration}"]
    state = trainer.state_dict()
    state |= {"step": published.iteration, "model": published.weights, "average": None}
    if published.optimiser is None:
        notes.append("the file holds no optimiser: only the weights are used, and Adam starts anew")
        return state, notes
    moments = _moments(published, trainer)
    state["optimiser"] = {**state["optimiser"], "state": moments}
    notes.append(f"Adam's moments of {len(moments)} parameters are used")
    return state, notes + _changed_settings(published.optimiser, trainer)


def _moments(published: Published, trainer: Trainer) -> dict[int, dict[str, Tensor]]:
    """Return Adam's moments by the parameter numbers of the trainer's optimiser."""
    assert published.optimiser is not None
    parameters = dict(trainer.model.named_parameters())
    names = [key for key in published.weights if key in parameters]
    groups, entries = published.optimiser.get("param_groups"), published.optimiser.get("state")
    if not isinstance(groups, list) or not isinstance(entries, Mapping):
        raise _optimiser_mismatch(published, "it is no state of torch's Adam (state, param_groups)")
    # Old versions of torch number parameters by their address in memory, so only the order identifies them.
    numbers = [number for group in groups for number in group["params"]]
    if len(numbers) != len(names):  # mmcv leaves frozen parameters out where it was given paramwise_options
        names = [name for name in names if parameters[name].requires_grad]
    if len(numbers) != len(names):
        raise _optimiser_mismatch(
            published, f"it is over {len(numbers)} parameters, and the model has {len(parameters)}"
        )
    ours = {id(parameter): number for number, parameter in enumerate(trainer.loop.parameters)}
    moments: dict[int, dict[str, Tensor]] = {}
    for name, number in zip(names, numbers, strict=True):
        entry, parameter = entries.get(number), parameters[name]
        if entry is None or id(parameter) not in ours:
            continue  # it never had a gradient, or is frozen in this run
        for key in _MOMENTS:
            value = entry.get(key)
            if not isinstance(value, Tensor) or value.shape != parameter.shape:
                shape = tuple(value.shape) if isinstance(value, Tensor) else "missing"
                raise _optimiser_mismatch(published, f"{key} of {name} is {shape}; expected {tuple(parameter.shape)}")
        steps = torch.tensor(float(entry["step"]))
        moments[ours[id(parameter)]] = {"step": steps, **{key: entry[key].float() for key in _MOMENTS}}
    return dict(sorted(moments.items()))


def _optimiser_mismatch(published: Published, reason: str) -> CheckpointError:
    return CheckpointError(
        f"the optimiser in {published.path} does not fit its weights: {reason}. Start from the weights alone with "
        "--finetune"
    )


def _changed_settings(optimiser: Mapping[str, Any], trainer: Trainer) -> list[str]:
    group, config = optimiser["param_groups"][0], trainer.config.optimiser
    theirs = {
        "kind": "adam",
        "lr": group.get("initial_lr", group.get("lr")),
        "betas": tuple(group.get("betas", config.betas)),
        "weight_decay": group.get("weight_decay", 0),
    }
    return [
        f"changed: optimiser.{key}: {value} -> {getattr(config, key)}"
        for key, value in theirs.items()
        if value is not None and value != getattr(config, key)
    ]
