"""Loading of weights and estimator, and what the node needs of them."""

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
    """What the node needs of `inference.rig.rig.Rig`."""

    @property
    def odometry_camera(self) -> str:
        """Name of the camera whose motion counts."""

    @property
    def mounted_cameras(self) -> frozenset[str]:
        """The cameras that take its motion, for which `mount` must be called."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know of how the cameras are estimated; more may be known later."""

    @property
    def backend(self) -> str:
        """What computes the networks now."""

    def mount(self, camera: str, T_odometry_camera: NDArray[np.float64] | None, *, moves: bool = False) -> None:
        """Say where such a camera is, (4, 4), and whether that changes on purpose; None: not known."""

    def depth_source(self, camera: str) -> str:
        """Which depth a camera gives: ``fused`` or ``network``."""

    def steps(self, shots: Sequence[Shot]) -> Iterable[tuple[Shot, Estimate | Exception]]:
        """Return what the images that are there give, each as soon as it is done, or what it raised."""

    def reset(self, camera: str) -> None:
        """Forget the earlier frame of a camera."""


class OdometryLike(Protocol):
    """What the node needs of `inference.odometry.Odometry`."""

    def update(self, estimate: Estimate) -> OdometryState:
        """Add the motion of one frame."""

    def reset(self) -> None:
        """Start again at the identity."""


class Successors(Protocol):
    """Gives other weights of a loaded model, see `ros.running.exchange`."""

    def why_not(self, weights: str) -> str:
        """Return at once why weights cannot be taken while images flow; empty: they are worth loading."""

    def prepare(self, weights: str, wait: Callable[[], None]) -> Callable[[], ModelInfo]:
        """Load weights beside the frames. Returns what exchanges them between two frames.

        ``wait`` is called while pictures are missing to compare the scale; it raises to give up.
        """


@dataclass(frozen=True)
class LoadedModel:
    """A loaded model, ready to run.

    Attributes:
        rig: images of the cameras in, estimates out.
        new_odometry: makes an integrator for given extrinsics T_base_camera ((4, 4), or None).
        info: of the weights.
        device: where it runs, for diagnostics.
        notes: what a user should know of how it runs; the node logs them as warnings.
        sensors: what else measures the motion of the odometry camera; the node sets them and adds readings.
        successors: give other weights while images flow; None: there are none.
    """

    rig: RigLike
    new_odometry: Callable[[NDArray[np.float64] | None], OdometryLike]
    info: ModelInfo
    device: str
    notes: tuple[str, ...] = ()
    sensors: MotionSensors = field(default_factory=MotionSensors)
    successors: Successors | None = None


#: Takes the settings of every camera by name; what is not a camera's own is the same in all of them.
ModelLoader = Callable[[Mapping[str, Settings]], LoadedModel]


def load_networks(cameras: Mapping[str, Settings]) -> LoadedModel:
    """Load the weights that the settings name, load or compile the solver, and warm up. Takes seconds.

    Args:
        cameras: the settings of every camera, by name.

    Raises:
        FeatDepthError: weights, device or settings do not work; the message says what to do.
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
    """Other weights for a rig; see `Successors`."""

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
            return "the file does not say what it holds; clean the node up, set the parameter and configure again"
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
    """Give back what a dropped model used."""
    gc.collect()
    torch = sys.modules.get("torch")  # absent when the model was not built on it
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
