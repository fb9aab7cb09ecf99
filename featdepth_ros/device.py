"""The choice of the device that networks run on, for node, commands and training; the way there and back."""

from __future__ import annotations

import torch
from torch import Tensor

from featdepth_ros.errors import ConfigError


def resolve_device(name: str | None) -> torch.device:
    """Turn ``auto``, ``cpu``, ``cuda`` or ``cuda:N`` into a device; ``auto`` and None take the GPU when there is one.

    Raises:
        ConfigError: not a device, or one this machine lacks.
    """
    if name in (None, "", "auto"):
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(str(name))
    except RuntimeError as error:
        raise ConfigError(f"device '{name}' is not known; expected auto, cpu, cuda or cuda:N") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"device '{name}' was asked for, but this torch sees no CUDA GPU; use device cpu or auto")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(f"device '{name}' was asked for; there are {torch.cuda.device_count()} GPUs")
    return device


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
