"""Reads and writes weights files: safetensors, or `torch.load` with weights_only, so that no objects are unpickled."""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from featdepth_ros.errors import CheckpointError
from featdepth_ros.files import atomic_path
from featdepth_ros.models.info import ModelInfo

#: Key of this package's description in the safetensors header.
HEADER_KEY = "featdepth"
#: Largest header of the safetensors format, bytes.
LARGEST_HEADER_BYTES = 100_000_000
#: Keys of the tensors in published files (mmcv: ``state_dict``), in training checkpoints (``model``), and in those of
#: PyTorch's tutorial.
_STATE_KEYS = ("state_dict", "model", "model_state_dict", "net", "network")
#: Types of other values in the same dictionary, such as an epoch or an image size.
_BOOKKEEPING = (bool, int, float, str, type(None), np.generic)
#: Globals in pickles of numpy's numbers and arrays: their types, and the functions that create them from bytes. The
#: latter have different names before and since numpy 2.
_NUMPY_DATA: list[Any] = [
    np.dtype,
    np.ndarray,
    *{type(np.dtype(kind)) for kind in "?bBhHiIlLqQefdFDSU"},
    *(
        (maker, f"{room}.multiarray.{name}")
        for maker, name in ((np.float64(0).__reduce__()[0], "scalar"), (np.zeros(0).__reduce__()[0], "_reconstruct"))
        for room in ("numpy.core", "numpy._core")
    ),
]
#: Suffixes of files with exported networks instead of weights.
_EXPORTS = (".onnx", ".xml", ".bin", ".pt2")
#: Prefixes that DataParallel and torch.compile add to every key.
_WRAPPERS = ("module.", "_orig_mod.")


@dataclass(frozen=True)
class WeightsFile:
    """Content of a weights file.

    Attributes:
        path: path of the file.
        format: ``safetensors`` or ``pth``.
        state: the tensors; floating-point ones are float32.
        info: this package's description; None for third-party files.
        stored: names of the dtypes in the file, and the number of tensors of each.
        dropped: descriptions of the file's other content, which was not read.
    """

    path: Path
    format: Literal["safetensors", "pth"]
    state: dict[str, Tensor]
    info: ModelInfo | None
    stored: dict[str, int]
    dropped: tuple[str, ...]


def read_weights(path: Path) -> WeightsFile:
    """Read a weights file of either format.

    Raises:
        CheckpointError: it is not a weights file, or it is truncated, or it has objects other than plain data.
    """
    kind = _sniff(path)
    info: ModelInfo | None = None
    dropped: tuple[str, ...] = ()
    if kind == "safetensors":
        raw, info = _read_safetensors(path)
    else:
        raw, dropped = _read_torch(path)
    stored: dict[str, int] = {}
    for value in raw.values():
        name = str(value.dtype).removeprefix("torch.")
        stored[name] = stored.get(name, 0) + 1
    state = {key: value.float() if value.is_floating_point() else value for key, value in _unwrapped(raw).items()}
    broken = [key for key, value in state.items() if value.is_floating_point() and not bool(value.isfinite().all())]
    if broken:
        raise CheckpointError(f"'{path}' holds values that are not finite in {_some(broken)}; the file is damaged")
    return WeightsFile(path, kind, state, info, stored, dropped)


def read_info(path: Path) -> ModelInfo | None:
    """Return the description in a weights file, without its tensors; None if it has none, as published files.

    Raises:
        CheckpointError: it is not a weights file, or it is truncated or damaged.
    """
    if _sniff(path) == "pth":
        return None
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            header = file.metadata() or {}
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"'{path}' is damaged or truncated: {error}") from error
    return ModelInfo.from_json(header[HEADER_KEY]) if HEADER_KEY in header else None


def _sniff(path: Path) -> Literal["safetensors", "pth"]:
    if path.suffix.lower() in _EXPORTS:
        raise CheckpointError(
            f"'{path}' is a network for another run time, but weights are needed here (.safetensors or .pth); "
            "only infer, demo, eval depth and the node take such files"
        )
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(64)
    except OSError as error:
        raise CheckpointError(f"'{path}' cannot be read: {error.strerror}") from error
    if size == 0:
        raise CheckpointError(f"'{path}' is empty; copy or download the weights again")
    text = start.lstrip().lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        raise CheckpointError(
            f"'{path}' is a web page, not weights: the download was a confirmation or error page; download it again "
            "in a browser"
        )
    if text.startswith(b"version https://git-lfs"):
        raise CheckpointError(f"'{path}' is a Git LFS pointer, not the weights: run 'git lfs pull'")
    header_bytes = int.from_bytes(start[:8], "little")
    # This check precedes that for pickles, because a header of 128, 384, ... bytes also begins with their byte 0x80.
    if start[8:9] == b"{" and header_bytes < LARGEST_HEADER_BYTES:
        if header_bytes + 8 > size:
            raise CheckpointError(
                f"'{path}' is truncated: it has {size} bytes, but its header alone needs {header_bytes}; "
                "copy or download the weights again"
            )
        return "safetensors"
    if start[:4] == b"PK\x03\x04" or start[:1] == b"\x80":
        return "pth"
    raise CheckpointError(
        f"'{path}' is neither a safetensors nor a PyTorch file (it starts with {start[:8]!r}); expected "
        ".safetensors or a published .pth"
    )


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], ModelInfo | None]:
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            header = file.metadata() or {}
            # Copies, because tensors in the file are not aligned, and the results of kernels depend on the alignment.
            raw = {key: file.get_tensor(key).clone() for key in file.keys()}  # noqa: SIM118  (not a dict)
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"'{path}' is damaged or truncated: {error}") from error
    return raw, ModelInfo.from_json(header[HEADER_KEY]) if HEADER_KEY in header else None


