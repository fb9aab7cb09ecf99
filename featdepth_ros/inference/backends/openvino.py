"""OpenVINO as a back end: processors, fp32 or bf16."""

from __future__ import annotations

from pathlib import Path

import torch

from featdepth_ros.export.facts import GraphFacts
from featdepth_ros.export.graph import MOTION_OUTPUTS
from featdepth_ros.export.openvino_files import compile_openvino, cut_openvino
from featdepth_ros.inference.backends.exported import ExportedBackend, Parts

NAME = "openvino"
PACKAGES = ("onnx", "onnxscript", "openvino")
SUFFIX = ".xml"


def precisions(device: torch.device) -> tuple[str, ...]:
    """Return the precisions in which it can run a float32 file on a device."""
    return ("fp32", "bf16") if device.type == "cpu" else ()


def open_file(path: Path, facts: GraphFacts, precision: str, device: torch.device, threads: int) -> ExportedBackend:
    """Open an exported .xml file. Motion is always computed in float32, because bf16 has only three digits."""
    frame, motion = cut_openvino(path, facts)
    arithmetic = precision if precision in ("fp32", "bf16") else "fp32"
    features = [name for name in facts.outputs if name.startswith("features_")]
    run_frame = compile_openvino(frame, arithmetic, threads, ["disparity", *features])
    run_motion = None if motion is None else compile_openvino(motion, "fp32", threads, MOTION_OUTPUTS)
    return ExportedBackend(NAME, facts, Parts(run_frame, run_motion), precision, device)
