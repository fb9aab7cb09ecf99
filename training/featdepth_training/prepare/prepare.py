"""`featdepth prepare`: decodes and rectifies a recording once, at training size, and writes a cache (see `shards`)."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from featdepth_ros.errors import CalibrationError, ConfigError, RecordingError
from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.messages.plausibility import implausible
from featdepth_ros.recordings.frame import Frame
from featdepth_ros.recordings.recording import Recording
from featdepth_ros.recordings.selection import Selector
from featdepth_training.data.shards import SUMMARY, CachedFrame, describe, read_indices, write_shard
from featdepth_training.data.store import Store
from featdepth_training.prepare.config import PrepareConfig
from featdepth_training.prepare.rectify import Rectifier
from featdepth_training.prepare.summary import summarise


def prepare(
    recording: Recording,
    output: str | Path,
    config: PrepareConfig,
    progress: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """Write the cache of one recording and return its summary (also ``<output>/summary.json``).

    A complete cache is not changed. An incomplete one is continued where shards are missing; finished shards are never
    written again.

    Args:
        recording: the recording, which needs a calibration.
        output: folder of the cache, or its URL.
        config: sizes and selection.
        progress: called with the number of frames read since the last call.

    Raises:
        CalibrationError: the recording has no calibration.
        ConfigError: ``output`` holds another cache; the message names the differences.
        RecordingError: no frame was useful, or there is no space left (finished shards are kept).
        MissingDependencyError: webdataset, or a package for the URL, is not installed.
    """
    if recording.camera is None:
        raise CalibrationError(
            f"'{recording.name}' has no calibration; give --camera FILE or --camera fx,fy,cx,cy (pixels of the images)"
        )
    reason = implausible(recording.camera)
    if reason is not None:
        raise CalibrationError(f"the calibration of '{recording.name}' is not used: {reason}; give --camera")
    if not config.count_in(recording):
        first, end = config.part or (0, 0)
        raise RecordingError(
            f"'{recording.name}' has {len(recording)} frames, and none from {first} to {end - 1}; give another --frames"
        )
    if config.stereo and recording.partner_name is None:
        raise ConfigError(f"'{recording.name}' was opened without a stereo partner; give open_recording a partner")
    store = Store(output)
    source = {
        "recording": recording.name,
        "kind": recording.kind,
        "length": len(recording),
        "partner": recording.partner_name,
        "camera_model": asdict(recording.camera),
    }
    describe(store, {**source, **config.described()})
    done = store.read(SUMMARY)
    if done is not None:
        finished: dict[str, Any] = json.loads(done)
        if len(store.names("shard_", ".json")) == finished["shards"]:
            return finished
    return _Run(recording, store, config).run(recording.camera, progress)


class _Run:
    """One run of `prepare`. `_state` holds everything that must survive a stop."""

    def __init__(self, recording: Recording, store: Store, config: PrepareConfig) -> None:
        self.recording, self.store, self.config = recording, store, config
        self.selector = Selector(config.selection)
        self.rectify = Rectifier((config.height, config.width), config.stereo)
        self.size: tuple[int, int] | None = None
        self.finished = {index.number: index for index in read_indices(store)}
        self.shards = self.written = self.stretches = 0
        self.first, self.end = config.part or (0, len(recording))
        self.read = self.first
        self.centres = None if config.listed is None else frozenset(config.listed)
        self.last_number: int | None = None
        self.unreadable: list[dict[str, str]] = []
        self.stretch, self.stretch_written = -1, False
        self.camera: CameraModel | None = None
        self.pending: list[CachedFrame] = []
        self.ready: list[CachedFrame] = []

    def run(self, camera: CameraModel, progress: Callable[[int], None] | None) -> dict[str, Any]:
        """Read the frames that are not in a finished shard, write them, and return the summary."""
        self._resume()
        if progress is not None and self.read > self.first:
            progress(self.read - self.first)
        began, before = time.perf_counter(), self.read
        for frame in self._frames():
            if progress is not None:
                progress(1)
            self._take(frame, frame.camera or camera)
            if len(self.ready) >= self.config.shard_frames:
                self._commit()
        self._close_stretch()
        self.stretch_written = False
        if self.ready:
            self._commit()
        seconds = time.perf_counter() - began
        fps = (self.read - before) / seconds if self.read > before else None
        summary = summarise(self.recording, self.store, self.config, self.selector.counts, self.unreadable)
        summary |= {"seconds": round(seconds, 3), "fps": None if fps is None else round(fps, 2)}
        self.store.write(SUMMARY, json.dumps(summary, indent=1).encode())
        return summary

    def _frames(self) -> Iterator[Frame]:
        """The frames from number ``self.read`` on; ``read`` counts broken ones too."""
        start, known = self.read, len(self.unreadable)
        if start >= self.end:
            return
        for number, frame in enumerate(self.recording.frames_from(start)):
            self.unreadable[known:] = [{"name": s.name, "reason": s.reason} for s in self.recording.skipped]
            read = start + number + 1 + len(self.recording.skipped)
            if read > self.end:
                return
            self.read = read
            yield frame
            if read == self.end:
                return
        self.unreadable[known:] = [{"name": s.name, "reason": s.reason} for s in self.recording.skipped]

    def _take(self, frame: Frame, camera: CameraModel) -> None:
        counts, size = self.selector.counts, (frame.image.shape[1], frame.image.shape[0])
        self.size = self.size or size
        if size != self.size:
            counts["other_size"] += 1
            return
        if self.config.stereo and frame.partner is None:
            counts["without_partner"] += 1
            return
        if self.centres is not None:
            self._take_listed(frame, camera, self.centres)
            return
        verdict = self.selector.judge(frame.image, frame.stamp_ns)
        if verdict == "blurred" or (verdict == "static" and not self.config.keep_static):
            return
        stored = self.rectify(frame, camera)
        if verdict == "static":
            # It becomes a separate sequence. The current one continues: motion is measured from its last frame.
            self.stretches += 1
            self.ready.append(replace(stored, stretch=self.stretches - 1))
            return
        if verdict != "kept" or self.stretch < 0 or camera != self.camera:
            self._begin_stretch()
        self._append(stored, camera)

    def _take_listed(self, frame: Frame, camera: CameraModel, centres: frozenset[int]) -> None:
        """Keep a frame of a split file, or a neighbour of one; a gap in the numbers ends the sequence."""
        if not frame.name.isdecimal():
            raise ConfigError(
                f"frames of '{self.recording.name}' are named like '{frame.name}'; a split file counts frames whose "
                "names are numbers, as KITTI's are"
            )
        number = int(frame.name)
        if not centres & {number - 1, number, number + 1}:
            self.selector.counts["not_listed"] += 1
            return
        self.selector.counts["kept"] += 1
        if self.stretch < 0 or self.last_number != number - 1 or camera != self.camera:
            self._begin_stretch()
        self.last_number = number
        self._append(replace(self.rectify(frame, camera), centre=number in centres), camera)

    def _begin_stretch(self) -> None:
        self._close_stretch()
        self.stretch, self.stretch_written = self.stretches, False
        self.stretches += 1

    def _append(self, stored: CachedFrame, camera: CameraModel) -> None:
        self.camera = camera
        self.pending.append(replace(stored, stretch=self.stretch))
        if self.stretch_written or len(self.pending) >= self.config.shortest:
            self.ready += self.pending
            self.pending, self.stretch_written = [], True

    def _close_stretch(self) -> None:
        if self.pending:
            self.selector.counts["too_short"] += len(self.pending)
            self.pending = []

    def _commit(self) -> None:
        # Frames become ready only together with all pending ones, so none is pending here.
        if self.shards not in self.finished:  # this shard may already exist after a lost one
            state, storage = self._state(), self.config.storage
            write_shard(self.store, self.shards, self.written, self.ready, state, storage)
        self.shards += 1
        self.written += len(self.ready)
        self.ready = []

    def _state(self) -> dict[str, Any]:
        return {
            "read": self.read,
            "size": self.size,
            "stretches": self.stretches,
            "stretch": self.stretch,
            "stretch_written": self.stretch_written,
            "unreadable": list(self.unreadable),
            "last_number": self.last_number,
            "selector": self.selector.state_dict(),
        }

    def _resume(self) -> None:
        """Continue after the last shard of the gapless series from the first one."""
        state = None
        while self.shards in self.finished:
            index = self.finished[self.shards]
            self.shards, self.written, state = self.shards + 1, self.written + len(index.frames), index.state
        if not self.shards:
            return
        if state is None:
            raise ConfigError(f"{self.store} holds shards of another program; name another folder")
        self.read, self.stretches, self.stretch = state["read"], state["stretches"], state["stretch"]
        self.size, self.stretch_written = tuple(state["size"]), state["stretch_written"]
        self.unreadable = list(state["unreadable"])
        self.last_number = state.get("last_number")
        self.selector.load_state_dict(state["selector"])
        # A change of the camera between two runs is not detected, because a recording has only one camera.
        self.camera = self.recording.camera
