"""The two compared training steps: ours, and that of the original's classes from a checkout."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from featdepth_ros.errors import ConfigError
from featdepth_ros.models.base import FeatDepthModel
from featdepth_ros.models.build import build_model
from featdepth_ros.models.motion_head import use_plain_fit
from featdepth_training.bench.problem import CLIP_NORM, FRAMES, LEARNING_RATE, StepProblem, make_inputs, prepare_model
from featdepth_training.config.checks import check
from featdepth_training.config.schema import (
    AugmentConfig,
    DataConfig,
    ModelConfig,
    OptimiserConfig,
    PreparedConfig,
    SequenceConfig,
    TermsConfig,
    TrainConfig,
)
from featdepth_training.data.batch import FrameBatch
from featdepth_training.engine.model_setup import model_info
from featdepth_training.engine.optimiser import build_optimiser
from featdepth_training.engine.step import train_step
from featdepth_training.objectives.terms import training_terms

#: File that identifies a checkout of the original.
NET_FILE = Path("mono", "model", "mono_fm", "net.py")


class Side(Protocol):
    """One side of the comparison, with a training step."""

    @property
    def model(self) -> nn.Module:
        """The networks."""

    def loss(self) -> Tensor:
        """Run the networks and return the total loss with its graph."""

    def step(self) -> float:
        """Run one complete optimiser step and return the loss."""


class OwnStep:
    """The training step of this package, as in `trainer.Trainer`."""

    def __init__(self, problem: StepProblem) -> None:
        self.config = train_config(problem)
        self.model: FeatDepthModel = build_model(problem.architecture, model_info(self.config.model))
        use_plain_fit(self.model)
        self.model.to(device=problem.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        prepare_model(self.model, problem)
        self.batch, self.seen = as_batch(make_inputs(problem))
        self.optimiser, self.parameters = build_optimiser(self.model, self.config.optimiser)

    def terms(self) -> dict[str, Tensor]:
        """Return every weighted loss term and ``total``."""
        return training_terms(self.model, self.batch, self.seen, self.config)[0]

    def loss(self) -> Tensor:
        """See `Side`."""
        return self.terms()["total"]

    def step(self) -> float:
        """See `Side`."""
        return train_step(self.model, [self.terms], self.optimiser, self.parameters, CLIP_NORM).terms["total"]


def train_config(problem: StepProblem) -> TrainConfig:
    """Return the configuration of a run with this step: the original's training, without dropout."""
    model = ModelConfig(
        architecture=problem.architecture,
        initial="none",
        feature_net="drawn",
        input_size=(problem.height, problem.width),
        pose_size=problem.pose_size,
        feature_statistics="batch_statistics",
        dropout=False,
    )
    data = DataConfig(
        kind="prepared",
        prepared=PreparedConfig(caches=("drawn",)),
        sequence=SequenceConfig(frames=3, stereo=True),
        augment=AugmentConfig(haze=0.0),
    )
    optimiser = OptimiserConfig(kind="adam", lr=LEARNING_RATE, encoder_lr_factor=1.0, weight_decay=0.0)
    objective = TermsConfig(photometric=1.0, features=1e-3, smoothness=1e-3, reference=True)
    config = TrainConfig(model=model, data=data, optimiser=optimiser, objective=objective)
    check(config)
    return config


def as_batch(inputs: Mapping[Any, Tensor]) -> tuple[FrameBatch, Tensor]:
    """Convert the inputs of the original to a batch of three frames with a partner, and the augmented images."""
    frames = (-1, 0, 1)
    images, seen = (torch.stack([inputs[name, f, 0] for f in frames], 1) for name in ("color", "color_aug"))
    count, K = len(images), inputs["K"]
    nothing = torch.zeros(count, dtype=torch.bool, device=images.device)
    batch = FrameBatch(
        images=images,
        depth=torch.full_like(images[:, :, :1], float("nan")),
        intrinsics=torch.stack((K[:, 0, 0], K[:, 1, 1], K[:, 0, 2], K[:, 1, 2]), 1),
        T_next_frame=torch.full((count, 2, 4, 4), float("nan"), device=images.device),
        partner=inputs["color", "s", 0][:, None].expand_as(images),
        T_partner_camera=inputs["stereo_T"],
        rendered=nothing,
        single=nothing,
        group=torch.zeros(count, dtype=torch.int64, device=images.device),
        pseudo_depth=torch.full_like(images[:, :, :1], float("nan")),
        camera_height_m=torch.full((count,), float("nan"), device=images.device),
    )
    return batch, seen


