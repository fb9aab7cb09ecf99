"""What the window believes of its points, of a lens, and of rows that are exposed one after the other."""

from __future__ import annotations

import numpy as np
import pytest

from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.inference.window.config import WindowConfig
from featdepth_ros.inference.window.shutter import row_offsets
from featdepth_ros.inference.window.trust import Doubt, TrackNoise, trusted_information
from featdepth_ros.inference.window.window import Window
from featdepth_ros.simulation.camera_path import Motion, TurnStyle
from featdepth_ros.simulation.simulate import Simulation, SimulationConfig, default_camera
from featdepth_ros.simulation.trajectories import HandStyle

SIGMA_PX, USUAL_PX = 0.7, 0.35
STILL = TrackNoise(0.4, 0.0)


def measured(information=400.0, parallax_px=20.0, residual_px=USUAL_PX, seen=5.0):
    """One row of what the solver finds."""
    square = 2 * seen * (residual_px / SIGMA_PX) ** 2
    return np.array([[1 / information, information, parallax_px, square, seen]])


def trusted(noise=STILL, **found):
    return float(trusted_information(measured(**found), SIGMA_PX, USUAL_PX, noise)[0])


def test_a_point_without_parallax_says_nothing():
    assert trusted(parallax_px=1.1) == 0.0
    assert trusted(parallax_px=1.3) > 0.0


def test_a_point_is_as_sure_as_its_residuals_let_it_be():
    usual = trusted(parallax_px=1000.0)
    assert usual == pytest.approx(400.0 * (SIGMA_PX / USUAL_PX) ** 2, rel=0.15)
    assert trusted(parallax_px=1000.0, residual_px=4 * USUAL_PX) < 0.15 * usual
    one, many = (trusted(parallax_px=1000.0, residual_px=3 * USUAL_PX, seen=n) for n in (1.0, 20.0))
    assert many < 0.6 * one  # twenty sightings tell more of a point's noise than one


def test_many_sightings_do_not_beat_the_noise_of_one_parallax():
    assert trusted(information=1e6, parallax_px=8.0) == pytest.approx((8.0 / 0.4) ** 2)


def test_points_that_disagree_with_the_network_raise_doubt():
    doubt, rows, near = Doubt(), np.tile(measured(), (100, 1)), np.full(100, 15.0)
    random = np.random.default_rng(4)
    for _ in range(20):  # a poor network
        doubt.take(0.25 * random.normal(size=100), rows, near)
    assert doubt.degree == 0.0
    off = np.where(np.arange(100) < 30, 1.5, 0.0)  # what moves along seems far, or the road near
    for _ in range(20):
        doubt.take(off, rows, near)
    assert doubt.degree == 1.0
    rows[:, 2] = 1.0  # points without parallax have no say
    doubt.take(np.zeros(100), rows, near)
    assert doubt.degree == 1.0


def test_far_hills_that_the_network_puts_too_near_raise_no_doubt():
    rows, far = np.tile(measured(), (100, 1)), np.arange(100) < 30
    doubt = Doubt()
    for _ in range(20):  # 300 m instead of 50 m
        doubt.take(np.where(far, -np.log(6.0), 0.0), rows, np.where(far, 50.0, 15.0))
    assert doubt.degree == 0.0
    for _ in range(20):  # a lorry at 25 m that seems to be at 100 m
        doubt.take(np.where(far, -np.log(4.0), 0.0), rows, np.where(far, 25.0, 15.0))
    assert doubt.degree == 1.0


