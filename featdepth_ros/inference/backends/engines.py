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
    """What a file of a back end holds."""

    NAME: str
    PACKAGES: tuple[str, ...]
    SUFFIX: str

    def precisions(self, device: torch.device) -> tuple[str, ...]:
        """What it can compute a float32 file in on a device; asked only where its packages are installed."""

    def open_file(
        self, path: Path, facts: GraphFacts, precision: str, device: torch.device, threads: int
    ) -> ExportedBackend:
        """Open an exported file."""


#: In the order in which equals are preferred.
ENGINES: dict[str, Engine] = {engine.NAME: engine for engine in (tensorrt, openvino, onnxruntime)}
#: Extras that install them.
EXTRAS = {"tensorrt": "onnx", "openvino": "openvino", "onnxruntime": "onnx"}


def missing(engine: Engine) -> list[str]:
    """Return the packages of a back end that are not installed."""
    return [name for name in engine.PACKAGES if importlib.util.find_spec(name) is None]


def usable(device: torch.device, precision: str) -> list[str]:
    """Return the names of the back ends that can compute in a precision here."""
    return [name for name, engine in ENGINES.items() if not missing(engine) and precision in engine.precisions(device)]


def require(name: str) -> None:
    """Refuse a back end whose packages are not installed.

    Raises:
        MissingDependencyError: the message names the extra.
    """
    lacking = missing(ENGINES[name])
    if lacking:
        raise MissingDependencyError(
            f"backend '{name}' needs {', '.join(lacking)}, which is not installed; "
            f"install it: pip install 'featdepth_ros[{EXTRAS[name]}]', or set backend to 'torch'"
        )
