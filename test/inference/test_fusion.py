"""Depth corrected by points: what is known beforehand about worlds of our own making."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.inference import fusion
from featdepth_ros.inference.fusion import Correction, find_correction

HEIGHT, WIDTH = 64, 208
CAMERA = CameraModel(832, 256, 500.0, 500.0, 415.5, 127.5)


@dataclass(frozen=True)
class Points:
    """As the window gives them."""

    pixels: NDArray[np.float64]
    depth: NDArray[np.float64]
    information: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.depth)


def ramp() -> NDArray[np.float32]:
    """A smooth scene, 4 to 12 units deep."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    return (12 - 8 * rows / HEIGHT + 0.5 * np.sin(columns / 30)).astype(np.float32)


def box() -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """A box 4 units away before a wall at 9, and where it is."""
    inside = np.zeros((HEIGHT, WIDTH), dtype=bool)
    inside[16:50, 80:130] = True
    return np.where(inside, 4.0, 9.0).astype(np.float32), inside


def seen(
    truth: NDArray[np.floating], count: int, information: float = 400.0, seed: int = 0, noise: float = 0.02
) -> Points:
    """Measure the truth at random pixels of the full image."""
    rng = np.random.default_rng(seed)
    row, column = rng.integers(0, HEIGHT, count), rng.integers(0, WIDTH, count)
    pixels = np.stack([(column + 0.5) * 4 - 0.5, (row + 0.5) * 4 - 0.5], axis=1)
    depth = truth[row, column] * np.exp(noise * rng.normal(size=count))
    return Points(pixels, depth, np.full(count, information))


def corrected(network: NDArray[np.float32], points: Points, camera: CameraModel = CAMERA) -> NDArray[np.float32]:
    found = find_correction(network, points, camera)
    return network if found is None else network * np.exp(found.log_ratio)


def apart(depth: NDArray[np.floating], truth: NDArray[np.floating]) -> float:
    return float(np.mean(np.abs(depth - truth) / truth))


@pytest.mark.parametrize(("count", "information"), [(0, 400.0), (7, 400.0), (200, 3.0), (200, 0.0)])
def test_without_usable_points_nothing_is_corrected(count, information):
    network = ramp()
    assert find_correction(network, seen(network * 1.5, count, information), CAMERA) is None


def test_a_common_factor_reaches_the_whole_frame():
    network = ramp()
    result = find_correction(network, seen(network * 1.3, 150), CAMERA)
    assert result is not None and result.confidence == 1
    assert apart(network * np.exp(result.log_ratio), network * 1.3) < 0.015
    assert result.common_log_ratio == pytest.approx(np.log(1.3), abs=0.1) and result.points == 150


def test_a_slow_bend_is_taken_out():
    network = ramp()
    truth = network * np.exp(0.3 * np.sin(np.arange(WIDTH) / WIDTH * 5))
    assert apart(network, truth) > 0.15
    assert apart(corrected(network, seen(truth, 250)), truth) < 0.02


def test_a_correction_does_not_bleed_over_an_edge():
    network, inside = box()
    truth = np.where(inside, 0.8 * network, network)
    depth = corrected(network, seen(truth, 250))
    assert apart(depth[20:46, 80], truth[20:46, 80]) < 0.06  # the box's outermost column
    assert apart(depth[20:46, 79], truth[20:46, 79]) < 0.06  # the wall's next to it
    assert apart(depth, truth) < 0.03 < apart(network, truth)


def test_points_that_disagree_lose_their_weight():
    network = ramp()
    truth = network * 1.1
    points = seen(truth, 200)
    wrong = np.random.default_rng(1).random(200) < 0.2
    spoiled = Points(points.pixels, np.where(wrong, points.depth * 0.5, points.depth), points.information)
    assert apart(corrected(network, spoiled), truth) < 0.03 < apart(network, truth)


def test_right_points_leave_a_right_network_alone():
    network = ramp()
    for seed in range(3):
        # The points' own errors are 0.04 on average: depth is never led farther astray than they are.
        assert apart(corrected(network, seen(network, 100, seed=seed, noise=0.05)), network) < 0.03


def test_information_decides_how_far_points_are_followed():
    network = ramp()
    truth = network * np.exp(0.3 * np.sin(np.arange(WIDTH) / WIDTH * 5))
    errors = [apart(corrected(network, seen(truth, 80, i)), truth) for i in (10.0, 50.0, 1000.0)]
    assert errors[2] < 0.8 * errors[1] and errors[1] < 0.9 * errors[0] and errors[0] <= apart(network, truth)


