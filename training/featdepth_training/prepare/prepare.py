"""`featdepth prepare`: a recording, decoded and rectified once, at training size, into a cache (see `shards`)."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from featdepth_ros.errors import CalibrationError, ConfigError, RecordingError
from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.recordings.frame import Frame
from featdepth_ros.recordings.recording import Recording
from featdepth_training.data.shards import SUMMARY, CachedFrame, describe, read_indices, write_shard
from featdepth_training.data.store import Store
from featdepth_training.prepare.rectify import Rectifier
from featdepth_training.prepare.selection import SelectionConfig, Selector


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
    """

    height: int = 192
    width: int = 640
    frames: int = 3
    shard_frames: int = 200
    stereo: bool = False
    keep_static: bool = False
    selection: SelectionConfig = field(default_factory=SelectionConfig)

    def __post_init__(self) -> None:
        if self.height < 64 or self.width < 64:
            raise ConfigError(f"the cached size is {self.height}x{self.width}; expected at least 64x64")
        if self.frames < 1 or self.shard_frames < 1:
            raise ConfigError(f"frames is {self.frames}, shard_frames {self.shard_frames}; expected at least 1")

    @property
    def shortest(self) -> int:
        """Frames of the shortest stretch that is kept."""
        return 1 if self.stereo or self.keep_static else self.frames


def prepare(
    recording: Recording,
    output: str | Path,
    config: PrepareConfig,
    progress: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """Write the cache of one recording and return its summary (also ``<output>/summary.json``).

    A cache that is complete is left as it is. One that was stopped, or has lost a shard, goes on where shards are
    missing; finished ones are never written again.

    Args:
        recording: with a calibration.
        output: folder of the cache, or its URL.
        config: sizes and selection.
        progress: called with the number of frames read since the last call.

    Raises:
        CalibrationError: the recording has no calibration.
        ConfigError: ``output`` holds another cache; the message says what differs.
        RecordingError: nothing was worth keeping, or there is no space left (finished shards stay).
        MissingDependencyError: webdataset, or what the URL needs, is not installed.
    """
    if recording.camera is None:
        raise CalibrationError(
            f"'{recording.name}' has no calibration; give --camera FILE or --camera fx,fy,cx,cy (pixels of the images)"
        )
    if config.stereo and recording.partner_name is None:
        raise ConfigError(f"'{recording.name}' was opened without a stereo partner; open_recording takes partner=")
    store = Store(output)
    source = {
        "recording": recording.name,
        "kind": recording.kind,
        "length": len(recording),
        "partner": recording.partner_name,
        "camera_model": asdict(recording.camera),
    }
    describe(store, {**source, **asdict(config)})
    done = store.read(SUMMARY)
    if done is not None:
        finished: dict[str, Any] = json.loads(done)
        if len(store.names("shard_", ".json")) == finished["shards"]:
            return finished
    return _Run(recording, store, config).run(recording.camera, progress)


class _Run:
    """One run of `prepare`; what has to survive a stop is in `_state`."""

    def __init__(self, recording: Recording, store: Store, config: PrepareConfig) -> None:
        self.recording, self.store, self.config = recording, store, config
        self.selector = Selector(config.selection)
        self.rectify = Rectifier((config.height, config.width), config.stereo)
        self.size: tuple[int, int] | None = None
        self.finished = {index.number: index for index in read_indices(store)}
        self.shards = self.written = self.read = self.stretches = 0
        self.unreadable: list[dict[str, str]] = []
        self.stretch, self.stretch_written = -1, False
        self.camera: CameraModel | None = None
        self.pending: list[CachedFrame] = []
        self.ready: list[CachedFrame] = []

    def run(self, camera: CameraModel, progress: Callable[[int], None] | None) -> dict[str, Any]:
        """Read what is not yet in a finished shard, write it, and return the summary."""
        self._resume()
        if progress is not None and self.read:
            progress(self.read)
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
        return self._summary(seconds, (self.read - before) / seconds if self.read > before else None)

    def _frames(self) -> Iterator[Frame]:
        """The frames from number ``self.read`` on; ``read`` counts broken ones too."""
        start, known = self.read, len(self.unreadable)
        for number, frame in enumerate(self.recording.frames_from(start)):
            self.unreadable[known:] = [{"name": s.name, "reason": s.reason} for s in self.recording.skipped]
            self.read = start + number + 1 + len(self.recording.skipped)
            yield frame
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
        verdict = self.selector.judge(frame.image, frame.stamp_ns)
        if verdict == "blurred" or (verdict == "static" and not self.config.keep_static):
            return
        stored = self.rectify(frame, camera)
        if verdict == "static":
            # A stretch of its own beside the one at hand, which goes on: what moves is measured from its last frame.
            self.stretches += 1
            self.ready.append(replace(stored, stretch=self.stretches - 1))
            return
        if verdict != "kept" or self.stretch < 0 or camera != self.camera:
            self._close_stretch()
            self.stretch, self.stretch_written = self.stretches, False
            self.stretches += 1
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
        # Frames get ready only together with all that were pending, so nothing is pending here.
        if self.shards not in self.finished:  # it may be behind one that was lost
            write_shard(self.store, self.shards, self.written, self.ready, self._state())
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
            "selector": self.selector.state_dict(),
        }

    def _resume(self) -> None:
        """Go on after the last of the shards that follow one another from the first."""
        state = None
        while self.shards in self.finished:
            index = self.finished[self.shards]
            self.shards, self.written, state = self.shards + 1, self.written + len(index.frames), index.state
        if not self.shards:
            return
        if state is None:
            raise ConfigError(f"{self.store} holds shards that prepare did not write; name another folder")
        self.read, self.stretches, self.stretch = state["read"], state["stretches"], state["stretch"]
        self.size, self.stretch_written = tuple(state["size"]), state["stretch_written"]
        self.unreadable = list(state["unreadable"])
        self.selector.load_state_dict(state["selector"])
        # A camera that changes between two runs is not distinguished from one that stays; a recording has one camera.
        self.camera = self.recording.camera

    def _summary(self, seconds: float, fps: float | None) -> dict[str, Any]:
        indices = read_indices(self.store)
        frames = [frame for index in indices for frame in index.frames]
        lengths = Counter(frame["stretch"] for frame in frames).values()
        longest = max(3, self.config.frames)
        clips = {n: sum(max(length - n + 1, 0) for length in lengths) for n in range(1, longest + 1)}
        counts = self.selector.counts
        summary = {
            "recording": self.recording.name,
            "frames": len(self.recording),
            "kept": len(frames),
            "stretches": len(lengths),
            "clips": clips[self.config.frames],
            "clips_by_frames": {str(n): count for n, count in clips.items()},
            "size": [self.config.height, self.config.width],
            "with_partner": sum("partner" in frame["offset"] for frame in frames),
            "with_depth": sum("depth" in frame["offset"] for frame in frames),
            "with_pose": sum(frame["pose"] is not None for frame in frames),
            "shards": len(indices),
            "bytes": sum(index.bytes for index in indices),
            "selected": {name: counts[name] for name in sorted(counts)},
            "unreadable": self.unreadable,
            "notes": list(self.recording.notes),
            "seconds": round(seconds, 3),
            "fps": None if fps is None else round(fps, 2),
        }
        if not frames:
            raise RecordingError(
                f"'{self.recording.name}' gave no clip of {self.config.shortest} frames: {summary['selected']}, "
                f"{len(self.unreadable)} unreadable. Is the camera standing still "
                "(prepare --keep-static keeps such frames), or is the rate too low?"
            )
        self.store.write(SUMMARY, json.dumps(summary, indent=1).encode())
        return summary


