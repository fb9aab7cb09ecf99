"""The learner's view of the buffer: complete segments of one camera, each checked once, with the node's split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from featdepth_ros.errors import RecordingError
from featdepth_training.data.source import Source
from featdepth_training.refine.online.config import OnlineConfig
from featdepth_training.refine.online.matching import Maps, Matcher
from featdepth_training.refine.online.quality import Fitness, fitness
from featdepth_training.refine.online.segments import Segment, SegmentClips, read_segment

#: Both image sides must be multiples of this, because the networks halve the image several times.
_MULTIPLE = 32


@dataclass(frozen=True)
class Portion:
    """The clips of one round.

    Attributes:
        sources: clips, with their files in memory.
        size: (height, width) of the images, pixels.
        camera: fx, fy, cx, cy, pixels.
    """

    sources: list[Source]
    size: tuple[int, int]
    camera: tuple[float, float, float, float]

    @property
    def clips(self) -> int:
        """Number of clips."""
        return sum(len(source.clips) for source in self.sources)

    @property
    def names(self) -> list[str]:
        """Names of the segments."""
        return [source.name for source in self.sources]


class Buffer:
    """The segments of a folder.

    Args:
        folder: ``WORK/buffer``, which may not exist yet.
        config: settings of the learner.

    Attributes:
        refused: reason for each unused segment, by name.
    """

    def __init__(self, folder: Path, config: OnlineConfig) -> None:
        self._folder, self._config = folder, config
        self._segments: dict[str, Segment] = {}
        self._fitness: dict[str, Fitness] = {}
        self._matcher = Matcher()
        self.refused: dict[str, str] = {}

    def refresh(self, rest: Callable[[], None] = lambda: None) -> None:
        """Add new segments and remove deleted ones. ``rest`` is called after each checked frame."""
        names = sorted(path.name for path in self._folder.iterdir() if path.is_dir()) if self._folder.is_dir() else []
        for known in set(self._fitness) - set(names):
            self._segments.pop(known, None)
            self._matcher.forget(known)
            del self._fitness[known]
        for name in names:
            if name not in self._fitness:
                self._add(name, rest)
        self.refused = {name: fit.refused for name, fit in self._fitness.items() if fit.refused}
        chosen = self._camera()
        for name, segment in self._segments.items():
            if name not in self.refused and chosen is not None and not self._alike(segment, chosen):
                height, width = segment.size
                self.refused[name] = f"another camera ({height}x{width}, focal length {segment.camera[0]:.1f})"

    def _add(self, name: str, rest: Callable[[], None]) -> None:
        try:
            segment = read_segment(self._folder / name)
        except RecordingError as error:
            self._fitness[name] = Fitness(refused=str(error))
            return
        if segment is None:
            return
        if segment.size[0] % _MULTIPLE or segment.size[1] % _MULTIPLE or min(segment.size) < 2 * _MULTIPLE:
            fit = Fitness(refused=f"{segment.size[0]}x{segment.size[1]} pictures, no multiples of {_MULTIPLE}")
        else:
            fit = fitness(segment, self._config.quality, rest)
        self._segments[name], self._fitness[name] = segment, fit

    def _alike(self, one: Segment, other: Segment) -> bool:
        ratios = np.array(one.camera[:2]) / np.array(other.camera[:2])
        return one.size == other.size and bool((np.abs(ratios - 1) <= self._config.quality.camera).all())

    def _camera(self) -> Segment | None:
        """Return a segment of the camera with the most usable clips; with equal numbers, of the newest one."""
        fit = [segment for name, segment in self._segments.items() if self._fitness[name].clips]
        fit.sort(key=lambda segment: segment.last_ns)
        votes = [sum(len(self._fitness[other.name].clips) for other in fit if self._alike(one, other)) for one in fit]
        return fit[max(range(len(fit)), key=lambda k: (votes[k], k))] if fit else None

    def usable(self, held_out: bool | None = None, since_ns: int | None = None) -> list[Segment]:
        """Return the usable segments of the current camera, oldest first.

        Args:
            held_out: the split; None: both splits.
            since_ns: only segments that begin after this stamp, nanoseconds; None: all.
        """
        chosen = [
            segment
            for name, segment in self._segments.items()
            if name not in self.refused
            and held_out in (None, segment.held_out)
            and (since_ns is None or segment.stamps_ns[0] > since_ns)
        ]
        return sorted(chosen, key=lambda segment: segment.last_ns)

    def clips(self, held_out: bool, apart_from: Collection[str] = ()) -> int:
        """Return the number of clips of one split, without the segments ``apart_from``."""
        counted = [segment.name for segment in self.usable(held_out) if segment.name not in apart_from]
        return sum(len(self._fitness[name].clips) for name in counted)

    def training(self, seed: int, rest: Callable[[], None] = lambda: None) -> Portion:
        """Return training clips: all, or the newest ones for one half and random older ones for the other.

        Args:
            seed: random seed.
            rest: called after each matched frame.

        Raises:
            RecordingError: there is none any more.
        """
        segments, most = self.usable(False), self._config.most_clips
        counts = [len(self._fitness[segment.name].clips) for segment in segments]
        chosen: list[int] = []
        newest_first = list(range(len(segments)))[::-1]
        total = 0
        while newest_first and total < most / 2:
            chosen.append(newest_first.pop(0))
            total += counts[chosen[-1]]
        for k in np.random.default_rng([seed, 31]).permutation(newest_first).tolist():
            if total + counts[k] <= most:
                chosen.append(k)
                total += counts[k]
        picked = [(segments[k], self._fitness[segments[k].name].clips) for k in sorted(chosen)]
        return self._portion(picked, self._matched(picked, rest) if self._config.matching > 0 else None)

    def _matched(
        self, chosen: Sequence[tuple[Segment, Sequence[tuple[int, ...]]]], rest: Callable[[], None]
    ) -> dict[str, Maps]:
        """Return matched depth of the clips' middle frames, by name of the segment."""
        return {s.name: self._matcher.maps(s, self._fitness[s.name], clips, rest) for s, clips in chosen}

    def measured(self, rest: Callable[[], None] = lambda: None) -> Portion:
        """Return evenly spaced held-out clips with matched depth.

        Args:
            rest: called after each frame that is matched.

        Raises:
            RecordingError: there is none any more.
        """
        chosen = self._spaced(self.usable(True), self._config.measured_clips)
        return self._portion(chosen, self._matched(chosen, rest))

    def watched(self, segment: Segment) -> Portion:
        """Return the clips of one segment for probation.

        Raises:
            RecordingError: the segment was deleted.
        """
        return self._portion(self._spaced([segment], self._config.watched_clips))

    def _spaced(self, segments: Sequence[Segment], most: int) -> list[tuple[Segment, Sequence[tuple[int, ...]]]]:
        every = [(segment, clip) for segment in segments for clip in self._fitness[segment.name].clips]
        count = min(most, len(every))
        picked = {int((k + 0.5) * len(every) / count) for k in range(count)}
        kept: dict[str, list[tuple[int, ...]]] = {}
        for position in sorted(picked):
            segment, clip = every[position]
            kept.setdefault(segment.name, []).append(clip)
        return [(s, kept[s.name]) for s in segments if s.name in kept]

    def _portion(
        self, chosen: Sequence[tuple[Segment, Sequence[tuple[int, ...]]]], maps: Mapping[str, Maps] | None = None
    ) -> Portion:
        sources: list[Source] = []
        for segment, clips in chosen:
            try:
                sources.append(SegmentClips(segment, clips, (maps or {}).get(segment.name)).source())
            except RecordingError:  # the node has deleted it meanwhile
                continue
        if not sources:
            raise RecordingError("the segments were deleted while they were read")
        first = chosen[0][0]
        return Portion(sources, first.size, first.camera)

    def refusals(self) -> str:
        """Return the number of unused segments with the reasons; empty: all are used."""
        if not self.refused:
            return ""
        kinds = Counter(why.split(" (")[0].split(" at frame")[0] for why in self.refused.values())
        listed = ", ".join(f"{count} {why}" for why, count in kinds.most_common(3))
        return f"{len(self.refused)} of {len(self._fitness)} segments are not used: {listed}"
