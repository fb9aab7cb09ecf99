"""From clips to short sequences of images at training size, and which sample comes when.

Everything is a pure function of the seed and of the sample's number: a resumed run goes on with the very sample that
an uninterrupted one would have taken, with any number of loader processes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, Sampler

from featdepth_ros.errors import ConfigError
from featdepth_training.batch import FrameBatch, collate
from featdepth_training.cache import Clip, ClipCache
from featdepth_training.config import AugmentConfig, SequenceConfig, TrainConfig


@dataclass(frozen=True)
class SampleKey:
    """Attributes: running number of the sample in the run, clip to take it from, size it is wanted at (pixels)."""

    number: int
    clip: int
    height: int
    width: int


@dataclass(frozen=True)
class _Cut:
    """A rectangle of the rendered frame, whole pixels."""

    x: int
    y: int
    width: int
    height: int


def _cut(frame: tuple[int, int], key: SampleKey, augment: AugmentConfig | None, rng: np.random.Generator) -> _Cut:
    """Choose the cut-out: the widest of the wanted aspect, centred, then zoomed, stretched and shifted a little."""
    height, width = frame
    aspect, zoom, shift_x, shift_y = key.width / key.height, 1.0, 0.0, 0.0
    if augment is not None:
        aspect *= (1 + augment.stretch) ** rng.uniform(-1, 1)
        zoom = float(np.exp(rng.uniform(*np.log(augment.zoom))))
        shift_x, shift_y = rng.uniform(-augment.shift, augment.shift, 2)
    cut_width = min(width, height * aspect) / zoom
    cut_height = cut_width / aspect
    w, h = max(int(round(cut_width)), 8), max(int(round(cut_height)), 8)
    w, h = min(w, width), min(h, height)
    x = int(np.clip(round((width - w) / 2 + shift_x * width), 0, width - w))
    y = int(np.clip(round((height - h) / 2 + shift_y * height), 0, height - h))
    return _Cut(x, y, w, h)


def _image(image: NDArray[np.uint8], cut: _Cut, key: SampleKey, mirrored: bool) -> torch.Tensor:
    part = image[cut.y : cut.y + cut.height, cut.x : cut.x + cut.width]
    shrinks = key.width <= cut.width and key.height <= cut.height
    part = cv2.resize(part, (key.width, key.height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    part = part[:, ::-1] if mirrored else part
    return torch.from_numpy(np.ascontiguousarray(part.transpose(2, 0, 1)))


def _depth(depth: NDArray[np.floating], cut: _Cut, key: SampleKey, mirrored: bool) -> torch.Tensor:
    part = np.asarray(depth[cut.y : cut.y + cut.height, cut.x : cut.x + cut.width], np.float32)
    part = cv2.resize(part, (key.width, key.height), interpolation=cv2.INTER_NEAREST_EXACT)
    part = part[:, ::-1] if mirrored else part
    return torch.from_numpy(np.ascontiguousarray(part[None]))


def _depths(clip: Clip, chosen: list[int], cut: _Cut, key: SampleKey, mirrored: bool) -> torch.Tensor:
    if clip.depth is None:
        return torch.full((len(chosen), 1, key.height, key.width), float("nan"))
    return torch.stack([_depth(clip.depth[i], cut, key, mirrored) for i in chosen])


class ClipDataset(Dataset[FrameBatch]):
    """Sequences from a cache, with geometric augmentation; images stay uint8. Tensors lack the B dimension.

    Args:
        cache: of clips.
        config: number of frames, gap, shares of standing and reversed sequences.
        augment: None for validation: ``max_gap`` between frames, the central cut-out.
        seed: of the augmentation.
    """

    def __init__(self, cache: ClipCache, config: SequenceConfig, augment: AugmentConfig | None, seed: int) -> None:
        self.cache, self.config, self.augment, self.seed = cache, config, augment, seed

    def __len__(self) -> int:
        return len(self.cache)

    def __getitem__(self, key: SampleKey) -> FrameBatch:
        clip = self.cache[key.clip]
        rng = np.random.default_rng([self.seed, 11, key.number])
        chosen = self._frames(len(clip.poses), rng)
        cut = _cut(clip.images.shape[1:3], key, self.augment, rng)
        mirrored = self.augment is not None and bool(rng.random() < self.augment.flip)
        sx, sy = key.width / cut.width, key.height / cut.height
        fx, fy, cx, cy = clip.camera
        camera = [fx * sx, fy * sy, (cx - cut.x + 0.5) * sx - 0.5, (cy - cut.y + 0.5) * sy - 0.5]
        poses = clip.poses[chosen]
        motions = np.linalg.inv(poses[1:]) @ poses[:-1]
        if mirrored:
            camera[2] = key.width - 1 - camera[2]
            mirror = np.diag([-1.0, 1.0, 1.0, 1.0])
            motions = mirror @ motions @ mirror
        return FrameBatch(
            images=torch.stack([_image(clip.images[i], cut, key, mirrored) for i in chosen]),
            depth=_depths(clip, chosen, cut, key, mirrored),
            camera=torch.tensor(camera, dtype=torch.float32),
            motions=torch.from_numpy(motions).float(),
            group=torch.tensor(clip.group),
        )

    def _frames(self, count: int, rng: np.random.Generator) -> list[int]:
        wanted, gap = self.config.frames, self.config.max_gap
        if self.augment is None:
            return [k * gap for k in range(wanted)]
        gap = int(rng.integers(1, gap + 1))
        first = int(rng.integers(0, count - gap * (wanted - 1)))
        draw = rng.random()
        if draw < self.config.standing:
            return [first] * wanted
        chosen = [first + k * gap for k in range(wanted)]
        return chosen[::-1] if draw < self.config.standing + self.config.reverse else chosen


@lru_cache(maxsize=2)
def _order(seed: int, epoch: int, count: int) -> NDArray[np.int64]:
    return np.random.default_rng([seed, 12, epoch]).permutation(count)


def keys_of_step(step: int, config: TrainConfig, clips: int) -> list[SampleKey]:
    """Return the samples of optimiser step ``step`` (from 0): every clip once an epoch, in an order of its own."""
    number, before = 0, step
    for stage in config.stages:
        inside = min(before, stage.steps)
        number += inside * stage.batch_size
        before -= inside
    stage = config.stage_at(step)
    size = stage.sizes[int(np.random.default_rng([config.seed, 13, step]).integers(len(stage.sizes)))]
    keys: list[SampleKey] = []
    for n in range(number, number + stage.batch_size):
        clip = int(_order(config.seed, n // clips, clips)[n % clips])
        keys.append(SampleKey(n, clip, *size))
    return keys


class StepSampler(Sampler[list[SampleKey]]):
    """The samples of steps ``first`` up to ``last``, one list a step."""

    def __init__(self, config: TrainConfig, clips: int, first: int, last: int) -> None:
        self.config, self.clips, self.first, self.last = config, clips, first, last

    def __len__(self) -> int:
        return max(self.last - self.first, 0)

    def __iter__(self) -> Iterator[list[SampleKey]]:
        for step in range(self.first, self.last):
            yield keys_of_step(step, self.config, self.clips)


def train_loader(dataset: ClipDataset, config: TrainConfig, first_step: int) -> DataLoader[FrameBatch]:
    """Batches of steps ``first_step`` to the end of the run."""
    return DataLoader(
        dataset,
        batch_sampler=StepSampler(config, len(dataset), first_step, config.total_steps),
        collate_fn=collate,
        num_workers=config.data.workers,
        # An own generator: a loader would otherwise draw from torch's global one, and a resumed run would differ.
        generator=torch.Generator(),
    )


def validation_batches(dataset: ClipDataset, size: tuple[int, int], batch_size: int) -> Iterator[FrameBatch]:
    """Every clip once, in order, at ``size`` (height, width)."""
    if len(dataset) == 0:
        raise ConfigError("there are no validation clips; set data.rendered.validation_clips to at least 1")
    for first in range(0, len(dataset), batch_size):
        indices = range(first, min(first + batch_size, len(dataset)))
        yield collate([dataset[SampleKey(i, i, *size)] for i in indices])


