"""Effects of a real camera on a rendered image: exposure, colour, blur, noise, compression. Depth is not changed."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from featdepth_ros.errors import ConfigError
from featdepth_ros.simulation.render.weather import by_night, in_rain


@dataclass(frozen=True)
class CameraEffects:
    """Effects that are applied to rendered images. Defaults change nothing.

    Attributes:
        exposure: factor on brightness; ``exposure_drift``: its slow relative change over a recording.
        gamma: exponent of the tone curve; values above 1 darken the mid-tones.
        cast: factors on red, green and blue.
        saturation: colour saturation; 1: as rendered, 0: grey.
        vignette: loss of brightness in the corners, 0 to 1.
        haze: share of grey that covers objects at a distance of 100 m.
        night: share of the missing daylight, 0 to 1; headlamps light near objects (see `weather`).
        rain: strength of rain, 0 to 1.
        blur_px: standard deviation of the lens blur, pixels.
        motion_px: largest length of the motion blur, pixels, which is random for each frame.
        noise: standard deviation of the sensor's noise at full brightness, 0 to 1.
        jpeg: JPEG quality from 1 to 100; 0: no compression.
        seed: random seed; with the frame number it determines all random values.
    """

    exposure: float = 1.0
    exposure_drift: float = 0.0
    gamma: float = 1.0
    cast: tuple[float, float, float] = (1.0, 1.0, 1.0)
    saturation: float = 1.0
    vignette: float = 0.0
    haze: float = 0.0
    night: float = 0.0
    rain: float = 0.0
    blur_px: float = 0.0
    motion_px: float = 0.0
    noise: float = 0.0
    jpeg: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.exposure <= 0 or self.gamma <= 0 or not 0 <= self.jpeg <= 100:
            raise ConfigError(
                f"camera effects have exposure {self.exposure}, gamma {self.gamma}, jpeg {self.jpeg}; expected "
                "exposure and gamma above 0 and jpeg between 0 and 100"
            )

    def apply(
        self, image: NDArray[np.uint8], depth: NDArray[np.float32], index: int, view: int = 0
    ) -> NDArray[np.uint8]:
        """Return the image as the camera delivers it.

        Args:
            image: (H, W, 3) uint8 RGB.
            depth: (H, W) float32 metres, NaN for the sky.
            index: frame number.
            view: 0: left camera, 1: right camera; their noise differs.
        """
        rng = np.random.default_rng([self.seed, index, view])
        colour = image.astype(np.float32) / 255.0
        if self.haze > 0:
            cover = 1.0 - (1.0 - self.haze) ** (np.nan_to_num(depth, nan=200.0) / 100.0)
            colour += cover[..., None] * (np.float32(0.78) - colour)
        if self.night > 0:
            colour = by_night(colour, depth, self.night)
        if self.rain > 0:
            colour = in_rain(colour, self.rain, np.random.default_rng([self.seed, 43, view]), rng)
        if self.saturation != 1.0:
            grey = colour.mean(axis=2, keepdims=True)
            colour = grey + self.saturation * (colour - grey)
        drift = 1.0 + self.exposure_drift * math.sin(0.07 * index + self.seed)
        colour *= np.array(self.cast, np.float32) * (self.exposure * drift)
        if self.vignette > 0:
            y, x = np.mgrid[-1 : 1 : image.shape[0] * 1j, -1 : 1 : image.shape[1] * 1j]
            colour *= (1.0 - self.vignette * 0.5 * (x * x + y * y)).astype(np.float32)[..., None]
        colour = self._blurred(colour, rng)
        if self.gamma != 1.0:
            colour = np.clip(colour, 0.0, 1.0) ** self.gamma
        if self.noise > 0:
            spread = self.noise * np.sqrt(0.15 + 0.85 * np.clip(colour, 0.0, 1.0))
            colour = colour + spread * rng.standard_normal(colour.shape, dtype=np.float32)
        out = np.round(np.clip(colour, 0.0, 1.0) * 255.0).astype(np.uint8)
        if self.jpeg:
            _, packed = cv2.imencode(".jpg", out[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, self.jpeg])
            decoded: NDArray[np.uint8] = cv2.imdecode(packed, cv2.IMREAD_COLOR)
            out = np.ascontiguousarray(decoded[..., ::-1])
        return out

    def _blurred(self, colour: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
        if self.blur_px > 0:
            colour = np.asarray(cv2.GaussianBlur(colour, (0, 0), self.blur_px), np.float32)
        length = self.motion_px * rng.uniform() if self.motion_px > 0 else 0.0
        if length >= 0.5:
            size = 2 * math.ceil(length / 2) + 3
            kernel, angle = np.zeros((size, size), np.float32), rng.normal(0.0, 0.5)
            for step in np.linspace(-length / 2, length / 2, 4 * size):
                x, y = size // 2 + step * math.cos(angle), size // 2 + step * math.sin(angle)
                kernel[round(y), round(x)] += 1.0
            colour = np.asarray(cv2.filter2D(colour, -1, kernel / kernel.sum()), np.float32)
        return colour


def random_effects(seed: int) -> CameraEffects:
    """Return random camera effects, from a clean to a poor camera."""
    rng = np.random.default_rng([seed, 41])
    poor = float(rng.uniform(0.0, 1.0))
    return CameraEffects(
        exposure=float(np.exp(rng.normal(0.1, 0.3))),
        exposure_drift=0.15 * poor * float(rng.uniform()),
        gamma=float(np.exp(rng.normal(0.0, 0.22))),
        cast=tuple(float(v) for v in 1.0 + rng.normal(0.0, 0.06, 3)),  # type: ignore[arg-type]
        saturation=float(rng.choice([0.0, 1.0, 1.0, 1.0])) * float(rng.uniform(0.4, 1.1)),
        vignette=float(rng.uniform(0.0, 0.5)),
        haze=float(max(rng.uniform(-0.3, 0.5), 0.0)),
        blur_px=float(max(rng.uniform(-0.5, 1.0), 0.0)),
        motion_px=3.0 * poor * float(rng.uniform()),
        noise=0.04 * poor * float(rng.uniform()),
        jpeg=int(rng.choice([0, 0, 95, 85, 70])),
        seed=seed,
    )
