"""The rendered world: deterministic, consistent under its own truth, and as varied as it says."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from featdepth_ros.errors import ConfigError
from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.recordings.frame import Frame

pytest.importorskip("numba")

from featdepth_ros.simulation import SCENES, CameraEffects, Simulation, SimulationConfig, random_scene_config, simulate
from featdepth_ros.simulation.render.rays import ray_table
from featdepth_ros.simulation.render.scene import SceneBuilder, undulation
from featdepth_ros.simulation.scenes.greenery import hedge_row
from featdepth_ros.simulation.scenes.outdoors import Site
from featdepth_ros.simulation.scenes.road import make_road
from featdepth_ros.simulation.scenes.street import street_ground
from featdepth_ros.simulation.simulate import SCENE_SHARES

pytestmark = pytest.mark.slow

RATES = {"street": 10.0, "avenue": 10.0, "lane": 10.0, "room": 15.0, "corridor": 15.0, "clutter": 10.0}
RATES |= {"hills": 10.0, "underpass": 10.0, "desk": 15.0}


def warp_errors(target: Frame, source: Frame) -> tuple[float, float, float]:
    """Warp source onto target by the true depth and motion: (warped error, unwarped error, share of co-visible pixels).

    Errors are mean absolute differences of 0 to 1 colours over the co-visible pixels. Those land in the source at the
    depth that the source itself has there.
    """
    assert target.depth is not None and source.depth is not None and target.camera is not None
    assert target.T_world_camera is not None and source.T_world_camera is not None
    camera, motion = target.camera, np.linalg.inv(source.T_world_camera) @ target.T_world_camera
    v, u = np.mgrid[0 : camera.height, 0 : camera.width].astype(np.float64)
    rays = np.stack([(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, np.ones_like(u)], axis=-1)
    points = (rays * target.depth[..., None]) @ motion[:3, :3].T + motion[:3, 3]
    x = camera.fx * points[..., 0] / points[..., 2] + camera.cx
    y = camera.fy * points[..., 1] / points[..., 2] + camera.cy
    inside = (points[..., 2] > 0.1) & (x >= 1) & (y >= 1) & (x <= camera.width - 2) & (y <= camera.height - 2)
    map_x, map_y = np.where(inside, x, 0).astype(np.float32), np.where(inside, y, 0).astype(np.float32)
    warped = cv2.remap(source.image, map_x, map_y, cv2.INTER_LINEAR).astype(float) / 255.0
    there = cv2.remap(np.nan_to_num(source.depth, nan=1e6), map_x, map_y, cv2.INTER_NEAREST)
    seen = inside & (np.abs(there - points[..., 2]) < 0.03 * points[..., 2] + 0.02)
    image = target.image.astype(float) / 255.0
    error = np.abs(warped - image)[seen].mean()
    return float(error), float(np.abs(source.image / 255.0 - image)[seen].mean()), float(seen.mean())


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("kind", ["street", "room"])
def test_true_depth_and_motion_explain_the_next_frame(kind: str, seed: int) -> None:
    simulation = Simulation(SimulationConfig(scene=kind, seed=seed, frames=12, rate_hz=RATES[kind]))
    warped, unwarped = [], []
    for index in (0, 10):
        error, still, share = warp_errors(simulation.frame(index), simulation.frame(index + 1))
        assert share > 0.4, "most of the picture should be seen twice"
        warped.append(error)
        unwarped.append(still)
    assert np.mean(warped) < 0.02
    assert np.mean(warped) < np.mean(unwarped) / 3


@pytest.mark.parametrize("kind", ["corridor", "clutter", "avenue", "lane", "hills", "underpass", "desk"])
def test_the_other_scenes_are_consistent_too(kind: str) -> None:
    simulation = Simulation(SimulationConfig(scene=kind, seed=1, frames=4, rate_hz=RATES[kind]))
    error, _, share = warp_errors(simulation.frame(1), simulation.frame(2))
    assert all(np.nanmin(frame.depth) > 0.1 for frame in simulation)
    assert error < 0.03 and share > 0.3


def test_stereo_pair_agrees_by_its_baseline() -> None:
    left, right = next(Simulation(SimulationConfig(scene="street", seed=5, frames=1)).stereo())
    assert left.T_world_camera is not None and right.T_world_camera is not None
    offset = np.linalg.inv(left.T_world_camera) @ right.T_world_camera
    np.testing.assert_allclose(offset[:3, 3], [0.54, 0.0, 0.0], atol=1e-12)
    error, still, _ = warp_errors(left, right)
    assert error < 0.03
    assert error < still / 3


@pytest.mark.parametrize("kind", ["street", "room"])
def test_same_seed_same_bytes_whatever_the_threads(kind: str) -> None:
    config = SimulationConfig(scene=kind, seed=7, frames=2)
    one, many = Simulation(config, threads=1), Simulation(config, threads=3)
    for a, b in zip(one, many, strict=True):
        assert a.image.tobytes() == b.image.tobytes()
        assert a.depth is not None and b.depth is not None and a.depth.tobytes() == b.depth.tobytes()
        assert a.T_world_camera is not None and b.T_world_camera is not None
        assert a.T_world_camera.tobytes() == b.T_world_camera.tobytes()
        assert a.stamp_ns == b.stamp_ns
    other = next(simulate(SimulationConfig(scene=kind, seed=8, frames=1)))
    assert other.image.tobytes() != one.frame(0).image.tobytes()


def test_a_longer_drive_begins_with_the_shorter_one() -> None:
    short = Simulation(SimulationConfig(scene="street", seed=3, frames=3))
    long = Simulation(SimulationConfig(scene="street", seed=3, frames=200))
    assert np.abs(short.frame(2).image.astype(int) - long.frame(2).image).mean() < 0.5
    np.testing.assert_array_equal(short.poses[2], long.poses[2])


def test_frames_carry_their_truth() -> None:
    frame = next(simulate(SimulationConfig(scene="street", seed=0, frames=1, rate_hz=4.0)))
    assert frame.image.shape == (192, 640, 3) and frame.image.dtype == np.uint8
    assert frame.depth is not None and frame.depth.dtype == np.float32
    assert frame.T_world_camera is not None and frame.T_world_camera.dtype == np.float64
    sky = np.isnan(frame.depth)
    assert 0.0 < sky.mean() < 0.6 and sky[:96].mean() > sky[96:].mean()
    assert np.nanmin(frame.depth) > 0.3
    stamps = [f.stamp_ns for f in simulate(SimulationConfig(scene="room", seed=0, frames=3, rate_hz=15.0))]
    assert np.allclose(np.diff(stamps), 1e9 / 15.0, atol=1.0)


def test_a_drive_goes_forward_and_a_road_lies_below() -> None:
    simulation = Simulation(SimulationConfig(scene="street", seed=1, frames=40))
    steps = [np.linalg.inv(a) @ b for a, b in zip(simulation.poses, simulation.poses[1:], strict=False)]
    ahead = np.array([step[2, 3] for step in steps])
    assert (ahead > -1e-3).all() and ahead.max() > 0.4
    frame = simulation.frame(0)
    assert frame.depth is not None and frame.camera is not None and frame.T_world_camera is not None
    row, column = 185, 320
    ray = np.array([(column - frame.camera.cx) / frame.camera.fx, (row - frame.camera.cy) / frame.camera.fy, 1.0])
    point = frame.T_world_camera[:3, :3] @ (ray * frame.depth[row, column]) + frame.T_world_camera[:3, 3]
    assert point[2] == pytest.approx(simulation.scene.ground_height(point[0], point[1])[0], abs=1e-3)


def test_a_hand_held_camera_keeps_its_distance_and_speed() -> None:
    for seed in range(2):
        simulation = Simulation(SimulationConfig(scene="room", seed=seed, frames=300, rate_hz=15.0))
        places = np.array([T[:3, 3] for T in simulation.poses])
        speed = np.linalg.norm(np.diff(places, axis=0), axis=1) * 15.0
        assert 0.05 < speed.mean() < 0.7
        assert min(np.nanmin(simulation.frame(i).depth) for i in range(0, 300, 60)) > 0.15
        assert not any(np.isnan(simulation.frame(i).depth).any() for i in (0, 150))


@pytest.mark.parametrize(
    ("model", "coefficients"),
    [("plumb_bob", (-0.2, 0.05, 0.001, -0.001, 0.0)), ("equidistant", (-0.01, 0.005, 0.0, 0.0))],
)
def test_distorted_cameras_see_the_same_world(model: str, coefficients: tuple[float, ...]) -> None:
    plain = CameraModel(320, 240, 200.0, 200.0, 159.5, 119.5)
    bent = CameraModel(320, 240, 200.0, 200.0, 159.5, 119.5, model, coefficients)  # type: ignore[arg-type]
    a, b = (next(simulate(SimulationConfig(scene="room", seed=2, frames=1, camera=c))) for c in (plain, bent))
    rays = ray_table(bent)
    x = (rays[..., 0] * 200.0 + 159.5).astype(np.float32)
    y = (rays[..., 1] * 200.0 + 119.5).astype(np.float32)
    inside = (x > 0) & (y > 0) & (x < 319) & (y < 239)
    assert a.depth is not None and b.depth is not None
    expected: NDArray[np.float32] = cv2.remap(a.depth, x, y, cv2.INTER_LINEAR)
    relative = np.abs(expected - b.depth)[inside] / b.depth[inside]
    assert np.quantile(relative, 0.9) < 0.01
    assert np.abs(x - np.arange(320)).max() > 3.0


def test_effects_change_images_and_no_truth() -> None:
    plain = SimulationConfig(scene="room", seed=4, frames=1)
    effects = CameraEffects(
        exposure=1.2, gamma=0.8, noise=0.02, blur_px=0.5, motion_px=3.0, vignette=0.4, haze=0.1, jpeg=80
    )
    a, b = (next(simulate(c)) for c in (plain, SimulationConfig(scene="room", seed=4, frames=1, effects=effects)))
    assert a.depth is not None and b.depth is not None and a.depth.tobytes() == b.depth.tobytes()
    assert 3.0 < np.abs(a.image.astype(float) - b.image).mean() < 120.0
    again = next(simulate(SimulationConfig(scene="room", seed=4, frames=1, effects=effects)))
    assert again.image.tobytes() == b.image.tobytes()
    untouched = CameraEffects().apply(a.image, a.depth, 0)
    assert untouched.tobytes() == a.image.tobytes()


def test_a_textureless_room_is_the_room_without_its_textures() -> None:
    room, bare = (next(simulate(SimulationConfig(scene=s, seed=4, frames=1))) for s in ("room", "textureless"))
    assert room.depth is not None and bare.depth is not None and room.depth.tobytes() == bare.depth.tobytes()
    # What is left of a picture beside its large forms, without the outlines: the median of local differences.
    fine = [np.median(cv2.Laplacian(cv2.cvtColor(f.image, cv2.COLOR_RGB2GRAY), cv2.CV_64F).__abs__().clip(0, 99) + 0.0)
            for f in (room, bare)]  # fmt: skip
    assert fine[1] <= 1.0 and fine[1] < 0.5 * fine[0]
    assert bare.image.std() > 10.0  # shading and outlines remain


def test_random_configurations_vary_and_render() -> None:
    configs = [random_scene_config(seed, frames=1, size=(96, 320)) for seed in range(24)]
    assert {c.scene for c in configs} == set(SCENE_SHARES) < set(SCENES)
    focal = [c.camera.fx / c.camera.width for c in configs]
    assert min(focal) < 0.6 and max(focal) > 0.9 and min(focal) > 0.44 and max(focal) < 1.21
    for config in configs[:2]:
        frame = next(simulate(config))
        assert frame.image.shape == (96, 320, 3) and frame.image.std() > 5.0


def test_wrong_configurations_are_refused_in_words() -> None:
    with pytest.raises(ConfigError, match="did you mean 'street'"):
        SimulationConfig(scene="stret")
    with pytest.raises(ConfigError, match="0 frames"):
        SimulationConfig(frames=0)


def test_hedges_and_garden_walls_stand_on_the_ground(monkeypatch: pytest.MonkeyPatch) -> None:
    """Depth is read off the row where a thing meets the ground."""
    rng, builder = np.random.default_rng(1), SceneBuilder("lane", 1)
    site = Site(builder, make_road(1, 90.0, 3.5), street_ground(builder, rng, 3.5))
    boxes: list[tuple[np.ndarray, np.ndarray]] = []
    monkeypatch.setattr(builder, "box", lambda centre, half, *_: boxes.append((np.array(centre), np.array(half))))
    for start in (0.0, 30.0, 60.0):
        hedge_row(site, rng, start, 5.5, 0.1)
    assert len(boxes) > 8
    for centre, half in boxes:
        ground = undulation(site.ground.waves, *centre[:2])[0]
        assert ground - 0.5 < centre[2] - half[2] < ground
        assert site.off_road(centre, 0.0)
