"""Frames in WebDataset shards: plain tar files any WebDataset reader streams, each with an index for random access.

``<cache>/cache.json`` says what made the cache. Shard ``n`` is two files:

    shard_0000n.tar     one sample a frame, each frame once. Fields are ``image.npy`` (H, W, 3) uint8 RGB and
                        ``meta.json``. Where known there is ``partner.npy`` (H, W, 3) uint8 RGB. ``depth.npy`` is
                        (H, W) float16 metres (inf: nothing there, NaN: unknown). ``moving.npy`` (H, W) bool shows
                        what moves by itself. Of a cache that is stored so, ``image.jpg`` and ``partner.jpg`` (or
                        ``.png``) take the place of the arrays.
    shard_0000n.json    the samples' meta.json, where their arrays lie in the tar, and their checksums

Where it was asked for, there is also ``pseudo_depth_0000n.npy`` (N, H, W) float16: what `pseudo_depth` found for its N
frames. It has a .json of its own, written last, that names the shard and the matcher it came from.

The .json of a shard is written last: a shard without one does not exist. ``meta.json`` holds:

- ``name`` and ``stamp_ns``;
- ``stretch``: frames of one stretch are neighbours in the order they are stored in; no sample may join frames of two;
- ``camera``: fx, fy, cx, cy in pixels, of both images;
- ``pose``: 4x4 T_world_camera or null;
- ``T_partner_camera``: 4x4 metres or null;
- ``centre``, in frames of a split file: true for those the file names, false for their neighbours.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from featdepth_ros.errors import ConfigError, MissingDependencyError, RecordingError
from featdepth_training.data.store import Store

FORMAT = 3
#: Of caches whose images are files of pictures: what reads format 3 alone refuses them.
ENCODED_FORMAT = 4
#: How images are stored: plain arrays, which are read fastest, or pictures, which take less room.
Storage = Literal["raw", "jpeg", "png"]
SUFFIXES: dict[str, str] = {"raw": "npy", "jpeg": "jpg", "png": "png"}
#: Quality of JPEG: of compressed camera images it changes little more than they were changed before.
JPEG_QUALITY = 95
DESCRIPTION = "cache.json"
SUMMARY = "summary.json"
#: The arrays of a sample, and their types.
FIELDS: dict[str, type[np.generic]] = {"image": np.uint8, "partner": np.uint8, "depth": np.float16, "moving": np.bool_}


#: Numpy pads the header of any array of three axes to this.
NPY_HEADER_BYTES = 128
#: Changes when the matcher's answers do; those of another version are found anew.
PSEUDO_DEPTH_VERSION = 1


@dataclass(frozen=True)
class CachedFrame:
    """One frame as it is stored.

    Attributes:
        image: (H, W, 3) uint8 RGB, rectified.
        camera: (4,) fx, fy, cx, cy, pixels of ``image``.
        stretch: number of the stretch it belongs to.
        stamp_ns, name: of the frame.
        pose: (4, 4) T_world_camera; None or NaN: unknown.
        depth: (H, W) metres; inf: nothing there, NaN: unknown.
        partner: (H, W, 3) uint8 RGB of the stereo partner, seen with the same intrinsics.
        T_partner_camera: (4, 4), metres.
        moving: (H, W) bool, where it shows what moves by itself; None: unknown, or nothing does.
        centre: whether a split file names the frame; None: there is no such file.
    """

    image: NDArray[np.uint8]
    camera: NDArray[np.float64]
    stretch: int
    stamp_ns: int = 0
    name: str = ""
    pose: NDArray[np.float64] | None = None
    depth: NDArray[np.floating] | None = None
    partner: NDArray[np.uint8] | None = None
    T_partner_camera: NDArray[np.float64] | None = None
    centre: bool | None = None
    moving: NDArray[np.bool_] | None = None

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays to store, by field."""
        arrays = {name: getattr(self, name) for name in FIELDS}
        return {name: np.ascontiguousarray(a, FIELDS[name]) for name, a in arrays.items() if a is not None}

    def meta(self) -> dict[str, Any]:
        """The plain values to store."""
        return {
            "name": self.name,
            "stamp_ns": int(self.stamp_ns),
            "stretch": self.stretch,
            "camera": [float(v) for v in self.camera],
            "pose": _matrix(self.pose),
            "T_partner_camera": _matrix(self.T_partner_camera),
            **({} if self.centre is None else {"centre": self.centre}),
        }


def _matrix(values: NDArray[np.float64] | None) -> list[list[float]] | None:
    return None if values is None or not np.isfinite(values).all() else np.asarray(values, np.float64).tolist()


def tar_name(number: int) -> str:
    """File name of shard ``number``."""
    return f"shard_{number:05d}.tar"


def pseudo_depth_name(number: int) -> str:
    """File name of the pseudo-depth of shard ``number``; its index ends in .json instead."""
    return f"pseudo_depth_{number:05d}.npy"