def test_far_from_every_point_only_the_common_factor_is_left():
    network, _ = box()
    points = seen(network * 1.2, 400)
    near = points.pixels[:, 0] < 150  # of 832 columns
    points = Points(points.pixels[near], points.depth[near], points.information[near])
    result = find_correction(network, points, CAMERA)
    assert result is not None and result.reach[:, 120:].max() < 0.01 < result.reach[:, :30].min()
    beyond = result.log_ratio[:, 190:] - result.common_log_ratio
    assert np.abs(beyond).max() < 0.05  # the slow field fades with the distance


def test_spread_tells_where_points_contradict_each_other():
    network = ramp()
    points = seen(network, 250, information=2500.0)
    left = points.pixels[:, 0] < 416
    noise = np.exp(0.15 * np.random.default_rng(4).normal(size=len(points)))
    found = find_correction(
        network, Points(points.pixels, np.where(left, points.depth * noise, points.depth), points.information), CAMERA
    )
    assert found is not None and found.spread.shape == network.shape
    assert found.spread[:, :80].mean() > 2 * found.spread[:, 130:].mean() > 0


def test_the_correction_is_that_of_the_kernels():
    """The coarse grid stands for the sum of all kernels at each pixel."""
    network, _ = box()
    points = seen(network * np.exp(0.3 * np.sin(np.arange(WIDTH) / 20)), 200)
    samples = fusion._samples(np.log(network), points, CAMERA)
    assert samples is not None
    found = fusion._regress(samples)
    field, _, _ = fusion._fields(np.log(network), samples, found)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH] / WIDTH
    squared = (columns[..., None] - samples.place[:, 0]) ** 2 + (rows[..., None] - samples.place[:, 1]) ** 2
    bend = (np.log(network)[..., None] - samples.log_depth) ** 2
    exact = fusion.SLOW**2 * np.exp(-0.5 * squared / fusion.SLOW_RANGE**2)
    for one in (fusion.LOCAL, fusion.MIDDLE):
        exact += one.deviation**2 * np.exp(-0.5 * squared / one.reach**2 - 0.5 * bend / one.depth_reach**2)
    assert np.abs(field - exact @ found.weights).mean() < 0.06 * np.abs(exact @ found.weights).mean()


