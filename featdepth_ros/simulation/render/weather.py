"""Night and rain as effects on an image by day: headlamps beside the camera, rain streaks, and drops on the lens."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Colours = NDArray[np.float32]

#: Distance at which the light of the headlamps is a quarter of that right before them, metres.
LAMP_REACH_M = 20.0
#: Half width and half height of the beam, and distance of its middle below the image's, in half image widths.
BEAM, BEAM_BELOW = (0.75, 0.35), 0.08
#: Number of streaks on an image of 640 x 192 pixels in the strongest rain, and of drops on the lens.
STREAKS, DROPS = 260, 14


def by_night(colour: Colours, depth: NDArray[np.float32], night: float) -> Colours:
    """Return the image at night: without daylight, and lit by headlamps beside the camera.

    The lamps are at the camera, so the light of a pixel depends only on its position and depth.

    Args:
        colour: (H, W, 3) image by day, in [0, 1].
        depth: (H, W) metres, NaN for the sky.
        night: share of the missing daylight, 0 to 1.
    """
    height, width = depth.shape
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    x = (x - 0.5 * width) / (0.5 * width) / BEAM[0]
    y = ((y - 0.5 * height) / (0.5 * width) - BEAM_BELOW) / BEAM[1]
    distance = np.where(np.isnan(depth), np.inf, depth)
    lamps = np.exp(-x * x - y * y) / (1.0 + distance / LAMP_REACH_M) ** 2
    light = (1.0 - night) + night * 1.1 * lamps
    lit: Colours = (colour * light[..., None]).astype(np.float32)
    return lit


def in_rain(colour: Colours, rain: float, lens: np.random.Generator, fall: np.random.Generator) -> Colours:
    """Return the image with streaks of falling rain and with drops on the lens.

    Args:
        colour: (H, W, 3) image in [0, 1].
        rain: strength of the rain, 0 to 1.
        lens: random generator of the drops; it is the same for all frames of a recording.
        fall: random generator of this frame's streaks.
    """
    height, width = colour.shape[:2]
    streaks = np.zeros((height, width), np.float32)
    count = int(rain * STREAKS * height * width / (640 * 192))
    lean = float(lens.normal(0.0, 0.25))
    for x, y, length, strength in zip(
        fall.uniform(0, width, count), fall.uniform(0, height, count), fall.gamma(2.0, height / 24.0, count),
        fall.uniform(0.1, 0.5, count), strict=True,
    ):  # fmt: skip
        end = (round(x + lean * length), round(y + length))
        cv2.line(streaks, (round(x), round(y)), end, float(strength), 1, cv2.LINE_AA)
    cover = cv2.GaussianBlur(streaks, (0, 0), 0.7)[..., None]
    wet: Colours = (colour + cover * (np.float32(0.8) - colour)).astype(np.float32)
    drops = np.zeros((height, width), np.float32)
    for _ in range(int(rain * DROPS)):
        place = (int(lens.uniform(0, width)), int(lens.uniform(0, height)))
        cv2.circle(drops, place, int(lens.uniform(0.01, 0.045) * width), float(lens.uniform(0.5, 0.95)), -1)
    if drops.any():
        soft = cv2.GaussianBlur(drops, (0, 0), 1.5)[..., None]
        wet += soft * (cv2.GaussianBlur(wet, (0, 0), 0.012 * width) - wet)
    return wet
