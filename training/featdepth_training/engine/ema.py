"""Exponential moving average of the weights, which is validated and exported."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class WeightAverage:
    """Exponential moving average of a module's floating-point state (parameters and running statistics).

    The decay rises with the number of updates, ``min(decay, (1 + n) / (10 + n))``, so that short runs are not held
    back by their initial weights. Integer state is copied.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self.values = {key: value.detach().clone() for key, value in module.state_dict().items()}

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Move the average one step towards the module's current state."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        floating: list[Tensor] = []
        sources: list[Tensor] = []
        for key, value in module.state_dict().items():
            if value.is_floating_point():
                floating.append(self.values[key])
                sources.append(value.detach())
            else:
                self.values[key].copy_(value)
        torch._foreach_lerp_(floating, sources, 1.0 - decay)

    def state_dict(self) -> dict[str, object]:
        """Return the state from which `load_state_dict` continues."""
        return {"updates": self.updates, "values": self.values}

    def load_state_dict(self, state: dict[str, object]) -> None:
        """Continue from a state of `state_dict`."""
        self.updates = int(state["updates"])  # type: ignore[call-overload]
        values: dict[str, Tensor] = state["values"]  # type: ignore[assignment]
        for key, value in values.items():
            self.values[key].copy_(value)