def test_a_tall_picture_may_span_six_decades_of_depth():
    network = np.geomspace(1e-2, 1e4, 384)[:, None].repeat(160, 1).astype(np.float32)
    row, column = np.random.default_rng(0).integers(0, 160, (2, 256))
    row = np.minimum(row * 384 // 158, 383)
    pixels = np.stack([column, row], axis=1).astype(np.float64)
    points = Points(pixels, 1.1 * network[row, column].astype(np.float64), np.full(256, 2500.0))
    found = find_correction(network, points, CameraModel(160, 384, 200.0, 200.0, 79.5, 191.5))
    assert found is not None and np.abs(found.log_ratio - np.log(1.1)).max() < 0.03


def test_units_and_image_sizes_do_not_matter():
    network = ramp()
    points = seen(network * np.exp(0.2 * np.sin(np.arange(WIDTH) / 40)), 150)
    result = corrected(network, points)
    inches = corrected(network * np.float32(39.37), Points(points.pixels, points.depth * 39.37, points.information))
    np.testing.assert_allclose(inches, result * 39.37, rtol=1e-3)
    half = CameraModel(416, 128, 250.0, 250.0, 207.5, 63.5)
    smaller = corrected(network, Points((points.pixels + 0.5) / 2 - 0.5, points.depth, points.information), half)
    np.testing.assert_allclose(smaller, result, rtol=1e-5)


def test_squeezed_maps_are_corrected_alike():
    """The networks see a 4:3 picture squeezed to 13:4; the correction's ranges are those of the picture."""
    camera = CameraModel(640, 480, 500.0, 500.0, 319.5, 239.5)
    rng = np.random.default_rng(2)
    pixels = rng.uniform(0, [639, 479], (200, 2))
    depth = 5 * np.exp(0.2 * np.sin(pixels[:, 1] / 60))
    points = Points(pixels, depth, np.full(200, 400.0))
    squeezed = corrected(np.full((64, 208), 5, np.float32), points, camera)
    square = corrected(np.full((156, 208), 5, np.float32), points, camera)
    rows = np.rint((np.arange(64) + 0.5) / 64 * 156 - 0.5).astype(int)
    assert apart(squeezed, square[rows]) < 0.01


def test_more_points_than_are_used_are_thinned_over_the_image(monkeypatch):
    network = ramp()
    truth = network * np.exp(0.2 * np.sin(np.arange(WIDTH) / 25))
    points = seen(truth, 900)
    crowd = points.pixels[:, 0] < 200  # the most informative ones stand in a corner
    points = Points(points.pixels, points.depth, np.where(crowd, 1000.0, 300.0))
    monkeypatch.setattr(fusion, "MOST_POINTS", 150)
    result = find_correction(network, points, CAMERA)
    assert result is not None and result.points == 150
    assert apart(network * np.exp(result.log_ratio), truth) < 0.03


def test_what_stands_outside_the_image_or_is_no_depth_is_left_out():
    network = ramp()
    points = seen(network * 1.3, 100)
    pixels, depth = points.pixels.copy(), points.depth.copy()
    pixels[:10] += 5000
    depth[10:20], depth[20:30] = np.nan, -1.0
    result = find_correction(network, Points(pixels, depth, points.information), CAMERA)
    assert result is not None and result.points == 70 and np.isfinite(result.log_ratio).all()


def test_the_result_is_the_same_every_time():
    network, _ = box()
    points = seen(network * 1.1, 400)
    first, second = (find_correction(network.copy(), points, CAMERA) for _ in range(2))
    assert isinstance(first, Correction) and isinstance(second, Correction)
    assert first.log_ratio.dtype == first.reach.dtype == np.float32
    np.testing.assert_array_equal(first.log_ratio, second.log_ratio)


# -- points that are wrong together


def test_points_that_claim_far_more_than_the_others_are_not_followed():
    """A vehicle that moves along: its points agree with each other on half of its depth."""
    network = ramp()
    points = seen(network, 240)
    on_vehicle = (points.pixels[:, 0] > 300) & (points.pixels[:, 0] < 420)
    assert 0.1 < on_vehicle.mean() < 0.2
    spoiled = Points(points.pixels, np.where(on_vehicle, points.depth * 0.45, points.depth), points.information)
    assert apart(corrected(network, spoiled), network) < 0.035


def test_a_frame_with_many_doubted_points_is_corrected_in_part_or_not_at_all():
    network = ramp()
    rng = np.random.default_rng(3)
    points = seen(network * 1.2, 240)
    confidences = []
    for share in (0.15, 0.26, 0.4):
        wrong = rng.permutation(240) < share * 240
        found = find_correction(
            network,
            Points(points.pixels, np.where(wrong, points.depth * 0.4, points.depth), points.information),
            CAMERA,
        )
        confidences.append(0.0 if found is None else found.confidence)
    assert confidences[0] == 1 > confidences[1] > confidences[2] == 0


def test_far_things_that_are_too_near_are_no_reason_for_doubt():
    """A network that presses distances together: what is measured rises with depth, over a factor of two and a half."""
    network = np.exp(np.linspace(np.log(40.0), np.log(4.0), HEIGHT))[:, None].astype(np.float32).repeat(WIDTH, axis=1)
    truth = network * (network / 4.0) ** 0.38
    points = seen(truth, 240)
    found = find_correction(network, points, CAMERA)
    assert found is not None and found.confidence == 1
    assert apart(corrected(network, points), truth) < 0.05
    # What moves along shows the contrary: the near road seems nearer still, the vehicle before it far away.
    falling = find_correction(network, seen(network * (network / 12.0) ** -0.6, 240), CAMERA)
    assert falling is None or falling.confidence < 0.5


def test_few_or_vague_points_are_worth_a_part():
    network = ramp()
    truth = network * 1.2
    few = [find_correction(network, seen(truth, count), CAMERA) for count in (9, 25, 60)]
    assert few[0] is None and few[1] is not None and few[2] is not None and 0 < few[1].confidence < 1
    assert few[2].confidence == 1
    assert find_correction(network, seen(truth, 60, information=6.0), CAMERA) is None
    # In a turn on the spot many agree, because they carry one earlier guess.
    assert find_correction(network, seen(truth, 400, information=20.0), CAMERA) is None


def test_points_that_predict_each_other_badly_weigh_less():
    network = ramp()
    honest, boasting = (seen(network, 250, information=2500.0, noise=noise) for noise in (0.02, 0.2))
    bent = [np.abs(np.log(corrected(network, points) / network)).mean() for points in (honest, boasting)]
    assert bent[0] < 0.02
    # Ten times the noise bends the depth by far less than ten times as much.
    assert bent[1] < 4 * max(bent[0], 0.01)
