"""`featdepth prepare`: a recording, decoded and rectified once, at training size, into a cache (see `cache`)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from featdepth_ros.errors import CalibrationError, ConfigError, RecordingError
from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.geometry.chain import ImageChain
from featdepth_ros.recordings.frame import Frame
from featdepth_ros.recordings.recording import Recording
from featdepth_training.cache import Clip, describe, shard_path, write_shard
from featdepth_training.selection import SelectionConfig, Selector

SUMMARY = "summary.json"


@dataclass(frozen=True)
class PrepareConfig:
    """How a recording becomes a cache.

    Attributes:
        height, width: of the cached frames, pixels; multiples of 32 need no further resize in training.
        frames: frames of a clip.
        shard_frames: frames a file, about.
        selection: which frames are kept.
    """

    height: int = 192
    width: int = 640
    frames: int = 3
    shard_frames: int = 200
    selection: SelectionConfig = field(default_factory=SelectionConfig)

    def __post_init__(self) -> None:
        if self.height < 64 or self.width < 64:
            raise ConfigError(f"the cached size is {self.height}x{self.width}; expected at least 64x64")
        if self.frames < 2:
            raise ConfigError(f"a clip of {self.frames} frame(s) has no neighbours; expected at least 2")


@dataclass
class _Stretch:
    """Frames kept one after the other, without a cut."""

    images: list[NDArray[np.uint8]] = field(default_factory=list)
    depth: list[NDArray[np.floating] | None] = field(default_factory=list)
    poses: list[NDArray[np.float64]] = field(default_factory=list)

    def clip(self, camera: NDArray[np.float64]) -> Clip:
        depth = None
        if any(d is not None for d in self.depth):
            size = self.images[0].shape[:2]
            depth = np.stack([np.full(size, np.nan, np.float16) if d is None else d for d in self.depth])
        return Clip(np.stack(self.images), depth, np.stack(self.poses), camera)


def prepare(
    recording: Recording,
    output: Path,
    config: PrepareConfig,
    progress: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """Write the cache of one recording and return its summary (also ``<output>/summary.json``).

    A cache that is complete is left as it is. One that was stopped is decoded again; shards that exist are not written
    again.

    Args:
        recording: with a calibration.
        output: folder of the cache.
        config: sizes and selection.
        progress: told the number of frames read since the last call.

    Raises:
        CalibrationError: the recording has no calibration.
        ConfigError: ``output`` holds another cache.
        RecordingError: not one clip could be taken.
    """
    if recording.camera is None:
        raise CalibrationError(
            f"'{recording.name}' has no calibration; give --camera FILE or --camera fx,fy,cx,cy (pixels of the images)"
        )
    describe(output, {"recording": recording.name, "kind": recording.kind, **asdict(config)})
    summary_file = output / SUMMARY
    if summary_file.is_file():
        summary: dict[str, Any] = json.loads(summary_file.read_text(encoding="utf-8"))
        return summary
    selector = Selector(config.selection)
    clips = shards = 0
    for shards, stretches in enumerate(_shards(_stretches(recording, recording.camera, config, selector, progress), config), 1):
        path = shard_path(output, shards - 1)
        if path.is_dir():
            clips += len(np.load(path / "clips.npy"))
        else:
            clips += write_shard(path, stretches, config.frames)
    summary = {
        "recording": recording.name,
        "frames": len(recording),
        "clips": clips,
        "shards": shards,
        "selected": {name: selector.counts[name] for name in sorted(selector.counts)},
        "unreadable": [{"name": s.name, "reason": s.reason} for s in recording.skipped],
    }
    if clips == 0:
        raise RecordingError(
            f"'{recording.name}' gave no clip of {config.frames} frames: {summary['selected']}, "
            f"{len(recording.skipped)} unreadable. Is the camera standing still, or is the rate too low?"
        )
    summary_file.write_text(json.dumps(summary, indent=1), encoding="utf-8")
    return summary


def _stretches(
    recording: Recording,
    camera: CameraModel,
    config: PrepareConfig,
    selector: Selector,
    progress: Callable[[int], None] | None,
) -> Iterator[Clip]:
    """Stretches of at least ``config.frames`` frames, at most ``config.shard_frames`` long."""
    chain: ImageChain | None = None
    first_size = (0, 0)
    stretch, intrinsics = _Stretch(), np.zeros(4)
    for frame in recording:
        if progress is not None:
            progress(1)
        size = (frame.image.shape[1], frame.image.shape[0])
        if chain is None:
            first_size = size
            chain = ImageChain(frame.camera or camera, size, (config.height, config.width))
            assert chain.camera is not None
            intrinsics = np.array([chain.camera.fx, chain.camera.fy, chain.camera.cx, chain.camera.cy])
        if size != first_size:
            selector.counts["other_size"] += 1
            continue
        verdict = selector.judge(frame.image, frame.stamp_ns)
        if verdict in ("static", "blurred"):
            continue
        if verdict != "kept" or len(stretch.images) >= config.shard_frames:
            if len(stretch.images) >= config.frames:
                yield stretch.clip(intrinsics)
            stretch = _Stretch()
        _add(stretch, frame, chain, config)
    if len(stretch.images) >= config.frames:
        yield stretch.clip(intrinsics)


def _add(stretch: _Stretch, frame: Frame, chain: ImageChain, config: PrepareConfig) -> None:
    pixels = chain.apply(frame.image)[0].mul(255.0).round().clamp(0, 255).byte()
    stretch.images.append(np.ascontiguousarray(pixels.permute(1, 2, 0).numpy()))
    depth = None
    if frame.depth is not None and chain.is_pure_resize:
        size = (config.width, config.height)
        depth = cv2.resize(frame.depth, size, interpolation=cv2.INTER_NEAREST_EXACT)
        depth = np.where(depth > 0, depth, np.nan).astype(np.float16)
    stretch.depth.append(depth)
    unknown = np.full((4, 4), np.nan)
    stretch.poses.append(unknown if frame.T_world_camera is None else frame.T_world_camera)


def _shards(stretches: Iterator[Clip], config: PrepareConfig) -> Iterator[list[Clip]]:
    """Group stretches into shards of about ``config.shard_frames`` frames."""
    group: list[Clip] = []
    for stretch in stretches:
        group.append(stretch)
        if sum(len(s.images) for s in group) >= config.shard_frames:
            yield group
            group = []
    if group:
        yield group
