"""OpenVINO files: conversion from ONNX, reading, splitting into two models, compilation."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from featdepth_ros.errors import CheckpointError
from featdepth_ros.export.facts import GraphFacts
from featdepth_ros.export.graph import MOTION_OUTPUTS
from featdepth_ros.export.packages import needed
from featdepth_ros.export.parity import Array, Runner
from featdepth_ros.models.compact import PRECISE_BLOCKS

EXTRA = "openvino"
#: Section of the facts in the file's ``rt_info``.
_SECTION = "featdepth"
#: Number of 1x1 convolutions in `PRECISE_LAYERS`: the first block has one, each other block two.
_POINTWISE_AT_FIRST = 2 * PRECISE_BLOCKS - 1
#: OpenVINO's names of the precisions.
PRECISIONS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}


@functools.cache
def core() -> Any:
    """Return the process's only OpenVINO core, which is never destroyed.

    The CPU plugin installs an alternate signal stack in the thread that loads it. If another thread destroyed the
    plugin, this stack would be freed, and the next signal would end the process.
    """
    return needed("openvino", EXTRA).Core()


def write_openvino(onnx_file: Path, facts: GraphFacts, path: Path, half: bool) -> None:
    """Write FILE.xml and FILE.bin from an ONNX file.

    Args:
        onnx_file: the file to convert.
        facts: facts to store in the file's ``rt_info``.
        path: the new file, with the suffix ``.xml``.
        half: store weights as float16; the device selects the precision of the computation.

    Raises:
        MissingDependencyError: openvino is not installed.
    """
    openvino = needed("openvino", EXTRA)
    model = openvino.convert_model(str(onnx_file))
    for port, name in zip(model.outputs, facts.outputs, strict=True):
        port.get_tensor().set_names({name})
    for key, value in facts.entries().items():
        model.set_rt_info(value, [_SECTION, key])
    openvino.save_model(model, str(path), compress_to_fp16=half)
    _mark_precise(path, _precise_names(model, facts))


def _precise_names(model: Any, facts: GraphFacts) -> set[str]:
    """Return the names of the layers that stay in float32 for bfloat16, as `keep_precise` does in PyTorch.

    The conversion renames layers, so they are found by their type: convolutions to one channel are heads.
    """
    ops = model.get_ordered_ops()
    names = {
        op.get_friendly_name()
        for op in ops
        if op.get_type_name() == "Convolution" and list(op.get_output_shape(0))[1:2] == [1]
    }
    if facts.info.architecture == "compact":
        image = next(port.get_node() for port in model.inputs if "image" in port.get_names())
        names.update(node.get_friendly_name() for node in _beginning(image))
    return names


def _beginning(image: Any) -> Iterator[Any]:
    """Yield the compact model's layers from the image to the end of `PRECISE_LAYERS`."""
    node, left, begun = image, _POINTWISE_AT_FIRST, False
    while True:
        for target in node.output(0).get_target_inputs():
            following = target.get_node()
            kind, pointwise = following.get_type_name(), _is_pointwise(following)
            skipped = kind == "Convolution" and begun and not pointwise  # of the decoder
            if not skipped and (left or kind == "Add"):
                break
        else:
            return
        node, begun, left = following, begun or kind == "Convolution", left - pointwise
        yield node


def _is_pointwise(node: Any) -> bool:
    return node.get_type_name() == "Convolution" and list(node.input_value(1).get_shape())[2:] == [1, 1]


def _mark_precise(path: Path, names: set[str]) -> None:
    """Mark layers in an .xml file that must not be computed in bfloat16.

    OpenVINO itself writes this mark for a layer whose conversion from f32 to bf16 is disabled. Versions that do not
    know the mark ignore it.
    """
    tree = ElementTree.parse(path)
    for layer in tree.iterfind("layers/layer"):
        if layer.get("name") in names:
            notes = layer.find("rt_info")
            if notes is None:
                notes = ElementTree.Element("rt_info")
                data = layer.find("data")
                layer.insert(0 if data is None else list(layer).index(data) + 1, notes)
            if all(note.get("name") != "precise" for note in notes):
                ElementTree.SubElement(notes, "attribute", {"name": "precise", "version": "0", "value": "f32:bf16"})
    tree.write(path, encoding="utf-8", xml_declaration=True)


