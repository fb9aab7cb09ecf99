"""Night and rain over a picture."""

from __future__ import annotations

import numpy as np

from featdepth_ros.simulation.render.camera_effects import CameraEffects
from featdepth_ros.simulation.render.weather import by_night

HEIGHT, WIDTH = 96, 320


def test_by_night_only_what_is_near_and_ahead_is_lit() -> None:
    white = np.ones((HEIGHT, WIDTH, 3), np.float32)
    near, far = (by_night(white, np.full((HEIGHT, WIDTH), d, np.float32), 0.9) for d in (5.0, 80.0))
    sky = by_night(white, np.full((HEIGHT, WIDTH), np.nan, np.float32), 0.9)
    middle = (slice(50, 70), slice(140, 180))
    assert near[middle].mean() > 2 * far[middle].mean() > 2 * sky[middle].mean()
    np.testing.assert_allclose(sky, 0.1, atol=1e-6)
    assert near[:, :20].mean() < 0.7 * near[middle].mean()
    np.testing.assert_array_equal(by_night(white, np.full((HEIGHT, WIDTH), 5.0, np.float32), 0.0), white)


def test_rain_falls_anew_in_every_frame_and_drops_stay_on_the_lens() -> None:
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    picture = np.repeat((60 + 60 * ((x // 8 + y // 8) % 2))[..., None], 3, 2).astype(np.uint8)
    depth = np.full((HEIGHT, WIDTH), 10.0, np.float32)
    first, again, second = (CameraEffects(rain=1.0, seed=4).apply(picture, depth, k).astype(int) for k in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    changed, other = np.abs(first - picture).max(2) > 8, np.abs(second - picture).max(2) > 8
    assert 0.05 < changed.mean() < 0.6
    both = (changed & other).mean()
    assert both > 1.3 * changed.mean() * other.mean(), "drops are where they were"
    assert (changed & ~other).mean() > 0.02, "streaks are not"
    np.testing.assert_array_equal(CameraEffects(seed=4).apply(picture, depth, 0), picture)
