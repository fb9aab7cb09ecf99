"""Random access to the frames of one cache by its indices."""

from __future__ import annotations

import logging
import os
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.errors import RecordingError
from featdepth_training.data.clip import Clip
from featdepth_training.data.shards import (
    FIELDS,
    NPY_HEADER_BYTES,
    SUMMARY,
    PseudoDepthIndex,
    ShardIndex,
    decode_picture,
    index_name,
    pseudo_depth_name,
    read_description,
    read_indices,
    read_pseudo_depth_index,
    tar_name,
)
from featdepth_training.data.store import Store

logger = logging.getLogger(__name__)


@dataclass
class CacheReader:
    """One cache, with its indices as arrays over its N frames."""

    store: Store
    frames: int
    size: tuple[int, int]
    shards: list[ShardIndex]
    shard: NDArray[np.int32]
    row: NDArray[np.int32]
    offset: dict[str, NDArray[np.int64]]
    crc: dict[str, NDArray[np.uint32]]
    length: dict[str, NDArray[np.int64]]
    centre: NDArray[np.bool_] | None
    stretch: NDArray[np.int64]
    stamps_ns: NDArray[np.int64]
    cameras: NDArray[np.float64]
    poses: NDArray[np.float64]
    T_partner_camera: NDArray[np.float64]
    checked: bytearray
    pseudo_depth: list[PseudoDepthIndex]
    paths: dict[int, Path] = field(default_factory=dict)

    @classmethod
    def open(cls, store: Store, count: int | None, pseudo_depth: bool) -> CacheReader:
        """Read the indices of a cache (of its first ``count`` sequences), and of its pseudo-depth if requested."""
        description = read_description(store)
        if description is None:
            raise RecordingError(f"no cache at {store}; write one with: featdepth prepare INPUT --output {store}")
        shards = read_indices(store)
        if "recording" in description and store.read(SUMMARY) is None:
            logger.warning("%s is not complete; the same featdepth prepare as before completes it", store)
        entries = [
            (number, row, entry) for number, shard in enumerate(shards) for row, entry in enumerate(shard.frames)
        ]
        stretches = sorted({entry["stretch"] for _, _, entry in entries})
        if len(stretches) < (count or 1):
            raise RecordingError(f"{store} holds {len(stretches)} clips; expected {count or 'some'}")
        if count is not None:
            last = stretches[count - 1]
            entries = [entry for entry in entries if entry[2]["stretch"] <= last]
        sizes = {shard.size for shard in shards}
        if len(sizes) > 1:
            raise RecordingError(f"{store} holds frames of sizes {sorted(sizes)}; expected one; prepare it again")
        metas = [entry for _, _, entry in entries]
        offset = {n: np.array([m["offset"].get(n, -1) for m in metas], np.int64) for n in FIELDS}
        matched = [read_pseudo_depth_index(store, s, len(s.frames)) for s in shards] if pseudo_depth else []
        for shard in shards:
            shard.frames.clear()  # the arrays hold all of it
        return cls(
            store=store,
            frames=int(description.get("frames", sum(m["stretch"] == stretches[0] for m in metas))),
            size=shards[0].size,
            shards=shards,
            shard=np.array([number for number, _, _ in entries], np.int32),
            row=np.array([row for _, row, _ in entries], np.int32),
            offset={n: o for n, o in offset.items() if (o >= 0).any()},
            crc={n: np.array([m["crc32"].get(n, 0) for m in metas], np.uint32) for n in FIELDS},
            length={n: np.array([m.get("length", {}).get(n, 0) for m in metas], np.int64) for n in FIELDS},
            centre=np.array([m["centre"] for m in metas], bool) if all("centre" in m for m in metas) else None,
            stretch=np.array([m["stretch"] for m in metas], np.int64),
            stamps_ns=np.array([m["stamp_ns"] for m in metas], np.int64),
            cameras=np.array([m["camera"] for m in metas], np.float64),
            poses=_matrices([m["pose"] for m in metas]),
            T_partner_camera=_matrices([m["T_partner_camera"] for m in metas]),
            checked=bytearray(len(metas)),
            pseudo_depth=[] if None in matched else [index for index in matched if index is not None],
        )

    @property
    def longest(self) -> int:
        """Number of frames of the longest sequence."""
        return int(np.unique(self.stretch, return_counts=True)[1].max())

    def has_all(self, name: str) -> bool:
        """Whether every frame has this field."""
        return name in self.offset and bool((self.offset[name] >= 0).all())

    def has_any(self, name: str) -> bool:
        """Whether any frame has this field."""
        return name in self.offset

    def clips(self, frames: int, gap: int) -> NDArray[np.int32]:
        """Return the (M, frames) frame numbers of all clips, in the order of their first frames.

        For a cache of a split file, these are the clips whose middle frame (of two the later one) is in the file.
        """
        order = np.argsort(self.stretch, kind="stable").astype(np.int32)
        span = (frames - 1) * gap
        if span >= len(order):
            return np.zeros((0, frames), np.int32)
        starts = np.arange(len(order) - span)
        whole = starts[self.stretch[order[starts]] == self.stretch[order[starts + span]]]
        clips = order[whole[:, None] + np.arange(frames) * gap]
        if self.centre is not None:
            clips = clips[self.centre[clips[:, frames // 2]]]
        by_first: NDArray[np.int32] = clips[np.argsort(clips[:, 0], kind="stable")]
        return by_first

    def read(self, numbers: NDArray[np.int32], group: int) -> Clip:
        """Read the frames with these numbers."""
        stereo = "partner" in self.offset and bool((self.offset["partner"][numbers] >= 0).all())
        deep = "depth" in self.offset and bool((self.offset["depth"][numbers] >= 0).any())
        count = len(numbers)
        images = np.empty((count, *self.size, 3), np.uint8)
        partner = np.empty_like(images) if stereo else None
        depth = np.full((count, *self.size), np.nan, np.float16) if deep else None
        moves = "moving" in self.offset and bool((self.offset["moving"][numbers] >= 0).any())
        moving = np.zeros((count, *self.size), np.bool_) if moves else None
        matched = np.empty((count, *self.size), np.float16) if self.pseudo_depth else None
        for into, number in enumerate(numbers.tolist()):
            with open(self._path(int(self.shard[number])), "rb", buffering=0) as file:
                wanted: list[tuple[str, NDArray[Any] | None]] = [
                    ("image", images), ("partner", partner), ("depth", depth), ("moving", moving)
                ]  # fmt: skip
                for name, arrays in wanted:
                    if arrays is not None and self.offset[name][number] >= 0:
                        self._read(file.fileno(), name, number, arrays[into])
            if matched is not None:
                self._read_pseudo_depth(number, matched[into])
            self.checked[number] = 1
        return Clip(
            images=images,
            depth=depth,
            poses=self.poses[numbers],
            camera=self.cameras[numbers[0]],
            group=group,
            partner=partner,
            T_partner_camera=self.T_partner_camera[numbers[0]] if stereo else None,
            pseudo_depth=matched,
            moving=moving,
            stamps_ns=self.stamps_ns[numbers],
        )

    def _read_pseudo_depth(self, number: int, into: NDArray[np.float16]) -> None:
        """Read as `_read`, but from the pseudo-depth file beside the shard."""
        shard = int(self.shard[number])
        index, name = self.pseudo_depth[shard], pseudo_depth_name(self.shards[shard].number)
        view, row = into.data.cast("B"), int(self.row[number])
        with open(self.store.local_copy(name, index.tag, index.bytes), "rb", buffering=0) as file:
            read = os.preadv(file.fileno(), [view], NPY_HEADER_BYTES + row * view.nbytes)
        if read != view.nbytes or (not self.checked[number] and zlib.crc32(view) != index.crc32[row]):
            raise RecordingError(
                f"{name} of {self.store} is damaged at frame {number}; delete it and its .json, and run featdepth "
                "prepare --pseudo-depth again to restore it"
            )

    def _path(self, shard: int) -> Path:
        path = self.paths.get(shard)
        if path is None or (self.store.remote and not path.is_file()):  # the copy may have been removed for another
            index = self.shards[shard]
            path = self.paths[shard] = self.store.local_copy(tar_name(index.number), index.tag, index.bytes)
        return path

    def _read(self, file: int, name: str, number: int, into: NDArray[Any]) -> None:
        """Read one array into ``into``; its checksum is verified at the first access."""
        length = int(self.length[name][number])
        view = memoryview(bytearray(length)) if length else into.data.cast("B")
        # Reading is faster than a memory map, and a truncated file causes no bus error.
        read = os.preadv(file, [view], int(self.offset[name][number]))
        whole = read == view.nbytes and (self.checked[number] or zlib.crc32(view) == int(self.crc[name][number]))
        if not whole or (length and not decode_picture(view, into)):
            shard = self.shards[int(self.shard[number])].number
            raise RecordingError(
                f"shard {tar_name(shard)} of {self.store} is damaged at the {name} of frame {number}; delete it and "
                f"{index_name(shard)}, and run featdepth prepare again to restore them"
                + (f" (its local copy is {self._path(int(self.shard[number]))})" if self.store.remote else "")
            )


def _matrices(values: list[list[list[float]] | None]) -> NDArray[np.float64]:
    unknown = [[float("nan")] * 4] * 4
    return np.array([unknown if v is None else v for v in values], np.float64).reshape(-1, 4, 4)