def read_openvino(path: Path) -> tuple[Any, GraphFacts | None]:
    """Return the model of an .xml file, and its facts if this package exported it.

    Raises:
        MissingDependencyError: openvino is not installed.
        CheckpointError: it is not an OpenVINO file, or its .bin is missing.
    """
    try:
        model = core().read_model(str(path))
    except RuntimeError as error:
        raise CheckpointError(
            f"'{path}' is not an OpenVINO file, or its .bin is missing beside it: {_first(error)}"
        ) from error
    if not model.has_rt_info([_SECTION]):
        return model, None
    entries = {str(key): str(value) for key, value in model.get_rt_info([_SECTION]).value.items()}
    return model, GraphFacts.from_entries(entries)


def _first(error: Exception) -> str:
    return next((line for line in reversed(str(error).splitlines()) if line.strip()), "")


def cut_openvino(path: Path, facts: GraphFacts) -> tuple[Any, Any | None]:
    """Split an exported graph at its features, as `onnx_files.cut_onnx` does.

    Returns:
        The model for a frame, and the model for a motion; the latter is None for depth alone.
    """
    openvino = needed("openvino", EXTRA)
    features = [name for name in facts.outputs if name.startswith("features_")]

    def nodes() -> tuple[dict[str, Any], dict[str, Any]]:
        model, _ = read_openvino(path)
        results = {name: port.get_node() for name, port in zip(facts.outputs, model.outputs, strict=True)}
        return {port.get_any_name(): port.get_node() for port in model.inputs}, results

    inputs, results = nodes()
    frame = openvino.Model([results[name] for name in ("disparity", *features)], [inputs["image"]], "frame")
    if not features:
        return frame, None
    # In a new copy, the consumers of each feature get their value from an input instead.
    inputs, results = nodes()
    parameters = [node for name, node in inputs.items() if name != "image"]
    for name in features:
        source = results[name].input_value(0)
        parameter = openvino.opset8.parameter(source.get_partial_shape(), source.get_element_type(), name)
        parameter.output(0).get_tensor().set_names({name})
        for target in list(source.get_target_inputs()):
            target.replace_source_output(parameter.output(0))
        parameters.append(parameter)
    return frame, openvino.Model([results[name] for name in MOTION_OUTPUTS], parameters, "motion")


def compile_openvino(model: Any, precision: str = "fp32", threads: int = 0, outputs: Sequence[str] = ()) -> Runner:
    """Compile a model (or the path of an .xml file) for the CPU, in exactly the given precision.

    Args:
        model: model of `read_openvino` or `cut_openvino`, or a path.
        precision: ``fp32``, ``bf16`` or ``fp16``.
        threads: number of threads; 0: one for each core.
        outputs: names of the outputs, in order; empty: those in the model.
    """
    settings: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": PRECISIONS[precision],
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
    }
    if threads:
        settings["INFERENCE_NUM_THREADS"] = threads
    compiled = core().compile_model(str(model) if isinstance(model, str | Path) else model, "CPU", settings)
    names = list(outputs) or [port.get_any_name() for port in compiled.outputs]
    wanted = {port.get_any_name() for port in compiled.inputs}
    request = compiled.create_infer_request()

    def run(inputs: Mapping[str, Array]) -> dict[str, Array]:
        request.infer({name: value for name, value in inputs.items() if name in wanted}, share_inputs=True)
        return {name: np.array(request.get_output_tensor(i).data) for i, name in enumerate(names)}

    return run
