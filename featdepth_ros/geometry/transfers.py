"""Asynchronous copies of tensors between the CPU and a device."""

from __future__ import annotations

import torch
from torch import Tensor


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor to a device; to a GPU through pinned memory, so that the caller does not wait."""
    if device.type != "cuda" or tensor.device.type != "cpu":
        return tensor.to(device)
    return tensor.contiguous().pin_memory().to(device, non_blocking=True)


class HostCopy:
    """An asynchronous copy of a tensor to the CPU; a tensor on the CPU is not copied.

    From a GPU, the copy uses pinned memory and runs in parallel to later work. Only `get` waits, and only for the copy.
    """

    def __init__(self, tensor: Tensor) -> None:
        self._arrived: torch.cuda.Event | None = None
        self._tensor = tensor
        if tensor.device.type == "cuda":
            self._tensor = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
            self._tensor.copy_(tensor, non_blocking=True)
            self._arrived = torch.cuda.current_stream(tensor.device).record_event()

    def get(self) -> Tensor:
        """Return the tensor on the CPU; wait until the copy is complete."""
        if self._arrived is not None:
            self._arrived.synchronize()
            self._arrived = None
        return self._tensor
