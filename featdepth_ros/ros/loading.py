"""Loading of weights and estimator, and what the node needs of them."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from featdepth_ros import resources
from featdepth_ros.errors import MissingDependencyError
from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.inference.odometry import Odometry, OdometryState
from featdepth_ros.inference.types import Estimate
from featdepth_ros.models.info import ModelInfo
from featdepth_ros.ros.parameters.settings import Settings


class EstimatorLike(Protocol):
    """What the node needs of `inference.estimator.Estimator`."""

    @property
    def depth_source(self) -> str:
        """Which depth is given: ``fused`` or ``network``."""

    def warm_up(self, delivered_size: tuple[int, int], camera: CameraModel | None) -> None:
        """Run once on an empty image of (width, height), so that the first real one is not slow."""

    def step(self, image: NDArray[np.uint8], camera: CameraModel | None, stamp_ns: int) -> Estimate:
        """Return what one frame gives."""

    def reset(self) -> None:
        """Forget the earlier frame."""


class OdometryLike(Protocol):
    """What the node needs of `inference.odometry.Odometry`."""

    def update(self, estimate: Estimate) -> OdometryState:
        """Add the motion of one frame."""

    def reset(self) -> None:
        """Start again at the identity."""


@dataclass(frozen=True)
class LoadedModel:
    """A loaded model, ready to run.

    Attributes:
        estimator: image in, estimate out.
        new_odometry: makes an integrator for given extrinsics T_base_camera ((4, 4), or None).
        info: of the weights.
        device: where it runs, for diagnostics.
        notes: what a user should know of how it runs; the node logs them as warnings.
    """

    estimator: EstimatorLike
    new_odometry: Callable[[NDArray[np.float64] | None], OdometryLike]
    info: ModelInfo
    device: str
    notes: tuple[str, ...] = ()


ModelLoader = Callable[[Settings], LoadedModel]


def load_networks(settings: Settings) -> LoadedModel:
    """Load the weights that the settings name, load or compile the solver, and warm up. Takes seconds.

    Raises:
        FeatDepthError: weights, device or settings do not work; the message says what to do.
    """
    config = settings.estimator_config()
    path = resources.weights_file(settings.weights)
    try:
        import torch

        from featdepth_ros.inference.estimator import Estimator
        from featdepth_ros.models.checkpoints import load_model
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"the networks need '{error.name}', which is not installed for {sys.executable}; install it with pip"
        ) from error
    torch.set_num_threads(settings.cpu_threads or max(len(os.sched_getaffinity(0)) - 1, 1))
    model = load_model(path, preset=settings.preset or None)
    estimator = Estimator(model, config, device=settings.device)
    height, width = config.input_size or model.info.input_size
    estimator.warm_up((width, height), None)
    return LoadedModel(estimator, Odometry, model.info, str(estimator.device), estimator.notes)


def free_memory() -> None:
    """Give back what a dropped model used."""
    gc.collect()
    torch = sys.modules.get("torch")  # absent when the model was not built on it
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
