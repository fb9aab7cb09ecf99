"""Prepares the clips of a refinement, and splits them by time."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.errors import CalibrationError, ConfigError, RecordingError
from featdepth_ros.progress import ProgressBar
from featdepth_ros.recordings.recording import Recording
from featdepth_training.data.cache import ClipCache
from featdepth_training.data.source import ClipSubset, Source, sources_of
from featdepth_training.prepare.config import PrepareConfig
from featdepth_training.prepare.prepare import prepare
from featdepth_training.refine.config import FRAMES, RefineConfig

logger = logging.getLogger(__name__)

#: Least numbers of training clips and of held-out clips; fewer give noisy results.
LEAST_TRAINED, LEAST_HELD_OUT = 6, 3


@dataclass
class RefinementData:
    """The clips of all recordings.

    Attributes:
        names, kinds: names and kinds of the used recordings.
        frames: total number of kept frames.
        train, held_out, everything: clips for training, for evaluation, and of the whole recordings; the latter two are
            thinned out.
        caches: folders of the caches.
        camera: (4,) fx, fy, cx, cy of the first recording, pixels.
    """

    names: list[str] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)
    frames: int = 0
    train: list[Source] = field(default_factory=list)
    held_out: list[Source] = field(default_factory=list)
    everything: list[Source] = field(default_factory=list)
    caches: list[Path] = field(default_factory=list)
    camera: NDArray[np.float64] = field(default_factory=lambda: np.ones(4))

    @property
    def train_clips(self) -> int:
        """Number of training clips."""
        return sum(len(source.clips) for source in self.train)

    @property
    def held_out_clips(self) -> int:
        """Number of held-out clips."""
        return sum(len(source.clips) for source in self.held_out)


def gather(
    recordings: Sequence[Recording],
    size: tuple[int, int],
    stereo: bool,
    folder: Path,
    settings: RefineConfig,
    quiet: bool,
) -> RefinementData:
    """Prepare and split the recordings. One of several without a clip is left out with a warning.

    Args:
        recordings: the recordings, at least one.
        size: (height, width) of the frames, pixels.
        stereo: whether to keep the partner's images.
        folder: folder of the caches; existing caches are reused.
        settings: settings of the refinement.
        quiet: whether to print no progress.

    Raises:
        CalibrationError: the only recording has no calibration.
        ConfigError: ``folder`` holds a cache of another recording under the same name.
        RecordingError: there are no clips, or too few.
    """
    data = RefinementData()
    counts = 0
    for number, recording in enumerate(recordings):
        try:
            cache, frames = _prepared(recording, number, len(recordings), size, stereo, folder, quiet)
            counts += _add(data, recording, cache, frames, settings, alone=len(recordings) == 1)
        except (RecordingError, CalibrationError) as error:
            if len(recordings) == 1:
                raise
            logger.warning("left out: %s", error)
    if data.train_clips < LEAST_TRAINED or data.held_out_clips < LEAST_HELD_OUT:
        names = f"'{data.names[0]}'" if len(data.names) == 1 else f"{len(data.names)} recordings"
        raise _too_few(names, counts, data.held_out_clips)
    spacing = math.ceil(data.held_out_clips / settings.measured_clips)
    data.held_out = [_thinned(source, spacing) for source in data.held_out]
    spacing = math.ceil(sum(len(source.clips) for source in data.everything) / settings.measured_clips)
    data.everything = [_thinned(source, spacing) for source in data.everything]
    return data


def _prepared(
    recording: Recording, number: int, of: int, size: tuple[int, int], stereo: bool, folder: Path, quiet: bool
) -> tuple[Path, int]:
    """Return the folder of the recording's cache, and the number of its frames."""
    name = f"cache_{size[0]}x{size[1]}{'_stereo' if stereo else ''}"
    cache = folder / (name if of == 1 else f"{name}_{number}_{recording.name}")
    config = PrepareConfig(height=size[0], width=size[1], frames=FRAMES, stereo=stereo)
    try:
        with ProgressBar(f"reading {recording.name}", len(recording), shown=not quiet) as bar:
            summary = prepare(recording, cache, config, bar.update)
    except RecordingError as error:
        raise RecordingError(f"nothing to refine on: {error}") from error
    if not summary["clips_by_frames"][str(FRAMES)]:
        raise RecordingError(
            f"nothing to refine on: '{recording.name}' holds no {FRAMES} moving frames in a row ({summary['selected']})"
        )
    return cache, int(summary["kept"])


def _add(
    data: RefinementData, recording: Recording, cache: Path, frames: int, settings: RefineConfig, alone: bool
) -> int:
    """Split a recording's clips, and return their number."""
    every = ClipCache([cache], frames=FRAMES)
    held_out = max(round(len(every) * settings.held_out), 1)
    if alone and held_out < LEAST_HELD_OUT:
        raise _too_few(f"'{recording.name}'", len(every), held_out)
    try:
        train, rest = every.split(settings.held_out)
    except RecordingError as error:
        raise _too_few(f"'{recording.name}'", len(every), held_out) from error
    if not data.names:
        data.camera = every[0].camera
    data.names.append(recording.name)
    data.kinds.append(recording.kind)
    data.caches.append(cache)
    data.frames += frames
    for sources, clips in ((data.train, train), (data.held_out, rest), (data.everything, every)):
        sources += sources_of(clips, rendered=False)
    return len(every)


def _too_few(what: str, clips: int, held_out: int) -> RecordingError:
    return RecordingError(
        f"{what} gives {clips} clips of {FRAMES} moving frames, {held_out} of them held out; expected at least "
        f"{LEAST_TRAINED} to learn from and {LEAST_HELD_OUT} held out: record more frames, or hold out another share"
    )


def _thinned(source: Source, spacing: int) -> Source:
    clips = source.clips
    assert isinstance(clips, ClipSubset)
    some = clips.some(range(0, len(clips), spacing))
    return Source(source.name, some, 1.0, False, source.image_size, location=source.location)


def partnered(recordings: Sequence[Recording]) -> bool:
    """Return whether every recording has a stereo partner.

    Raises:
        ConfigError: only some have one.
    """
    with_partner = [recording.partner_name is not None for recording in recordings]
    if any(with_partner) and not all(with_partner):
        lacking = recordings[with_partner.index(False)].name
        raise ConfigError(f"'{lacking}' was opened without a stereo partner, others with one; refine all in one way")
    return all(with_partner)
