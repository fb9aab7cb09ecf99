"""Motion between two views, features of pictures far apart, and a start without depth."""

from __future__ import annotations

import math

import numpy as np
import pytest

from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.inference.window.config import WindowConfig
from featdepth_ros.inference.window.two_views.geometry import two_view_motion
from featdepth_ros.inference.window.two_views.matching import matches
from featdepth_ros.inference.window.types import WindowState
from featdepth_ros.inference.window.window import Window

FOCAL_PX = 400.0
DT_NS = 100_000_000
TURN = [0.01, -0.04, 0.02]


def rays(points):
    return points[:, :2] / points[:, 2:]


def scene(kind, count=150, seed=0):
    """Points (n, 3) ahead of a camera: all over, or on a slanted plane."""
    random = np.random.default_rng(seed)
    seen = random.uniform([-0.7, -0.4], [0.7, 0.4], (count, 2))
    z = random.uniform(3.0, 20.0, count) if kind == "space" else 6.0 / (1.0 - 0.4 * seen[:, 0] + 0.3 * seen[:, 1])
    return np.concatenate([seen, np.ones((count, 1))], axis=1) * z[:, None]


def views(points, motion, noise_px=0.1, seed=1):
    random = np.random.default_rng(seed)
    second = rays(points @ motion[:3, :3].T + motion[:3, 3])
    return rays(points), second + noise_px / FOCAL_PX * random.normal(size=second.shape)


@pytest.mark.parametrize(
    ("kind", "way"),
    [("space", [0.0, 0.02, -0.8]), ("space", [0.6, 0.1, 0.1]), ("plane", [0.6, 0.1, 0.1])],
)
def test_the_motion_is_found(kind, way):
    motion, points = se3.make(se3.rotation_from_vector(TURN), way), scene(kind)
    first, second = views(points, motion)
    second[::6] += 0.05  # a sixth is mismatched
    view = two_view_motion(first, second, FOCAL_PX, 30)
    assert view is not None
    assert np.linalg.norm(se3.vector_from_rotation(view.T_second_first[:3, :3] @ motion[:3, :3].T)) < 2e-3
    direction = view.T_second_first[:3, 3] @ np.array(way) / np.linalg.norm(way)
    assert math.acos(min(direction, 1.0)) < 0.03
    right = np.arange(len(points)) % 6 != 0
    assert view.supporters[right].mean() > 0.95
    known = right & view.supporters & (view.parallax_px > 5.0)
    ratio = view.depth[known] * np.linalg.norm(way) / points[known, 2]
    assert np.median(np.abs(np.log(ratio))) < 0.03


def test_two_motions_before_a_plane_give_none():
    """Towards a slanted plane a second motion explains every point as well (Longuet-Higgins 1986)."""
    motion = se3.make(se3.rotation_from_vector(TURN), [0.0, 0.02, -0.8])
    assert two_view_motion(*views(scene("plane"), motion), FOCAL_PX, 30) is None


def test_a_turn_on_the_spot_shows_no_parallax():
    motion = se3.make(se3.rotation_from_vector(TURN), np.zeros(3))
    view = two_view_motion(*views(scene("space"), motion), FOCAL_PX, 30)
    assert view is None or np.median(view.parallax_px) < 1.0


def test_noise_has_no_motion():
    random = np.random.default_rng(3)
    first, second = random.uniform(-0.5, 0.5, (2, 100, 2))
    assert two_view_motion(first, second, FOCAL_PX, 30) is None
    assert two_view_motion(first[:5], second[:5], FOCAL_PX, 4) is None


def test_features_of_pictures_far_apart_match(drive):
    first, second = matches(drive.greys[5], drive.greys[14])
    assert len(first) > 40
    focal, centre = np.array([drive.camera.fx, drive.camera.fy]), np.array([drive.camera.cx, drive.camera.cy])
    T = se3.inverse(drive.poses[14]) @ drive.poses[5]
    z = drive.depths[5][tuple(np.rint(first).astype(int).T[::-1])]
    points = np.concatenate([(first - centre) / focal, np.ones((len(first), 1))], axis=1) * z[:, None]
    expected = rays(points @ T[:3, :3].T + T[:3, 3]) * focal + centre
    assert np.median(np.linalg.norm(expected - second, axis=1)) < 3.0
    assert len(matches(drive.greys[5], np.full_like(drive.greys[5], 90))[0]) == 0


