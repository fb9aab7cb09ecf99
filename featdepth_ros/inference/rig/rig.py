"""Images of several cameras in, depth of each and motion of the vehicle out. No ROS, no files, no threads."""

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
    """Weights that can take the place of those in force between two frames; from `Rig.prepare_swap`.

    Attributes:
        networks: of the new weights.
        log_ratios: camera and logarithm of the old depth over the new one; None: nothing was published yet.
    """

    networks: Networks
    log_ratios: Mapping[str, float | None]


class Rig:
    """Estimates depth of several cameras on one vehicle, and the motion of one of them.

    Images that are there together go through the networks together. Everything else is each camera's own: calibration,
    size, scale, earlier frames. The odometry camera measures motion. The others take it through the extrinsics, and
    solve their points with it; those named in ``window_cameras`` measure for themselves.

    Args:
        model: from `load_model` or `load_networks`.
        cameras: name of each camera and how it is estimated.
        odometry_camera: the one whose motion counts.
        window_cameras: the cameras beside it that measure their own motion.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N``; None is ``auto``.

    Attributes:
        cameras: the estimator of each camera, by name.
        odometry_camera: as given.

    Raises:
        ConfigError: a camera is named that is not there.
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
                f"'{model.info.name}' gives relative depth, and each camera needs its own window to solve it: name "
                f"{', '.join(self._given)} among the cameras that measure their own motion"
            )

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know of how the cameras are estimated; more may be known later.

        That ``auto`` does not take a back end is no matter of the user's: PyTorch answers then.
        """
        refused = "" if self._chooses_backend else self._networks.note
        notes = [note for one in self.cameras.values() for note in one.notes]
        return tuple(dict.fromkeys([*notes, refused] if refused else notes))

    @property
    def backend(self) -> str:
        """What computes the networks now."""
        return self._networks.backend

    @property
    def device(self) -> torch.device:
        """Where the networks run."""
        return self._networks.device

    @property
    def mounted_cameras(self) -> frozenset[str]:
        """The cameras that take the odometry camera's motion, for which `mount` must be called."""
        return frozenset(self._given)

    def mount(self, camera: str, T_odometry_camera: NDArray[np.float64] | None, *, moves: bool = False) -> None:
        """Say where a camera is.

        Args:
            camera: its name; one that measures its own motion need not be mounted.
            T_odometry_camera: (4, 4) pose in the odometry camera's optical frame; None: not known.
            moves: it changes as the cameras move against each other. Otherwise another pose is a correction, and
                points solved with the old one are dropped.
        """
        if camera in self._given:
            self._given[camera].mount(T_odometry_camera, moves)

    def why_not(self, info: ModelInfo) -> str:
        """Return why other weights cannot take the place of these while images flow; empty: they can."""
        return self._networks.why_not(info)

    def prepare_swap(self, model: FeatDepthModel, wait: Callable[[], None] | None = None) -> PreparedSwap:
        """Make other weights ready, beside the thread that calls `steps`; frames flow meanwhile.

        Args:
            model: from `load_model`.
            wait: called again and again until enough pictures were seen to compare the depths, and raises to give up;
                None: the new weights bring their own scale where too few were seen.

        Raises:
            FeatDepthError: the weights cannot take this place, or their depth is not finite.
        """
        networks = self._networks.successor(model)
        first = self.cameras[self.odometry_camera].log_ratio(networks)
        while first is None and wait is not None:
            wait()
            first = self.cameras[self.odometry_camera].log_ratio(networks)
        measured = {name: camera.log_ratio(networks) for name, camera in self.cameras.items()}
        # A camera that has seen nothing yet takes the odometry camera's: the weights are the same.
        ratios = {name: first if ratio is None else ratio for name, ratio in measured.items()}
        wrong = [ratio for ratio in ratios.values() if ratio is not None and not math.isfinite(ratio)]
        if wrong:
            raise FeatDepthError(f"the depth by '{model.info.name}' is not finite")
        return PreparedSwap(networks, ratios)

    def swap(self, prepared: PreparedSwap) -> None:
        """Take other weights from the next `steps` on: pose, windows and scales go on."""
        self._networks.become(prepared.networks)
        for name, camera in self.cameras.items():
            camera.follow_networks(prepared.log_ratios[name])

    def reset(self, camera: str) -> None:
        """Forget the earlier frame of one camera; see `Estimator.reset`."""
        self.cameras[camera].reset()

    def depth_source(self, camera: str) -> str:
        """Which depth a camera gives; see `Estimator.depth_source`."""
        return self.cameras[camera].depth_source

    def steps(self, shots: Sequence[Shot]) -> Iterator[tuple[Shot, Estimate | Exception]]:
        """Take the images that are there, at most one of each camera, through one forward pass.

        Args:
            shots: in any order; cameras without an image are not waited for.

        Yields:
            Each shot with its estimate as soon as it is done, the odometry camera's first. What one camera's image
            raised comes in place of its estimate and stops no other.
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
