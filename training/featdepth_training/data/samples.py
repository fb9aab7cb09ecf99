"""Converts clips to training samples: short sequences of images at training size.

A sample depends only on the seed and its number. So a resumed run continues with the same samples as an uninterrupted
one, for any number of loader processes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from featdepth_ros.errors import ConfigError
from featdepth_training.config.schema import AugmentConfig, SequenceConfig
from featdepth_training.data.batch import FrameBatch, collate
from featdepth_training.data.clip import Clip
from featdepth_training.data.source import SampleKey, Source


@dataclass(frozen=True)
class _Cut:
    """A crop of the frame in whole pixels."""

    x: int
    y: int
    width: int
    height: int


def _cut(frame: tuple[int, int], key: SampleKey, augment: AugmentConfig | None, rng: np.random.Generator) -> _Cut:
    """Choose the crop: the largest centred one with the wanted aspect ratio, then zoomed, stretched and shifted."""
    height, width = frame
    aspect, zoom, shift_x, shift_y = key.width / key.height, 1.0, 0.0, 0.0
    if augment is not None:
        aspect *= (1 + augment.stretch) ** rng.uniform(-1, 1)
        zoom = float(np.exp(rng.uniform(*np.log(augment.zoom))))
        shift_x, shift_y = rng.uniform(-augment.shift, augment.shift, 2)
    cut_width = min(width, height * aspect) / zoom
    cut_height = cut_width / aspect
    w, h = max(round(cut_width), 8), max(round(cut_height), 8)
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


def _masks(
    masks: NDArray[np.bool_] | None, chosen: list[int], cut: _Cut, key: SampleKey, mirrored: bool
) -> torch.Tensor:
    if masks is None:
        return torch.zeros((len(chosen), 1, key.height, key.width), dtype=torch.bool)
    return torch.stack([_depth(masks[i], cut, key, mirrored) > 0 for i in chosen])


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
        self._moving = any(source.moving for source in self.sources)

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
            intrinsics=torch.tensor(camera, dtype=torch.float32),
            T_next_frame=torch.from_numpy(motions).float(),
            partner=self._partner(clip, chosen, cut, key, mirrored),
            T_partner_camera=torch.from_numpy(stereo).float(),
            rendered=torch.tensor(source.rendered),
            single=torch.tensor(single),
            group=torch.tensor(key.source),
            pseudo_depth=_depths(clip.pseudo_depth, chosen, cut, key, mirrored),
            camera_height_m=torch.tensor(source.camera_height_m or float("nan")),
            moving=_masks(clip.moving, chosen, cut, key, mirrored) if self._moving else None,
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
        # Without true depth, a repeated image has no information on depth and would only bias motion to zero.
        if rendered and draw < self.config.standing:
            return [first] * wanted
        chosen = [first + k * gap for k in range(wanted)]
        return chosen[::-1] if draw < self.config.standing + self.config.reverse else chosen


def size_like(image_size: tuple[int, int], sizes: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Return the largest of ``sizes`` (height, width) whose aspect ratio is nearest to that of ``image_size``."""
    aspect = image_size[1] / image_size[0]
    return min(sizes, key=lambda size: (round(abs(np.log(size[1] / size[0] / aspect)), 6), -size[0] * size[1]))


def validation_batches(dataset: ClipDataset, sizes: Sequence[tuple[int, int]], batch_size: int) -> Iterator[FrameBatch]:
    """Yield every clip once, source by source, at the size of ``sizes`` that fits the source's frames best."""
    if len(dataset) == 0:
        raise ConfigError("there are no validation clips; set data.rendered.validation_clips to at least 1")
    for number, source in enumerate(dataset.sources):
        size = size_like(source.image_size, sizes)
        for first in range(0, len(source.clips), batch_size):
            indices = range(first, min(first + batch_size, len(source.clips)))
            yield collate([dataset[SampleKey(i, number, i, *size)] for i in indices])
