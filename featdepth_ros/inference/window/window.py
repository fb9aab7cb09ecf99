"""Motion and structure from a window of keyframes.

A frame's points are followed from the last keyframe, its pose is found against the map, and then the newest keyframes,
the newest frame and all their points are solved together, while older keyframes are held fixed and carry on what was
known. The network's depth starts points and is a weak prior. What is solved anew about the past never changes what was
published: a frame adds its own motion and nothing else (REP-105).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.inference.window import keyframing, road, tracks
from featdepth_ros.inference.window.config import WindowConfig
from featdepth_ros.inference.window.covariance import motion_covariance, published_covariance, unknown_covariance
from featdepth_ros.inference.window.fallback import explains
from featdepth_ros.inference.window.frame import DepthSource, Frame
from featdepth_ros.inference.window.local_map import KnownMotion, LocalMap, Sight, Solution
from featdepth_ros.inference.window.pose import find_pose
from featdepth_ros.inference.window.scale import ScaleFilter
from featdepth_ros.inference.window.types import WindowPoints, WindowResult, WindowState

Floats = NDArray[np.float64]
NetworkMotion = tuple[Floats, Floats] | Callable[[], tuple[Floats, Floats] | None] | None

OPT: dict = {}


class Window:
    """Estimates motion and points of one camera, frame by frame. One window serves one camera.

    Args:
        config: see `WindowConfig`.
    """

    def __init__(self, config: WindowConfig) -> None:
        self.config = config
        self._scale = ScaleFilter(config)
        self._log_scale = 0.0
        self._next_id = 0
        self.reset()

    def reset(self) -> None:
        """Forget all frames and points: the next frame is a first one. The scale stays."""
        self._map: LocalMap | None = None
        self._failures = 0

    def step(
        self,
        grey: NDArray[np.uint8],
        camera: CameraModel,
        stamp_ns: int,
        depth: DepthSource = None,
        trusted: NDArray[np.bool_] | None = None,
        network_motion: NetworkMotion = None,
        known_motion: Floats | None = None,
        gyro_rotation: tuple[Floats, Floats] | None = None,
        speed: tuple[float, float] | None = None,
    ) -> WindowResult:
        """Take one frame.

        Args:
            grey: (H, W) uint8, rectified, full size: tracks are the better the larger the picture.
            camera: pinhole camera of ``grey``.
            stamp_ns: time of exposure, nanoseconds.
            depth: (h, w) float32 z-depth by the network, any size, same view, published units; or a function that
                gives it (called at keyframes only); or None.
            trusted: (h, w) bool, where that depth is trusted.
            network_motion: T_previous_current (4, 4) by the pose network, published units, and its covariance (6, 6);
                or a function that gives it (called where tracks fail); or None.
            known_motion: T_previous_current (4, 4), published units, taken as given: only points are solved.
            gyro_rotation: rotation of T_previous_current (3, 3) by a gyroscope, and its covariance (3, 3), rad^2.
            speed: metres per second and its variance.

        Returns:
            What the frame gave.
        """
        frame = Frame(grey, camera, stamp_ns, depth, trusted)
        if self._map is None or camera != self._frame.camera:
            return self._begin(frame)
        expected = self._expected(frame, known_motion, gyro_rotation)
        pose, sight = self._locate(frame, expected)
        if len(sight) < self.config.least_tracks:
            return self._without_tracks(frame, network_motion)
        solution = self._solve(pose, sight, expected, known_motion is not None, gyro_rotation)
        if solution is None:
            return self._without_tracks(frame, network_motion)
        pose, moved = solution.poses[-1], self._moved(solution)
        residual_px, sight = self._agreeing(pose, sight)
        self._measure_scale(frame, pose, moved, speed)
        is_keyframe = self._take(frame, pose, sight)
        return self._result(WindowState.TRACKED, moved, solution, residual_px, is_keyframe)

    # -- parts of a step ------------------------------------------------------------------------------------------

    def _begin(self, frame: Frame, state: WindowState = WindowState.FIRST) -> WindowResult:
        """Start a map from one frame. It goes on in the last map's unit, as far as the network knows it."""
        camera = frame.camera
        if self._map is not None:
            self._next_id = self._map.next_id
            self._scale.restart()
        self._map = LocalMap(self.config, np.array([camera.fx, camera.fy, camera.cx, camera.cy]), self._next_id)
        self._road = road.RoadFinder(self._map) if self.config.scale == "camera_height" else None
        self._pose, self._velocity = np.eye(4), np.zeros(6)
        self._recent: tuple[Floats, Sight] | None = None
        self._failures = 0
        self._age = 0
        self._add_keyframe(frame, Sight.none(), self._log_scale)
        if state is WindowState.FIRST or state is WindowState.LOST:
            return self._unknown(state)
        raise AssertionError(state)

    def _expected(self, frame: Frame, known: Floats | None, gyro: tuple[Floats, Floats] | None) -> Floats:
        """Pose of the newest frame at constant velocity, or as the motion is known."""
        seconds = (frame.stamp_ns - self._frame.stamp_ns) * 1e-9
        if known is not None:
            motion = known.copy()
            motion[:3, 3] /= self._scale.factor
            return se3.inverse(motion) @ self._pose
        motion = se3.exp(self._velocity * seconds)
        if gyro is not None:
            motion[:3, :3] = np.asarray(gyro[0]).T
        return np.asarray(motion @ self._pose)

    def _locate(self, frame: Frame, expected: Floats) -> tuple[Floats, Sight]:
        """Follow the keyframe's points and find the pose that they support."""
        local_map = self._map
        assert local_map is not None
        sight = tracks.follow_points(local_map, self._template, frame.pyramid, expected)
        pose, fits = find_pose(local_map, sight, expected, self.config.least_tracks)
        return pose, sight.chosen(fits)

    def _solve(
        self, pose: Floats, sight: Sight, expected: Floats, hold: bool, gyro: tuple[Floats, Floats] | None
    ) -> Solution | None:
        known = None
        if gyro is not None:
            information = np.zeros((6, 6))
            information[3:, 3:] = np.linalg.inv(gyro[1])
            known = KnownMotion(expected @ se3.inverse(self._pose), information)
        recent = [self._recent] if self._recent is not None else []
        return self._map.adjust([*recent, (expected if hold else pose, sight)], known, hold)

    def _moved(self, solution: Solution) -> Floats:
        """T_previous_current in map units.

        The earlier pose is the one published, carried along with the last keyframe: increments then add up to what the
        map says, and errors of single frames do not accumulate.
        """
        key = self._map.keyframes[-1].pose
        before = self._pose_in_keyframe @ key
        if OPT.get("smooth"):
            before = solution.poses[-2] if len(solution.poses) > 1 else key
        return before @ se3.inverse(solution.poses[-1])

    def _agreeing(self, pose: Floats, sight: Sight) -> tuple[float, Sight]:
        """Drop tracks that do not agree; points that are far off are not used again: they move, or were mismatched."""
        errors = self._map.errors(pose, sight)
        self._map.bad[sight.places[errors > self.config.drop_px]] = True
        agree = errors < self.config.agree_px
        return (float(np.median(errors[agree])) if agree.any() else math.nan), sight.chosen(agree)

    def _measure_scale(self, frame: Frame, pose: Floats, moved: Floats, speed: tuple[float, float] | None) -> None:
        self._scale.wander(float(np.linalg.norm(se3.vector_from_rotation(moved[:3, :3]))))
        if self._road is not None:
            guess = math.log(self.config.camera_height_m / self._scale.factor)
            log_height = self._road.measure(frame.pyramid[0], pose, moved, guess, self._scale.is_measured)
            if log_height is not None:
                self._scale.road(log_height)
        if speed is not None:
            seconds = (frame.stamp_ns - self._frame.stamp_ns) * 1e-9
            self._scale.speed(speed[0] * seconds, float(np.linalg.norm(moved[:3, 3])), speed[1] * seconds**2)

    def _take(self, frame: Frame, pose: Floats, sight: Sight) -> bool:
        """Make the frame the newest one, and a keyframe where one is due."""
        seconds = max((frame.stamp_ns - self._frame.stamp_ns) * 1e-9, 1e-6)
        key = self._map.keyframes[-1].pose
        self._velocity = se3.log(pose @ se3.inverse(self._pose_in_keyframe @ key)) / seconds
        self._pose, self._sight, self._failures = pose, sight, 0
        self._age += 1
        if keyframing.is_due(self._map, self._template.sight, sight, pose, self._age, frame.size[1]):
            self._add_keyframe(frame, sight, self._network_scale(frame, sight))
            self._scale.network([k.log_scale for k in self._map.keyframes])
            return True
        self._frame = frame
        self._recent = (pose, sight)
        self._pose_in_keyframe = pose @ se3.inverse(key)
        return False

    def _add_keyframe(self, frame: Frame, sight: Sight, log_scale: float) -> None:
        local_map, config = self._map, self.config
        local_map.add_keyframe(self._pose, log_scale, sight)
        new = tracks.corners(frame.pyramid[0], sight.pixels, config.points - len(sight))
        told = frame.depth_at(new, config.min_depth, config.max_depth)
        if told is None:
            z = local_map.depths(self._pose, sight)
            middle = math.log(float(np.median(z))) if len(z) else 0.0
            depth, believed = np.full(len(new), math.exp(middle - log_scale)), np.zeros(len(new), dtype=bool)
        else:
            depth, believed = told
            if not OPT.get("far", True):
                new, depth, believed = new[believed], depth[believed], believed[believed]
        places = local_map.add_points(new, -np.log(depth), believed)
        sight = Sight(np.append(sight.places, places), np.append(sight.pixels, new, axis=0))
        moved = local_map.finish_keyframe()
        if self._road is not None:
            self._road.keep(local_map.keyframes[-1], frame.pyramid[0])
        self._sight = sight.moved(moved)
        self._template = tracks.Template(frame.pyramid, self._sight)
        self._frame, self._recent, self._pose_in_keyframe, self._age = frame, None, np.eye(4), 0
        self._log_scale = float(np.median([k.log_scale for k in local_map.keyframes[-5:]]))

    def _network_scale(self, frame: Frame, sight: Sight) -> float:
        """Log scale of this frame's network depth, from the points that the map knows well."""
        known = sight.chosen(self._map.information[sight.places] > self.config.known_information)
        told = frame.depth_at(known.pixels, self.config.min_depth, self.config.max_depth) if len(known) else None
        last = float(np.mean([k.log_scale for k in self._map.keyframes[-5:]]))
        if told is None or told[1].sum() < 20:
            return last
        ratio = np.log(np.maximum(self._map.depths(self._pose, known), 1e-6) / told[0])
        return float(np.median(ratio[told[1]]))

    def _without_tracks(self, frame: Frame, network_motion: NetworkMotion) -> WindowResult:
        """The pose network answers where its motion explains the picture; else the frame is lost."""
        found = network_motion() if callable(network_motion) else network_motion
        if found is None or not explains(found[0], self._frame, frame, self.config):
            return self._begin(frame, WindowState.LOST)
        T_previous_current, covariance = found
        motion = se3.inverse(T_previous_current)
        motion[:3, 3] /= self._scale.factor
        seconds = max((frame.stamp_ns - self._frame.stamp_ns) * 1e-9, 1e-6)
        self._failures += 1
        if self._failures > self.config.patience:
            self._begin(frame, WindowState.LOST)
        else:
            self._pose = motion @ self._pose
            self._pose_in_keyframe = self._pose @ se3.inverse(self._map.keyframes[-1].pose)
            self._frame, self._recent, self._sight = frame, (self._pose, Sight.none()), Sight.none()
            self._age += 1
        self._velocity = se3.log(motion) / seconds
        return WindowResult(
            WindowState.NETWORK, T_previous_current, covariance, math.nan, 0, False, self._scale.factor,
            self._scale.log_variance, self._scale.origin, WindowPoints.none(),
        )  # fmt: skip

    # -- results --------------------------------------------------------------------------------------------------

    def _result(
        self, state: WindowState, moved: Floats, solution: Solution, residual_px: float, is_keyframe: bool
    ) -> WindowResult:
        scale = self._scale
        published = moved.copy()
        published[:3, 3] *= scale.factor
        covariance = published_covariance(
            motion_covariance(moved, solution.covariance), published, scale.factor, scale.log_variance
        )
        return WindowResult(
            state, published, covariance, residual_px, len(self._sight), is_keyframe, scale.factor, scale.log_variance,
            scale.origin, self._points(),
        )  # fmt: skip

    def _unknown(self, state: WindowState) -> WindowResult:
        scale = self._scale
        return WindowResult(
            state, np.eye(4), unknown_covariance(), math.nan, 0, True, scale.factor, scale.log_variance, scale.origin,
            WindowPoints.none(),
        )  # fmt: skip

    def _points(self) -> WindowPoints:
        """Points seen now and measured; their variance is that of the host's depth carried to the newest camera."""
        local_map = self._map
        sight = self._sight.chosen(local_map.information[self._sight.places] > 0)
        z = local_map.depths(self._pose, sight)
        hosts = np.stack([k.pose for k in local_map.keyframes])[local_map.host[sight.places]]
        # depth there = depth here + offset: the logarithms' errors go as the depths do
        offset = (self._pose @ np.linalg.inv(hosts))[:, 2, 3]
        good = z > 1e-6
        sight, z, offset = sight.chosen(good), z[good], offset[good]
        carried = np.maximum(((z - offset) / z) ** 2, 1e-6)
        return WindowPoints(
            local_map.ids[sight.places], sight.pixels, z * self._scale.factor,
            local_map.variance[sight.places] * carried, local_map.information[sight.places] / carried,
        )  # fmt: skip
