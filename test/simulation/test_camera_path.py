"""The camera's path in time: turns on the spot, stretches of standing still, and what lies before its start."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from featdepth_ros.errors import ConfigError
from featdepth_ros.geometry import se3_numpy as se3

pytest.importorskip("numba")

from featdepth_ros.simulation.camera_path import CameraPath, Motion, TurnStyle, stop_and_go
from featdepth_ros.simulation.render.scene import Scene
from featdepth_ros.simulation.simulate import make_scene
from featdepth_ros.simulation.trajectories import DriveStyle, HandStyle, drive, hand_held

SECONDS = np.arange(0.0, 12.0, 0.05)


@pytest.fixture(scope="module", params=["street", "room"])
def scene(request: pytest.FixtureRequest) -> Scene:
    return make_scene(request.param, 3, 150.0)


def poses(scene: Scene, motion: Motion, seconds: NDArray[np.float64] = SECONDS) -> NDArray[np.float64]:
    return np.array(CameraPath(scene, DriveStyle(), HandStyle(), 3, motion).poses(seconds))


def steps(path: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return how far (m) and by which rotation (rad) each pose lies from the one before."""
    motions = [se3.log(se3.inverse(a) @ b) for a, b in pairwise(path)]
    return np.array([np.linalg.norm(m[:3]) for m in motions]), np.array([m[3:] for m in motions])


def test_without_options_the_path_is_the_scenes_own(scene: Scene) -> None:
    own = (
        drive(scene, SECONDS, DriveStyle(), 3) if scene.kind == "street" else hand_held(scene, SECONDS, HandStyle(), 3)
    )
    np.testing.assert_array_equal(poses(scene, Motion()), np.array(own))


def test_a_turn_on_the_spot_turns_and_does_not_move(scene: Scene) -> None:
    turned = poses(scene, Motion(turn=TurnStyle(rate_radps=0.4)))
    assert np.ptp(turned[:, :3, 3], axis=0).max() == 0.0
    np.testing.assert_allclose(turned[0], poses(scene, Motion(), np.array([8.0]))[0], atol=1e-12)
    _, rotations = steps(turned)
    np.testing.assert_allclose(np.linalg.norm(rotations, axis=1), 0.4 * 0.05, rtol=1e-6)
    world = np.einsum("nij,nj->ni", turned[:-1, :3, :3], rotations)
    np.testing.assert_allclose(world[:, 2], 0.4 * 0.05, rtol=1e-6)


def test_a_turn_about_all_axes_swings_about_each(scene: Scene) -> None:
    turned = poses(scene, Motion(turn=TurnStyle(rate_radps=0.6, all_axes=True)))
    assert np.ptp(turned[:, :3, 3], axis=0).max() == 0.0
    _, rotations = steps(turned)
    typical = np.sqrt((rotations**2).mean(0)) / 0.05
    assert (typical > 0.4).all() and (typical < 0.9).all()
    away = [np.linalg.norm(se3.vector_from_rotation(turned[0, :3, :3].T @ pose[:3, :3])) for pose in turned]
    assert max(away) < 1.0


def test_it_stands_exactly_and_comes_to_rest_gently(scene: Scene) -> None:
    motion = Motion(stands=((3.0, 5.0), (8.0, 9.0)))
    stood, own = poses(scene, motion), poses(scene, Motion())
    before = SECONDS <= 2.0
    np.testing.assert_allclose(stood[before], own[before], atol=1e-6)
    for first, last in motion.stands:
        during = stood[(SECONDS >= first) & (SECONDS <= last)]
        assert np.ptp(during, axis=0).max() == 0.0
    far, _ = steps(stood)
    assert far[(SECONDS[:-1] > 6.0) & (SECONDS[:-1] < 7.0)].min() > 0.0
    # Never faster than the undisturbed path, and no jolt: the ramps take a second each.
    quickest = steps(own)[0].max()
    assert far.max() < 1.2 * quickest and np.abs(np.diff(far)).max() < 0.2 * quickest


def test_stop_and_go_stops_and_goes() -> None:
    street = make_scene("street", 3, 150.0)
    style = DriveStyle(stops=0.0)
    path = np.array(CameraPath(street, style, HandStyle(), 3, stop_and_go(12.0, 5)).poses(SECONDS))
    stands = steps(path)[0] == 0.0
    assert 0.2 < stands.mean() < 0.6
    assert (np.diff(stands.astype(int)) == 1).sum() >= 2, "it stops more than once"


def test_before_its_start_the_path_goes_on_as_it_begins(scene: Scene) -> None:
    around = poses(scene, Motion(), np.array([-0.02, -0.01, 0.0, 0.01, 0.02]))
    backward, forward = se3.inverse(around[1]) @ around[2], se3.inverse(around[2]) @ around[3]
    np.testing.assert_allclose(backward, forward, atol=1e-9)
    assert np.linalg.norm(se3.log(forward)) > 1e-5


def test_wrong_stretches_are_refused() -> None:
    for stands in (((3.0, 2.0),), ((1.0, 4.0), (3.0, 5.0))):
        with pytest.raises(ConfigError, match="ascend"):
            Motion(stands=stands)