def _read_torch(path: Path) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    try:
        with _numpy_allowed():
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"'{path}' was refused: it is damaged, or holds Python objects beyond plain tensors, which could run "
            f"code ({_what_was_refused(error)}). Save its state_dict alone."
        ) from error
    except Exception as error:  # torch raises RuntimeError, EOFError, KeyError, UnicodeDecodeError... on damaged files
        raise CheckpointError(
            f"'{path}' is damaged or truncated ({type(error).__name__}: {_first_line(error)}); download it again"
        ) from error
    if not isinstance(content, Mapping):
        raise CheckpointError(f"'{path}' holds a {type(content).__name__}; expected a dictionary of tensors")
    dropped: list[str] = []
    state: Mapping[Any, Any] = content
    for key in _STATE_KEYS:
        if isinstance(content.get(key), Mapping):
            state = content[key]
            dropped = [_describe(name, value) for name, value in content.items() if name != key]
            break
    beside = [str(key) for key, value in state.items() if isinstance(value, _BOOKKEEPING)]
    if len(beside) < len(state):
        state = {key: value for key, value in state.items() if str(key) not in beside}
        dropped.extend(beside)
    strange = [str(key) for key, value in state.items() if not isinstance(value, Tensor)]
    if strange or not state:
        contents = f"{_some(strange)} are no tensors" if strange else "it is empty"
        raise CheckpointError(f"'{path}' holds no state_dict: {contents}; expected a dictionary of tensors")
    return {str(key): value for key, value in state.items()}, tuple(dropped)


def _describe(name: Any, value: Any) -> str:
    if name == "optimizer":
        return "optimizer state"
    if name == "meta" and isinstance(value, Mapping):
        return "meta (" + ", ".join(f"{key} {entry}" for key, entry in value.items()) + ")"
    return str(name)


def _unwrapped(state: dict[str, Tensor]) -> dict[str, Tensor]:
    for prefix in _WRAPPERS * 2:
        if state and all(key.startswith(prefix) for key in state):
            state = {key.removeprefix(prefix): value for key, value in state.items()}
    return state


def _numpy_allowed() -> AbstractContextManager[None]:
    """Allow numpy's numbers in `torch.load`; before PyTorch 2.6 they are rejected."""
    if tuple(int(part) for part in torch.__version__.split(".")[:2]) < (2, 6):
        return nullcontext()
    allowed: AbstractContextManager[None] = torch.serialization.safe_globals(_NUMPY_DATA)
    return allowed


def _what_was_refused(error: Exception) -> str:
    """Return the name of the rejected object, or the first line of torch's message without terminal escapes."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    match = re.search(r"GLOBAL ([\w.]+)", text)
    return match[1] if match else (text.strip().splitlines() or ["no details"])[0][:160]


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:160] if lines else "no details"


def _some(names: list[str], count: int = 3) -> str:
    more = f" and {len(names) - count} more" if len(names) > count else ""
    return ", ".join(f"'{name}'" for name in names[:count]) + more


def write_safetensors(path: Path, state: Mapping[str, Tensor], info: ModelInfo, dtype: torch.dtype) -> None:
    """Write tensors and description to ``path`` atomically.

    Vectors (biases, batch-norm statistics) stay float32, because they are small and sensitive.

    Raises:
        CheckpointError: the folder is missing or not writable, or a value is out of the range of ``dtype``.
    """
    tensors: dict[str, Tensor] = {}
    for key, value in state.items():
        kept = value.detach().cpu()
        if kept.is_floating_point():
            kept = kept.to(dtype if kept.ndim > 1 else torch.float32)
            if not bool(kept.isfinite().all()):
                raise CheckpointError(f"'{key}' holds values that are not finite as {dtype}; nothing was written")
        tensors[key] = kept.contiguous()
    try:
        with atomic_path(path) as partial:
            # Only one entry: several are written in random order, but equal weights must give equal files.
            # Written here, because `save_file` lets nobody but the owner read it: a node is often another user.
            partial.write_bytes(save(tensors, metadata={HEADER_KEY: info.to_json()}))
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"weights cannot be written to '{path}': {error}") from error
