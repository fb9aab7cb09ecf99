"""Replay of rendered frames, which prevents that a new place displaces earlier knowledge.

Each step includes a few of these frames, on which the depth of the initial weights is preserved. No truth is needed.
Motion needs no such term, because the pose head computes it from depth.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from featdepth_ros.files import atomic_path
from featdepth_ros.models.base import FeatDepthModel
from featdepth_training.config.schema import RenderedConfig
from featdepth_training.objectives.supervised import log_depth

logger = logging.getLogger(__name__)

#: Scenes of the frames in turn, and a random seed that no recipe uses.
SCENES, SEED = ("street", "room", "clutter", "corridor"), 4711


def rendered_frames(
    folder: Path, size: tuple[int, int], count: int, rest: Callable[[], None] = lambda: None
) -> NDArray[np.uint8]:
    """Return (N, H, W, 3) uint8 RGB frames, which are rendered once and stored in ``folder``.

    Args:
        folder: folder of the stored frames.
        size: (height, width), pixels.
        count: number of frames N. Without the packages of the renderer, there are none.
        rest: called after each frame.
    """
    if count < 1:
        return np.zeros((0, *size, 3), np.uint8)
    path = folder / f"replay_{size[0]}x{size[1]}_{count}.npy"
    try:
        kept: NDArray[np.uint8] = np.load(path, allow_pickle=False)
        return kept
    except (OSError, ValueError):  # the file is missing or damaged
        pass
    try:
        from featdepth_training.rendering.rendered import ClipRenderer

        config = RenderedConfig(frames=1, seed=SEED, height=size[0], width=size[1], scenes=SCENES)
        renderers = [ClipRenderer(config, kind, 0, 0) for kind in SCENES]
        images: list[NDArray[np.uint8]] = []
        for number in range(count):
            images.append(renderers[number % len(SCENES)](number // len(SCENES)).images[0])
            rest()
    except ImportError as error:
        logger.warning("no frames are rendered for replay: %s is not installed", error.name)
        return np.zeros((0, *size, 3), np.uint8)
    frames = np.stack(images)
    with atomic_path(path) as partial, partial.open("wb") as file:
        np.save(file, frames)
    return frames


class Replay:
    """A term that preserves the depth of the initial weights on rendered frames.

    Args:
        frames: (N, H, W, 3) uint8 RGB.
        start: model with the initial weights, frozen and in eval mode.
        weight: weight of the mean change of log depth.
        batch: frames per step.
        device: device of the networks.
    """

    def __init__(
        self, frames: NDArray[np.uint8], start: FeatDepthModel, weight: float, batch: int, device: torch.device
    ) -> None:
        self._frames, self._start, self._weight, self._batch, self._device = frames, start, weight, batch, device
        self._known: dict[int, Tensor] = {}

    def __call__(self, model: FeatDepthModel) -> dict[str, Tensor]:
        """Return the weighted term (a scalar) for frames that torch's global generator draws."""
        chosen = torch.randperm(len(self._frames))[: self._batch].tolist()
        images = torch.from_numpy(self._frames[chosen]).to(self._device).permute(0, 3, 1, 2).float() / 255.0
        for index, image in zip(chosen, images, strict=True):
            if index not in self._known:
                with torch.no_grad():
                    self._known[index] = log_depth(self._start.depth(image[None])[0], self._start.info)[0].half()
        known = torch.stack([self._known[index] for index in chosen]).float()
        change = log_depth(model.depth(images)[0], model.info) - known
        return {"replay": self._weight * change.abs().mean()}
