"""ONNX files: writing from a graph, reading, splitting into two models, quantisation."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from featdepth_ros.errors import CheckpointError, FeatDepthError
from featdepth_ros.export.facts import GraphFacts
from featdepth_ros.export.graph import MOTION_OUTPUTS, ModelGraph, example_inputs
from featdepth_ros.export.packages import needed
from featdepth_ros.export.parity import Array, Runner
from featdepth_ros.models.compact import PRECISE_LAYERS

#: ONNX operator set: the oldest with all operators of the graphs (GridSample since 16, ReduceMax since 18).
OPSET = 18
EXTRA = "onnx"
#: Parts of the model that int8 does not quantise: the heads of disparity, and all parts for motion. In the compact one
#: also `PRECISE_LAYERS` and the layer before the finest head. Without these, the error of its disparity is two to four
#: times as large (docs/results.md). In the exporter's metadata a quote ends a name.
_KEPT_IN_FLOAT = (
    *("decoder.head", "pose_head", ".disp", "PoseDecoder", "PoseEncoder", "decoder.refine.3"),
    *(f"encoder.{layer}'" for layer in PRECISE_LAYERS),
)


def traced_inputs(graph: ModelGraph, facts: GraphFacts) -> tuple[tuple[torch.Tensor, ...], Any]:
    """Return inputs for tracing a graph, and their dynamic axes: the batch axis if ``facts.batch`` is 0."""
    inputs = tuple(example_inputs(graph, facts.batch or 2, facts.size).values())
    if facts.batch:
        return inputs, None
    return inputs, tuple({0: torch.export.Dim("batch", min=1, max=1024)} for _ in inputs)


def write_onnx(graph: ModelGraph, facts: GraphFacts, path: Path) -> None:
    """Write an ONNX file of operator set `OPSET`, with the facts as metadata.

    Raises:
        MissingDependencyError: onnx or onnxscript is not installed.
    """
    onnx = needed("onnx", EXTRA)
    needed("onnxscript", EXTRA)  # torch's exporter needs it
    inputs, dynamic = traced_inputs(graph, facts)
    with _quiet():
        program = torch.onnx.export(
            graph,
            inputs,
            input_names=graph.input_names,
            output_names=graph.output_names,
            dynamo=True,
            opset_version=OPSET,
            dynamic_shapes=dynamic,
            custom_translation_table={torch.ops.aten.sigmoid.default: _exact_sigmoid},
            verbose=False,
        )
    if program is None:
        raise FeatDepthError(
            "PyTorch's exporter returned no ONNX program; expected one, so install another version of torch"
        )
    model = program.model_proto
    for key, value in facts.entries().items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress messages of exporter and quantiser about missing packages and skipped optimisations."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir", "")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _exact_sigmoid(x: Any) -> Any:
    """Return an exact sigmoid; the approximations of run times have an error of 1e-7, or 1e-4 of a far disparity."""
    from onnxscript import opset18 as op

    return op.Reciprocal(op.Add(op.Exp(op.Neg(x)), op.CastLike(op.Constant(value_float=1.0), x)))


def read_onnx(path: Path) -> tuple[Any, GraphFacts | None]:
    """Return the model of an ONNX file, and its facts if this package exported it.

    Raises:
        MissingDependencyError: onnx is not installed.
        CheckpointError: it is not an ONNX file.
    """
    onnx = needed("onnx", EXTRA)
    try:
        model = onnx.load(str(path))
        entries = {entry.key: entry.value for entry in model.metadata_props}
    except Exception as error:  # errors of protobuf, which is not imported here
        raise CheckpointError(f"'{path}' is not an ONNX file, or is damaged: {str(error).splitlines()[0]}") from error
    return model, GraphFacts.from_entries(entries)


def cut_onnx(model: Any, facts: GraphFacts) -> tuple[Any, Any | None]:
    """Split an exported graph at its features.

    Returns:
        The model for a frame and the model for a motion; the latter is None for depth alone. The first has the input
        ``image`` and the outputs ``disparity`` and ``features_*``. The second has the inputs ``features_*``,
        ``previous_features_*`` and ``intrinsics``.
    """
    utils = needed("onnx.utils", EXTRA)
    features = [name for name in facts.outputs if name.startswith("features_")]
    extractor = utils.Extractor(model)
    frame = extractor.extract_model(["image"], ["disparity", *features])
    if not features:
        return frame, None
    others = [name for name in facts.inputs if name != "image"]
    return frame, extractor.extract_model([*features, *others], list(MOTION_OUTPUTS))


def quantise_onnx(source: Path, target: Path, calibration: Sequence[Mapping[str, Array]]) -> None:
    """Quantise weights and activations of an fp32 ONNX file to int8, with calibration inputs.

    Raises:
        MissingDependencyError: onnxruntime is not installed.
    """
    quantization = needed("onnxruntime.quantization", EXTRA)
    model, _ = read_onnx(source)
    kept = [node.name for node in model.graph.node if any(part in _scope(node) for part in _KEPT_IN_FLOAT)]

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            self._left: Iterator[Mapping[str, Array]] = iter(calibration)

        def get_next(self) -> dict[str, Array] | None:
            entry = next(self._left, None)
            return None if entry is None else dict(entry)

    with _quiet():
        quantization.quantize_static(
            str(source),
            str(target),
            Reader(),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            calibrate_method=quantization.CalibrationMethod.MinMax,
            nodes_to_exclude=kept,
            op_types_to_quantize=["Conv", "MatMul"],
        )


def _scope(node: Any) -> str:
    """Return the names of a node's modules in the model, from the metadata of torch's exporter."""
    notes = {entry.key: entry.value for entry in node.metadata_props}
    return " ".join((node.name, notes.get("pkg.torch.onnx.name_scopes", ""), notes.get("namespace", "")))


def onnx_runner(model: Any, threads: int = 0) -> Runner:
    """Return a runner of an ONNX file (its path) or model with ONNX Runtime on the CPU.

    Args:
        model: a path, or a model of `read_onnx` or `cut_onnx`.
        threads: number of threads; 0: one for each core.

    Raises:
        MissingDependencyError: onnxruntime is not installed.
    """
    return session_runner(model, threads, ["CPUExecutionProvider"])


def session_runner(model: Any, threads: int, providers: Sequence[Any]) -> Runner:
    """Return a runner as `onnx_runner`, with the given execution providers of ONNX Runtime in their order.

    Raises:
        MissingDependencyError: onnxruntime is not installed.
        CheckpointError: ONNX Runtime cannot load the model.
    """
    onnxruntime = needed("onnxruntime", EXTRA)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    # Waiting threads sleep, because spinning would occupy cores that other threads need.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    content = str(model) if isinstance(model, str | Path) else model.SerializeToString()
    try:
        session = onnxruntime.InferenceSession(content, options, providers=list(providers))
    except Exception as error:  # its errors have no common base class
        raise CheckpointError(f"ONNX Runtime cannot load this network: {str(error).splitlines()[0]}") from error
    names = [output.name for output in session.get_outputs()]
    wanted = {entry.name for entry in session.get_inputs()}

    def run(inputs: Mapping[str, Array]) -> dict[str, Array]:
        given = {name: value for name, value in inputs.items() if name in wanted}
        return dict(zip(names, session.run(names, given), strict=True))

    return run
