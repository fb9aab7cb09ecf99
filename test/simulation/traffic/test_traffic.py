"""Vehicles that drive: where they may be, what they hide, what is marked, and that nothing else changes."""

from __future__ import annotations

import numpy as np
import pytest

from featdepth_ros.errors import ConfigError
from featdepth_ros.geometry.cameras import CameraModel

pytest.importorskip("numba")

from featdepth_ros.simulation import Motion, Simulation, SimulationConfig
from featdepth_ros.simulation.render.scene import SceneBuilder
from featdepth_ros.simulation.scenes.large_vehicles import bus, lorry, van
from featdepth_ros.simulation.scenes.road import Road
from featdepth_ros.simulation.simulate import make_scene
from featdepth_ros.simulation.traffic.style import TRAFFIC, TrafficStyle, traffic_style
from featdepth_ros.simulation.traffic.traffic import Traffic

pytestmark = pytest.mark.slow

CAMERA = CameraModel(320, 96, 186.0, 186.0, 159.5, 47.5)


def config(scene: str, traffic: str | None, seed: int = 1, **more: object) -> SimulationConfig:
    """Return a short recording with one kind of traffic."""
    style = TRAFFIC[traffic] if traffic else None
    return SimulationConfig(scene=scene, seed=seed, frames=30, camera=CAMERA, traffic=style, **more)  # type: ignore[arg-type]


def drive(kind: str, traffic: str, seed: int, stop: bool = False) -> Traffic:
    """Return traffic around a camera that drives at 9 m/s; with ``stop`` it stands from 4 s to 9 s."""
    scene = make_scene(kind, seed, 120.0)
    pace = (lambda t: np.where((t > 4) & (t < 9), 0.0, 9.0)) if stop else (lambda t: np.full_like(t, 9.0))
    steps = np.arange(-1.0, 13.0, 0.01)
    along = 12.0 + np.cumsum(pace(steps)) * 0.01
    return Traffic(scene, TRAFFIC[traffic], seed, lambda t: np.interp(t, steps, along), 12.0)


@pytest.mark.parametrize(("kind", "traffic"), [("highway", "flow"), ("highway", "jam"), ("street", "flow")])
def test_depth_and_mask_hold_the_vehicles_and_the_rest_is_as_without_them(kind: str, traffic: str) -> None:
    busy, empty = Simulation(config(kind, traffic)), Simulation(config(kind, None))
    shares = []
    for index in (3, 20, 29):
        a, b = busy.frame(index), empty.frame(index)
        assert a.depth is not None and b.depth is not None and a.moving is not None
        assert a.T_world_camera is not None and b.T_world_camera is not None
        np.testing.assert_array_equal(a.T_world_camera, b.T_world_camera)
        np.testing.assert_array_equal(a.moving, ~((a.depth == b.depth) | (np.isnan(a.depth) & np.isnan(b.depth))))
        with np.errstate(invalid="ignore"):
            assert not (a.depth[a.moving] > b.depth[a.moving]).any(), "a vehicle hides what is behind it"
        assert np.nanmin(a.depth[a.moving]) > 0.3
        shares.append(float(a.moving.mean()))
        assert b.moving is None
    assert max(shares) > (0.4 if traffic == "jam" else 0.01)


def test_what_is_marked_moves_against_the_world_and_the_rest_does_not() -> None:
    simulation = Simulation(config("highway", "jam", seed=2))
    first, second = simulation.frame(20), simulation.frame(21)
    assert first.T_world_camera is not None and second.T_world_camera is not None
    assert first.depth is not None and second.depth is not None and first.moving is not None
    motion = np.linalg.inv(second.T_world_camera) @ first.T_world_camera
    v, u = np.mgrid[0:96, 0:320].astype(float)
    rays = np.stack([(u - 159.5) / 186.0, (v - 47.5) / 186.0, np.ones_like(u)], -1)
    points = (rays * first.depth[..., None]) @ motion[:3, :3].T + motion[:3, 3]
    with np.errstate(invalid="ignore", divide="ignore"):
        x, y = points[..., 0] / points[..., 2] * 186.0 + 159.5, points[..., 1] / points[..., 2] * 186.0 + 47.5
        inside = (x > 0) & (x < 319) & (y > 0) & (y < 95) & (points[..., 2] > 0.3) & (first.depth < 40)
    row, column = (np.where(inside, v, 0).round().astype(int) for v in (y, x))
    agree = np.abs(second.depth[row, column] - points[..., 2]) < 0.03 * points[..., 2]
    assert second.moving is not None
    assert agree[inside & ~first.moving & ~second.moving[row, column]].mean() > 0.8
    assert agree[inside & first.moving].mean() < 0.3, "vehicles that drive as the camera does come no nearer"


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("kind", "traffic"), [("highway", "jam"), ("highway", "flow"), ("street", "flow"), ("lane", "jam")]
)
def test_vehicles_hit_neither_each_other_nor_the_camera(kind: str, traffic: str, seed: int) -> None:
    made = drive(kind, traffic, seed, stop=True)
    lengths = np.array([v.length_m for v in made._vehicles])
    lanes = np.array([v.lane.left_m for v in made._vehicles])
    own = np.array([v.lane.own for v in made._vehicles])
    ways = np.array(made._ways)
    for lane in np.unique(lanes):
        order = np.flatnonzero(lanes == lane)
        order = order[np.argsort(ways[order, 0])]
        room = 0.5 * (lengths[order][1:] + lengths[order][:-1])
        assert (np.diff(ways[order], axis=0) > room[:, None] + 0.5).all()
    assert (ways[own] - 0.5 * lengths[own, None] - made._camera > 2.2).all()
    along = np.array([v.lane.along for v in made._vehicles])
    assert (np.diff(ways[along], axis=1) >= 0).all(), "nobody drives backwards"


