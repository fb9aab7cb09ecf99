"""Tensors on their way to a device and back."""

from __future__ import annotations

import torch
from torch import Tensor


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor to a device; to a GPU through pinned memory, so that nobody waits for it."""
    if device.type != "cuda" or tensor.device.type != "cpu":
        return tensor.to(device)
    return tensor.contiguous().pin_memory().to(device, non_blocking=True)


class HostCopy:
    """A tensor on its way to the processor; one that is there already is itself.

    From a GPU it goes through pinned memory beside what is queued next. Only who reads it waits, and for it alone.
    """

    def __init__(self, tensor: Tensor) -> None:
        self._arrived: torch.cuda.Event | None = None
        self._tensor = tensor
        if tensor.device.type == "cuda":
            self._tensor = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
            self._tensor.copy_(tensor, non_blocking=True)
            self._arrived = torch.cuda.current_stream(tensor.device).record_event()

    def get(self) -> Tensor:
        """Return the tensor on the processor."""
        if self._arrived is not None:
            self._arrived.synchronize()
            self._arrived = None
        return self._tensor
