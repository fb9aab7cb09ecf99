"""CUDA graphs: the GPU work for an image of one size is recorded once and replayed.

This saves the launch of each kernel from Python. It has not been tested on a GPU yet.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

_log = logging.getLogger(__name__)

Tensors = tuple[Tensor, ...]
#: Number of calls with one shape before it is recorded, because libraries choose their kernels in the first calls.
_CALLS = 3
#: Largest number of recorded shapes; further ones are computed without a graph.
_MOST = 4


class Graphed:
    """A function of tensors that is replayed as a CUDA graph for repeated shapes; on a CPU it is called directly.

    Args:
        function: function without control flow that depends on values, and without copies between CPU and GPU.
    """

    def __init__(self, function: Callable[..., Tensors]) -> None:
        self._function = function
        self._calls: Counter[object] = Counter()
        self._recorded: dict[object, _Recording] = {}
        self._works = True

    def __call__(self, *inputs: Tensor) -> Tensors:
        """Return the results of the function in new tensors."""
        if inputs[0].device.type != "cuda" or not self._works:
            return self._function(*inputs)
        shapes = tuple((tuple(x.shape), x.dtype) for x in inputs)
        self._calls[shapes] += 1
        if shapes not in self._recorded:
            if self._calls[shapes] <= _CALLS or len(self._recorded) >= _MOST:
                return self._function(*inputs)
            try:
                self._recorded[shapes] = _Recording(self._function, inputs)
            except RuntimeError as error:
                self._works = False
                _log.warning("the networks run without CUDA graphs: %s", str(error).splitlines()[0])
                return self._function(*inputs)
        return self._recorded[shapes](*inputs)


class _Recording:
    """One graph, with the tensors that it reads and writes."""

    def __init__(self, function: Callable[..., Tensors], inputs: Sequence[Tensor]) -> None:
        self._inputs = [x.clone() for x in inputs]
        self._graph = torch.cuda.CUDAGraph()
        # Another thread may use the GPU meanwhile, to copy an image.
        with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
            self._outputs = function(*self._inputs)

    def __call__(self, *inputs: Tensor) -> Tensors:
        for own, given in zip(self._inputs, inputs, strict=True):
            own.copy_(given)
        self._graph.replay()
        return tuple(x.clone() for x in self._outputs)
