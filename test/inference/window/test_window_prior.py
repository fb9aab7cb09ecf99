"""What a network's depth is worth: a scale, or a scale and a shift of inverse depth."""

from __future__ import annotations

import numpy as np
import pytest

from featdepth_ros.inference.window.prior import fit_inverse_depth, network_scale


def points(seed=0, count=200):
    """A network's inverse depths, and the true ones: 1 / z = 0.4 d + 0.05."""
    told = np.random.default_rng(seed).uniform(0.0, 2.0, count)
    return told, 0.4 * told + 0.05


def test_scale_and_shift_are_found_among_gross_errors():
    told, measured = points()
    random = np.random.default_rng(1)
    measured = measured * np.exp(0.03 * random.normal(size=len(told)))
    measured[::5] *= 3.0
    fit = fit_inverse_depth(told, measured)
    assert fit is not None
    assert fit.scale == pytest.approx(0.4, rel=0.03) and fit.shift == pytest.approx(0.05, rel=0.1)
    np.testing.assert_allclose(fit.depth(np.array([1.0, 2.0]), 100.0), [1 / 0.45, 1 / 0.85], rtol=0.03)
    assert fit.depth(np.array([-1.0]), 100.0)[0] == 100.0


def test_a_wall_tells_a_scale_alone():
    told = np.full(50, 0.7) + 1e-4 * np.random.default_rng(2).normal(size=50)
    fit = fit_inverse_depth(told, 2.0 * told)
    assert fit is not None and fit.shift == 0.0 and fit.scale == pytest.approx(2.0, rel=1e-3)


def test_what_tells_nothing_gives_no_fit():
    assert fit_inverse_depth(np.zeros(10), np.ones(10)) is None
    assert fit_inverse_depth(np.zeros(0), np.zeros(0)) is None
    told = np.linspace(1.0, 2.0, 50)
    assert fit_inverse_depth(told, 3.0 - told) is None  # nearer where the network says farther


def test_a_keyframes_scale_is_that_of_its_points():
    told, measured = points()
    log_scale, shift = network_scale(told, measured, True) or (np.nan, np.nan)
    np.testing.assert_allclose(np.exp(-log_scale) * (told + shift), measured, rtol=1e-6)
    log_scale, shift = network_scale(told[told > 0.1], 0.5 * told[told > 0.1], False) or (np.nan, np.nan)
    assert np.exp(-log_scale) == pytest.approx(0.5) and shift == 0.0
