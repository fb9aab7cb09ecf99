"""The rig of several cameras: images in, depth of each camera and motion of the vehicle out. It uses no ROS."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from featdepth_ros.errors import ConfigError, FeatDepthError
from featdepth_ros.inference.backends.files import NetworkFile
from featdepth_ros.inference.config import EstimatorConfig
from featdepth_ros.inference.estimator import Estimator
from featdepth_ros.inference.networks import Networks, networks_of
from featdepth_ros.inference.rig.given_motion import GivenMotion
from featdepth_ros.inference.rig.path import MotionPath
from featdepth_ros.inference.rig.shot import Shot
from featdepth_ros.inference.types import Estimate
from featdepth_ros.models.base import FeatDepthModel
from featdepth_ros.models.info import ModelInfo


@dataclass(frozen=True, eq=False)
class PreparedSwap:
    """Weights that can replace the current ones between two frames; result of `Rig.prepare_swap`.

    Attributes:
        networks: networks with the new weights.
        log_ratios: camera -> logarithm of the old depth over the new one; None: nothing was published yet.
    """

    networks: Networks
    log_ratios: Mapping[str, float | None]


class Rig:
    """Estimates depth of several cameras on one vehicle, and the motion of one of them.

    Images that wait at the same time are processed by the networks in one batch. Everything else is separate for each
    camera: calibration, size, scale, earlier frames. The odometry camera measures motion. The others convert it by the
    extrinsics and estimate only points; those in ``window_cameras`` measure their own motion.

    Args:
        model: result of `load_model` or `load_networks`.
        cameras: name of each camera -> its configuration.
        odometry_camera: name of the camera that provides odometry.
        window_cameras: names of the other cameras that measure their own motion.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N``; None is ``auto``.

    Attributes:
        cameras: the estimator of each camera, by name.
        odometry_camera: name of the camera that provides odometry.

    Raises:
        ConfigError: a named camera does not exist.
    """

    def __init__(
        self,
        model: FeatDepthModel | NetworkFile,
        cameras: Mapping[str, EstimatorConfig],
        odometry_camera: str,
        window_cameras: Sequence[str] = (),
        *,
        device: str | None = None,
    ) -> None:
        for name in (odometry_camera, *window_cameras):
            if name not in cameras:
                raise ConfigError(f"there is no camera '{name}'; the cameras are {', '.join(cameras) or 'none'}")
        self.odometry_camera = odometry_camera
        self._networks = networks_of(model, cameras[odometry_camera], device)
        self._chooses_backend = cameras[odometry_camera].backend == "auto"
        self._path = MotionPath()
        self._given: dict[str, GivenMotion] = {}
        self.cameras: dict[str, Estimator] = {}
        for name, config in cameras.items():
            if name != odometry_camera and name not in window_cameras and config.estimate_motion:
                self._given[name] = GivenMotion(self._path, config)
            self.cameras[name] = Estimator(self._networks, config, motion=self._given.get(name))
        if self._given and self._networks.gives_inverse_depth:
            raise ConfigError(
                f"'{model.info.name}' gives relative depth, for which each camera needs its own window: add "
                f"{', '.join(self._given)} to window_cameras"
            )

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes to the user about the estimation; later calls may return more.

        They do not include why ``auto`` rejected a back end, because PyTorch then computes the same results.
        """
        refused = "" if self._chooses_backend else self._networks.note
        notes = [note for one in self.cameras.values() for note in one.notes]
        return tuple(dict.fromkeys([*notes, refused] if refused else notes))

    @property
    def backend(self) -> str:
        """Name of the current back end."""
        return self._networks.backend

    @property
    def device(self) -> torch.device:
        """Device of the networks."""
        return self._networks.device

    @property
    def mounted_cameras(self) -> frozenset[str]:
        """The cameras that use the odometry camera's motion, for which `mount` must be called."""
        return frozenset(self._given)

    def mount(self, camera: str, T_odometry_camera: NDArray[np.float64] | None, *, moves: bool = False) -> None:
        """Set the mounting of a camera.

        Args:
            camera: name of the camera; a camera that measures its own motion needs no mounting.
            T_odometry_camera: (4, 4) pose in the odometry camera's optical frame; None: unknown.
            moves: whether the cameras move relative to each other. If not, a new pose is a correction, and the points
                that were estimated with the old one are dropped.
        """
        if camera in self._given:
            self._given[camera].mount(T_odometry_camera, moves)

    def why_not(self, info: ModelInfo) -> str:
        """Return why other weights cannot replace these at run time; empty: they can."""
        return self._networks.why_not(info)

    def prepare_swap(self, model: FeatDepthModel, wait: Callable[[], None] | None = None) -> PreparedSwap:
        """Prepare other weights, in another thread than the one that calls `steps`.

        Args:
            model: result of `load_model`.
            wait: called repeatedly until there are enough images to compare the depths; it raises an exception to give
                up. None: with too few images, the new weights use their own scale.

        Raises:
            FeatDepthError: the weights cannot replace the current ones, or their depth is not finite.
        """
        networks = self._networks.successor(model)
        first = self.cameras[self.odometry_camera].log_ratio(networks)
        while first is None and wait is not None:
            wait()
            first = self.cameras[self.odometry_camera].log_ratio(networks)
        measured = {name: camera.log_ratio(networks) for name, camera in self.cameras.items()}
        # A camera without images takes the ratio of the odometry camera, because the weights are the same.
        ratios = {name: first if ratio is None else ratio for name, ratio in measured.items()}
        wrong = [ratio for ratio in ratios.values() if ratio is not None and not math.isfinite(ratio)]
        if wrong:
            raise FeatDepthError(f"the depth of '{model.info.name}' is not finite; choose other weights")
        return PreparedSwap(networks, ratios)

    def swap(self, prepared: PreparedSwap) -> None:
        """Use other weights from the next `steps` on; pose, windows and scales continue."""
        self._networks.become(prepared.networks)
        for name, camera in self.cameras.items():
            camera.follow_networks(prepared.log_ratios[name])

    def reset(self, camera: str) -> None:
        """Forget the previous frame of one camera; see `Estimator.reset`."""
        self.cameras[camera].reset()

    def depth_source(self, camera: str) -> str:
        """Return the source of a camera's depth; see `Estimator.depth_source`."""
        return self.cameras[camera].depth_source

    def steps(self, shots: Sequence[Shot]) -> Iterator[tuple[Shot, Estimate | Exception]]:
        """Process at most one image of each camera, in one forward pass of the networks.

        Args:
            shots: the images, in any order.

        Yields:
            Each shot with its estimate as soon as it is done, the odometry camera's first. An exception of one image is
            yielded instead of its estimate, and does not affect the others.
        """
        started = []
        for shot in sorted(shots, key=lambda shot: shot.camera != self.odometry_camera):
            try:
                begun = self.cameras[shot.camera].begin(shot.image, shot.calibration, shot.stamp_ns)
            except Exception as error:  # noqa: BLE001 - the caller sees it; the other cameras go on
                yield shot, error
            else:
                started.append((shot, *begun))
        if not started:
            return
        frames = self._networks.encode_ahead([frame for _, frame, _ in started])
        for (shot, _, stages), frame in zip(started, frames, strict=True):
            try:
                estimate = self.cameras[shot.camera].complete(frame, stages)
                if shot.camera == self.odometry_camera:
                    self._path.append(shot.stamp_ns, estimate.motion)
            except Exception as error:  # noqa: BLE001 - as above
                yield shot, error
            else:
                yield shot, estimate
