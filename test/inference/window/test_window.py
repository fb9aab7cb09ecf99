"""The window as a whole, on a short rendered drive."""

from __future__ import annotations

import math
from itertools import pairwise

import cv2
import numpy as np
import pytest

from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.inference.window import tracks
from featdepth_ros.inference.window.config import WindowConfig
from featdepth_ros.inference.window.types import ScaleOrigin, WindowState
from featdepth_ros.inference.window.window import Window
from featdepth_ros.recordings.frame import Frame
from featdepth_ros.simulation.simulate import Simulation, SimulationConfig, default_camera

DT_NS = 100_000_000
HEIGHT_M = 1.65


def run(drive, config, frames=range(30), **each):
    """Results of the window on some frames; ``each`` gives further arguments by frame."""
    window, results = Window(config), []
    for index in frames:
        more = {name: give(index) for name, give in each.items()}
        results.append(window.step(drive.greys[index], drive.camera, (index + 1) * DT_NS, **more))
    return window, results


def wrong_depth(drive):
    """The network: true shape, 1.4 times too far, ten percent of smooth error that differs from frame to frame."""

    def depth(index):
        random = np.random.default_rng(index)
        smooth = cv2.resize(random.normal(0, 0.1, (4, 8)).astype(np.float32), drive.depths[0].shape[::-1])
        return drive.depths[index] * np.exp(smooth) * 1.4

    return depth


def length(motion):
    return float(np.linalg.norm(motion[:3, 3]))


def turn_error(found, truth):
    return float(np.linalg.norm(se3.vector_from_rotation(found[:3, :3] @ truth[:3, :3].T)))


def test_motion_is_that_of_the_drive(drive):
    _, results = run(drive, WindowConfig(scale="relative"), depth=wrong_depth(drive))
    assert results[0].state is WindowState.FIRST
    assert all(r.state is WindowState.TRACKED for r in results[1:])
    for index in range(10, 30):
        truth, found = drive.motion(index), results[index].T_previous_current
        assert turn_error(found, truth) < 6e-4
        direction = found[:3, 3] @ truth[:3, 3] / length(found) / length(truth)
        assert math.acos(min(direction, 1.0)) < 0.015
    ratio = [length(results[i].T_previous_current) / length(drive.motion(i)) for i in range(10, 30)]
    assert np.std(ratio) / np.mean(ratio) < 0.02  # one unit
    assert np.mean(ratio) == pytest.approx(1.4, rel=0.15)  # that of the network
    assert 2 <= sum(r.is_keyframe for r in results) < 25
    assert np.nanmedian([r.residual_px for r in results]) < 0.4


def test_the_cameras_height_gives_metres(drive):
    config = WindowConfig(scale="camera_height", camera_height_m=HEIGHT_M)
    _, results = run(drive, config, depth=wrong_depth(drive))
    assert results[-1].scale_origin is ScaleOrigin.ROAD
    way = sum(length(r.T_previous_current) for r in results[15:])
    truth = sum(length(drive.motion(i)) for i in range(15, 30))
    assert way == pytest.approx(truth, rel=0.06)
    spread = math.sqrt(results[-1].scale_log_variance)
    assert abs(math.log(way / truth)) < 3 * spread < 0.3


def test_points_are_where_the_scene_is(drive):
    _, results = run(drive, WindowConfig(scale="relative"), depth=wrong_depth(drive))
    points, depth = results[-1].points, drive.depths[29]
    assert len(points) > 100 and len(set(points.ids.tolist())) == len(points)
    rows, columns = np.rint(points.pixels[:, 1]).astype(int), np.rint(points.pixels[:, 0]).astype(int)
    patch = np.stack([depth[rows + a, columns + b] for a in (-2, 0, 2) for b in (-2, 0, 2)])
    flat = patch.max(axis=0) / patch.min(axis=0) < 1.1  # a corner on an outline belongs to either side
    sure = flat & (points.information > 400)
    ratio = np.log(points.depth / depth[rows, columns])[sure]
    assert sure.sum() > 50
    common = np.median(ratio)
    assert np.median(np.abs(ratio - common)) < 0.03
    assert (points.log_variance > 0).all() and np.isfinite(points.log_variance).all()
    assert (points.information <= 1.001 / points.log_variance).all()


