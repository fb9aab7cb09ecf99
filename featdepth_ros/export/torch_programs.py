"""Files of ``torch.export``, which PyTorch can run without this package."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from featdepth_ros.export.facts import GraphFacts
from featdepth_ros.export.graph import ModelGraph
from featdepth_ros.export.onnx_files import traced_inputs
from featdepth_ros.export.parity import Array, Runner


def write_program(graph: ModelGraph, facts: GraphFacts, path: Path) -> None:
    """Write a ``.pt2`` file with the facts as extra files."""
    inputs, dynamic = traced_inputs(graph, facts)
    program = torch.export.export(graph, inputs, dynamic_shapes=dynamic)
    torch.export.save(program, str(path), extra_files=facts.entries())


def program_runner(path: Path, facts: GraphFacts) -> Runner:
    """Return a runner of a ``.pt2`` file."""
    module = torch.export.load(str(path)).module()

    def run(inputs: Mapping[str, Array]) -> dict[str, Array]:
        tensors = [torch.from_numpy(np.ascontiguousarray(inputs[name])) for name in facts.inputs]
        with torch.inference_mode():
            outputs = module(*tensors)
        return {name: value.numpy() for name, value in zip(facts.outputs, outputs, strict=True)}

    return run
