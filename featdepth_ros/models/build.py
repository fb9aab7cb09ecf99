"""From the name of an architecture to a model with fresh weights."""

from __future__ import annotations

from collections.abc import Callable

from featdepth_ros.errors import FeatDepthError, nearest_name
from featdepth_ros.models.base import FeatDepthModel
from featdepth_ros.models.compact import CompactModel
from featdepth_ros.models.info import ModelInfo

_BUILDERS: dict[str, Callable[[ModelInfo], FeatDepthModel]] = {"compact": CompactModel}


def architectures() -> list[str]:
    """Return the names `build_model` takes."""
    return sorted(_BUILDERS)


def build_model(architecture: str, info: ModelInfo | None = None) -> FeatDepthModel:
    """Build a model with freshly initialised weights, float32, on the CPU, in training mode.

    Args:
        architecture: ``compact``, or a reference network (see `architectures`).
        info: facts to carry; its ``architecture`` is set to the one built.

    Raises:
        FeatDepthError: unknown architecture; the message names the nearest.
    """
    if architecture not in _BUILDERS:
        raise FeatDepthError(f"unknown architecture '{architecture}'{nearest_name(architecture, _BUILDERS)}")
    described = (info or ModelInfo(name=architecture)).with_(architecture=architecture)
    return _BUILDERS[architecture](described)