def test_in_doubt_points_say_nothing_and_the_motion_says_that_it_may_be_wrong(drive):
    """A network that puts half of the picture four times nearer than the window finds it."""
    halved = [depth.copy() for depth in drive.depths]
    for depth in halved:
        depth[:, : depth.shape[1] * 3 // 8] /= 4.0
    results = []
    for depths in (drive.depths, halved):
        window = Window(WindowConfig(scale="relative"))
        for index in range(12):
            result = window.step(drive.greys[index], drive.camera, (index + 1) * 100_000_000, depths[index])
        results.append(result)
    believed, doubted = results
    assert len(believed.points) > 100 and not len(doubted.points)
    assert doubted.covariance[2, 2] > 0.1**2 > believed.covariance[2, 2]


def test_a_straight_way_tells_nothing_of_the_lens(drive):
    window = Window(WindowConfig(scale="relative"))
    for index in range(20):
        window.step(drive.greys[index], drive.camera, (index + 1) * 100_000_000, drive.depths[index] * 1.2)
    assert window._map.lens.radial == 0.0


def test_a_turning_camera_bends_the_picture_unless_it_is_sharp():
    turning = TrackNoise.of(0.4, 1.0, 500.0, 0.0)
    assert turning.bent_px > 1.0 and TrackNoise.of(0.4, 0.0, 500.0, 0.0).bent_px == 0.0
    assert TrackNoise.of(0.05, 1.0, 500.0, 0.0).bent_px < 0.2 * turning.bent_px
    assert TrackNoise.of(0.4, 1.0, 500.0, 0.02).bent_px < 0.5 * turning.bent_px  # it is modelled
    assert trusted(turning) < 0.1 * trusted(STILL)


def test_rows_are_seen_where_they_are_at_their_time():
    random = np.random.default_rng(0)
    points = np.concatenate([random.uniform(-3, 3, (50, 2)), random.uniform(4, 9, (50, 1))], axis=1)
    velocity, readout_s = np.array([0.4, -0.2, -1.5, 0.3, -0.8, 0.5]), 0.03
    rows = random.uniform(-0.5, 0.5, 50)
    later = np.stack([(se3.exp(velocity * readout_s * r) @ [*p, 1.0])[:3] for p, r in zip(points, rows, strict=True)])
    rays = points[:, :2] / points[:, 2:]
    truth = later[:, :2] / later[:, 2:] - rays
    found = row_offsets(rays, points[:, 2], rows, velocity, readout_s)
    assert np.abs(found - truth).max() < 0.03 * np.abs(truth).max()


def errors_deg_m(config, frames):
    window, errors = Window(config), []
    for index, frame in enumerate(frames):
        depth = np.nan_to_num(frame.depth, nan=80.0)
        result = window.step(frame.image[..., 1].copy(), frame.camera, frame.stamp_ns, depth)
        if index > 3:
            off = se3.inverse(se3.inverse(frames[index - 1].T_world_camera) @ frame.T_world_camera)
            off = off @ result.T_previous_current
            turn = np.degrees(np.linalg.norm(se3.vector_from_rotation(off[:3, :3])))
            errors.append((turn, np.linalg.norm(off[:3, 3])))
    return np.median(errors, axis=0)


@pytest.mark.slow
def test_a_rolling_shutter_is_modelled_where_its_time_is_known():
    config = SimulationConfig(
        scene="room", seed=9107, frames=24, rate_hz=20.0, camera=default_camera(320, 240), rolling_shutter_s=0.03,
        holding=HandStyle(turning=3.0),
    )  # fmt: skip
    frames = list(Simulation(config, threads=1))
    unknown = errors_deg_m(WindowConfig(), frames)
    known = errors_deg_m(WindowConfig(rolling_shutter_s=0.03), frames)
    assert (known < 0.6 * unknown).all()


def test_a_turn_on_the_spot_measures_no_depth():
    config = SimulationConfig(
        scene="room", seed=9104, frames=12, camera=default_camera(320, 240), motion=Motion(turn=TurnStyle()),
    )  # fmt: skip
    window = Window(WindowConfig())
    for frame in Simulation(config, threads=1):
        random = np.random.default_rng(frame.stamp_ns % 1000)
        depth = np.nan_to_num(frame.depth, nan=80.0) * np.exp(0.1 * random.normal())
        result = window.step(frame.image[..., 1].copy(), frame.camera, frame.stamp_ns, depth)
    assert result.tracks > 100
    assert (result.points.information < 30.0).all()
