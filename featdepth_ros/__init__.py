"""Depth and motion from one camera: networks, geometry, estimator and ROS 2 node.

>>> from featdepth_ros import load_model, Estimator
>>> model = load_model("weights.safetensors", device="cpu", preset=None)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from featdepth_ros.inference.estimator import Estimator
    from featdepth_ros.models.checkpoints import load_model

__version__ = "0.1.0"
__all__ = ["Estimator", "__version__", "load_model"]


def __getattr__(name: str) -> Any:
    # Lazy imports: `featdepth --help` and packages without torch (metrics, recordings) must not load it.
    if name == "load_model":
        from featdepth_ros.models.checkpoints import load_model

        return load_model
    if name == "Estimator":
        from featdepth_ros.inference.estimator import Estimator

        return Estimator
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
