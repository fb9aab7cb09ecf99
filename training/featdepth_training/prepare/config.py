"""What `featdepth prepare` is asked for."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from featdepth_ros.errors import ConfigError
from featdepth_ros.recordings.recording import Recording
from featdepth_ros.recordings.selection import SelectionConfig
from featdepth_training.data.shards import Storage


@dataclass(frozen=True)
class PrepareConfig:
    """How a recording becomes a cache.

    Attributes:
        height, width: of the cached frames, pixels; multiples of 32 need no further resize in training.
        frames: the shortest stretch worth keeping, in frames. With ``stereo`` or ``keep_static`` single frames are
            kept as well.
        shard_frames: frames a file, about.
        stereo: store each frame's stereo partner; frames without one are left out.
        keep_static: keep frames in which nothing moves, each as a stretch of its own.
        selection: which frames are kept.
        part: (first, end) of the recording's frames, counted from 0, that are read at all; the end is not. None: all.
        listed: numbers of the frames that a split file names, as their names have them. They and their neighbours are
            kept whatever `selection` says: a published split was chosen by others. None: there is no such file.
        storage: of the images.
        guess: where the camera of an uncalibrated recording comes from: ``found`` by matching, or the ``usual``
            one, which training corrects. Empty: it has a calibration.
    """

    height: int = 192
    width: int = 640
    frames: int = 3
    shard_frames: int = 200
    stereo: bool = False
    keep_static: bool = False
    selection: SelectionConfig = field(default_factory=SelectionConfig)
    part: tuple[int, int] | None = None
    listed: tuple[int, ...] | None = None
    storage: Storage = "raw"
    guess: str = ""

    def __post_init__(self) -> None:
        if self.height < 64 or self.width < 64:
            raise ConfigError(f"the cached size is {self.height}x{self.width}; expected at least 64x64")
        if self.frames < 1 or self.shard_frames < 1:
            raise ConfigError(f"frames is {self.frames}, shard_frames {self.shard_frames}; expected at least 1")
        if self.part is not None and not 0 <= self.part[0] < self.part[1]:
            raise ConfigError(f"the part is {self.part[0]}:{self.part[1]}; expected A:B with 0 <= A < B")

    @property
    def shortest(self) -> int:
        """Frames of the shortest stretch that is kept."""
        return 1 if self.stereo or self.keep_static else self.frames

    def described(self) -> dict[str, Any]:
        """Plain values for ``cache.json``: what was not asked for is left out, so that earlier caches say the same."""
        values = asdict(self)
        unset = {"part": None, "listed": None, "storage": "raw", "guess": ""}
        return {key: value for key, value in values.items() if key not in unset or value != unset[key]}

    def count_in(self, recording: Recording) -> int:
        """How many frames of a recording are read."""
        first, end = self.part or (0, len(recording))
        return max(min(end, len(recording)) - first, 0)
