"""The zero-motion gate: 60 s of standing under noise, and motion that it must not swallow."""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from featdepth_ros.inference.gates.standing import StandingGate, fitted_flow, thumbnail

HEIGHT, WIDTH = 192, 640


def picture(seed: int = 0) -> NDArray[np.float32]:
    """A smooth random texture with some detail at every scale, larger than an image."""
    random = np.random.default_rng(seed)
    total = np.zeros((HEIGHT + 64, WIDTH + 64, 3), dtype=np.float32)
    for cells, weight in ((6, 0.5), (24, 0.3), (96, 0.2)):
        coarse = random.random((cells, cells * 3, 3)).astype(np.float32)
        total += weight * cv2.resize(coarse, (WIDTH + 64, HEIGHT + 64), interpolation=cv2.INTER_CUBIC)
    return np.clip(total, 0.0, 1.0)


def view(scene: NDArray[np.float32], x: float = 0.0, y: float = 0.0, zoom: float = 1.0) -> NDArray[np.float32]:
    """An image of the texture, moved by a fraction of a pixel or enlarged about its middle."""
    matrix = np.array([[1 / zoom, 0, 32 + x + (1 - 1 / zoom) * WIDTH / 2], [0, 1 / zoom, 32 + y]], dtype=np.float64)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(scene, matrix, (WIDTH, HEIGHT), flags=flags), dtype=np.float32)


def noisy(image: NDArray[np.float32], random: np.random.Generator, sigma: float = 6 / 255) -> NDArray[np.float32]:
    """Sensor noise, and a lamp whose brightness wanders by 3 %."""
    gain = 1.0 + 0.03 * random.standard_normal()
    return np.clip(image * gain + sigma * random.standard_normal(image.shape), 0, 1).astype(np.float32)


@pytest.mark.slow
def test_a_minute_of_standing_never_opens_the_gate() -> None:
    random = np.random.default_rng(1)
    still, gate = view(picture()), StandingGate()
    answers = [gate.stands(noisy(still, random)) for _ in range(600)]  # 60 s at 10 Hz
    assert not answers[0]
    assert all(answers[1:])


@pytest.mark.parametrize("kind", ["x", "y", "zoom"])
def test_motion_of_half_a_pixel_opens_it(kind: str) -> None:
    random = np.random.default_rng(2)
    scene, gate = picture(), StandingGate()
    moves = {"x": {"x": 0.5}, "y": {"y": 0.5}, "zoom": {"zoom": 1.004}}[kind]
    gate.stands(noisy(view(scene), random))
    assert gate.stands(noisy(view(scene), random))
    assert not gate.stands(noisy(view(scene, **moves), random))


def test_creeping_adds_up_until_it_opens() -> None:
    random = np.random.default_rng(3)
    scene, gate = picture(), StandingGate()
    answers = [gate.stands(noisy(view(scene, x=0.03 * i), random)) for i in range(40)]
    opened = [i for i, stands in enumerate(answers) if i and not stands]
    assert opened, "a camera that moved by more than a pixel was held still"
    assert all(later - earlier <= 12 for earlier, later in pairwise(opened))


def test_an_object_that_passes_does_not_open_it() -> None:
    random = np.random.default_rng(4)
    still, gate = view(picture()), StandingGate()
    other = view(picture(9))
    gate.stands(noisy(still, random))
    for step in range(12):
        image = still.copy()
        left = 30 * step
        image[70:170, left : left + 140] = other[70:170, :140]  # an eighth of the image, always somewhere else
        assert gate.stands(noisy(image, random)), f"opened at step {step}"


def test_another_picture_opens_it() -> None:
    gate = StandingGate()
    gate.stands(view(picture(0)))
    assert not gate.stands(view(picture(5)))


@pytest.mark.parametrize("kind", ["uniform", "bars"])
def test_a_picture_that_does_not_tell_the_motion_never_counts_as_standing(kind: str) -> None:
    gate = StandingGate()
    image = np.full((HEIGHT, WIDTH, 3), 0.5, dtype=np.float32)
    if kind == "bars":  # a motion along them changes nothing
        image += 0.3 * np.sin(np.arange(WIDTH, dtype=np.float32) / 20.0)[None, :, None]
    gate.stands(image)
    assert not gate.stands(image)


def test_a_picture_that_is_mostly_dark_moves_with_the_rest_of_it() -> None:
    random = np.random.default_rng(5)
    scene, gate = picture(), StandingGate()

    def covered(x: float) -> NDArray[np.float32]:
        image = view(scene, x=x)
        image[:, : 3 * WIDTH // 4] *= 0.01
        return noisy(image, random, 3 / 255)

    gate.stands(covered(0.0))
    assert gate.stands(covered(0.0))
    assert not gate.stands(covered(2.0))


def test_the_fitted_flow_measures_pixels() -> None:
    scene = picture()
    flow = fitted_flow(thumbnail(view(scene)), thumbnail(view(scene, x=1.0)))
    assert flow is not None
    # Central differences of block means are a little too flat, so the fit is a little too large.
    assert 0.8 < flow.rms_px < 1.5
    assert flow.deviation_px < 0.03 and flow.residual < 2 / 255
