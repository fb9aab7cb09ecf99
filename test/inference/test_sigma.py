"""Standard deviation of depth: what the table says, and that its measuring script finds a known one."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from featdepth_ros.inference import sigma, validity
from featdepth_ros.inference.sigma import Support, depth_sigma

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks" / "uncertainty"))
import sigma_table


def step(near: float = 4.0, far: float = 9.0) -> np.ndarray:
    depth = np.full((40, 60), far, dtype=np.float32)
    depth[:, :30] = near
    return depth


def support(reach: np.ndarray, spread: float = 0.05, share: float = 1.0) -> Support:
    """Points that changed nothing and predict each other alike everywhere."""
    return Support(reach, np.zeros_like(reach), np.full_like(reach, spread), share)


def test_a_plane_without_points_has_what_the_table_says():
    depth = np.full((20, 30), 5.0, dtype=np.float32)
    at_zero = np.interp(0.0, sigma.DISTANCE_KNOTS, sigma.DISTANCE_LOG)
    expected = np.exp(at_zero + sigma.EDGE_LOG[0] + sigma.REACH_LOG[0])
    np.testing.assert_allclose(depth_sigma(depth) / depth, expected, rtol=1e-5)
    assert 0.05 < expected < 0.4


def test_edges_have_more_and_measured_places_less():
    depth = step()
    share = depth_sigma(depth) / depth
    assert share[20, 30] > 1.5 * share[20, 50] and share[20, 29] > 1.5 * share[20, 10]
    reach = np.zeros_like(depth)
    reach[:20] = np.linspace(0, 10, 60)
    measured = depth_sigma(depth, support(reach))
    # Where nothing reaches, only what the frame's points say of each other counts.
    ratio = (measured / depth_sigma(depth))[20:]
    np.testing.assert_allclose(ratio, ratio[0, 0], rtol=1e-4)
    assert (np.diff((measured / depth)[5, :25]) <= 1e-7).all()
    assert (measured[:20, 5:] < depth_sigma(depth)[:20, 5:]).all()


def test_points_that_contradict_each_other_make_all_less_certain():
    depth, reach = step(), np.full((40, 60), 4.0, dtype=np.float32)
    levels = [float((depth_sigma(depth, support(reach, s)) / depth).mean()) for s in (0.01, 0.05, 0.2, 0.5)]
    assert (np.diff(levels) > 0).all() and levels[-1] > 1.5 * levels[0]
    # What is left of a correction that fades says less and less.
    faded = [float((depth_sigma(depth, support(reach * s, 0.5, s)) / depth).mean()) for s in (1.0, 0.5, 0.0)]
    assert faded[2] == pytest.approx(float((depth_sigma(depth) / depth).mean()))
    assert depth_sigma(depth, support(reach, 0.0)).min() > 0


def test_what_the_points_changed_much_is_less_certain():
    """Where the network was far off, what is left of its error is larger as well."""
    depth, reach = np.full((40, 60), 5.0, dtype=np.float32), np.full((40, 60), 4.0, dtype=np.float32)
    change = np.zeros_like(depth)
    change[:, 30:] = 0.4
    share = depth_sigma(depth, replace(support(reach), change=change)) / depth
    assert share[20, 50] > 1.1 * share[20, 10]


def test_only_the_places_whose_points_contradict_each_other_are_less_certain():
    depth, reach = np.full((40, 60), 5.0, dtype=np.float32), np.full((40, 60), 4.0, dtype=np.float32)
    spread = np.full_like(depth, 0.03)
    spread[:, 30:] = 0.3
    share = depth_sigma(depth, replace(support(reach), spread=spread)) / depth
    assert share[20, 50] > 2 * share[20, 10]
    assert share[20, 10] == pytest.approx((depth_sigma(depth, support(reach, 0.03)) / depth)[20, 10])


@pytest.mark.parametrize("factor", [1e-3, 39.37, 1e4])
def test_it_scales_with_depth(factor):
    depth = step() * np.random.default_rng(0).uniform(0.9, 1.1, (40, 60)).astype(np.float32)
    scaled = depth_sigma((depth * np.float32(factor)).astype(np.float32))
    np.testing.assert_allclose(scaled, depth_sigma(depth) * factor, rtol=1e-3)


def test_it_is_finite_and_bounded_whatever_the_depth():
    depth = np.random.default_rng(1).lognormal(0, 3, (40, 60)).astype(np.float32)
    share = depth_sigma(depth) / depth
    assert share.dtype == np.float32 and (share >= sigma.LEAST * 0.999).all() and (share <= sigma.MOST * 1.001).all()


def test_validity_follows_from_it():
    depth = step(2.0, 20.0)
    trusted = validity.certain(torch.from_numpy(depth), torch.from_numpy(depth_sigma(depth))).numpy()
    assert trusted[:, 5:25].all() and not trusted[:, 29:31].any()


def test_the_measuring_script_finds_a_known_law():
    rng = np.random.default_rng(2)
    count = 20000
    samples = np.zeros((count, 8))
    samples[:, sigma_table.DISTANCE] = rng.uniform(-1.2, 1.2, count)
    samples[:, sigma_table.EDGE] = rng.uniform(-4.5, -0.5, count)
    samples[:, sigma_table.REACH] = rng.uniform(0, 8, count)
    samples[:, sigma_table.FUSED] = rng.random(count) < 0.5
    samples[:, sigma_table.CHANGE] = samples[:, sigma_table.FUSED] * rng.uniform(0, 0.5, count)
    samples[:, sigma_table.SPREAD] = rng.uniform(-5, -1, count)
    samples[:, sigma_table.RECORDING] = rng.integers(0, 3, count)
    # Laplace's errors: 71 and 95 % lie below 1.24 and 3.00 scales, nearly one and two of 1.35 scales.
    law = -2.5 + 0.3 * np.abs(samples[:, 0]) + 0.2 * (samples[:, 1] + 2.5) - 0.1 * samples[:, 2]
    law += 0.8 * samples[:, sigma_table.CHANGE]
    law += samples[:, sigma_table.FUSED] * 0.15 * (samples[:, sigma_table.SPREAD] + 5)
    samples[:, sigma_table.ERROR] = rng.exponential(np.exp(law))
    heights = sigma_table.fit(samples)
    # The first knot of all and the sum of the others: edge rises by 0.8, reach falls by 0.8, change rises by 0.4.
    # Distance is even.
    distance, edge, reach, change, spread = heights
    assert change[0] == 0
    assert change[-1] == pytest.approx(0.4, abs=0.15)
    assert spread[-1] - spread[0] == pytest.approx(0.6, abs=0.12)
    assert edge[-1] - edge[0] == pytest.approx(0.8, abs=0.12) and edge[len(edge) // 2] == 0
    assert reach[0] == 0 and reach[-1] == pytest.approx(-0.8, abs=0.15)
    assert distance[0] == pytest.approx(distance[-1], abs=0.1)
    found = sigma_table.design(samples) @ np.concatenate(heights)
    within = samples[:, sigma_table.ERROR] < np.exp(found)
    assert within.mean() == pytest.approx(0.755, abs=0.03)
    rows = sigma_table.shares_below(samples, heights)
    assert len(rows) == 6 and all(0.65 < float(row[2]) < 0.8 and 0.9 < float(row[3]) < 0.97 for row in rows)


def test_samples_are_scaled_to_the_truth_and_carry_their_error():
    depth = np.full((10, 20), 3.0, dtype=np.float32)
    truth = np.full((40, 80), 6.0)
    truth[:, 60:] = 7.2  # a quarter of the pixels is a fifth farther than the prediction says
    truth[:10] = 0.0  # unknown
    samples = sigma_table.samples_of(depth, None, truth, 4, 0)
    errors = samples[:, sigma_table.ERROR]
    assert set(np.round(errors, 6)) == {0.0, 0.2} and np.mean(errors > 0.1) == pytest.approx(0.25, abs=0.08)
    assert (samples[:, sigma_table.RECORDING] == 4).all() and (samples[:, sigma_table.FUSED] == 0).all()
