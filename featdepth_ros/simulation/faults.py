"""Image faults as in the field: darkness, motion blur, wrong exposure, frozen frames. Ground truth does not change."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from featdepth_ros.errors import ConfigError

#: Remaining brightness in a dark tunnel, and the standard deviation of the sensor's noise there; 1 is white.
DARK_GAIN, DARK_NOISE = 0.01, 0.012
#: Factor on the brightness right after the tunnel, where the automatic exposure has not yet adapted.
GLARE = 1.7


@dataclass(frozen=True)
class Faults:
    """Faults by frame number; ``first`` and ``last`` are inclusive. Defaults change nothing.

    Attributes:
        dark: (first, last) frames in a dark tunnel: black images with noise. Before it the light fades out over
            ``fade`` frames. After it the light returns over as many frames, and images are first too bright.
        fade: frames over which the light changes at each end of the tunnel.
        blur: (first, last, pixels): horizontal motion blur over that many pixels.
        exposure: (first, last, factor): a sudden factor on the brightness.
        frozen: (first, last): frames that repeat the image of the frame before ``first``.
        cut: (first, seconds): a hard cut. From this frame on the camera is that many seconds further along its path.
            The true poses jump as well.
        seed: random seed of the noise.
    """

    dark: tuple[int, int] | None = None
    fade: int = 6
    blur: tuple[int, int, int] | None = None
    exposure: tuple[int, int, float] | None = None
    frozen: tuple[int, int] | None = None
    cut: tuple[int, float] | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("dark", "blur", "exposure", "frozen"):
            span = getattr(self, name)
            if span is not None and not 0 <= span[0] <= span[1]:
                raise ConfigError(f"fault {name} is {span}; expected the numbers of its first and its last frame")
        if self.fade < 1 or (self.blur and self.blur[2] < 2) or (self.exposure and not self.exposure[2] > 0):
            raise ConfigError(
                f"faults have fade {self.fade}, blur {self.blur}, exposure {self.exposure}; expected a fade from 1 "
                "frame on, a blur from 2 pixels on and an exposure above 0"
            )
        if self.cut is not None and not (self.cut[0] > 0 and self.cut[1] > 0):
            raise ConfigError(f"fault cut is {self.cut}; expected a frame from 1 on and seconds above 0")

    def shown(self, index: int) -> int:
        """Return the number of the frame whose image is delivered as frame ``index``."""
        if self.frozen is None or not self.frozen[0] <= index <= self.frozen[1]:
            return index
        return max(self.frozen[0] - 1, 0)

    def jump_s(self, index: int) -> float:
        """Return the time (s) by which a cut moves frame ``index`` along the path."""
        return self.cut[1] if self.cut is not None and index >= self.cut[0] else 0.0

    def light(self, index: int) -> float:
        """Return the factor of the dark tunnel on the brightness of frame ``index``."""
        if self.dark is None:
            return 1.0
        first, last = self.dark
        if first <= index <= last:
            return DARK_GAIN
        if first - self.fade < index < first:
            return float(DARK_GAIN ** ((index - first + self.fade) / self.fade))
        after = index - last
        if 0 < after <= 3 * self.fade:  # the light returns within the first third
            back = min(after / self.fade, 1.0)
            glare = (GLARE - 1.0) * math.exp(-1.5 * (after / self.fade - 1.0) ** 2)
            return float(DARK_GAIN ** (1.0 - back) * (1.0 + glare))
        return 1.0

    def apply(self, image: NDArray[np.uint8], index: int, view: int = 0) -> NDArray[np.uint8]:
        """Return the (H, W, 3) uint8 image of frame ``index`` with its faults; view 0 is left, 1 is right."""
        if self.blur is not None and self.blur[0] <= index <= self.blur[1]:
            smeared = cv2.blur(image, (self.blur[2], 1))
            image = np.asarray(smeared, np.uint8)
        gain = self.light(index)
        dark = gain < 1.0
        if self.exposure is not None and self.exposure[0] <= index <= self.exposure[1]:
            gain *= self.exposure[2]
        if gain == 1.0:
            return image
        colour = image.astype(np.float32) * (gain / 255.0)
        if dark:
            rng = np.random.default_rng([self.seed, 81, index, view])
            colour += DARK_NOISE * rng.standard_normal(colour.shape, dtype=np.float32)
        taken: NDArray[np.uint8] = np.round(np.clip(colour, 0.0, 1.0) * 255.0).astype(np.uint8)
        return taken
