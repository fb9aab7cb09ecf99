"""The settings of `featdepth prepare`."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from featdepth_ros.errors import ConfigError
from featdepth_ros.recordings.recording import Recording
from featdepth_ros.recordings.selection import SelectionConfig
from featdepth_training.data.shards import Storage


@dataclass(frozen=True)
class PrepareConfig:
    """Settings for the cache of a recording.

    Attributes:
        height, width: size of the cached frames, pixels; multiples of 32 need no further resize in training.
        frames: length of the shortest kept sequence, in frames. With ``stereo`` or ``keep_static``, single frames are
            kept, too.
        shard_frames: approximate number of frames per file.
        stereo: store the stereo partner of each frame; frames without one are left out.
        keep_static: keep static frames, each as a sequence of its own.
        selection: thresholds for the selection of frames.
        part: (first, end) numbers of the frames to read, counted from 0, without the end. None: all.
        listed: numbers of the frames in a split file, as in their file names. These frames and their neighbours are
            always kept, without `selection`. None: there is no split file.
        storage: format of the images.
        guess: source of the camera of an uncalibrated recording: ``found`` by matching, or the ``usual`` one, which
            training corrects. Empty: the recording has a calibration.
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
            raise ConfigError(f"frames is {self.frames}, shard_frames {self.shard_frames}; expected at least 1 each")
        if self.part is not None and not 0 <= self.part[0] < self.part[1]:
            raise ConfigError(f"the part is {self.part[0]}:{self.part[1]}; expected A:B with 0 <= A < B")

    @property
    def shortest(self) -> int:
        """Length of the shortest kept sequence, in frames."""
        return 1 if self.stereo or self.keep_static else self.frames

    def described(self) -> dict[str, Any]:
        """Return plain values for ``cache.json``, without unused settings, so that existing caches stay equal."""
        values = asdict(self)
        unset = {"part": None, "listed": None, "storage": "raw", "guess": ""}
        return {key: value for key, value in values.items() if key not in unset or value != unset[key]}

    def count_in(self, recording: Recording) -> int:
        """Return the number of frames of a recording that are read."""
        first, end = self.part or (0, len(recording))
        return max(min(end, len(recording)) - first, 0)
