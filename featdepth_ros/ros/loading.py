"""Loads weights and estimator; defines the interfaces through which the node uses them."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from featdepth_ros import resources
from featdepth_ros.errors import FeatDepthError, MissingDependencyError
from featdepth_ros.inference.odometry import Odometry, OdometryState
from featdepth_ros.inference.rig.shot import Shot
from featdepth_ros.inference.sensing.sensors import MotionSensors
from featdepth_ros.inference.types import Estimate
from featdepth_ros.models.info import ModelInfo
from featdepth_ros.ros.parameters.settings import Settings

if TYPE_CHECKING:
    from featdepth_ros.inference.rig.rig import Rig


class RigLike(Protocol):
    """The part of `inference.rig.rig.Rig` that the node uses."""

    @property
    def odometry_camera(self) -> str:
        """Name of the camera that provides odometry."""

    @property
    def mounted_cameras(self) -> frozenset[str]:
        """The cameras that use the odometry camera's motion, for which `mount` must be called."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes to the user about the estimation; later calls may return more."""

    @property
    def backend(self) -> str:
        """Name of the back end that currently computes the networks."""

    def mount(self, camera: str, T_odometry_camera: NDArray[np.float64] | None, *, moves: bool = False) -> None:
        """Set the (4, 4) pose of such a camera (None: unknown), and whether a joint moves it."""

    def depth_source(self, camera: str) -> str:
        """Return the source of a camera's depth: ``fused`` or ``network``."""

    def steps(self, shots: Sequence[Shot]) -> Iterable[tuple[Shot, Estimate | Exception]]:
        """Yield each image with its estimate, or with the exception it raised, as soon as it is done."""

    def reset(self, camera: str) -> None:
        """Forget the previous frame of a camera."""


class OdometryLike(Protocol):
    """The part of `inference.odometry.Odometry` that the node uses."""

    def update(self, estimate: Estimate) -> OdometryState:
        """Add the motion of one frame and return the new state."""

    def reset(self) -> None:
        """Restart at the identity."""


class Successors(Protocol):
    """Loads other weights for a running model, see `ros.running.exchange`."""

    def why_not(self, weights: str) -> str:
        """Return, without loading, why the model cannot switch to these weights; empty: it may be able to."""

    def prepare(self, weights: str, wait: Callable[[], None]) -> Callable[[], ModelInfo]:
        """Load weights in the background. Returns a function that swaps them in between two frames.

        ``wait`` is called until there are enough images to compare the scale; it raises an exception to give up.
        """


@dataclass(frozen=True)
class LoadedModel:
    """A loaded model that is ready to run.

    Attributes:
        rig: turns images of the cameras into estimates.
        new_odometry: creates an integrator for the extrinsics T_base_camera ((4, 4), or None).
        info: description of the weights.
        device: name of the device, for diagnostics.
        notes: notes to the user; the node logs them as warnings.
        sensors: motion sensors of the odometry camera; the node sets them and adds readings.
        successors: loads other weights while images flow; None: the model cannot switch weights.
    """

    rig: RigLike
    new_odometry: Callable[[NDArray[np.float64] | None], OdometryLike]
    info: ModelInfo
    device: str
    notes: tuple[str, ...] = ()
    sensors: MotionSensors = field(default_factory=MotionSensors)
    successors: Successors | None = None


#: Loads the model for the settings of every camera by name. Settings that are not per camera are equal in all of them.
ModelLoader = Callable[[Mapping[str, Settings]], LoadedModel]


def load_networks(cameras: Mapping[str, Settings]) -> LoadedModel:
    """Load the weights and the solver (compile it if needed), and warm up. This takes seconds.

    Args:
        cameras: the settings of every camera, by name.

    Raises:
        FeatDepthError: weights, device or settings are invalid; the message says what to do.
    """
    settings = next(iter(cameras.values()))
    configs = {name: own.estimator_config() for name, own in cameras.items()}
    path = resources.weights_file(settings.weights)
    try:
        import torch

        from featdepth_ros.inference.backends.loading import load_networks as load_any
        from featdepth_ros.inference.rig.rig import Rig
        from featdepth_ros.threads import single_threaded_linear_algebra, threads_of_networks
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"the networks need '{error.name}', which is not installed for {sys.executable}; install it with pip"
        ) from error
    single_threaded_linear_algebra()
    torch.set_num_threads(settings.cpu_threads or threads_of_networks())
    model = load_any(path, settings.preset or None, settings.convention)
    rig = Rig(model, configs, settings.first_camera, settings.own_windows, device=settings.device)
    for name, config in configs.items():
        height, width = config.input_size or model.info.input_size
        rig.cameras[name].warm_up((width, height))
    sensors = rig.cameras[settings.first_camera].sensors
    successors = _RigSuccessors(rig, settings.preset or None)
    return LoadedModel(rig, Odometry, model.info, str(rig.device), rig.notes, sensors, successors)


class _RigSuccessors:
    """Loads other weights for a rig; see `Successors`."""

    def __init__(self, rig: Rig, preset: str | None) -> None:
        self._rig, self._preset = rig, preset

    def why_not(self, weights: str) -> str:
        """See `Successors.why_not`."""
        from featdepth_ros.models.weights_io import read_info

        try:
            info = read_info(resources.weights_file(weights))
        except FeatDepthError as error:
            return str(error)
        if info is None:
            return "the file has no description of its model; clean the node up, set the parameter and configure again"
        return "" if self._preset else self._rig.why_not(info)

    def prepare(self, weights: str, wait: Callable[[], None]) -> Callable[[], ModelInfo]:
        """See `Successors.prepare`."""
        from featdepth_ros.models.checkpoints import load_model

        model = load_model(weights, preset=self._preset)
        prepared = self._rig.prepare_swap(model, wait)

        def exchange() -> ModelInfo:
            self._rig.swap(prepared)
            return model.info

        return exchange


def free_memory() -> None:
    """Release the memory of a model that is no longer used."""
    gc.collect()
    torch = sys.modules.get("torch")  # not imported when the model does not use it
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
