"""ONNX Runtime as a back end: fp32 on processors, and CUDA where that build is installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from featdepth_ros.export.facts import GraphFacts
from featdepth_ros.export.onnx_files import cut_onnx, read_onnx, session_runner
from featdepth_ros.inference.backends.exported import ExportedBackend, Parts

NAME = "onnxruntime"
PACKAGES = ("onnx", "onnxscript", "onnxruntime")
SUFFIX = ".onnx"


def precisions(device: torch.device) -> tuple[str, ...]:
    """Return the precisions in which it can run a float32 file on a device."""
    return ("fp32",) if device.type == "cpu" or "CUDAExecutionProvider" in _providers() else ()


def open_file(
    path: Path, facts: GraphFacts, precision: str, device: torch.device, threads: int, model: Any = None
) -> ExportedBackend:
    """Open an exported ONNX file; ``precision`` is ``fp32`` or that of the file."""
    chosen: list[Any] = ["CPUExecutionProvider"]
    if device.type == "cuda":
        chosen.insert(0, ("CUDAExecutionProvider", {"device_id": device.index or 0}))
    frame, motion = cut_onnx(model or read_onnx(path)[0], facts)
    run_motion = None if motion is None else session_runner(motion, threads, chosen)
    return ExportedBackend(NAME, facts, Parts(session_runner(frame, threads, chosen), run_motion), precision, device)


def _providers() -> list[str]:
    import onnxruntime

    return list(onnxruntime.get_available_providers())
