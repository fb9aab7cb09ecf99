"""What goes wrong with pictures in the field: darkness, smear, wrong exposure, frozen frames. Truth does not change."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from featdepth_ros.errors import ConfigError

#: Brightness that is left in a dark tunnel, and the sensor's noise there, of 1.
DARK_GAIN, DARK_NOISE = 0.01, 0.012
#: How much too bright pictures are right after the tunnel: the exposure has not yet come back.
GLARE = 1.7


@dataclass(frozen=True)
class Faults:
    """Faults by number of frame; ``first`` and ``last`` are both faulty. Defaults change nothing.

    Attributes:
        dark: (first, last): inside a dark tunnel. Over ``fade`` frames before it the light goes, over as many after it
            it comes back, too bright at first. What is left is black with noise.
        fade: length of the way into the dark, and out of it, frames.
        blur: (first, last, pixels): smeared to the side over so many pixels.
        exposure: (first, last, factor): brightness times a factor, at once.
        frozen: (first, last): the picture of the frame before ``first``, delivered again and again.
        cut: (first, seconds): from this frame on the recording shows what the path meets so many seconds later: a hard
            cut. The true poses jump as well.
        seed: of the noise.
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
        """Return the number of the frame whose picture is delivered as frame ``index``."""
        if self.frozen is None or not self.frozen[0] <= index <= self.frozen[1]:
            return index
        return max(self.frozen[0] - 1, 0)

    def jump_s(self, index: int) -> float:
        """Return how many seconds further along the path frame ``index`` was taken."""
        return self.cut[1] if self.cut is not None and index >= self.cut[0] else 0.0

    def light(self, index: int) -> float:
        """Return the factor on brightness at frame ``index`` that darkness leaves."""
        if self.dark is None:
            return 1.0
        first, last = self.dark
        if first <= index <= last:
            return DARK_GAIN
        if first - self.fade < index < first:
            return float(DARK_GAIN ** ((index - first + self.fade) / self.fade))
        after = index - last
        if 0 < after <= 3 * self.fade:  # the light is back within the first third
            back = min(after / self.fade, 1.0)
            glare = (GLARE - 1.0) * math.exp(-1.5 * (after / self.fade - 1.0) ** 2)
            return float(DARK_GAIN ** (1.0 - back) * (1.0 + glare))
        return 1.0

    def apply(self, image: NDArray[np.uint8], index: int, view: int = 0) -> NDArray[np.uint8]:
        """Return the (H, W, 3) uint8 picture of frame ``index`` as it is delivered; view 0 is left, 1 right."""
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
