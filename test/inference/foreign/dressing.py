"""Our own depth network, dressed as networks of others: an exported graph with other inputs and outputs around it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from featdepth_ros.export.onnx_files import read_onnx
from featdepth_ros.inference.foreign.convention import Convention
from featdepth_ros.models.info import ModelInfo


def dress(
    source: Path,
    target: Path,
    convention: Convention,
    info: ModelInfo,
    *,
    affine: tuple[float, float] = (1.0, 0.0),
    sky_rows: int = 0,
) -> Path:
    """Write a depth graph as a network of a convention.

    Args:
        source: an ONNX file with the input ``image`` and the output ``disparity``.
        target: where to.
        convention: what the file shall expect and give.
        info: of the source's model.
        affine: factor on a relative inverse depth, and what is added then.
        sky_rows: uppermost rows that its invalid output marks.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model, _ = read_onnx(source)
    graph = model.graph
    del model.metadata_props[:]
    shape = [side.dim_value for side in graph.input[0].type.tensor_type.shape.dim]
    constants: list[Any] = []

    def constant(name: str, values: Any, kind: Any = np.float32) -> str:
        constants.append(numpy_helper.from_array(np.asarray(values, dtype=kind), f"dress_{name}"))
        return f"dress_{name}"

    def node(kind: str, inputs: list[str], output: str, **attributes: Any) -> Any:
        return helper.make_node(kind, inputs, [output], **attributes)

    # before: undo what the convention does to an image
    before = []
    last = "dress_given"
    if convention.layout == "NHWC":
        shape = [shape[0], shape[2], shape[3], shape[1]]
        before.append(node("Transpose", [last], "dress_channels_first", perm=[0, 3, 1, 2]))
        last = "dress_channels_first"
    before.append(node("Mul", [last, constant("std", np.reshape(convention.std, (1, 3, 1, 1)))], "dress_scaled"))
    before.append(
        node("Add", ["dress_scaled", constant("mean", np.reshape(convention.mean, (1, 3, 1, 1)))], "dress_shifted")
    )
    last = "dress_shifted"
    if convention.colour == "bgr":
        before.append(node("Gather", [last, constant("reverse", [2, 1, 0], np.int64)], "dress_rgb", axis=1))
        last = "dress_rgb"
    before.append(node("Identity", [last], "image"))

    # after: from a disparity to what the convention gives
    low, high = 1 / info.max_depth, 1 / info.min_depth
    after = [
        node("Mul", ["disparity", constant("range", [high - low])], "dress_part"),
        node("Add", ["dress_part", constant("low", [low])], "dress_inverse"),
    ]
    if convention.kind == "inverse_depth":
        after.append(node("Mul", ["dress_inverse", constant("scale", [affine[0]])], "dress_times"))
        after.append(node("Add", ["dress_times", constant("shift", [affine[1]])], "dress_plus"))
        last = "dress_plus"
    else:
        after.append(node("Reciprocal", ["dress_inverse"], "dress_z"))
        assert info.focal_px is not None
        factor = 1.0 if convention.canonical_focal_px is None else convention.canonical_focal_px / info.focal_px
        after.append(node("Mul", ["dress_z", constant("factor", [factor])], "dress_canonical"))
        last = "dress_canonical"
    output = convention.output or "depth"
    after.append(node("Squeeze", [last, constant("axis", [1], np.int64)], output))
    outputs = [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)]
    if convention.invalid_output:
        side = graph.output[0].type.tensor_type.shape.dim
        mark = np.zeros((1, side[2].dim_value, side[3].dim_value), np.float32)
        mark[:, :sky_rows] = 1.0
        after.append(node("Identity", [constant("mark", mark)], convention.invalid_output))
        outputs.append(helper.make_tensor_value_info(convention.invalid_output, TensorProto.FLOAT, mark.shape))

    nodes = list(graph.node)
    dressed = helper.make_graph(
        [*before, *nodes, *after],
        "dressed",
        [helper.make_tensor_value_info("dress_given", TensorProto.FLOAT, shape)],
        outputs,
        [*graph.initializer, *constants],
    )
    onnx.save(helper.make_model(dressed, opset_imports=model.opset_import, ir_version=model.ir_version), str(target))
    return target
