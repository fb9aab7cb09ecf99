"""Choice of the device for the networks, for node, commands and training."""

from __future__ import annotations

import torch

from featdepth_ros.errors import ConfigError


def resolve_device(name: str | None) -> torch.device:
    """Return the device named ``auto``, ``cpu``, ``cuda`` or ``cuda:N``; ``auto`` and None take the GPU if present.

    Raises:
        ConfigError: the name is not a device, or the machine does not have it.
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
        raise ConfigError(
            f"device '{name}' was asked for, but the number of GPUs is {torch.cuda.device_count()}; use cuda:0 or auto"
        )
    return device