def index_name(number: int) -> str:
    """File name of the index of shard ``number``."""
    return f"shard_{number:05d}.json"


def write_shard(
    store: Store,
    number: int,
    first: int,
    frames: Sequence[CachedFrame],
    state: Mapping[str, Any] | None = None,
    storage: Storage = "raw",
) -> None:
    """Write one shard whole.

    Args:
        store: of the cache.
        number: of the shard.
        first: number of its first frame in the cache; the samples' keys count from there.
        frames: at least one, all of one size.
        state: plain values kept in the index: what a writer needs to go on after this shard.
        storage: of the images; depth is stored as it is.

    Raises:
        RecordingError: no space left, or the store failed otherwise.
        MissingDependencyError: webdataset is not installed.
    """
    try:
        from webdataset.writer import TarWriter
    except ImportError as error:
        raise MissingDependencyError(
            "writing caches needs webdataset; install it with: pip install 'featdepth_ros[train]'"
        ) from error
    entries: list[dict[str, Any]] = []
    with store.writing(tar_name(number)) as partial:
        with open(partial, "wb") as file, TarWriter(file, user="", group="", mtime=0.0) as writer:
            for row, frame in enumerate(frames):
                arrays, meta = frame.arrays(), frame.meta()
                content = {_field(name, storage): _content(name, array, storage) for name, array in arrays.items()}
                key = f"{first + row:08d}"
                writer.write({"__key__": key, **content, "meta.json": json.dumps(meta).encode()})
                entries.append({"key": key, **meta, **_sums(arrays, content, storage)})
        offsets = _offsets(partial)
        size = partial.stat().st_size
    for entry in entries:
        entry["offset"] = {name: offsets[f"{entry['key']}.{_field(name, storage)}"] for name in entry["crc32"]}
    index = {
        "format": FORMAT,
        "bytes": size,
        "size": list(frames[0].image.shape[:2]),
        "frames": entries,
        "state": state,
    }
    store.write(index_name(number), json.dumps(index).encode())


def _encoded(name: str, storage: Storage) -> bool:
    return storage != "raw" and FIELDS[name] is np.uint8


def _field(name: str, storage: Storage) -> str:
    return f"{name}.{SUFFIXES[storage] if _encoded(name, storage) else 'npy'}"


def _content(name: str, array: NDArray[Any], storage: Storage) -> bytes:
    return encode_picture(array, storage) if _encoded(name, storage) else _npy(array)


def _sums(arrays: Mapping[str, NDArray[Any]], content: Mapping[str, bytes], storage: Storage) -> dict[str, Any]:
    """Checksums of what lies at the offsets, and the lengths of pictures in bytes."""
    sums: dict[str, int] = {}
    lengths: dict[str, int] = {}
    for name, array in arrays.items():
        data = content[_field(name, storage)]
        sums[name] = zlib.crc32(data if _encoded(name, storage) else array.data.cast("B"))
        if _encoded(name, storage):
            lengths[name] = len(data)
    return {"crc32": sums, **({"length": lengths} if lengths else {})}


def encode_picture(image: NDArray[np.uint8], storage: Storage) -> bytes:
    """Encode (H, W, 3) uint8 RGB as PNG (no loss, quickest level) or JPEG (`JPEG_QUALITY`, full colour resolution)."""
    if storage == "png":
        options = [cv2.IMWRITE_PNG_COMPRESSION, 1]
    else:
        whole = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444
        options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, whole]
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    return bytes(cv2.imencode(f".{SUFFIXES[storage]}", bgr, options)[1].tobytes())


def decode_picture(content: bytes | memoryview, into: NDArray[np.uint8]) -> bool:
    """Decode what `encode_picture` gave into an array of its shape; False when it is no such picture."""
    bgr = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    if bgr is None or bgr.shape != into.shape:
        return False
    cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB, dst=into)
    return True


def _npy(array: NDArray[Any]) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, allow_pickle=False)
    return stream.getvalue()


def _offsets(path: Path) -> dict[str, int]:
    """Where the values of each .npy member, and each picture, begin: bytes from the start of the tar."""
    offsets: dict[str, int] = {}
    with tarfile.open(path, "r:") as tar:
        for member in tar:
            if member.name.endswith(".npy"):
                content = tar.extractfile(member)
                assert content is not None
                version = np.lib.format.read_magic(content)
                read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                read(content)
                offsets[member.name] = member.offset_data + content.tell()
            elif member.name.endswith((".jpg", ".png")):
                offsets[member.name] = member.offset_data
    return offsets


@dataclass(frozen=True)
class ShardIndex:
    """What ``shard_*.json`` says; ``tag`` changes with the content of the shard."""

    number: int
    bytes: int
    size: tuple[int, int]
    frames: list[dict[str, Any]]
    state: dict[str, Any] | None
    tag: str


