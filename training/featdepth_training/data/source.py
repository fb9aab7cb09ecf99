"""Sources of clips, and the keys of samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from featdepth_training.data.cache import ClipCache
from featdepth_training.data.clip import Clip


class ClipSubset(Sequence[Clip]):
    """Some clips of a cache in order, which are read on access."""

    def __init__(self, cache: ClipCache, indices: Sequence[int]) -> None:
        self._cache, self._indices = cache, indices

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: Any) -> Any:
        return self._cache[self._indices[index]]

    def some(self, positions: Sequence[int]) -> ClipSubset:
        """Return the clips at these positions."""
        return ClipSubset(self._cache, [self._indices[k] for k in positions])


@dataclass(frozen=True)
class Source:
    """A source of clips.

    Attributes:
        name: name in the figures by source.
        clips: its clips.
        share: share of the samples, relative to the other sources.
        rendered: whether its truth is exact, so that it can supervise.
        image_size: (height, width) of its frames, pixels.
        camera_height_m: height of the camera over the ground, metres; 0: unknown.
        location: location of its cache.
        moving: whether its frames have masks of moving objects.
    """

    name: str
    clips: Sequence[Clip]
    share: float
    rendered: bool
    image_size: tuple[int, int]
    camera_height_m: float = 0.0
    location: str = ""
    moving: bool = False


@dataclass(frozen=True)
class SampleKey:
    """Number of a sample in the run, its source and clip, and its requested size (height, width) in pixels."""

    number: int
    source: int
    clip: int
    height: int
    width: int


def sources_of(cache: ClipCache, rendered: bool) -> list[Source]:
    """Return one source per cache; their shares are their numbers of clips."""
    sources: list[Source] = []
    for group, name in enumerate(cache.names):
        clips = ClipSubset(cache, cache.clips_of(group))
        size, location = cache.image_size_of(group), cache.locations[group]
        moving = cache.has_moving_of(group)
        sources.append(Source(name, clips, float(len(clips)), rendered, size, location=location, moving=moving))
    return sources


def thinned(sources: Sequence[Source], most: int) -> list[Source]:
    """Take at most ``most`` clips (0: all), evenly spaced over all sources; sources without a clip are left out."""
    counts = [len(source.clips) for source in sources]
    total = sum(counts)
    if not 0 < most < total:
        return [source for source in sources if len(source.clips)]
    chosen = np.unique((np.arange(most) + 0.5) * total / most // 1).astype(int)
    result, first = [], 0
    for source, count in zip(sources, counts, strict=True):
        inside = chosen[(chosen >= first) & (chosen < first + count)] - first
        first += count
        if len(inside):
            assert isinstance(source.clips, ClipSubset)
            result.append(replace(source, clips=source.clips.some(inside.tolist())))
    return result