def test_a_jam_moves_at_nearly_the_cameras_speed_and_fills_the_view() -> None:
    made = drive("highway", "jam", 3)
    paces = np.diff(np.array(made._ways), axis=1) / 0.05
    assert np.abs(paces - 9.0).max() < 2.5 and np.abs(paces - 9.0).max() > 0.3
    moving = Simulation(config("highway", "jam", seed=3)).frame(15).moving
    assert moving is not None and moving.mean() > 0.4


def test_people_walk_on_the_pavements_and_are_marked() -> None:
    style = TrafficStyle(along=0.0, against=0.0, people=12.0)
    simulation = Simulation(SimulationConfig(scene="street", seed=2, frames=30, camera=CAMERA, traffic=style))
    made = simulation._shutter._traffic
    assert made is not None and len(made._vehicles) > 10
    road = simulation.scene.path
    assert isinstance(road, Road)
    assert all(abs(v.lane.left_m) > road.half_width_m + v.lane.half_width_m for v in made._vehicles)
    paces = np.diff(np.array(made._ways), axis=1) / 0.05
    assert 0.6 < np.abs(paces).min() and np.abs(paces).max() < 2.0 and (paces > 0).any() and (paces < 0).any()
    marked = [simulation.frame(index).moving for index in (5, 20)]
    assert all(mask is not None and 0.0005 < mask.mean() < 0.2 for mask in marked)


def test_who_stands_is_not_marked() -> None:
    simulation = Simulation(config("highway", "jam", motion=Motion(stands=((1.0, 20.0),), ramp_s=0.5)))
    driving, standing = simulation.frame(2), simulation.frame(29)
    assert driving.moving is not None and standing.moving is not None and standing.depth is not None
    assert driving.moving.mean() > 0.3
    made = simulation._shutter._traffic
    assert made is not None
    crawl = np.abs(made._along(2.95) - made._along(2.85)) / 0.1
    assert (crawl < 0.05).any()
    bodies = made._bodies
    assert bodies is not None
    _, _, surfaces = simulation._shutter._renderer.render_surfaces(simulation.poses[29])
    shown = bodies.body_of(surfaces)
    np.testing.assert_array_equal(standing.moving, (shown >= 0) & ~(crawl < 0.05)[shown])


def test_frames_do_not_depend_on_order_nor_threads() -> None:
    one, many = Simulation(config("highway", "flow"), threads=1), Simulation(config("highway", "flow"), threads=3)
    late, early = one.frame(25), one.frame(4)
    for a, b in ((early, many.frame(4)), (late, many.frame(25))):
        assert a.image.tobytes() == b.image.tobytes()
        assert a.depth is not None and b.depth is not None and a.depth.tobytes() == b.depth.tobytes()


def test_shadows_go_with_the_vehicles() -> None:
    scene = make_scene("highway", 1, 120.0)
    made = drive("highway", "flow", 1)
    made.place(2.0)
    shadow = made.scene.data.shadow
    assert (shadow > scene.data.shadow).sum() > 100
    assert made._bodies is not None
    made._bodies.place(np.tile(np.eye(4), (made._bodies.count, 1, 1)), np.zeros(made._bodies.count, bool))
    np.testing.assert_array_equal(shadow, scene.data.shadow)


@pytest.mark.parametrize("make", [lorry, bus, van])
def test_large_vehicles_are_as_long_as_they_say_and_stand_on_the_ground(make) -> None:  # type: ignore[no-untyped-def]
    atlas = SceneBuilder("test", 0).atlas
    for seed in range(4):
        body = SceneBuilder("test", 0, atlas)
        length = make(body, np.random.default_rng(seed), np.zeros(3), np.eye(3))
        _, shapes, axes, _ = body.pack()
        reach = np.abs(axes).sum(1)
        low, high = (shapes[:, :3] - reach).min(0), (shapes[:, :3] + reach).max(0)
        assert high[0] - low[0] == pytest.approx(length, abs=0.25)
        assert abs(low[2]) < 0.05 and 2.0 < high[2] < 4.2 and 0.9 < high[1] < 1.5


def test_traffic_without_a_road_and_unknown_traffic_are_refused() -> None:
    with pytest.raises(ConfigError, match="'room' has none"):
        Simulation(config("room", "flow"))
    with pytest.raises(ConfigError, match="did you mean 'flow'"):
        traffic_style("flo")
