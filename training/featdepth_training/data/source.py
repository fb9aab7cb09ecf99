"""Where samples come from: sources of clips, and the key that names a sample of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from featdepth_training.data.cache import ClipCache
from featdepth_training.data.clip import Clip


class ClipSubset(Sequence[Clip]):
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


def sources_of(cache: ClipCache, rendered: bool) -> list[Source]:
    """One source for each part of a cache; shares are their numbers of clips."""
    sources: list[Source] = []
    for group, name in enumerate(cache.names):
        clips = ClipSubset(cache, cache.clips_of(group))
        sources.append(Source(name, clips, float(len(clips)), rendered, cache.image_size_of(group)))
    return sources
