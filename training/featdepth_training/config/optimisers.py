"""The optimisers that a configuration can use."""

from __future__ import annotations

import inspect

import torch

from featdepth_ros.errors import ConfigError, nearest_name


def optimiser_class(name: str) -> type[torch.optim.Optimizer]:
    """Return the class of ``torch.optim`` with this name, case-insensitively.

    Raises:
        ConfigError: there is none, or a training step does not support it (closures, sparse gradients).
    """
    known = {
        key.lower(): value
        for key, value in vars(torch.optim).items()
        if inspect.isclass(value) and issubclass(value, torch.optim.Optimizer) and value is not torch.optim.Optimizer
    }
    unfit = ("lbfgs", "sparseadam")
    if name.lower() not in known or name.lower() in unfit:
        fit = [value.__name__ for key, value in known.items() if key not in unfit]
        raise ConfigError(f"optimiser.kind is '{name}'{nearest_name(name, fit)}")
    return known[name.lower()]
