"""Metres: the filter of the scale, and the road plane."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.inference.window.config import WindowConfig
from featdepth_ros.inference.window.local_map import LocalMap
from featdepth_ros.inference.window.metres.road import RoadFinder, height_of_bands
from featdepth_ros.inference.window.metres.scale import ROAD_SIGMA, ScaleFilter, network_log_factor
from featdepth_ros.inference.window.records import Keyframe, Sight
from featdepth_ros.inference.window.types import ScaleOrigin
from featdepth_ros.inference.window.window import Window

METRIC = WindowConfig(scale="camera_height", camera_height_m=1.65)
CAMERA = np.array([360.0, 360.0, 320.0, 96.0])
SIZE = (192, 640)


def test_the_scale_follows_the_road_and_knows_how_well():
    scale, random = ScaleFilter(METRIC), np.random.default_rng(0)
    before = scale.log_variance
    for _ in range(100):
        scale.wander(0.0)
        scale.road(math.log(1.65 / 1.3) + ROAD_SIGMA * random.normal(), 0.0)
    assert scale.factor == pytest.approx(1.3, rel=0.03)
    assert scale.log_variance < 0.1 * before
    assert scale.origin is ScaleOrigin.ROAD


def test_wrong_planes_hardly_move_the_scale():
    scale = ScaleFilter(METRIC)
    for index in range(100):
        scale.wander(0.0)
        scale.road(math.log(1.65 / 1.3) + (0.6 if index % 5 == 0 else 0.0), 0.0)
    assert scale.factor == pytest.approx(1.3, rel=0.04)


def test_turning_makes_the_road_count_less():
    straight, turning = ScaleFilter(METRIC), ScaleFilter(METRIC)
    for scale, turn in ((straight, 0.0), (turning, 0.05)):
        scale.road(math.log(1.65 / 1.3), turn)
    assert abs(math.log(turning.factor)) < 0.5 * abs(math.log(straight.factor))


def told_and_measured(log_factor: float, depth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Inverse depths by a network, metres, and in a map whose unit is exp(log_factor) metres."""
    return 1.0 / depth, math.exp(log_factor) / depth


def test_the_network_is_followed_slowly_where_nothing_else_measures():
    scale, depth = ScaleFilter(WindowConfig(scale="network")), np.linspace(2.0, 40.0, 50)
    for _ in range(10):
        scale.network(*told_and_measured(-0.2, depth))
    scale.network(*told_and_measured(-1.5, depth))
    assert scale.factor == pytest.approx(math.exp(-0.2))
    assert scale.origin is ScaleOrigin.NETWORK


def test_what_is_near_tells_metres():
    """A network that has everything beyond 15 m too near, as ours do in streets; half of the points are far."""
    random = np.random.default_rng(3)
    true = np.concatenate([random.uniform(4.0, 15.0, 60), random.uniform(15.0, 60.0, 90)])
    told = np.where(true > 15.0, 15.0 * (true / 15.0) ** 0.8, true) * np.exp(0.05 * random.normal(size=150))
    measured = 1.3 / true  # the map's unit is 1.3 m
    assert math.exp(network_log_factor(1.0 / told, measured)) == pytest.approx(1.3, rel=0.03)
    assert float(np.median(measured * told)) < 1.3 * 0.93  # what all points say alike
    room = true / 20.0  # where all is near, all points count about alike
    assert network_log_factor(1.0 / room, 1.0 / room * 1.3) == pytest.approx(math.log(1.3))


def test_map_units_stay_map_units():
    scale = ScaleFilter(WindowConfig(scale="relative"))
    scale.wander(0.1)
    scale.network(*told_and_measured(0.4, np.ones(5)))
    assert scale.factor == 1.0 and scale.log_variance == 0.0


def test_speed_gives_metres():
    scale = ScaleFilter(WindowConfig(scale="network"))
    for _ in range(30):
        scale.wander(0.0)
        scale.speed(0.8, 0.5, 0.01**2)
    assert scale.factor == pytest.approx(1.6, rel=0.01)
    assert scale.origin is ScaleOrigin.SPEED
    scale.speed(0.0, 0.5, 0.01**2)  # standing says nothing
    assert scale.factor == pytest.approx(1.6, rel=0.01)


def road_picture(pose: np.ndarray, height: float) -> np.ndarray:
    """What a camera at T_camera_world sees of a textured plane ``height`` below the origin."""
    random = np.random.default_rng(1)
    ground = cv2.GaussianBlur(random.uniform(0, 255, (1500, 600)).astype(np.float32), (0, 0), 1.5)
    ground = cv2.normalize(ground, None, 0, 255, cv2.NORM_MINMAX)
    T = se3.inverse(pose)
    v, u = np.mgrid[0 : SIZE[0], 0 : SIZE[1]].astype(np.float64)
    rays = np.stack([(u - CAMERA[2]) / CAMERA[0], (v - CAMERA[3]) / CAMERA[1], np.ones_like(u)], axis=-1) @ T[:3, :3].T
    along = (height - T[1, 3]) / np.where(rays[..., 1] > 1e-3, rays[..., 1], np.inf)
    x, z = T[0, 3] + along * rays[..., 0], T[2, 3] + along * rays[..., 2]
    seen = cv2.remap(
        ground, (x * 20 + 300).astype(np.float32), (z * 20).astype(np.float32), cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT,
    )  # fmt: skip
    return np.where(rays[..., 1] > 1e-3, seen, 128).astype(np.uint8)


