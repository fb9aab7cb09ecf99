"""Clips of images with truth in plain .npy shards: written once, memory-mapped from then on.

Layout: ``<folder>/cache.json`` (what made it) and ``<folder>/shard_00000/{images,depth,poses,cameras}.npy``.
A shard appears whole or not at all, so that a writer that was stopped goes on where it was.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.errors import ConfigError, RecordingError

FORMAT = 1
DESCRIPTION = "cache.json"


@dataclass(frozen=True)
class Clip:
    """Some consecutive frames of one camera.

    Attributes:
        images: (F, H, W, 3) uint8 RGB.
        depth: (F, H, W) float16 or float32, metres; inf: nothing there, NaN: unknown.
        poses: (F, 4, 4) float64 T_world_camera (optical axes).
        camera: (4,) float64 fx, fy, cx, cy, pixels.
        group: index of the kind of scene.
    """

    images: NDArray[np.uint8]
    depth: NDArray[np.floating]
    poses: NDArray[np.float64]
    camera: NDArray[np.float64]
    group: int


def _shard(folder: Path, number: int) -> Path:
    return folder / f"shard_{number:05d}"


def _write_shard(path: Path, clips: list[Clip]) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    np.save(partial / "images.npy", np.stack([c.images for c in clips]))
    np.save(partial / "depth.npy", np.stack([c.depth for c in clips]).astype(np.float16))
    np.save(partial / "poses.npy", np.stack([c.poses for c in clips]).astype(np.float64))
    np.save(partial / "cameras.npy", np.stack([c.camera for c in clips]).astype(np.float64))
    os.rename(partial, path)


def write_cache(
    folder: Path,
    description: dict[str, Any],
    count: int,
    shard_clips: int,
    make_clip: Callable[[int], Clip],
    progress: Callable[[int], None] | None = None,
) -> None:
    """Write ``count`` clips; shards that exist are left as they are.

    Args:
        folder: of the cache.
        description: plain values that decide the content; a cache made from others is refused.
        count, shard_clips: clips in all, clips a shard.
        make_clip: number of a clip -> the clip; must not depend on the order of calls.
        progress: told the number of clips done since the last call.

    Raises:
        ConfigError: ``folder`` holds a cache made from another description.
    """
    folder.mkdir(parents=True, exist_ok=True)
    described = json.loads(json.dumps({"format": FORMAT, "shard_clips": shard_clips, **description}))
    file = folder / DESCRIPTION
    if file.is_file():
        found = json.loads(file.read_text(encoding="utf-8"))
        differing = sorted(k for k in {*found, *described} if found.get(k) != described.get(k))
        if differing:
            raise ConfigError(
                f"{folder} holds a cache made with another {', '.join(differing)}; name another folder "
                "(data.rendered.cache) or delete this one"
            )
    else:
        file.write_text(json.dumps(described, indent=1), encoding="utf-8")
    for number, first in enumerate(range(0, count, shard_clips)):
        size = min(shard_clips, count - first)
        path = _shard(folder, number)
        if path.is_dir() and len(np.load(path / "cameras.npy")) < size:
            shutil.rmtree(path)  # the last shard of a smaller cache grows
        if not path.is_dir():
            clips: list[Clip] = []
            for index in range(first, first + size):
                clips.append(make_clip(index))
                if progress is not None:
                    progress(1)
            _write_shard(path, clips)
        elif progress is not None:
            progress(size)


class ClipCache:
    """Reads what `write_cache` wrote; images and depth stay on disk until they are indexed.

    Args:
        folders: caches and the number of clips to take of each; the group of a clip is the place of its cache here.
    """

    def __init__(self, folders: Sequence[tuple[Path, int]]) -> None:
        self._shards: list[_Shard] = []
        self._places: list[tuple[int, int]] = []
        for group, (folder, count) in enumerate(folders):
            before = len(self._places)
            for path in sorted(folder.glob("shard_*")):
                shard = _Shard.open(path, group)
                left = count - (len(self._places) - before)
                self._places += [(len(self._shards), i) for i in range(min(len(shard.poses), left))]
                self._shards.append(shard)
            if len(self._places) - before < count:
                raise RecordingError(f"{folder} holds {len(self._places) - before} clips; expected {count}")

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> Clip:
        number, place = self._places[index]
        shard = self._shards[number]
        return Clip(shard.images[place], shard.depth[place], shard.poses[place], shard.cameras[place], shard.group)


@dataclass(frozen=True)
class _Shard:
    """The arrays of `Clip` with the clips' dimension in front."""

    images: NDArray[np.uint8]
    depth: NDArray[np.floating]
    poses: NDArray[np.float64]
    cameras: NDArray[np.float64]
    group: int

    @classmethod
    def open(cls, path: Path, group: int) -> _Shard:
        return cls(
            images=np.load(path / "images.npy", mmap_mode="r"),
            depth=np.load(path / "depth.npy", mmap_mode="r"),
            poses=np.load(path / "poses.npy"),
            cameras=np.load(path / "cameras.npy"),
            group=group,
        )
