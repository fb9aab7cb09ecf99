"""Reading and writing of ``gt_depths.npz``: the ground-truth depth maps of a split in one file, as in monodepth2.

Its entry ``data`` is an object array with one (H, W) map per line of the split, because KITTI images differ in size.
numpy stores such an array as a pickle, which can run arbitrary code when it is loaded. This reader interprets the
pickle's instructions itself. It accepts only those that describe arrays of numbers, and calls nothing.
"""

from __future__ import annotations

import pickletools
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.errors import EvaluationError

ENTRY = "data"


def read_truth_archive(path: str | Path) -> list[NDArray[np.floating]]:
    """Read the maps of a ``gt_depths.npz``, (H, W) metres each, 0 where unknown, in the order of its split.

    Raises:
        EvaluationError: the file cannot be read, has no such entry, or holds anything but maps of numbers.
    """
    file = Path(path).expanduser()
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
            if f"{ENTRY}.npy" not in names:
                raise EvaluationError(f"{file} holds {', '.join(names) or 'nothing'}; expected an array '{ENTRY}'")
            with archive.open(f"{ENTRY}.npy") as member:
                values = _read_array(member)
    except (OSError, zipfile.BadZipFile, ValueError, EOFError, IndexError, TypeError, AttributeError) as error:
        raise EvaluationError(f"{file} cannot be read as an archive of depth maps: {error}") from error
    maps = [np.asarray(value) for value in values]
    wrong = [k for k, depth in enumerate(maps) if depth.ndim != 2 or depth.dtype.kind not in "fiu" or not depth.size]
    if wrong or not maps:
        what = f"its map {wrong[0]} has shape {maps[wrong[0]].shape}, {maps[wrong[0]].dtype}" if wrong else "no map"
        raise EvaluationError(f"{file}: {what}; expected maps (height, width) of numbers")
    return maps


def write_truth_archive(path: str | Path, maps: Sequence[NDArray[np.floating]]) -> Path:
    """Write (H, W) maps in metres, with 0 or NaN for unknown pixels, as ``gt_depths.npz``; return its path.

    Raises:
        EvaluationError: the file cannot be written.
    """
    file = Path(path).expanduser()
    values = np.empty(len(maps), dtype=object)
    for number, depth in enumerate(maps):
        values[number] = np.nan_to_num(np.asarray(depth, np.float32), nan=0.0)
    try:
        with file.open("wb") as stream:
            np.savez_compressed(stream, data=values)
    except OSError as error:
        raise EvaluationError(f"{file} could not be written: {error}") from error
    return file


def _read_array(stream: IO[bytes]) -> Any:
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(stream)
    if dtype.hasobject:
        return _array(_Reader().run(stream)).reshape(-1)
    values = np.frombuffer(stream.read(), dtype)
    return values.reshape(shape, order="F" if fortran else "C")


@dataclass
class _Named:
    """A name that the pickle would import."""

    name: str


@dataclass
class _Made:
    """The object that the pickle would create by calling ``name`` with ``arguments``, and its state."""

    name: str
    arguments: tuple[Any, ...]
    state: Any = None


#: All names that an array of arrays needs; ``numpy.core`` was renamed to ``numpy._core``.
_RECONSTRUCT = {f"numpy.{core}.multiarray _reconstruct" for core in ("core", "_core")}
_FROM_BUFFER = {f"numpy.{core}.numeric _frombuffer" for core in ("core", "_core")}
_ARRAY, _DTYPE, _ENCODE = "numpy ndarray", "numpy dtype", "_codecs encode"
_MARK = object()
_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class _Reader:
    """Interprets the instructions of a pickle with its own stack and memo."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memory: dict[int, Any] = {}

    def run(self, stream: IO[bytes]) -> Any:
        """Return the object on the stack at the end.

        Raises:
            ValueError: the pickle has an instruction or a name that no array of numbers needs.
        """
        for opcode, argument, _ in pickletools.genops(stream):
            if opcode.name == "STOP":
                return self.stack.pop()
            self._step(opcode.name, argument)
        raise ValueError("its pickle is truncated")

    def _step(self, name: str, argument: Any) -> None:
        stack = self.stack
        if name in ("PROTO", "FRAME"):
            return
        if name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            self.memory[len(self.memory) if name == "MEMOIZE" else int(argument)] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(self.memory[int(argument)])
        elif name == "MARK":
            stack.append(_MARK)
        elif name in _TUPLES:
            count = _TUPLES[name]
            stack[len(stack) - count :] = [tuple(stack[len(stack) - count :])]
        elif name in ("TUPLE", "APPENDS", "APPEND", "EMPTY_LIST"):
            self._sequence(name)
        elif name in ("GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD"):
            self._object(name, argument)
        elif name in ("NONE", "NEWTRUE", "NEWFALSE"):
            stack.append({"NONE": None, "NEWTRUE": True, "NEWFALSE": False}[name])
        elif isinstance(argument, (int, str, bytes, bytearray)):
            stack.append(argument)
        else:
            raise ValueError(f"the pickle instruction {name} is not allowed in an array of numbers")

    def _sequence(self, name: str) -> None:
        stack = self.stack
        if name == "EMPTY_LIST":
            stack.append([])
            return
        items = [stack.pop()] if name == "APPEND" else []
        while name != "APPEND" and (item := stack.pop()) is not _MARK:
            items.insert(0, item)
        if name == "TUPLE":
            stack.append(tuple(items))
        else:
            stack[-1].extend(items)

    def _object(self, name: str, argument: Any) -> None:
        stack = self.stack
        if name == "GLOBAL":
            stack.append(_known(str(argument)))
        elif name == "STACK_GLOBAL":
            attribute, module = stack.pop(), stack.pop()
            stack.append(_known(f"{module} {attribute}"))
        elif name == "REDUCE":
            arguments, called = stack.pop(), stack.pop()
            if called.name == _ENCODE:
                stack.append(str(arguments[0]).encode("latin1"))  # bytes, as protocol 2 stores them
            else:
                stack.append(_Made(called.name, arguments))
        else:
            state = stack.pop()
            stack[-1].state = state


def _known(name: str) -> _Named:
    if name not in {*_RECONSTRUCT, *_FROM_BUFFER, _ARRAY, _DTYPE, _ENCODE}:
        raise ValueError(f"it would call '{name.replace(' ', '.')}', which no array of numbers needs")
    return _Named(name)


def _array(made: Any) -> NDArray[Any]:
    """Return the array that a state (version, shape, dtype, Fortran order, content) or a buffer describes."""
    if not isinstance(made, _Made) or made.name not in _RECONSTRUCT | _FROM_BUFFER:
        raise ValueError("it holds objects that are not arrays")
    if made.name in _FROM_BUFFER:
        content, described, shape, order = made.arguments
    else:
        _, shape, described, fortran, content = made.state
        order = "F" if fortran else "C"
    if isinstance(content, list):
        values = np.empty(len(content), dtype=object)
        for number, entry in enumerate(content):
            values[number] = _array(entry)
        return values
    if described.name != _DTYPE:
        raise ValueError("an array in it has no data type")
    dtype = np.dtype(described.arguments[0]).newbyteorder(described.state[1])
    if dtype.kind not in "fiu":
        raise ValueError(f"an array in it holds {dtype}; expected numbers")
    return np.frombuffer(content, dtype).reshape(shape, order=order)
