"""Exports weights to a checked file: trace, write to a temporary folder, compare with PyTorch, move into place."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from featdepth_ros.errors import ConfigError, FeatDepthError
from featdepth_ros.export import onnx_files, openvino_files, torch_programs
from featdepth_ros.export.facts import GraphFacts
from featdepth_ros.export.graph import ModelGraph, graph_of
from featdepth_ros.export.parity import CheckFrames, Parity, Runner, compare, run_over, torch_runner
from featdepth_ros.models.base import FeatDepthModel

Format = Literal["onnx", "openvino", "torch-export"]
#: File suffix of each format.
SUFFIXES: dict[str, str] = {"onnx": ".onnx", "openvino": ".xml", "torch-export": ".pt2"}
PRECISIONS = ("fp32", "fp16", "int8")
#: Advice for a file with too large errors, by precision; otherwise it is a higher precision.
_REMEDIES = {
    "int8": "calibrate on more frames of the robot's own camera (--recording, --frames), or take a higher precision"
}
#: Batch size for the comparison of a file with any batch size; it differs from the traced one.
_TRIED_BATCH = 3


@dataclass(frozen=True)
class ExportRequest:
    """Settings of an export.

    Attributes:
        format: ``onnx``, ``openvino`` or ``torch-export``.
        output: the file, with the suffix of the format.
        size: (height, width) of the images, pixels, multiples of 32.
        batch: batch size; 0: any.
        precision: ``fp32``, ``fp16`` or ``int8`` (not for ``torch-export``).
        weights_sha256: SHA-256 of the weights file, for the facts.

    Raises:
        ConfigError: a value is not allowed, or two values contradict each other.
    """

    format: Format
    output: Path
    size: tuple[int, int]
    batch: int = 1
    precision: str = "fp32"
    weights_sha256: str = ""

    def __post_init__(self) -> None:
        suffix = SUFFIXES[self.format]
        if self.output.suffix != suffix:
            raise ConfigError(
                f"the output is '{self.output}'; format {self.format} expects a name that ends in {suffix}"
            )
        if any(side < 64 or side % 32 for side in self.size):
            raise ConfigError(f"the size is {self.size}; expected (height, width), multiples of 32 and at least 64")
        if self.precision not in PRECISIONS:
            raise ConfigError(f"the precision is '{self.precision}'; expected one of {', '.join(PRECISIONS)}")
        if self.precision == "int8" and self.format == "torch-export":
            raise ConfigError("int8 is written as onnx or openvino; torch-export supports fp32 and fp16 only")
        if self.batch < 0:
            raise ConfigError(f"the batch is {self.batch}; expected a positive number, or 0 for any")


@dataclass(frozen=True)
class ExportResult:
    """Result of an export.

    Attributes:
        files: the written files.
        facts: the facts in the file.
        parity: errors relative to PyTorch.
    """

    files: tuple[Path, ...]
    facts: GraphFacts
    parity: Parity


def export_model(model: FeatDepthModel, request: ExportRequest, frames: CheckFrames) -> ExportResult:
    """Write a model for another run time, and compare the file with PyTorch before it is moved into place.

    Args:
        model: model of `load_model`, which is not changed.
        request: settings of the export.
        frames: two or more frames of the requested size, for the comparison and for the calibration of int8.

    Raises:
        ConfigError: there are fewer than two frames, or their size is wrong.
        MissingDependencyError: the format's package is not installed.
        FeatDepthError: the file's outputs differ too much from PyTorch's; no file is written.
    """
    images = frames.images
    if len(images) < 2 or any(image.shape != (3, *request.size) for image in images):
        shapes = sorted({image.shape for image in images})
        raise ConfigError(f"the frames to compare have shapes {shapes}; expected two or more of {(3, *request.size)}")
    reference = graph_of(model)
    halved = request.precision == "fp16" and request.format != "openvino"
    graph = graph_of(model, half=True) if halved else reference
    facts = facts_of(graph, request)
    expected = [outputs for _, outputs in run_over(torch_runner(reference), reference, frames)]
    try:
        request.output.parent.mkdir(parents=True, exist_ok=True)
        # The temporary folder is beside the target, so that the last step is a rename on one file system.
        with tempfile.TemporaryDirectory(dir=request.output.parent, prefix=".export-") as folder:
            draft = Path(folder) / request.output.name
            runner = _write(graph, facts, request, draft, frames)
            given = [outputs for _, outputs in run_over(runner, graph, frames, request.batch or _TRIED_BATCH)]
            parity = compare(expected, given, request.precision, model.info, frames)
            remedy = _REMEDIES.get(request.precision, "take a higher precision")
            parity.require(f"the {request.format} file ({request.precision})", remedy)
            files = tuple(_put(path, request.output.parent) for path in _written(draft))
    except OSError as error:
        raise FeatDepthError(f"'{request.output}' cannot be written: {error}") from error
    return ExportResult(files, facts, parity)


def facts_of(graph: ModelGraph, request: ExportRequest) -> GraphFacts:
    """Return the facts for the requested file."""
    names = tuple(graph.input_names), tuple(graph.output_names)
    info = graph.model.info
    return GraphFacts(info, request.weights_sha256, request.precision, request.size, request.batch, *names)


def _write(graph: ModelGraph, facts: GraphFacts, request: ExportRequest, draft: Path, frames: CheckFrames) -> Runner:
    if request.format == "torch-export":
        torch_programs.write_program(graph, facts, draft)
        return torch_programs.program_runner(draft, facts)
    onnx = draft.with_suffix(".onnx")
    if request.precision == "int8":
        plain = draft.with_name("plain.tmp.onnx")
        onnx_files.write_onnx(graph, facts, plain)
        seen = run_over(torch_runner(graph), graph, frames, request.batch or 1)
        onnx_files.quantise_onnx(plain, onnx, [inputs for inputs, _ in seen][1:])
    else:
        onnx_files.write_onnx(graph, facts, onnx)
    if request.format == "onnx":
        return onnx_files.onnx_runner(onnx)
    openvino_files.write_openvino(onnx, facts, draft, half=request.precision == "fp16")
    onnx.unlink()
    return openvino_files.compile_openvino(draft)


def _written(draft: Path) -> list[Path]:
    """Return the files of an export: the requested one and, for OpenVINO, the one with its weights."""
    return [path for path in (draft, draft.with_suffix(".bin")) if path.exists()]


def _put(path: Path, folder: Path) -> Path:
    return path.replace(folder / path.name)