def summary_table(summary: dict[str, Any]) -> list[tuple[str, str]]:
    """Lines for a terminal: what it is, what it says."""
    words = {
        "static": "nothing moves",
        "blurred": "blurred",
        "other_size": "of another size",
        "without_partner": "without a stereo partner",
        "too_short": "in stretches that are too short",
    }
    cuts = {"gap": "gap in time", "cut": "cut", "too_far": "moved too far"}
    chosen, unreadable = summary["selected"], summary["unreadable"]
    height, width = summary["size"]
    clips = ", ".join(f"{count} of {n}" for n, count in summary["clips_by_frames"].items())
    rows = [
        ("frames read", str(summary["frames"])),
        *((f"left out, {text}", str(chosen[name])) for name, text in words.items() if chosen.get(name)),
        *([("left out, unreadable", f"{len(unreadable)} ({_names(unreadable)})")] if unreadable else []),
        ("kept", f"{summary['kept']} of {height}x{width}, {summary['with_partner']} with partner, "
                 f"{summary['with_depth']} with depth, {summary['with_pose']} with pose"),
        ("stretches", f"{summary['stretches']}" + "".join(
            f", {text} {chosen[name]}" for name, text in cuts.items() if chosen.get(name))),
        ("clips, by frames", clips),
        ("written", f"{summary['shards']} shard(s), {summary['bytes'] / 1e6:.1f} MB"
                    + (f", {summary['fps']} frames/s" if summary["fps"] else "")),
    ]  # fmt: skip
    return rows


def _names(unreadable: list[dict[str, str]]) -> str:
    shown = [entry["name"] for entry in unreadable[:5]]
    return ", ".join(shown) + (", ..." if len(unreadable) > len(shown) else "")