@pytest.mark.parametrize("pitch", [0.0, 0.03])
def test_the_height_over_the_road_is_found(pitch):
    """Also under a camera that looks down: the direction of travel tells."""
    mounting = se3.make(se3.rotation_from_vector([pitch, 0.0, 0.0]), np.zeros(3))
    height = 1.2
    moved = se3.make(np.eye(3), [0.0, 0.0, 0.9])
    earlier = mounting
    newest = mounting @ se3.inverse(moved)
    finder = RoadFinder(LocalMap(METRIC, CAMERA))
    finder.keep(Keyframe(earlier, 0.0, 0.0, *_nothing()), road_picture(earlier, height))
    step = earlier @ se3.inverse(newest)
    found = finder.measure(road_picture(newest, height), newest, step, math.log(1.5), False)
    assert found is not None and math.exp(found) == pytest.approx(height, rel=0.02)


def test_bands_of_distance_tell_a_pitch_from_a_height():
    """The road is 1.2 away and pitched by 0.4 degrees against the direction of travel, as where a vehicle nods."""
    drop, pitch, height = np.array([0.07, 0.12, 0.2]), 0.007, 1.2
    seen = np.log(height * drop / (drop + pitch))
    found = height_of_bands(drop, seen, 0.0005)
    assert found is not None and math.exp(found) == pytest.approx(height, rel=0.025)
    assert math.exp(seen[1]) < height * 0.95  # what the middle band says by itself
    alone = height_of_bands(drop[2:], seen[2:], 0.0005)
    assert alone == pytest.approx(seen[2], abs=1e-3)  # one band tells no pitch


def test_kerbs_and_pavements_are_not_the_road():
    """Beside a lane all is 0.15 m higher."""
    height = 1.2
    newest = se3.make(np.eye(3), [0.0, 0.0, -0.9])
    pictures = []
    for pose in (np.eye(4), newest):
        lane, beside = road_picture(pose, height), road_picture(pose, height - 0.15)
        v, u = np.mgrid[0 : SIZE[0], 0 : SIZE[1]]
        drop = (v - CAMERA[3]) / CAMERA[1]
        pictures.append(np.where(np.abs((u - CAMERA[2]) / CAMERA[0]) < 1.6 * drop, lane, beside))
    finder = RoadFinder(LocalMap(METRIC, CAMERA))
    finder.keep(Keyframe(np.eye(4), 0.0, 0.0, *_nothing()), pictures[0])
    found = finder.measure(pictures[1], newest, se3.inverse(newest), math.log(1.3), False)
    assert found is not None and math.exp(found) == pytest.approx(height, rel=0.02)


def test_no_road_no_height():
    finder = RoadFinder(LocalMap(METRIC, CAMERA))
    random = np.random.default_rng(2)
    first, second = (random.integers(0, 255, SIZE, dtype=np.uint8) for _ in range(2))
    finder.keep(Keyframe(np.eye(4), 0.0, 0.0, *_nothing()), first)
    newest = se3.make(np.eye(3), [0.0, 0.0, -0.9])
    assert finder.measure(second, newest, se3.inverse(newest), math.log(1.2), False) is None


def _nothing():
    sight = Sight.none()
    return sight.places, sight.pixels, sight.pixels, sight.late


@pytest.mark.parametrize(
    ("config", "factor"), [("relative", 2.0**-30), ("network", 2.0**30), ("camera_height", 2.0**-30)]
)
def test_a_unit_that_has_drifted_far_changes_nothing(drive, config, factor):
    """A map takes over the last one's unit, so the unit drifts as long as the robot runs; numbers must not follow.

    Rounding moves where the tracker stops by some 1e-5 pixels; the amount differs between processors.
    """
    settings = WindowConfig(scale=config, camera_height_m=1.65)
    usual, drifted = Window(settings), Window(settings)
    for index in range(20):
        if index == 12:
            drifted._change_unit(math.log(factor))
        stamp_ns = (index + 1) * 100_000_000
        steps = [w.step(drive.greys[index], drive.camera, stamp_ns, drive.depths[index]) for w in (usual, drifted)]
        assert steps[1].state is steps[0].state
        np.testing.assert_allclose(steps[1].T_previous_current, steps[0].T_previous_current, atol=1e-5)
        np.testing.assert_allclose(steps[1].points.depth, steps[0].points.depth, rtol=1e-3)
        sigma = np.sqrt(np.diag(steps[0].covariance))
        differs = np.abs(steps[1].covariance - steps[0].covariance)
        np.testing.assert_array_less(differs, 1e-3 * np.outer(sigma, sigma) + 1e-15)
        assert steps[1].residual_px == pytest.approx(steps[0].residual_px, abs=1e-3, nan_ok=True)
