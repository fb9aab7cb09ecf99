"""What a picture is good for: seen, blind, frozen. A drawn scene with detail of every size stands for the world."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.inference.frame import Rectifier
from featdepth_ros.inference.gates.sight import Sight, SightGate, look
from featdepth_ros.inference.types import MotionState

SIZE = (128, 416)
STEP_NS = 100_000_000


def scene(seed: int = 0) -> NDArray[np.float32]:
    """Rectangles of all sizes on a shaded ground, (128, 416) float32, 0 to 255."""
    random = np.random.default_rng(seed)
    picture = np.repeat(np.linspace(60, 160, SIZE[0], dtype=np.float32)[:, None], SIZE[1], axis=1)
    for side in (60, 30, 15, 8, 4):
        for _ in range(2000 // side):
            x, y = random.integers(-side, SIZE[1]), random.integers(-side, SIZE[0])
            corner = (int(x + random.integers(side // 2, side + 1)), int(y + random.integers(side // 2, side + 1)))
            cv2.rectangle(picture, (int(x), int(y)), corner, float(random.uniform(20, 235)), -1)
    return cv2.GaussianBlur(picture, (0, 0), 0.6)


def taken(picture: NDArray[np.floating], noise: float = 2.0, seed: int = 1) -> NDArray[np.float32]:
    """The picture with sensor noise of that deviation, in whole grey levels."""
    noisy = picture + noise * np.random.default_rng(seed).standard_normal(picture.shape)
    return np.clip(np.rint(noisy), 0, 255).astype(np.float32)


def judged(picture: NDArray[np.float32]) -> Sight:
    return look(picture, np.ones(picture.shape, dtype=bool))


@pytest.mark.parametrize(
    ("picture", "says"),
    [
        (np.zeros(SIZE, np.float32), "dark"),
        (taken(np.zeros(SIZE), noise=4.0), "dark"),
        (taken(0.01 * scene(), noise=3.0), "dark"),
        (np.full(SIZE, 255, np.float32), "overexposed"),
        (np.minimum(30 * scene(), 255).astype(np.float32), "overexposed"),
        (taken(np.full(SIZE, 90.0), noise=6.0), "no detail"),
        (taken(cv2.GaussianBlur(scene(), (0, 0), 12.0)), "focus"),
        (taken(cv2.GaussianBlur(scene(), (0, 0), 5.0)), "focus"),
        (taken(cv2.GaussianBlur(scene(), (0, 0), 8.0, sigmaY=0.5)), "smeared"),
    ],
)
def test_a_picture_that_shows_nothing_is_blind_and_says_why(picture: NDArray[np.float32], says: str) -> None:
    sight = judged(picture)
    assert sight.state is MotionState.BLIND and says in sight.reason
    assert not sight.seen.any()


@pytest.mark.parametrize(
    "picture",
    [
        taken(scene()),
        taken(scene(3), noise=8.0),
        taken(0.2 * scene(), noise=3.0),
        taken(cv2.GaussianBlur(scene(), (0, 0), 1.0)),
        taken(150 + 0.1 * scene(), noise=1.0),  # fog
        np.random.default_rng(0).integers(0, 256, SIZE).astype(np.float32),  # gravel
    ],
)
def test_a_picture_that_shows_something_is_not_blind(picture: NDArray[np.float32]) -> None:
    sight = judged(picture)
    assert sight.state is None and not sight.reason
    assert sight.seen.all()


def test_where_half_the_lens_is_covered_nothing_is_seen_and_elsewhere_all_is() -> None:
    picture = scene()
    picture[:, :208] *= 0.01
    seen = judged(taken(picture)).seen
    assert not seen[:, :192].any() and seen[:, 224:].all()
    picture = scene()
    picture[:64] = 255  # the sky, saturated
    seen = judged(np.minimum(taken(picture), 255)).seen
    assert not seen[:48].any() and seen[80:].all()


def test_a_wall_without_texture_is_seen() -> None:
    picture = scene()
    picture[:, 208:] = 120
    assert judged(taken(picture)).seen.all()


def test_the_rim_of_what_was_delivered_is_no_texture() -> None:
    inside = np.zeros(SIZE, dtype=bool)
    inside[20:100, 60:300] = True
    dark = np.where(inside, taken(np.full(SIZE, 40.0)), 0).astype(np.float32)
    assert look(dark, inside).state is MotionState.BLIND
    nothing = look(taken(scene()), np.zeros(SIZE, dtype=bool))
    assert nothing.state is MotionState.BLIND and "distortion" in nothing.reason


CAMERA = CameraModel(416, 128, 240.0, 240.0, 207.5, 63.5)


def states(pictures: list[NDArray[np.float32]], noise_free: bool = False) -> list[Sight]:
    rectifier, gate = Rectifier(lambda _w, _h: SIZE, torch.device("cpu")), SightGate(noise_free, 4 * STEP_NS)
    found = []
    for index, picture in enumerate(pictures):
        colour = np.repeat(picture.astype(np.uint8)[..., None], 3, axis=2)
        found.append(gate.look(rectifier.rectify(colour, CAMERA, index * STEP_NS)))
    return found


def test_the_same_bytes_under_new_stamps_are_frozen_and_at_last_show_nothing() -> None:
    picture, noisy = taken(scene()), [taken(scene(), seed=seed) for seed in range(3)]
    found = states([*noisy, *[picture] * 7, noisy[0]])
    assert [s.state for s in found] == [None] * 4 + [MotionState.FROZEN] * 6 + [None]
    assert "0.3 s" in found[6].reason
    # A picture older than the longest gap says nothing of the present.
    assert [bool(s.seen.all()) for s in found[4:]] == [True] * 4 + [False, False, True]


def test_a_simulators_camera_without_noise_may_repeat_itself() -> None:
    assert {s.state for s in states([taken(scene())] * 5, noise_free=True)} == {None}


def test_a_dark_picture_that_is_repeated_is_blind_before_it_is_frozen() -> None:
    assert {s.state for s in states([np.zeros(SIZE, np.float32)] * 3)} == {MotionState.BLIND}


def test_a_stamp_that_goes_back_is_no_repetition() -> None:
    rectifier, gate = Rectifier(lambda _w, _h: SIZE, torch.device("cpu")), SightGate(False, STEP_NS)
    colour = np.repeat(taken(scene()).astype(np.uint8)[..., None], 3, axis=2)
    assert gate.look(rectifier.rectify(colour, CAMERA, 10)).state is None
    assert gate.look(rectifier.rectify(colour, CAMERA, 5)).state is None
    assert gate.look(rectifier.rectify(colour, CAMERA, 6)).state is MotionState.FROZEN
    gate.reset()
    assert gate.look(rectifier.rectify(colour, CAMERA, 7)).state is None
