"""Rows exposed one after the other: each row is that of the picture taken whole at the row's own time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from featdepth_ros.errors import ConfigError
from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.geometry.cameras import CameraModel

pytest.importorskip("numba")

from featdepth_ros.simulation import Motion, Renderer, Simulation, SimulationConfig, TurnStyle
from featdepth_ros.simulation.render.rays import ray_table
from featdepth_ros.simulation.traffic.style import TRAFFIC

pytestmark = pytest.mark.slow

CAMERA = CameraModel(160, 64, 93.0, 93.0, 79.5, 31.5)
ROLLING = SimulationConfig(scene="street", seed=4, frames=12, camera=CAMERA, smooth=False, rolling_shutter_s=0.05)


def in_own_axis(
    depth: NDArray[np.float32], own: NDArray[np.float64], other: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Turn depth along the axis of ``own`` into that along ``other``, of the same points."""
    rays = np.concatenate([ray_table(CAMERA), np.ones((64, 160, 1))], axis=2)
    points = rays * depth[..., None] @ own[:3, :3].T + own[:3, 3]
    turned: NDArray[np.float64] = (points - other[:3, 3]) @ other[:3, 2]
    return turned


@pytest.mark.parametrize("scene", ["street", "room"])
def test_each_row_is_that_of_the_whole_picture_at_its_time(scene: str) -> None:
    simulation = Simulation(replace(ROLLING, scene=scene), threads=1)
    frame, rows = simulation.frame(5), simulation.row_poses(5)
    assert frame.depth is not None and frame.T_world_camera is not None
    renderer = Renderer(simulation.scene, CAMERA, threads=1, smooth=False)
    seconds = 0.5 + np.array([-0.5, -0.3, 0.3, 0.5]) * 0.05
    for row, exact in zip((0, 12.6, 50.4, 63), simulation.path.poses(seconds), strict=True):
        nearest = rows[round(row)]
        assert np.linalg.norm(nearest[:3, 3] - exact[:3, 3]) < 0.02  # a third of a row's time away at most
    for row in (0, 20, 43, 63):
        image, depth = renderer.render(rows[row])
        np.testing.assert_array_equal(frame.image[row], image[row])
        expected = in_own_axis(depth, rows[row], frame.T_world_camera)[row]
        np.testing.assert_allclose(frame.depth[row], expected, rtol=1e-5, atol=1e-4)


def test_the_middle_row_has_the_frames_pose() -> None:
    simulation = Simulation(ROLLING, threads=1)
    for index in (0, 7):
        rows = simulation.row_poses(index)
        between = se3.interpolate(rows[31], rows[32], 0.5)
        np.testing.assert_allclose(between, simulation.poses[index], atol=1e-5)
        assert np.linalg.norm(rows[63][:3, 3] - rows[0][:3, 3]) > 0.1


def test_a_camera_at_rest_sees_the_whole_picture() -> None:
    still = replace(ROLLING, motion=Motion(stands=((0.2, 3.0),), ramp_s=0.1), smooth=True)
    rolling, whole = Simulation(still, threads=2), Simulation(replace(still, rolling_shutter_s=0.0), threads=1)
    a, b = rolling.frame(8), whole.frame(8)
    assert a.image.tobytes() == b.image.tobytes()
    assert a.depth is not None and b.depth is not None
    np.testing.assert_allclose(a.depth, b.depth, rtol=1e-6)


def test_a_turn_slants_what_is_upright() -> None:
    """A pole's picture moves by rate x time x focal length between two rows."""
    turning = replace(ROLLING, motion=Motion(turn=TurnStyle(rate_radps=1.0)))
    rows = Simulation(turning, threads=1).row_poses(3)
    angle = np.linalg.norm(se3.vector_from_rotation(rows[0][:3, :3].T @ rows[63][:3, :3]))
    assert angle == pytest.approx(0.05, rel=1e-6)


def test_vehicles_drive_on_while_the_rows_are_exposed() -> None:
    config = replace(ROLLING, scene="highway", seed=2, traffic=TRAFFIC["flow"], frames=30)
    simulation = Simulation(config, threads=1)
    renderer = Renderer(simulation.scene, CAMERA, threads=1, smooth=False)
    checked = 0
    for index in (4, 12, 20, 28):
        frame, rows = simulation.frame(index), simulation.row_poses(index)
        assert frame.depth is not None and frame.moving is not None and frame.T_world_camera is not None
        traffic = simulation._shutter._traffic
        assert traffic is not None
        for row in (4, 26, 38, 60):
            traffic.place(index / 10.0 + 0.05 * (row / 63.0 - 0.5))
            _, depth = renderer.render(rows[row])
            expected = in_own_axis(depth, rows[row], frame.T_world_camera)[row]
            moving = frame.moving[row] & np.isfinite(expected)
            checked += int(moving.sum())
            wrong = np.abs(frame.depth[row] - expected)[moving] > 0.01
            assert wrong.mean() < 0.1 if moving.any() else True
    assert checked > 100


def test_a_shutter_slower_than_the_frames_is_refused() -> None:
    with pytest.raises(ConfigError, match="time between two frames"):
        replace(ROLLING, rolling_shutter_s=0.2)