def run(drive, config, count=20, **each):
    window = Window(config)
    return [
        window.step(drive.greys[i], drive.camera, (i + 1) * DT_NS, **{name: give(i) for name, give in each.items()})
        for i in range(count)
    ]


def check_motion(drive, results, direction_rad=0.02):
    """Rotation and direction are right from the first frame that is tracked, and the unit stays."""
    begin = next(i for i, r in enumerate(results) if r.state is WindowState.TRACKED)
    assert begin <= 3 and all(r.state is WindowState.STARTING for r in results[1:begin])
    ratios = []
    for index in range(begin, len(results)):
        found, truth = results[index].T_previous_current, drive.motion(index)
        assert results[index].state is WindowState.TRACKED
        assert np.linalg.norm(se3.vector_from_rotation(found[:3, :3] @ truth[:3, :3].T)) < 1e-3
        lengths = np.linalg.norm(found[:3, 3]), np.linalg.norm(truth[:3, 3])
        assert math.acos(min(found[:3, 3] @ truth[:3, 3] / lengths[0] / lengths[1], 1.0)) < direction_rad
        ratios.append(lengths[0] / lengths[1])
    assert np.std(np.log(ratios)) < 0.03
    return float(np.median(ratios))


def test_a_start_without_depth_and_without_a_pose_network_is_right(drive):
    results = run(drive, WindowConfig(scale="relative"))
    check_motion(drive, results)
    assert np.median(results[-1].points.depth) == pytest.approx(1.0, rel=0.6)  # the unit
    assert results[-1].network is None


def test_inverse_depth_with_a_scale_and_a_shift_is_understood(drive):
    config = WindowConfig(scale="relative", prior="scale_and_shift")
    results = run(drive, config, depth=lambda i: (30.0 * (1.0 / drive.depths[i] + 0.02)).astype(np.float32))
    unit = check_motion(drive, results)
    fit = results[-1].network
    assert fit is not None
    # 1 / z = scale d + shift, z in the window's unit: scale = 1 / (30 unit), shift = -0.02 / unit
    assert 1 / (30 * fit.scale) == pytest.approx(unit, rel=0.1)
    assert fit.shift * unit == pytest.approx(-0.02, abs=0.008)


def test_known_motion_gives_points_without_any_depth(drive):
    results = run(drive, WindowConfig(scale="relative"), 10, known_motion=lambda i: drive.motion(i) if i else None)
    assert all(r.state is WindowState.TRACKED for r in results[3:])
    for index in range(1, 10):
        np.testing.assert_allclose(results[index].T_previous_current, drive.motion(index), atol=1e-9)
    points = results[-1].points
    rows, columns = np.rint(points.pixels[:, 1]).astype(int), np.rint(points.pixels[:, 0]).astype(int)
    sure = points.information > 400
    error = np.log(points.depth / drive.depths[9][rows, columns])[sure]
    assert sure.sum() > 50 and abs(np.median(error)) < 0.03 and np.median(np.abs(error)) < 0.05


def test_a_picture_that_stands_waits(drive):
    window = Window(WindowConfig(scale="relative"))
    states = [window.step(drive.greys[0], drive.camera, (i + 1) * DT_NS).state for i in range(4)]
    assert states == [WindowState.FIRST, *[WindowState.STARTING] * 3]


def test_one_frame_a_second_is_tracked(drive):
    """Every tenth frame of a drive: patches are out of reach, features are not."""
    window, frames = Window(WindowConfig(scale="relative")), [0, 10, 20, 29]
    for number, index in enumerate(frames):
        result = window.step(drive.greys[index], drive.camera, (number + 1) * 1_000_000_000, drive.depths[index])
        if number:
            truth = se3.inverse(drive.poses[frames[number - 1]]) @ drive.poses[index]
            assert result.state is WindowState.TRACKED
            off = se3.inverse(truth) @ result.T_previous_current
            assert np.linalg.norm(se3.vector_from_rotation(off[:3, :3])) < 0.01
            assert np.linalg.norm(off[:3, 3]) < 0.15 * np.linalg.norm(truth[:3, 3])
