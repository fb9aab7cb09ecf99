"""Networks in files of other runtimes instead of weights; exports of this package are recognised by their metadata."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import torch

from featdepth_ros.errors import CheckpointError, ConfigError
from featdepth_ros.export.facts import GraphFacts
from featdepth_ros.export.onnx_files import read_onnx
from featdepth_ros.export.openvino_files import read_openvino
from featdepth_ros.inference.backends.base import Backend
from featdepth_ros.inference.backends.engines import ENGINES, require
from featdepth_ros.models.info import ModelInfo

#: Suffixes of files with networks instead of weights, and the back ends that run them, the usual one first.
RUN_BY: dict[str, tuple[str, ...]] = {".onnx": ("onnxruntime", "tensorrt"), ".xml": ("openvino",)}


class NetworkFile(Protocol):
    """A file with networks.

    Attributes:
        info: description of the networks.
    """

    info: ModelInfo

    def size_for(self, width: int, height: int, wanted: tuple[int, int] | None) -> tuple[int, int]:
        """Return the input size (height, width) of the networks for images of ``width`` x ``height``.

        Args:
            width: width of the images, pixels.
            height: height of the images, pixels.
            wanted: (height, width) that the user requests; None: any.

        Raises:
            ConfigError: the networks do not support the requested size.
        """

    def open(self, device: torch.device, precision: str, backend: str) -> Backend:
        """Return a back end that runs the file; for the arguments see `networks.Networks`.

        Raises:
            ConfigError: the back end or the precision is not supported.
            MissingDependencyError: the back end's packages are not installed.
        """


def is_network_file(path: Path) -> bool:
    """Return whether a file holds networks for another runtime, by its suffix."""
    return path.suffix.lower() in RUN_BY


def backend_for(path: Path, asked: str, device: torch.device) -> str:
    """Return the name of the back end that runs a file.

    Raises:
        ConfigError: the requested one cannot run it on this device.
        MissingDependencyError: its packages are not installed.
    """
    able = RUN_BY[path.suffix.lower()]
    name = able[0] if asked == "auto" else asked
    if name not in able:
        raise ConfigError(f"backend '{asked}' cannot run '{path.name}'; expected auto or {' or '.join(able)}")
    require(name)
    if not ENGINES[name].precisions(device):
        raise ConfigError(f"the installed backend '{name}' does not support {device}; choose another device")
    return name


def facts_of_file(path: Path) -> GraphFacts:
    """Return the description in an exported file.

    Raises:
        CheckpointError: the file is unreadable, or was not exported by this package.
    """
    facts = read_facts(path)
    if facts is None:
        raise CheckpointError(f"'{path}' was not written by featdepth export; export the weights again")
    return facts


def read_facts(path: Path) -> GraphFacts | None:
    """Return the description in an exported file; None if this package did not write it."""
    return read_openvino(path)[1] if path.suffix.lower() == ".xml" else read_onnx(path)[1]


class ExportedFile:
    """A file that `featdepth export` wrote. See `NetworkFile`."""

    def __init__(self, path: Path, facts: GraphFacts) -> None:
        self.info = facts.info
        self._path = path
        self._facts = facts

    def size_for(self, width: int, height: int, wanted: tuple[int, int] | None) -> tuple[int, int]:  # noqa: ARG002
        """See `NetworkFile.size_for`."""
        own = self._facts.size
        if wanted not in (None, own):
            raise ConfigError(
                f"'{self._path.name}' was exported for images of {own[0]}x{own[1]}, and {wanted[0]}x{wanted[1]} is "
                "requested; export it at that size"
            )
        return own

    def open(self, device: torch.device, precision: str, backend: str) -> Backend:
        """See `NetworkFile.open`."""
        name = backend_for(self._path, backend, device)
        kept = self._facts.precision
        if precision not in ("auto", kept):
            raise ConfigError(
                f"'{self._path.name}' was exported in {kept}, and {precision} is requested; set precision to auto"
            )
        return ENGINES[name].open_file(self._path, self._facts, kept, device, torch.get_num_threads())
