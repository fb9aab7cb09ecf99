"""TensorRT as a back end, through ONNX Runtime's execution provider. It has not been tested on a GPU yet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from featdepth_ros.export.facts import GraphFacts
from featdepth_ros.export.onnx_files import cut_onnx, read_onnx, session_runner
from featdepth_ros.inference.backends.exported import ExportedBackend, Parts

NAME = "tensorrt"
PACKAGES = ("onnx", "onnxscript", "onnxruntime")
SUFFIX = ".onnx"


def precisions(device: torch.device) -> tuple[str, ...]:
    """Return the precisions in which it can run a float32 file on a device."""
    if device.type != "cuda":
        return ()
    import onnxruntime

    return ("fp32", "fp16") if "TensorrtExecutionProvider" in onnxruntime.get_available_providers() else ()


def open_file(path: Path, facts: GraphFacts, precision: str, device: torch.device, threads: int) -> ExportedBackend:
    """Open an exported ONNX file; its engines are stored beside it. Motion is always computed in float32."""
    frame, motion = cut_onnx(read_onnx(path)[0], facts)

    def providers(half: bool) -> list[Any]:
        settings = {
            "device_id": device.index or 0,
            "trt_fp16_enable": half,
            "trt_engine_cache_enable": True,
            "trt_engine_cache_path": str(path.parent),
        }
        return [("TensorrtExecutionProvider", settings), "CUDAExecutionProvider", "CPUExecutionProvider"]

    run_frame = session_runner(frame, threads, providers(precision == "fp16"))
    run_motion = None if motion is None else session_runner(motion, threads, providers(False))
    return ExportedBackend(NAME, facts, Parts(run_frame, run_motion), precision, device)
