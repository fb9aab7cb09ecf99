"""From clips to short sequences of images at training size, and which sample comes when.

Everything is a pure function of the seed and of the sample's number: a resumed run goes on with the very sample that
an uninterrupted one would have taken, with any number of loader processes.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, Sampler

from featdepth_ros.errors import ConfigError, FeatDepthError, RecordingError
from featdepth_training.config.schema import AugmentConfig, SequenceConfig, TrainConfig
from featdepth_training.data.batch import FrameBatch, collate
from featdepth_training.data.cache import Clip, ClipCache
from featdepth_training.processes.distributed import Processes
from featdepth_training.processes.signals import leave_signals_to_parent


class Part(Sequence[Clip]):
    """Some clips of a cache, in order; read when indexed."""

    def __init__(self, cache: ClipCache, indices: range) -> None:
        self._cache, self._indices = cache, indices

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: Any) -> Any:
        return self._cache[self._indices[index]]


@dataclass(frozen=True)
class Source:
    """Clips of one kind.

    Attributes:
        name: for figures by source.
        clips: to sample from.
        share: of the samples, relative to the other sources.
        rendered: whether its truth is exact and may supervise.
        image_size: (height, width) of its frames, pixels.
        camera_height_m: of the camera over the ground it drives on; 0: unknown.
    """

    name: str
    clips: Sequence[Clip]
    share: float
    rendered: bool
    image_size: tuple[int, int]
    camera_height_m: float = 0.0


@dataclass(frozen=True)
class SampleKey:
    """Attributes: running number of the sample in the run, its source and clip, the size it is wanted at (pixels)."""

    number: int
    source: int
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


def _depths(
    maps: NDArray[np.floating] | None, chosen: list[int], cut: _Cut, key: SampleKey, mirrored: bool
) -> torch.Tensor:
    if maps is None:
        return torch.full((len(chosen), 1, key.height, key.width), float("nan"))
    return torch.stack([_depth(maps[i], cut, key, mirrored) for i in chosen])


class ClipDataset(Dataset[FrameBatch]):
    """Sequences from sources of clips, with geometric augmentation; images stay uint8. Tensors lack the B dimension.

    Args:
        sources: of clips.
        config: number of frames, gap, stereo, shares of standing and reversed sequences.
        augment: None for validation: ``max_gap`` between frames, the central cut-out.
        seed: of the augmentation.
    """

    def __init__(
        self, sources: Sequence[Source], config: SequenceConfig, augment: AugmentConfig | None, seed: int
    ) -> None:
        self.sources, self.config, self.augment, self.seed = list(sources), config, augment, seed

    def __len__(self) -> int:
        return sum(len(source.clips) for source in self.sources)

    def __getitem__(self, key: SampleKey) -> FrameBatch:
        source = self.sources[key.source]
        clip = source.clips[key.clip]
        rng = np.random.default_rng([self.seed, 11, key.number])
        single = len(clip.poses) == 1 < self.config.frames
        chosen = [0] * self.config.frames if single else self._frames(len(clip.poses), rng, source.rendered)
        cut = _cut(clip.images.shape[1:3], key, self.augment, rng)
        mirrored = self.augment is not None and bool(rng.random() < self.augment.flip)
        sx, sy = key.width / cut.width, key.height / cut.height
        fx, fy, cx, cy = clip.camera
        camera = [fx * sx, fy * sy, (cx - cut.x + 0.5) * sx - 0.5, (cy - cut.y + 0.5) * sy - 0.5]
        poses = clip.poses[chosen]
        motions = np.linalg.inv(poses[1:]) @ poses[:-1]
        if single:
            motions = np.full_like(motions, np.nan)
        stereo = np.full((4, 4), np.nan) if clip.T_partner_camera is None else clip.T_partner_camera
        if mirrored:
            camera[2] = key.width - 1 - camera[2]
            mirror = np.diag([-1.0, 1.0, 1.0, 1.0])
            motions, stereo = mirror @ motions @ mirror, mirror @ stereo @ mirror
        return FrameBatch(
            images=torch.stack([_image(clip.images[i], cut, key, mirrored) for i in chosen]),
            depth=_depths(clip.depth, chosen, cut, key, mirrored),
            camera=torch.tensor(camera, dtype=torch.float32),
            motions=torch.from_numpy(motions).float(),
            partner=self._partner(clip, chosen, cut, key, mirrored),
            stereo=torch.from_numpy(stereo).float(),
            rendered=torch.tensor(source.rendered),
            single=torch.tensor(single),
            group=torch.tensor(key.source),
            pseudo_depth=_depths(clip.pseudo_depth, chosen, cut, key, mirrored),
            camera_height=torch.tensor(source.camera_height_m or float("nan")),
        )

    def _partner(self, clip: Clip, chosen: list[int], cut: _Cut, key: SampleKey, mirrored: bool) -> torch.Tensor:
        if not self.config.stereo:
            return torch.zeros(0, 3, key.height, key.width, dtype=torch.uint8)
        if clip.partner is None:
            return torch.zeros(len(chosen), 3, key.height, key.width, dtype=torch.uint8)
        return torch.stack([_image(clip.partner[i], cut, key, mirrored) for i in chosen])

    def _frames(self, count: int, rng: np.random.Generator, rendered: bool) -> list[int]:
        wanted, gap = self.config.frames, self.config.max_gap
        if self.augment is None:
            return [k * gap for k in range(wanted)]
        gap = int(rng.integers(1, gap + 1))
        first = int(rng.integers(0, count - gap * (wanted - 1)))
        draw = rng.random()
        # Without truth a repeated image says nothing of depth and would only pull motion to nought.
        if rendered and draw < self.config.standing:
            return [first] * wanted
        chosen = [first + k * gap for k in range(wanted)]
        return chosen[::-1] if draw < self.config.standing + self.config.reverse else chosen


class Plan:
    """Which sample comes when: sources by share, every clip of a source once before any comes again.

    Args:
        config: of the run.
        sources: of clips.
        processes: ranks share out the micro-batches of a step.
    """

    def __init__(self, config: TrainConfig, sources: Sequence[Source], processes: Processes) -> None:
        self.config, self.processes = config, processes
        self._counts = [len(source.clips) for source in sources]
        shares = np.array([source.share for source in sources], np.float64)
        bounds = np.cumsum(shares / shares.sum())
        total = self._samples_before(config.total_steps)
        # The draws of a longer run begin with those of a shorter one.
        draws = np.random.default_rng([config.seed, 14]).random(total) if len(shares) > 1 else np.zeros(total)
        self._source = np.minimum(np.searchsorted(bounds, draws, side="right"), len(shares) - 1)
        self._turn = np.zeros(total, np.int64)
        for number in range(len(shares)):
            mask = self._source == number
            self._turn[mask] = np.arange(int(mask.sum()))

    def _samples_before(self, step: int) -> int:
        number = 0
        for stage in self.config.stages:
            inside = min(step, stage.steps)
            number += inside * stage.batch_size * stage.accumulate * self.processes.count
            step -= inside
        return number

    def micro_batches(self, step: int) -> list[list[SampleKey]]:
        """Return this process's micro-batches of optimiser step ``step`` (from 0)."""
        stage = self.config.stage_at(step)
        size = stage.sizes[int(np.random.default_rng([self.config.seed, 13, step]).integers(len(stage.sizes)))]
        first, found = self._samples_before(step), []
        for k in range(stage.accumulate):
            start = first + (k * self.processes.count + self.processes.rank) * stage.batch_size
            found.append([self._key(n, size) for n in range(start, start + stage.batch_size)])
        return found

    def _key(self, number: int, size: tuple[int, int]) -> SampleKey:
        source, turn = int(self._source[number]), int(self._turn[number])
        count = self._counts[source]
        clip = int(_order(self.config.seed, turn // count, count, source)[turn % count])
        return SampleKey(number, source, clip, *size)


@lru_cache(maxsize=64)
def _order(seed: int, epoch: int, count: int, source: int) -> NDArray[np.int64]:
    return np.random.default_rng([seed, 12, epoch, source]).permutation(count)


class StepSampler(Sampler[list[SampleKey]]):
    """The micro-batches of steps ``first`` up to the end of the run, one list of keys each."""

    def __init__(self, plan: Plan, first: int) -> None:
        self.plan, self.first = plan, first

    def __len__(self) -> int:
        config = self.plan.config
        return sum(config.stage_at(step).accumulate for step in range(self.first, config.total_steps))

    def __iter__(self) -> Iterator[list[SampleKey]]:
        for step in range(self.first, self.plan.config.total_steps):
            yield from self.plan.micro_batches(step)


class _Reporting(Dataset[FrameBatch | FeatDepthError]):
    """A data set whose errors come as values, which pass from a loader process to its parent without a traceback."""

    def __init__(self, dataset: ClipDataset) -> None:
        self.dataset = dataset

    def __getitem__(self, key: SampleKey) -> FrameBatch | FeatDepthError:
        try:
            return self.dataset[key]
        except FeatDepthError as error:
            return error
        except OSError as error:
            name = self.dataset.sources[key.source].name
            return RecordingError(f"clip {key.clip} of '{name}' cannot be read: {error}")


def _collate(samples: Sequence[FrameBatch | FeatDepthError]) -> FrameBatch | FeatDepthError:
    batches: list[FrameBatch] = []
    for sample in samples:
        if isinstance(sample, FeatDepthError):
            return sample
        batches.append(sample)
    return collate(batches)


def train_loader(dataset: ClipDataset, plan: Plan, first_step: int) -> DataLoader[FrameBatch | FeatDepthError]:
    """Micro-batches of steps ``first_step`` to the end of the run; in place of one that cannot be read, the reason."""
    workers = plan.config.data.workers
    return DataLoader(
        _Reporting(dataset),
        batch_sampler=StepSampler(plan, first_step),
        collate_fn=_collate,
        num_workers=workers,
        worker_init_fn=leave_signals_to_parent,
        # A loader process that is its very child sees that its parent was killed; one of a fork server would stay.
        multiprocessing_context="fork" if workers and sys.platform == "linux" else None,
        # An own generator: a loader would otherwise draw from torch's global one, and a resumed run would differ.
        generator=torch.Generator(),
    )


def size_like(image_size: tuple[int, int], sizes: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Return the size of ``sizes`` (height, width) whose aspect is nearest to ``image_size``'s, the largest of them."""
    aspect = image_size[1] / image_size[0]
    return min(sizes, key=lambda size: (round(abs(np.log(size[1] / size[0] / aspect)), 6), -size[0] * size[1]))


def validation_batches(dataset: ClipDataset, sizes: Sequence[tuple[int, int]], batch_size: int) -> Iterator[FrameBatch]:
    """Every clip once, source by source, at the size of ``sizes`` that suits the source's frames best."""
    if len(dataset) == 0:
        raise ConfigError("there are no validation clips; set data.rendered.validation_clips to at least 1")
    for number, source in enumerate(dataset.sources):
        size = size_like(source.image_size, sizes)
        for first in range(0, len(source.clips), batch_size):
            indices = range(first, min(first + batch_size, len(source.clips)))
            yield collate([dataset[SampleKey(i, number, i, *size)] for i in indices])
