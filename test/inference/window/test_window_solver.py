"""The compiled bundle adjustment: derivatives, perfect data, and whether its covariance is what noise does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.inference.window.compiled import factors, linear
from featdepth_ros.inference.window.config import WindowConfig
from featdepth_ros.inference.window.local_map import LocalMap
from featdepth_ros.inference.window.pose import find_pose
from featdepth_ros.inference.window.records import KnownMotion, Sight

Floats = NDArray[np.float64]

CAMERA = np.array([500.0, 500.0, 320.0, 120.0])


@dataclass
class Cloud:
    """Points (n, 3) in space and the cameras (4, 4) T_camera_map that see all of them."""

    points: Floats
    poses: list[Floats]

    def pixels(self, pose: Floats, radial: float = 0.0) -> Floats:
        """(n, 2) where a camera sees the points, by a lens with a radial error."""
        seen = self.points @ pose[:3, :3].T + pose[:3, 3]
        rays = seen[:, :2] / seen[:, 2:]
        rays = 2 * rays / (1 + np.sqrt(1 - 4 * radial * (rays**2).sum(axis=1, keepdims=True)))
        return rays * CAMERA[:2] + CAMERA[2:]


def make_cloud(seed: int, frames: int = 6, count: int = 120, turn_rad: float = 0.01) -> Cloud:
    """A camera drives forwards and turns among points 5 to 30 ahead."""
    random = np.random.default_rng(seed)
    z = random.uniform(5.0, 30.0, count)
    rays = np.stack([random.uniform(-0.6, 0.6, count), random.uniform(-0.2, 0.2, count)], axis=1)
    points = np.concatenate([rays * z[:, None], z[:, None]], axis=1)
    step = se3.exp(np.array([0.05, 0.01, -0.5, 0.002, turn_rad, 0.001]))
    poses = [np.eye(4)]
    for _ in range(frames - 1):
        poses.append(step @ poses[-1])
    return Cloud(points, poses)


def make_map(cloud: Cloud, config: WindowConfig, pixels: list[Floats] | None = None, depth_error: float = 0.0,
             seed: int = 0) -> tuple[LocalMap, Sight]:  # fmt: skip
    """A map with a keyframe at each of the cloud's poses but the last, and what the last one sees.

    Points are hosted by the first keyframe; the network's depth is true but for a random factor.
    """
    random = np.random.default_rng(seed)
    pixels = pixels or [cloud.pixels(pose) for pose in cloud.poses]
    local_map = LocalMap(config, CAMERA)
    local_map.add_keyframe(cloud.poses[0], (0.0, 0.0), Sight.none())
    depth = cloud.points[:, 2] * np.exp(depth_error * random.normal(size=len(cloud.points)))
    places = local_map.add_points(pixels[0], np.zeros_like(pixels[0]), 1.0 / depth, np.ones(len(depth), dtype=bool))
    local_map.finish_keyframe()
    for pose, seen in zip(cloud.poses[1:-1], pixels[1:-1], strict=True):
        local_map.add_keyframe(pose, (0.0, 0.0), Sight.at(places, seen))
        local_map.finish_keyframe()
    return local_map, Sight.at(places, pixels[-1])


SETTINGS = np.array([0.7, 1e6, 1e6, 0.3, 0.1])  # so wide that every weight is 1


def observation(pose, host_pose, log_rho, radial):
    """Residual and Jacobians of one observation."""
    ray = np.array([0.3, -0.1, 0.1])
    shrink = 1 / (1 + radial * ray[2])
    host_point = np.array([ray[0] * shrink, ray[1] * shrink, 1.0]) / np.exp(log_rho)
    point = host_pose[:, :3].T @ (host_point - host_pose[:, 3])
    jj, jh, jr, jc, out = np.zeros((2, 6)), np.zeros((2, 6)), np.zeros(2), np.zeros((2, 1)), np.zeros(4)
    lens = (CAMERA, np.array([radial]), 0.0, 1.0, 0)
    factors.observe(
        pose, host_pose, lens, np.array([ray[0] * shrink, ray[1] * shrink, ray[2]]), np.exp(log_rho), point, 400.0,
        100.0, SETTINGS, jj, jh, jr, jc, out,
    )  # fmt: skip
    return out[:2].copy(), jj, jh, jr, jc


def test_jacobians_are_the_derivatives():
    random = np.random.default_rng(0)
    pose = se3.exp(random.normal(size=6) * 0.05)[:3].copy()
    host = se3.exp(random.normal(size=6) * 0.05)[:3].copy()
    log_rho, radial, small = -2.0, 0.01, 1e-6
    _, jj, jh, jr, jc = observation(pose, host, log_rho, radial)

    def slope(change):
        return (change(small) - change(-small)) / (2 * small)

    for axis in range(6):
        d = np.zeros(6)

        def moved(which, h, d=d, axis=axis):
            d[axis] = h
            changed = which.copy()
            linear.move(changed, d)
            return changed

        by_pose = slope(lambda h: observation(moved(pose, h), host, log_rho, radial)[0])
        by_host = slope(lambda h: observation(pose, moved(host, h), log_rho, radial)[0])
        np.testing.assert_allclose(jj[:, axis], by_pose, rtol=1e-5, atol=1e-4)
        np.testing.assert_allclose(jh[:, axis], by_host, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(jr, slope(lambda h: observation(pose, host, log_rho + h, radial)[0]), rtol=1e-5)
    # the ray's own length is taken before the correction, so the derivative holds to first order in the error
    np.testing.assert_allclose(
        jc[:, 0], slope(lambda h: observation(pose, host, log_rho, radial + h)[0]), rtol=5e-3, atol=0.02
    )


def test_known_motion_has_the_gradient_of_its_cost():
    random = np.random.default_rng(1)
    poses = np.stack([se3.exp(random.normal(size=6) * 0.1)[:3] for _ in range(2)])
    measured = (se3.exp(random.normal(size=6) * 0.02) @ np.vstack([poses[1], [0, 0, 0, 1]])
                @ se3.inverse(np.vstack([poses[0], [0, 0, 0, 1]])))[:3].copy()  # fmt: skip
    root = random.normal(size=(6, 6))
    weight = root @ root.T
    variable = np.array([0, 1])

    def cost(changed):
        return factors.add_motion(np.zeros((12, 12)), np.zeros(12), changed, variable, measured, weight)

    g = np.zeros(12)
    factors.add_motion(np.zeros((12, 12)), g, poses, variable, measured, weight)
    for k in range(12):
        values = []
        for h in (1e-6, -1e-6):
            d, changed = np.zeros(6), poses.copy()
            d[k % 6] = h
            linear.move(changed[k // 6], d)
            values.append(cost(changed))
        # the rotation's error is taken as small: exact to first order in 0.02 rad
        assert g[k] == pytest.approx((values[0] - values[1]) / 2e-6, rel=0.05, abs=0.05)


def test_perfect_data_is_recovered():
    cloud = make_cloud(2)
    local_map, sight = make_map(cloud, WindowConfig(iterations=12, sigma_prior=3.0), depth_error=0.2)
    random = np.random.default_rng(3)
    for keyframe in local_map.keyframes[1:]:
        keyframe.pose = se3.exp(random.normal(size=6) * 0.01) @ keyframe.pose
    start = se3.exp(random.normal(size=6) * 0.01) @ cloud.poses[-1]
    solution = local_map.adjust([(start, sight)])
    assert solution is not None
    newest, truth = solution.poses[-1], cloud.poses[-1]
    # The unit is what the network's depth says on average; shape and rotation are exact.
    scale = np.linalg.norm(newest[:3, 3]) / np.linalg.norm(truth[:3, 3])
    assert scale == pytest.approx(1.0, abs=0.1)
    np.testing.assert_allclose(newest[:3, :3], truth[:3, :3], atol=2e-4)
    np.testing.assert_allclose(newest[:3, 3] / scale, truth[:3, 3], atol=5e-3)
    assert np.median(local_map.errors(newest, sight)) < 0.01


def test_a_radial_error_of_the_calibration_is_found():
    cloud = make_cloud(4, frames=8, count=300, turn_rad=0.04)
    local_map, sight = make_map(cloud, WindowConfig(), [cloud.pixels(pose, radial=0.02) for pose in cloud.poses])
    found = local_map.to_image(sight.pixels)
    for _ in range(20):  # keyframe by keyframe
        assert local_map.adjust([(cloud.poses[-1], Sight.at(sight.places, local_map.to_ideal(found)))]) is not None
        local_map.finish_keyframe()
    assert local_map.lens.radial == pytest.approx(0.02, abs=0.001)
    np.testing.assert_allclose(local_map.to_image(local_map.to_ideal(found)), found, atol=1e-9)


def test_the_covariance_is_what_noise_does():
    cloud = make_cloud(5, frames=5, count=60)
    config = WindowConfig(
        sigma_px=0.5, huber_px=10.0, outlier_px=50.0, calibrate=False, iterations=4, sigma_prior=0.1, huber_prior=1.0,
        sigma_scale=1e-4,
    )  # fmt: skip
    truth = [cloud.pixels(pose) for pose in cloud.poses]
    random = np.random.default_rng(6)
    errors, covariance = [], None
    for seed in range(300):
        noisy = [truth[0], *(p + 0.5 * random.normal(size=p.shape) for p in truth[1:])]
        local_map, sight = make_map(cloud, config, noisy, depth_error=0.1, seed=seed)
        solution = local_map.adjust([(cloud.poses[-1], sight)])
        assert solution is not None
        difference = solution.poses[-1] @ se3.inverse(cloud.poses[-1])
        errors.append(np.concatenate([difference[:3, 3], se3.vector_from_rotation(difference[:3, :3])]))
        covariance = solution.covariance[6:, 6:]
    ratio = np.var(errors, axis=0) / np.diag(covariance)
    assert (ratio > 0.7).all() and (ratio < 1.4).all()


def test_a_known_rotation_is_obeyed_where_points_say_nothing():
    cloud = make_cloud(7, count=30)
    local_map, sight = make_map(cloud, WindowConfig(sigma_px=50.0, calibrate=False))
    motion = cloud.poses[-1] @ se3.inverse(cloud.poses[-2])
    wrong = motion.copy()
    wrong[:3, :3] = se3.rotation_from_vector([0.0, 0.02, 0.0]) @ motion[:3, :3]
    information = np.zeros((6, 6))
    information[3:, 3:] = np.eye(3) / 1e-4**2
    solution = local_map.adjust([(cloud.poses[-1], sight)], KnownMotion(wrong, information))
    assert solution is not None
    found = solution.poses[-1] @ se3.inverse(local_map.keyframes[-1].pose)
    angle = np.linalg.norm(se3.vector_from_rotation(found[:3, :3] @ wrong[:3, :3].T))
    assert angle < 2e-3


def test_too_few_points_give_no_answer():
    cloud = make_cloud(8, count=8)
    local_map, sight = make_map(cloud, WindowConfig())
    assert local_map.adjust([(cloud.poses[-1], sight)]) is None


def test_small_systems_are_solved():
    random = np.random.default_rng(9)
    root = random.normal(size=(7, 7))
    matrix = root @ root.T + np.eye(7)
    factor, vector, inverse = matrix.copy(), random.normal(size=7), np.empty((7, 7))
    right = vector.copy()
    assert linear.factorise(factor)
    linear.substitute(factor, vector)
    linear.invert(factor, inverse)
    np.testing.assert_allclose(matrix @ vector, right, atol=1e-10)
    np.testing.assert_allclose(matrix @ inverse, np.eye(7), atol=1e-10)
    assert not linear.factorise(-matrix)


def test_a_pose_is_refined_from_the_better_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenCV finds the right inliers, but its pose from them all may lie metres off, where refining goes astray."""
    cloud = make_cloud(3)
    local_map, sight = make_map(cloud, WindowConfig())
    sampled = cv2.solvePnPRansac

    def far_off(*args: Any, **options: Any) -> Any:
        solved, rotation, translation, inliers = sampled(*args, **options)
        return solved, rotation + [[0.0], [0.0], [2.5]], translation - [[1.0], [0.6], [40.0]], inliers

    expected = se3.exp(np.array([0.1, 0.05, 0.2, 0.002, 0.001, 0.0])) @ cloud.poses[-1]
    found, fits = find_pose(local_map, sight, expected, 20)
    assert fits.all() and np.abs(found - cloud.poses[-1]).max() < 1e-4
    monkeypatch.setattr(cv2, "solvePnPRansac", far_off)
    again, fits = find_pose(local_map, sight, expected, 20)
    assert fits.all() and np.abs(again - found).max() < 1e-5
