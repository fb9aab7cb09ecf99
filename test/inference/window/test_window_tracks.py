"""Patches found again, and corners spread over the picture."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from featdepth_ros.inference.window import tracks

SIZE = (240, 320)


def texture(seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    coarse = cv2.resize(random.uniform(0, 255, (60, 80)).astype(np.float32), SIZE[::-1], interpolation=cv2.INTER_CUBIC)
    fine = cv2.GaussianBlur(random.uniform(0, 255, SIZE).astype(np.float32), (0, 0), 1.5)
    return np.clip(0.6 * coarse + 0.4 * fine, 0, 255)


def warped(image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """The picture in which what was at x is at matrix @ (x, 1)."""
    return cv2.warpAffine(image, matrix, SIZE[::-1], flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)


GROWN = np.array([[1.15, 0.03, -20.0], [-0.03, 1.15, -12.0]])


@pytest.mark.parametrize(("gain", "offset"), [(1.0, 0.0), (0.7, 20.0)])
def test_patches_that_grew_and_darkened_are_found(gain, offset):
    image = texture()
    later = warped(image, GROWN) * gain + offset
    earlier, later = (tracks.pyramid(np.clip(i, 0, 255).astype(np.uint8)) for i in (image, later))
    start = tracks.corners(earlier[0], np.zeros((0, 2)), 150)
    truth = start @ GROWN[:, :2].T + GROWN[:, 2]
    warp = np.ascontiguousarray(np.broadcast_to(np.linalg.inv(GROWN[:, :2]), (len(start), 2, 2)))
    found, good = tracks.follow(earlier, later, start, truth + (3.0, -2.0), warp)
    expected = tracks.inside(truth, SIZE)
    assert good[expected].mean() > 0.8
    error = np.linalg.norm(found - truth, axis=1)[good]
    assert np.median(error) < 0.05 and np.percentile(error, 95) < 0.4


def test_what_is_not_there_is_not_believed():
    earlier, later = (tracks.pyramid(texture(seed).astype(np.uint8)) for seed in (1, 2))
    start = tracks.corners(earlier[0], np.zeros((0, 2)), 100)
    warp = np.ascontiguousarray(np.broadcast_to(np.eye(2), (len(start), 2, 2)))
    _, good = tracks.follow(earlier, later, start, start, warp)
    assert good.mean() < 0.05


def test_a_flat_picture_has_no_corners_and_no_tracks():
    flat = np.full(SIZE, 90, dtype=np.uint8)
    assert len(tracks.corners(flat, np.zeros((0, 2)), 50)) == 0
    earlier, later = tracks.pyramid(texture().astype(np.uint8)), tracks.pyramid(flat)
    start = tracks.corners(earlier[0], np.zeros((0, 2)), 50)
    warp = np.ascontiguousarray(np.broadcast_to(np.eye(2), (len(start), 2, 2)))
    assert not tracks.follow(earlier, later, start, start, warp)[1].any()


def test_new_corners_keep_away_from_old_ones():
    image = texture().astype(np.uint8)
    first = tracks.corners(image, np.zeros((0, 2)), 60)
    second = tracks.corners(image, first, 60)
    distance = np.linalg.norm(first[:, None] - second[None], axis=2).min()
    assert len(second) > 20 and distance >= 6.0
    # spread: every quarter of the picture has some
    quarters = (first[:, 0] > 160).astype(int) + 2 * (first[:, 1] > 120)
    assert np.bincount(quarters, minlength=4).min() >= 8


def test_where_little_can_be_seen_some_corners_are_taken_all_the_same():
    image = texture()
    image[:, :160] = 100 + 0.05 * (image[:, :160] - 100)
    cells = tracks.GRID[0] * tracks.GRID[1]
    found = tracks.corners(image.astype(np.uint8), np.zeros((0, 2)), tracks.EVEN * cells)
    faint = found[found[:, 0] < 150]
    assert len(faint) >= 0.8 * tracks.EVEN * cells * 150 / SIZE[1]
    # Where points are there already, the strong ones are worth more.
    again = tracks.corners(image.astype(np.uint8), np.repeat(faint, 2, axis=0) + [0.0, 1.0], 40)
    assert (again[:, 0] > 160).all()
