"""The back ends that run exported files, by name."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Protocol

import torch

from featdepth_ros.errors import MissingDependencyError
from featdepth_ros.export.facts import GraphFacts
from featdepth_ros.inference.backends import onnxruntime, openvino, tensorrt
from featdepth_ros.inference.backends.exported import ExportedBackend


class Engine(Protocol):
    """Interface of the modules that run exported files."""

    NAME: str
    PACKAGES: tuple[str, ...]
    SUFFIX: str

    def precisions(self, device: torch.device) -> tuple[str, ...]:
        """Return the precisions for a float32 file on a device. Its packages must be installed."""

    def open_file(
        self, path: Path, facts: GraphFacts, precision: str, device: torch.device, threads: int
    ) -> ExportedBackend:
        """Open an exported file."""


#: In order of preference for equal speed.
ENGINES: dict[str, Engine] = {engine.NAME: engine for engine in (tensorrt, openvino, onnxruntime)}
#: Extra of this package that installs each of them.
EXTRAS = {"tensorrt": "onnx", "openvino": "openvino", "onnxruntime": "onnx"}


def missing(engine: Engine) -> list[str]:
    """Return the packages of a back end that are not installed."""
    return [name for name in engine.PACKAGES if importlib.util.find_spec(name) is None]


def usable(device: torch.device, precision: str) -> list[str]:
    """Return the names of the installed back ends that support a precision on a device."""
    return [name for name, engine in ENGINES.items() if not missing(engine) and precision in engine.precisions(device)]


def require(name: str) -> None:
    """Check that the packages of a back end are installed.

    Raises:
        MissingDependencyError: the message names the extra.
    """
    lacking = missing(ENGINES[name])
    if lacking:
        raise MissingDependencyError(
            f"backend '{name}' needs {', '.join(lacking)}, which is not installed; "
            f"install it: pip install 'featdepth_ros[{EXTRAS[name]}]', or set backend to 'torch'"
        )