def test_covariance_covers_the_error(drive):
    config = WindowConfig(scale="camera_height", camera_height_m=HEIGHT_M)
    _, results = run(drive, config, depth=wrong_depth(drive))
    normalised = []
    for index in range(8, 30):
        found, truth, covariance = results[index].T_previous_current, drive.motion(index), results[index].covariance
        assert np.linalg.eigvalsh(covariance).min() > 0
        rotation = se3.vector_from_rotation(found[:3, :3] @ truth[:3, :3].T)
        error = np.concatenate([found[:3, 3] - truth[:3, 3], rotation])
        normalised.append(error @ np.linalg.solve(covariance, error) / 6)
    assert 0.1 < np.mean(normalised) < 5.0


def test_the_same_pictures_give_the_same_numbers(drive):
    config = WindowConfig(scale="camera_height", camera_height_m=HEIGHT_M)
    first, second = (run(drive, config, range(12), depth=wrong_depth(drive))[1] for _ in range(2))
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a.T_previous_current, b.T_previous_current)
        np.testing.assert_array_equal(a.points.depth, b.points.depth)


def test_a_dropped_frame_changes_nothing_much(drive):
    frames = [i for i in range(20) if i not in (9, 10)]
    _, results = run(drive, WindowConfig(scale="relative"), frames, depth=wrong_depth(drive))
    after = results[frames.index(11)]
    truth = se3.inverse(drive.poses[8]) @ drive.poses[11]
    assert after.state is WindowState.TRACKED
    assert turn_error(after.T_previous_current, truth) < 1e-3


def test_a_cut_is_lost_and_the_window_goes_on(drive):
    window, _ = run(drive, WindowConfig(scale="relative"), range(8), depth=wrong_depth(drive))
    mirrored = [np.ascontiguousarray(grey[:, ::-1]) for grey in drive.greys]  # no motion leads there
    cut = window.step(mirrored[20], drive.camera, 9 * DT_NS, drive.depths[20][:, ::-1].copy())
    assert cut.state is WindowState.LOST
    np.testing.assert_array_equal(cut.T_previous_current, np.eye(4))
    assert cut.covariance[0, 0] > 100.0
    after = window.step(mirrored[21], drive.camera, 10 * DT_NS, drive.depths[21][:, ::-1].copy())
    assert after.state is WindowState.TRACKED
    mirror = np.diag([-1.0, 1.0, 1.0, 1.0])
    assert turn_error(after.T_previous_current, mirror @ drive.motion(21) @ mirror) < 2e-3