def read_indices(store: Store, numbers: Sequence[int] | None = None) -> list[ShardIndex]:
    """Read the indices of the finished shards (or of ``numbers``), in order.

    Raises:
        RecordingError: an index is damaged, or of a format not known here.
    """
    names = store.names("shard_", ".json") if numbers is None else [index_name(n) for n in numbers]
    indices: list[ShardIndex] = []
    for name, content in zip(names, store.read_all(names), strict=True):
        try:
            raw = json.loads(content)
            height, width = raw["size"]
            tag = hashlib.sha256(content).hexdigest()[:16]
            number = int(name[len("shard_") : -len(".json")])
            indices.append(ShardIndex(number, raw["bytes"], (height, width), raw["frames"], raw["state"], tag))
        except (ValueError, KeyError, TypeError) as error:
            raise RecordingError(
                f"{name} of {store} is damaged ({type(error).__name__}: {error}); delete it and its .tar, and run "
                "featdepth prepare again to restore them"
            ) from error
    return indices


@dataclass(frozen=True)
class PseudoDepthIndex:
    """What ``pseudo_depth_*.json`` says: size, a checksum for each frame, the share of the pixels that have it."""

    bytes: int
    crc32: list[int]
    share: float
    tag: str


def write_pseudo_depth_shard(store: Store, shard: ShardIndex, maps: NDArray[np.float16]) -> PseudoDepthIndex:
    """Write the pseudo-depth (N, H, W) of one shard whole.

    Raises:
        RecordingError: no space left, or the store failed otherwise.
    """
    name = pseudo_depth_name(shard.number)
    content = _npy(maps)
    sums = [zlib.crc32(np.ascontiguousarray(depth).data.cast("B")) for depth in maps]
    index = {
        "version": PSEUDO_DEPTH_VERSION,
        "shard": shard.tag,
        "bytes": len(content),
        "crc32": sums,
        "share": float(np.isfinite(maps).mean()),
    }
    store.write(name, content)
    text = json.dumps(index).encode()
    store.write(name.replace(".npy", ".json"), text)
    return _pseudo_depth_index(text, shard, len(maps))  # type: ignore[return-value]


def read_pseudo_depth_index(store: Store, shard: ShardIndex, frames: int) -> PseudoDepthIndex | None:
    """The index of the pseudo-depth of a shard of so many frames; None: there is none of this shard by this matcher."""
    content = store.read(pseudo_depth_name(shard.number).replace(".npy", ".json"))
    return None if content is None else _pseudo_depth_index(content, shard, frames)


def _pseudo_depth_index(content: bytes, shard: ShardIndex, frames: int) -> PseudoDepthIndex | None:
    try:
        raw = json.loads(content)
        if (raw["version"], raw["shard"], len(raw["crc32"])) != (PSEUDO_DEPTH_VERSION, shard.tag, frames):
            return None
        tag = hashlib.sha256(content).hexdigest()[:16]
        return PseudoDepthIndex(int(raw["bytes"]), list(raw["crc32"]), float(raw["share"]), tag)
    except (ValueError, KeyError, TypeError):
        return None


def read_description(store: Store) -> dict[str, Any] | None:
    """Read ``cache.json``; None when there is none.

    Raises:
        RecordingError: damaged, or an older format.
    """
    content = store.read(DESCRIPTION)
    if content is None:
        return None
    try:
        description: dict[str, Any] = json.loads(content)
    except ValueError as error:
        raise RecordingError(f"{DESCRIPTION} of {store} is damaged: {error}; prepare the cache again") from error
    if description.get("format") not in (FORMAT, ENCODED_FORMAT):
        older = " (.npy shards of an earlier version)" if description.get("format") in (1, 2) else ""
        raise RecordingError(
            f"{store} holds a cache of format {description.get('format')}{older}, this version reads format {FORMAT}; "
            "delete it and make it again (featdepth prepare INPUT --output CACHE)"
        )
    return description


def describe(store: Store, description: Mapping[str, Any]) -> None:
    """Write ``cache.json``, or check that the one there says the same.

    Raises:
        ConfigError: the store holds a cache made from another description; the message says what differs.
        RecordingError: it holds a cache of an older format.
    """
    encoded = description.get("storage", "raw") != "raw"
    described = json.loads(json.dumps({"format": ENCODED_FORMAT if encoded else FORMAT, **description}))
    existing = read_description(store)
    if existing is None:
        store.write(DESCRIPTION, json.dumps(described, indent=1).encode())
        return
    old, new = _flat(existing), _flat(described)
    differing = [
        f"{key} ({old.get(key)}, now {new.get(key)})" for key in sorted({*old, *new}) if old.get(key) != new.get(key)
    ]
    if differing:
        raise ConfigError(
            f"{store} holds a cache made with another {', '.join(differing)}; name another folder or delete this one"
        )


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat.update(_flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value})
    return flat
