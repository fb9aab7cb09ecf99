"""Motion and structure from a window of keyframes.

Points are tracked from the last keyframe, and the frame's pose is found relative to the map. Then the newest keyframes,
the newest frame and all their points are optimised together. Older keyframes are fixed and preserve earlier estimates.
The network's depth initialises points and is a weak prior. A new estimate of the past never changes the published
motions: a frame only adds its own motion (REP-105).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.inference.window import keyframing, tracks
from featdepth_ros.inference.window.config import WindowConfig
from featdepth_ros.inference.window.covariance import (
    KNOWN_COVARIANCE,
    motion_covariance,
    published_covariance,
    unknown_covariance,
)
from featdepth_ros.inference.window.frame import DepthSource, Frame
from featdepth_ros.inference.window.lens import Lens
from featdepth_ros.inference.window.local_map import LocalMap
from featdepth_ros.inference.window.metres.road import RoadFinder
from featdepth_ros.inference.window.metres.scale import ScaleFilter, log_of_better_unit
from featdepth_ros.inference.window.pose import find_pose
from featdepth_ros.inference.window.prior import InverseDepthFit
from featdepth_ros.inference.window.records import KnownMotion, NetworkScale, Sight, Solution
from featdepth_ros.inference.window.shutter import lateness, on_time
from featdepth_ros.inference.window.trust import DOUBT_SPEED, Doubt, TrackNoise, UsualResidual, trusted_points
from featdepth_ros.inference.window.two_views.fallback import NetworkMotion, explained_motion
from featdepth_ros.inference.window.two_views.matching import matched_poses
from featdepth_ros.inference.window.two_views.start import Start
from featdepth_ros.inference.window.types import WindowPoints, WindowResult, WindowState

Floats = NDArray[np.float64]
#: Rotation (3, 3) of T_previous_current and its covariance (3, 3), rad^2.
GyroRotation = tuple[Floats, Floats] | None

#: Share of the newest frame in the running mean of the camera's angular speed.
TURN_SHARE = 0.1


class Window:
    """Estimates motion and points of one camera, frame by frame. Each camera needs its own window.

    Args:
        config: see `WindowConfig`.
    """

    _map: LocalMap
    _frame: Frame  # the previous frame
    _pose: Floats  # (4, 4) published pose of that frame; it moves with the last keyframe when that is optimised
    _pose_in_keyframe: Floats  # (4, 4) the same relative to the last keyframe
    _velocity: Floats  # (6,) twist of the newest motion, map units/s and rad/s
    _sight: Sight  # observations of the previous frame
    _is_keyframe: bool  # whether the previous frame is the last keyframe
    _template: tracks.Template
    _opening: Start | None  # set while no depth is known

    def __init__(self, config: WindowConfig) -> None:
        self.config = config
        self._scale = ScaleFilter(config)
        self._lens: Lens | None = None
        self._network, self._next_id = (0.0, 0.0), 0
        self._residual = UsualResidual()
        self._turn_radps = 0.0  # running mean of the camera's angular speed
        self._usual_depth = 1.0  # median depth of the last observations, map units; the unit of a start without depth
        self._started = False

    def reset(self) -> None:
        """Forget all frames and points, so that the next frame is a first one. Scale and calibration stay."""
        self._started = False

    def step(
        self,
        grey: NDArray[np.uint8],
        camera: CameraModel,
        stamp_ns: int,
        depth: DepthSource = None,
        trusted: NDArray[np.bool_] | None = None,
        network_motion: NetworkMotion = None,
        known_motion: Floats | None = None,
        gyro_rotation: GyroRotation = None,
        speed: tuple[float, float] | None = None,
        seen: NDArray[np.bool_] | None = None,
    ) -> WindowResult:
        """Take one frame.

        Args:
            grey: (H, W) uint8, rectified, at full size, because tracks are more accurate in larger images.
            camera: pinhole camera of ``grey``.
            stamp_ns: time of exposure, nanoseconds.
            depth: (h, w) float32 z-depth of the same view by the network, at any size, in published units. With the
                prior ``scale_and_shift`` it is the inverse depth, in its own unit, at least 0. It may also be a
                function that returns it, which is called at keyframes only. With None the window starts from the
                parallax of its first frames, and its unit is the median depth there.
            trusted: (h, w) bool mask of the trusted depth; None: everywhere.
            network_motion: T_previous_current (4, 4) by the pose network, published units, and its covariance (6, 6).
                It may also be a function that returns them, called at the first pair and if tracking fails; or None.
            known_motion: T_previous_current (4, 4), published units. It is taken as given, only points are estimated,
                and the result contains it in every state.
            gyro_rotation: rotation of T_previous_current (3, 3) by a gyroscope, and its covariance (3, 3), rad^2.
            speed: speed in m/s, and its variance in (m/s)^2.
            seen: (H, W) bool, False where the rectified image has no content; None: True everywhere.

        Returns:
            The result of the frame.
        """
        frame = Frame(grey, camera, stamp_ns, depth, trusted, self.config.prior == "scale_and_shift", seen)
        if not self._started or camera != self._frame.camera or stamp_ns <= self._frame.stamp_ns:
            self._begin(frame)
            return self._without_motion(WindowState.FIRST)
        if self._opening is None:
            self._change_unit(log_of_better_unit(self._usual_depth))
        hold = known_motion is not None
        expected = self._expected(frame, known_motion, gyro_rotation, network_motion)
        if self._opening is not None:
            opened = self._open(frame, expected if hold else None)
            if isinstance(opened, WindowState):
                return self._without_motion(opened, known_motion)
            pose, sight = opened
            expected = pose
        else:
            pose, sight = self._locate(frame, expected, hold)
        solution = self._solve(pose, sight, expected, hold, gyro_rotation)
        if solution is None and hold:
            self._begin(frame)
            return self._without_motion(WindowState.LOST, known_motion)
        if solution is None:
            return self._without_tracks(frame, network_motion)
        pose = solution.poses[-1]
        moved = self._moved(pose)
        residual_px, sight = self._map.agreeing(pose, sight)
        if not (hold or tracks.tell_motion(self._map, self._template, pose, sight, frame.pyramid)):
            return self._without_tracks(frame, network_motion)
        self._measure_scale(frame, pose, moved, speed)
        off, measured, told = self._map.network_errors(sight)
        self._doubt.take(off, measured, told * self._scale.factor)
        seconds = self._seconds(frame)
        self._take(frame, pose, moved, sight)
        return self._result(moved, solution, (residual_px, len(sight)), seconds)

    # -- parts of a step ------------------------------------------------------------------------------------------

    def _begin(self, frame: Frame) -> None:
        """Start a new map from one frame. It keeps the last map's unit, as far as the network's depth provides it."""
        camera = frame.camera
        if self._started:
            self._next_id = self._map.next_id
            self._lens = self._map.lens if camera == self._frame.camera else None
        self._scale.restart()
        numbers = np.array([camera.fx, camera.fy, camera.cx, camera.cy])
        self._map = LocalMap(self.config, numbers, self._next_id, self._lens)
        self._road = RoadFinder(self._map) if self.config.scale == "camera_height" else None
        self._doubt = Doubt()
        self._pose, self._velocity = np.eye(4), np.zeros(6)
        self._carried = np.zeros((6, 6))
        self._failures = 0
        self._started = True
        self._opening = None
        self._add_keyframe(frame, Sight.none(), self._network)
        if self.config.prior == "scale_and_shift" or not frame.has_depth:
            self._opening = Start(self._map, self._template)

    def _open(self, frame: Frame, known: Floats | None) -> WindowState | tuple[Floats, Sight]:
        """Return pose and observations of the newest frame with enough parallax to start, or the state without."""
        assert self._opening is not None
        if not self._opening.follow(frame.pyramid):
            self._begin(frame)
            return WindowState.LOST
        key = self._map.keyframes[-1].pose
        opened = self._opening.open(self._usual_depth, None if known is None else known @ se3.inverse(key))
        if opened is None:
            self._pose = self._pose if known is None else known
            self._follow_on(frame, Sight.none())
            return WindowState.STARTING
        if not self._is_keyframe and known is None:
            self._pose, self._sight = opened.before
            self._pose_in_keyframe = self._pose @ se3.inverse(key)
        self._opening = None
        return opened.newest

    def _expected(self, frame: Frame, known: Floats | None, gyro: GyroRotation, network: NetworkMotion) -> Floats:
        """Return the expected pose of the newest frame, by the known motion or else by constant velocity.

        The first pair of a map has no velocity yet. There the pose network's rotation is taken if its motion agrees
        with the image. Without it, a turn of some degrees may be taken for a translation, and the map stays wrong.
        """
        if known is not None:
            return np.asarray(self._in_map_units(known) @ self._pose)
        motion = se3.exp(self._velocity * self._seconds(frame))
        if gyro is not None:
            motion[:3, :3] = np.asarray(gyro[0]).T
        elif self._is_keyframe and len(self._map.keyframes) == 1 and self._opening is None:
            by_network = explained_motion(network, self._frame, frame, self.config)
            if by_network is not None:
                motion[:3, :3] = by_network[0][:3, :3].T
        return np.asarray(motion @ self._pose)

    def _change_unit(self, log_factor: float) -> None:
        """Multiply all lengths of the map by ``exp(log_factor)``; the published lengths stay the same."""
        if log_factor == 0.0:
            return
        self._map.rescale(log_factor)
        self._scale.take_unit(log_factor)
        self._network, factor = (self._network[0] + log_factor, self._network[1]), math.exp(log_factor)
        self._pose = se3.stretched(self._pose, factor)
        self._pose_in_keyframe = se3.stretched(self._pose_in_keyframe, factor)
        self._velocity = np.append(self._velocity[:3] * factor, self._velocity[3:])
        self._usual_depth *= factor

    def _in_map_units(self, T_previous_current: Floats) -> Floats:
        """Return T_current_previous in map units for a motion in published units."""
        return se3.stretched(se3.inverse(T_previous_current), 1.0 / self._scale.factor)

    def _seconds(self, frame: Frame) -> float:
        return (frame.stamp_ns - self._frame.stamp_ns) * 1e-9

    def _locate(self, frame: Frame, expected: Floats, hold: bool) -> tuple[Floats, Sight]:
        """Track the keyframe's points, and return the pose with most inliers and their observations."""
        sight = tracks.follow_points(self._map, self._template, frame.pyramid, expected)
        sight = self._on_time(frame, sight, expected, self._velocity)
        if hold:
            return expected, sight
        pose, fits = find_pose(self._map, sight, expected, self.config.least_tracks)
        if self.config.rolling_shutter_s > 0:  # the velocity is known better now
            sight = self._on_time(frame, sight, pose, self._velocity_of(frame, self._moved(pose)))
            pose, fits = find_pose(self._map, sight, pose, self.config.least_tracks)
        poses = [(pose, sight.chosen(fits))]
        if fits.sum() >= tracks.SURE * len(self._template.sight):
            return poses[0]
        # The camera did not move as expected, so features are matched over the whole image.
        for matched in matched_poses(self._map, self._template, frame.pyramid[0]):
            sight = tracks.follow_points(self._map, self._template, frame.pyramid, matched)
            pose, fits = find_pose(self._map, sight, matched, self.config.least_tracks)
            poses.append((pose, sight.chosen(fits)))
        later = frame.pyramid
        return max(poses, key=lambda f: len(f[1]) - tracks.missed(self._map, self._template, f[0], f[1], later))

    def _on_time(self, frame: Frame, sight: Sight, pose: Floats, velocity: Floats) -> Sight:
        """Return the observations, corrected to the time of the middle row."""
        return on_time(self._map, sight, pose, velocity, frame.size[0], self.config.rolling_shutter_s)

    def _velocity_of(self, frame: Frame, moved: Floats) -> Floats:
        """Return the (6,) twist per second of T_previous_current."""
        return np.asarray(se3.log(se3.inverse(moved)) / self._seconds(frame))

    def _solve(self, pose: Floats, sight: Sight, expected: Floats, hold: bool, gyro: GyroRotation) -> Solution | None:
        if len(sight) < self.config.least_tracks:
            return None
        known = None
        if gyro is not None:
            information = np.zeros((6, 6))
            information[3:, 3:] = np.linalg.inv(gyro[1])
            known = KnownMotion(expected @ se3.inverse(self._pose), information)
        # After a frame without tracks, the previous frame has no observations to optimise.
        recent = [] if self._is_keyframe or not len(self._sight) else [(self._pose, self._sight)]
        return self._map.adjust([*recent, (pose, sight)], known, hold)

    def _moved(self, pose: Floats) -> Floats:
        """Return T_previous_current in map units.

        The previous pose is the published one, which moves with the last keyframe. So the increments add up to the
        pose in the map, and errors of single frames do not accumulate.
        """
        return np.asarray(self._pose_in_keyframe @ self._map.keyframes[-1].pose @ se3.inverse(pose))

    def _measure_scale(self, frame: Frame, pose: Floats, moved: Floats, speed: tuple[float, float] | None) -> None:
        turn_rad = float(np.linalg.norm(se3.vector_from_rotation(moved[:3, :3])))
        self._scale.wander(turn_rad)
        if self._road is not None:
            guess = math.log(self.config.camera_height_m / self._scale.factor)
            log_height = self._road.measure(frame.pyramid[0], pose, moved, guess, self._scale.is_measured)
            if log_height is not None:
                self._scale.road(log_height, turn_rad)
        if speed is not None:
            seconds = self._seconds(frame)
            self._scale.speed(speed[0] * seconds, float(np.linalg.norm(moved[:3, 3])), speed[1] * seconds**2)

    def _take(self, frame: Frame, pose: Floats, moved: Floats, sight: Sight) -> None:
        """Store the frame as the previous one for the next step, and as a keyframe if one is due."""
        self._velocity = self._velocity_of(frame, moved)
        turn_radps = float(np.linalg.norm(self._velocity[3:]))
        self._turn_radps = max(turn_radps, (1 - TURN_SHARE) * self._turn_radps + TURN_SHARE * turn_radps)
        self._failures = 0
        self._age += 1
        self._pose = pose
        if keyframing.is_due(self._map, self._template.sight, sight, pose, self._age, frame.size[1]):
            known = keyframing.known_depths(self._map, frame, sight, self._pose)
            self._add_keyframe(frame, sight, keyframing.network_scale_of(self._map, known))
            if self.config.prior == "scale" and known is not None:
                self._scale.network(*known)
        else:
            self._follow_on(frame, sight)

    def _follow_on(self, frame: Frame, sight: Sight) -> None:
        self._frame, self._sight, self._is_keyframe = frame, sight, False
        self._pose_in_keyframe = self._pose @ se3.inverse(self._map.keyframes[-1].pose)

    def _add_keyframe(self, frame: Frame, sight: Sight, network: NetworkScale) -> None:
        """Make the frame a keyframe, and add new points up to `WindowConfig.points`."""
        local_map, config = self._map, self.config
        before = self._template.pyramid if local_map.keyframes else None
        local_map.add_keyframe(self._pose, network, sight)
        seen = local_map.to_image(sight.found)
        new = tracks.corners(frame.pyramid[0], seen, config.points - len(sight), frame.allowed)
        network_depth = frame.inverse_depth_at(new, config.min_depth, config.max_depth)
        if network_depth is None:
            guess = keyframing.guessed(local_map, self._pose, sight, new, network[0], self._usual_depth)
            network_depth = guess, np.zeros(len(new), dtype=bool)
        untold = not frame.has_depth or config.prior == "scale_and_shift"
        ideal = local_map.to_ideal(new)
        depth = np.exp(-local_map.expected_log_rho(network_depth[0]))
        late = lateness(local_map, ideal, ideal, depth, self._velocity, frame.size[0], config.rolling_shutter_s)
        places = local_map.add_points(ideal - late, late, *network_depth, untold)
        moved = local_map.finish_keyframe()
        late = np.append(sight.late, late, axis=0)
        ideal = local_map.to_ideal(np.append(seen, new, axis=0))
        sight = Sight(np.append(sight.places, places), ideal - late, late).moved(moved)
        if self._road is not None:
            self._road.keep(local_map.keyframes[-1], frame.pyramid[0])
        self._frame, self._sight, self._is_keyframe = frame, sight, True
        self._template = tracks.Template(frame.pyramid, sight, frame.allowed, before)
        self._pose_in_keyframe, self._age = np.eye(4), 0
        self._network_unit = frame.unit
        last = local_map.keyframes[-5:]
        self._network = float(np.median([k.log_scale for k in last])), float(np.median([k.shift for k in last]))

    # -- results --------------------------------------------------------------------------------------------------

    def _without_tracks(self, frame: Frame, network_motion: NetworkMotion) -> WindowResult:
        """Return the pose network's motion if it agrees with the image; else the frame is lost, and a new map begins.

        The map is kept for a few frames, because motion blur or a flash of light are soon over.
        """
        by_network = explained_motion(network_motion, self._frame, frame, self.config)
        if by_network is None:
            self._begin(frame)
            return self._without_motion(WindowState.LOST)
        motion, seconds = self._in_map_units(by_network[0]), self._seconds(frame)
        self._failures += 1
        is_keyframe = self._failures > self.config.patience
        if is_keyframe:
            self._begin(frame)
        else:
            self._pose = motion @ self._pose
            self._carried = self._carried + by_network[1]
            self._age += 1
            self._follow_on(frame, Sight.none())
        self._velocity = se3.log(motion) / seconds
        return self._untracked(WindowState.NETWORK, *by_network, is_keyframe)

    def _without_motion(self, state: WindowState, known: Floats | None = None) -> WindowResult:
        motion, covariance = (np.eye(4), unknown_covariance()) if known is None else (known, KNOWN_COVARIANCE)
        return self._untracked(state, motion, covariance, state is not WindowState.STARTING)

    def _untracked(self, state: WindowState, motion: Floats, covariance: Floats, is_keyframe: bool) -> WindowResult:
        scale = self._scale
        return WindowResult(
            state, motion, covariance, math.nan, 0, is_keyframe, scale.factor, scale.log_variance, scale.origin,
            WindowPoints.none(), self._frame.camera, self._network_fit(),
        )  # fmt: skip

    def _network_fit(self) -> InverseDepthFit | None:
        """Return scale and shift of the network's inverse depth at the last keyframe, in published units."""
        keyframe = self._map.keyframes[-1]
        if self._opening is not None or self._map.guess.all():
            return None
        scale = math.exp(-keyframe.log_scale) / self._scale.factor
        return InverseDepthFit(scale / self._network_unit, scale * keyframe.shift)

    def _result(self, moved: Floats, solution: Solution, fit: tuple[float, int], seconds: float) -> WindowResult:
        scale = self._scale
        published = se3.stretched(moved, scale.factor)
        z = self._map.depths(self._pose, self._sight)
        self._usual_depth = float(np.median(z)) if len(z) else self._usual_depth
        newest_px, usual_px = self._residual.take(fit[0]), self._residual.px
        noise = TrackNoise.of(usual_px, self._turn_radps, float(self._map.camera[0]), self.config.rolling_shutter_s)
        covariance = motion_covariance(
            moved, solution.covariance, newest_px, self.config.sigma_px, self._map.camera[0], self._usual_depth,
            len(self._map.keyframes), noise.bent_px,
        )  # fmt: skip
        covariance[:3, :3] += np.eye(3) * (self._doubt.degree * DOUBT_SPEED * self._usual_depth * seconds) ** 2
        covariance = published_covariance(covariance, published, scale.factor, scale.log_variance) + self._carried
        self._carried = np.zeros((6, 6))
        points = trusted_points(self._map, self._sight, self._pose, usual_px, noise, self._doubt, scale.factor)
        return WindowResult(
            WindowState.TRACKED, published, covariance, *fit, self._is_keyframe, scale.factor,
            scale.log_variance, scale.origin, points, self._frame.camera, self._network_fit(),
        )  # fmt: skip