def captioned(grey, rows):
    """The picture with what is fixed to the camera over its lowest rows: a bonnet with reflections, or a caption."""
    height, width = grey.shape
    blocks = np.random.default_rng(5).integers(40, 220, (rows // 6, width // 6)).astype(np.uint8)
    fixed = cv2.resize(blocks, (width, rows), interpolation=cv2.INTER_NEAREST)
    return np.vstack([grey[: height - rows], cv2.GaussianBlur(fixed, (3, 3), 0.8)])


@pytest.mark.parametrize(
    ("rows", "frames", "readout_s"),
    [(24, 6, 0.0), (24, 7, 0.0), (40, 6, 0.0), (40, 7, 0.0), (24, 6, 0.03), (40, 7, 0.03)],
)
def test_what_is_fixed_to_the_picture_does_not_bridge_a_cut(drive, rows, frames, readout_s):
    """The last frame before the cut is a keyframe once and once is none; without the test of it both are tracked."""
    config, depth = WindowConfig(scale="relative", rolling_shutter_s=readout_s), wrong_depth(drive)
    window, shown = Window(config), [captioned(grey, rows) for grey in drive.greys[:frames]]
    before = [window.step(grey, drive.camera, (i + 1) * DT_NS, depth(i)) for i, grey in enumerate(shown)]
    assert all(r.state is WindowState.TRACKED for r in before[1:])
    mirrored = captioned(np.ascontiguousarray(drive.greys[20][:, ::-1]), rows)
    cut = window.step(mirrored, drive.camera, (frames + 1) * DT_NS, drive.depths[20][:, ::-1].copy())
    assert cut.state is WindowState.LOST


def test_few_points_that_ought_to_be_many_are_no_motion(drive):
    """All but a ninth of the picture is another place. What is left agrees on standing still; the rest is missed."""
    window, _ = run(drive, WindowConfig(scale="relative"), range(8), depth=wrong_depth(drive))
    last, other = window._frame.pyramid[0].copy(), np.ascontiguousarray(drive.greys[20][:, ::-1])
    other[60:120, 200:380] = last[60:120, 200:380]
    local_map, template, seen = window._map, window._template, window._template.sight
    few, key = seen.chosen(np.arange(len(seen)) % 16 == 0), local_map.keyframes[-1].pose
    later = tracks.pyramid(other)
    assert len(few) > window.config.least_tracks
    assert tracks.missed(local_map, template, key, few, later) > 0
    assert tracks.missed(local_map, template, key, seen, later) == 0
    blurred = tracks.pyramid(np.asarray(cv2.blur(other, (25, 1)), dtype=np.uint8))
    assert tracks.missed(local_map, template, key, few, blurred) == 0, "smear hides points as well"
    on = se3.make(np.eye(3), np.array([0.0, 0.0, -0.3 * window._usual_depth])) @ key
    missed = [tracks.missed(local_map, template, pose, few, later) for pose in (on, key)]
    assert missed[0] < 0.7 * missed[1], "a motion that changes what is seen has less to find"
    jump = window.step(other, drive.camera, 9 * DT_NS, drive.depths[20][:, ::-1].copy())
    assert jump.state is WindowState.LOST


def test_a_camera_that_stands_behind_what_passes_is_tracked(drive):
    """Seven tenths of the picture are hidden at once. What is left stands in it, and moved while the camera did."""
    window, _ = run(drive, WindowConfig(scale="relative"), range(8), depth=wrong_depth(drive))
    for index in range(8, 11):
        hidden = drive.greys[7].copy()
        hidden[:, 190:] = 90 + index
        stands = window.step(hidden, drive.camera, (index + 1) * DT_NS, drive.depths[7])
        assert stands.state is WindowState.TRACKED
        assert length(stands.T_previous_current) < 0.02


def test_where_tracks_fail_the_network_answers_if_it_explains_the_picture(drive):
    def smeared(index):
        return cv2.blur(drive.greys[index], (25, 1))

    def network(index, error=0.0):
        motion = drive.motion(index)
        motion[:3, :3] = se3.rotation_from_vector([0.0, error, 0.0]) @ motion[:3, :3]
        return lambda: (motion, np.eye(6) * 1e-3)

    config = WindowConfig(scale="relative", least_tracks=450)  # so that some smear already makes tracks fail
    window, _ = run(drive, WindowConfig(scale="relative"), range(8), depth=lambda i: drive.depths[i])
    window.config = config
    right = window.step(drive.greys[8], drive.camera, 9 * DT_NS, drive.depths[8], network_motion=network(8))
    assert right.state is WindowState.NETWORK
    np.testing.assert_array_equal(right.T_previous_current, drive.motion(8))
    np.testing.assert_array_equal(right.covariance, np.eye(6) * 1e-3)
    wrong = window.step(drive.greys[9], drive.camera, 10 * DT_NS, drive.depths[9], network_motion=network(9, 0.3))
    assert wrong.state is WindowState.LOST


@pytest.fixture(scope="module")
def turning_room() -> list[Frame]:
    """Four frames of a room in which the camera begins with a turn of four degrees a frame."""
    return list(Simulation(SimulationConfig(scene="room", seed=9003, frames=4, camera=default_camera(620, 188))))


@pytest.mark.parametrize("seed", [0, 3, 9])
def test_a_turn_at_the_start_is_taken_from_the_network(turning_room, seed):
    """Depth errs by a quarter. Expected to stand still, the turn would be found as a translation."""
    greys = [cv2.cvtColor(frame.image, cv2.COLOR_RGB2GRAY) for frame in turning_room]
    poses = [frame.T_world_camera for frame in turning_room]
    truths = [se3.inverse(a) @ b for a, b in pairwise(poses)]
    error = np.random.default_rng(seed).normal(0, 0.25, (4, 6)).astype(np.float32)
    error = np.exp(cv2.resize(error, greys[0].shape[::-1]))
    asked = []

    def turn_errors(network):
        window, found = Window(WindowConfig(scale="relative")), []
        for index, frame in enumerate(turning_room):
            depth = np.nan_to_num(frame.depth, nan=50.0) * error
            give = None if network is None else (lambda index=index: network(index))
            found.append(window.step(greys[index], frame.camera, (index + 1) * DT_NS, depth, network_motion=give))
        return [turn_error(f.T_previous_current, t) for f, t in zip(found[1:], truths, strict=True)]

    def right(index):
        asked.append(index)
        return truths[index - 1], np.eye(6) * 1e-3

    def wrong(index):
        return se3.inverse(truths[index - 1]), np.eye(6) * 1e-3

    alone = turn_errors(None)
    assert max(turn_errors(right)) < 0.006 and asked == [1]
    assert alone[0] > 0.02
    assert turn_errors(wrong) == alone  # it does not explain the picture


@pytest.mark.parametrize("grey", [0, 127, 255])
def test_a_flat_picture_is_lost_and_forgotten(drive, grey):
    window, _ = run(drive, WindowConfig(scale="relative"), range(6), depth=wrong_depth(drive))
    flat = np.full_like(drive.greys[0], grey)
    for index in (6, 7):
        assert window.step(flat, drive.camera, (index + 1) * DT_NS, drive.depths[6]).state is WindowState.LOST
    states = [window.step(drive.greys[i], drive.camera, (i + 1) * DT_NS, drive.depths[i]).state for i in (8, 9, 10)]
    assert states[1:] == [WindowState.TRACKED] * 2


def test_a_standing_camera_stands_and_makes_no_keyframes(drive):
    window, _ = run(drive, WindowConfig(scale="relative"), range(6), depth=wrong_depth(drive))
    random = np.random.default_rng(0)
    for index in range(6, 40):
        noisy = np.clip(drive.greys[5] + random.normal(0, 2, drive.greys[5].shape), 0, 255).astype(np.uint8)
        result = window.step(noisy, drive.camera, (index + 1) * DT_NS, drive.depths[5])
        assert result.state is WindowState.TRACKED and not (result.is_keyframe and index > 6)
        if index > 6:
            assert length(result.T_previous_current) < 0.02 and turn_error(result.T_previous_current, np.eye(4)) < 2e-4


def test_known_motion_gives_points_in_its_unit(drive):
    _, results = run(
        drive, WindowConfig(scale="relative"), range(12), depth=wrong_depth(drive),
        known_motion=lambda i: drive.motion(i) if i else None,
    )  # fmt: skip
    for index in range(1, 12):
        np.testing.assert_allclose(results[index].T_previous_current, drive.motion(index), atol=1e-9)
    points = results[-1].points
    rows, columns = np.rint(points.pixels[:, 1]).astype(int), np.rint(points.pixels[:, 0]).astype(int)
    sure = points.information > 400
    ratio = np.log(points.depth / drive.depths[11][rows, columns])[sure]
    assert sure.sum() > 50 and abs(np.median(ratio)) < 0.03  # not the network's 1.4


def test_a_gyroscope_and_speed_are_taken(drive):
    _, results = run(
        drive, WindowConfig(scale="network"), depth=wrong_depth(drive),
        gyro_rotation=lambda i: (drive.motion(i)[:3, :3], np.eye(3) * 1e-4**2) if i else None,
        speed=lambda i: (length(drive.motion(i)) / 0.1, 0.05**2) if i else None,
    )  # fmt: skip
    for index in range(5, 30):
        assert turn_error(results[index].T_previous_current, drive.motion(index)) < 3e-4
    assert results[-1].scale_origin is ScaleOrigin.SPEED
    way = sum(length(r.T_previous_current) for r in results[10:])
    assert way == pytest.approx(sum(length(drive.motion(i)) for i in range(10, 30)), rel=0.02)


def test_reset_begins_anew_and_keeps_the_scale(drive):
    config = WindowConfig(scale="camera_height", camera_height_m=HEIGHT_M)
    window, results = run(drive, config, range(15), depth=wrong_depth(drive))
    window.reset()
    first = window.step(drive.greys[20], drive.camera, 21 * DT_NS, wrong_depth(drive)(20))
    assert first.state is WindowState.FIRST
    assert first.scale == pytest.approx(results[-1].scale, rel=0.05)
    second = window.step(drive.greys[21], drive.camera, 22 * DT_NS, wrong_depth(drive)(21))
    assert second.state is WindowState.TRACKED
    assert length(second.T_previous_current) == pytest.approx(length(drive.motion(21)), rel=0.25)


def test_depth_is_fetched_at_keyframes_only(drive):
    asked = []

    def lazily(index):
        def give():
            asked.append(index)
            return drive.depths[index]

        return give

    _, results = run(drive, WindowConfig(scale="relative"), range(12), depth=lazily)
    assert asked == [i for i, r in enumerate(results) if r.is_keyframe]