class ReferenceStep:
    """The original's step: its model, its losses, and the same loop as that of its mmcv runner."""

    def __init__(self, problem: StepProblem, checkout: Path) -> None:
        layers = int(problem.architecture.rsplit("_r", 1)[1])
        options = SimpleNamespace(
            depth_num_layers=layers,
            pose_num_layers=18,
            depth_pretrained_path=None,
            pose_pretrained_path=None,
            extractor_pretrained_path=None,
            imgs_per_gpu=problem.batch,
            height=problem.height,
            width=problem.width,
            scales=[0, 1, 2, 3],
            frame_ids=list(FRAMES),
            min_depth=0.1,
            max_depth=100.0,
            automask=False,
            disp_norm=False,
            perception_weight=1e-3,
            smoothness_weight=1e-3,
        )
        self.model: nn.Module = reference_class(checkout, problem.device)(options)
        self.model.to(problem.device)
        prepare_model(self.model, problem)
        self.inputs = make_inputs(problem)
        self.parameters = [p for p in self.model.parameters() if p.requires_grad]
        self.optimiser = torch.optim.Adam(self.parameters, lr=LEARNING_RATE)

    def loss(self) -> Tensor:
        """See `Side`."""
        _, losses = self.model(self.inputs)
        return torch.stack(list(losses.values())).sum()

    def step(self) -> float:
        """See `Side`."""
        loss = self.loss()
        self.optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, CLIP_NORM)
        self.optimiser.step()
        return float(loss.detach())


def check_checkout(path: Path) -> Path:
    """Return the folder if it is a checkout of the original.

    Raises:
        ConfigError: the folder is not a checkout.
    """
    if not (path / NET_FILE).is_file():
        problem = "holds no " + str(NET_FILE) if path.is_dir() else "is no folder"
        raise ConfigError(
            f"--reference: {path} {problem}; expected a checkout of github.com/sconlyshootery/FeatDepth "
            "(clone it with git, and give its folder)"
        )
    return path.resolve()


def reference_class(checkout: Path, device: str) -> Callable[[Any], nn.Module]:
    """Import the original's ``mono_fm``. Call it in a separate process, because it changes ``sys.path`` and torch.

    The original calls ``.cuda()`` on everything. Without a GPU, that call is replaced by one that returns the tensor.

    Raises:
        ConfigError: the folder is not a checkout, or its code cannot be imported.
    """
    sys.path.insert(0, str(check_checkout(checkout)))
    if device == "cpu":
        torch.Tensor.cuda = lambda self, *_, **__: self  # type: ignore[method-assign]
    try:
        from mono.model.mono_fm.net import mono_fm  # type: ignore[import-not-found]
    except Exception as error:  # the original's code may fail in any way on this Python
        raise ConfigError(f"--reference: the code in {checkout} cannot be imported here: {error!r}") from error
    model_class: Callable[[Any], nn.Module] = mono_fm
    return model_class


def gradients(side: Side) -> tuple[float, Mapping[str, Tensor]]:
    """Return the loss and the gradient of each parameter, without an optimiser step."""
    for parameter in side.model.parameters():
        parameter.grad = None
    loss = side.loss()
    loss.backward()
    by_name = {name: p.grad for name, p in side.model.named_parameters() if p.grad is not None}
    for parameter in side.model.parameters():
        parameter.grad = None
    return float(loss.detach()), by_name
