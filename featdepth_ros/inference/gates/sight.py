"""Checks whether an image shows anything, and anything new, before its motion is estimated.

An image that shows nothing looks like the previous one, and so does a repeated image. Neither means that the camera
stands.

*Blind.* Detail is the difference of two Gaussians of 1 and 2 network pixels of the grey picture, so that slow shading
does not count. A cell has texture where a tenth of its pixels shows detail above the noise. The noise is what the
quietest cells of the same picture show. With texture in fewer than `LEAST_TEXTURE` of its cells a picture is blind.
Measured: 2,300 pictures of ten cameras have texture in 0.16 to 0.90 of the cells. The same pictures were made worse: a
fiftieth of their light with noise of 3 grey levels, or out of focus by 3 % of their width. These have it in at most
0.002 of the cells.

*Out of focus.* In a picture of the world detail of every size is alike in strength (its spectrum falls with frequency).
Blur takes the finest. Sharpness is the ratio of the strongest fine detail (1 to 2 network pixels) to the strongest
coarse one (4 to 8). It is taken along rows and along columns apart, since a smear blurs along one of them. Below
`LEAST_SHARPNESS` in either a picture is blind: the networks take what is blurred for near, and motion comes out several
times too small. Measured: good pictures have 0.21 to 1.2; blurred by 1 % of their width they have 0.12 to 0.18.

*Unseen.* A cell without texture is not blind by itself, since walls and roads have none. One that is black or
saturated shows nothing, whatever lies there.

*Frozen.* The image has the same bytes as the previous one, with a new stamp. A real camera has noise and never does so.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from featdepth_ros.inference.frame import RectifiedFrame
from featdepth_ros.inference.types import MotionState

#: Side of a cell, network pixels: some tens of cells in the smallest pictures, hundreds in usual ones.
CELL_PX = 16
#: Deviations of the two Gaussians whose difference is detail, pixels: corners that can be tracked are of this size.
FINE_PX, COARSE_PX = 1.0, 2.0
#: Detail counts above this multiple of what the quietest tenth of the cells shows on average. Of pure Gaussian noise
#: 2 % of the pixels are above it.
ABOVE_NOISE = 3.0
#: Bounds of this threshold, grey levels of 255. Rounding and compression reach up to the lower one, noise of 10 levels
#: reaches the upper one. With the upper bound, an image full of fine texture is not taken for noise.
LEAST_DETAIL, MOST_NOISE = 1.0, 4.0
#: Share of a cell's pixels above the threshold that makes it textured: five times what noise reaches.
TEXTURED = 0.1
#: Share of textured cells below which a picture is blind: a tenth of the least of any good picture, ten times noise's
#: most.
LEAST_TEXTURE = 0.02
#: Deviations of the Gaussians for coarse detail, pixels; and the sharpness below which a picture is out of focus.
COARSE_DETAIL_PX, LEAST_SHARPNESS = (4.0, 8.0), 0.18
#: Kernel of the identity, for one direction.
_NO_KERNEL = np.ones(1)
#: Mean grey level below which a cell without texture is black: twice what a sensor's noise leaves of darkness.
BLACK = 8.0
#: Reason when rectification leaves no pixel.
_NO_PIXEL = "the camera is blind: no pixel of its picture can be used; is the distortion of its calibration right?"
#: Grey level from which a pixel is saturated (compression leaves it short of 255), and the share of them in a cell.
SATURATED, SATURATED_SHARE = 250.0, 0.9


@dataclass(frozen=True, eq=False)
class Sight:
    """Result of the check of an image.

    Attributes:
        state: BLIND or FROZEN; None: the image can be used.
        reason: why it cannot be used; else empty.
        seen: (h, w) bool at the networks' size; False where the image shows nothing.
    """

    state: MotionState | None
    reason: str
    seen: NDArray[np.bool_]


class SightGate:
    """Checks the images of one camera, in the order of arrival.

    Args:
        noise_free: whether the camera has no noise, so that identical images are never frozen.
        stale_ns: age in nanoseconds from which a repeated image is no longer valid.
    """

    def __init__(self, noise_free: bool, stale_ns: int) -> None:
        self._noise_free = noise_free
        self._stale_ns = stale_ns
        self.reset()

    def reset(self) -> None:
        """Forget the last image."""
        self._checksum: int | None = None
        self._since_ns = self._last_ns = 0

    def look(self, frame: RectifiedFrame) -> Sight:
        """Check the next image."""
        sight = look(grey_levels(frame), frame.in_image.numpy())
        age_ns = self._repeated_ns(frame)
        if sight.state is not None or age_ns == 0:
            return sight
        seen = sight.seen if age_ns <= self._stale_ns else np.zeros_like(sight.seen)
        return Sight(
            MotionState.FROZEN,
            f"the camera is frozen: its driver has repeated one picture, byte for byte, for {age_ns * 1e-9:.1f} s "
            "under new stamps (a simulator's camera without noise? set noise_free_camera)",
            seen,
        )

    def _repeated_ns(self, frame: RectifiedFrame) -> int:
        """Return for how long (ns, by the stamps) the image has been the same; 0: it is new."""
        if self._noise_free:
            return 0
        checksum = zlib.crc32(np.ascontiguousarray(frame.delivered).data)
        again = checksum == self._checksum and frame.stamp_ns > self._last_ns
        self._checksum, self._last_ns = checksum, frame.stamp_ns
        if not again:
            self._since_ns = frame.stamp_ns
        return frame.stamp_ns - self._since_ns


def grey_levels(frame: RectifiedFrame) -> NDArray[np.float32]:
    """Return the (h, w) float32 grey image at the networks' size, 0 to 255."""
    return np.asarray((frame.host_image[0].mean(dim=0) * 255.0).numpy(), dtype=np.float32)


def look(grey: NDArray[np.float32], inside: NDArray[np.bool_]) -> Sight:
    """Check one image by itself.

    Args:
        grey: (h, w) float32, 0 to 255.
        inside: (h, w) bool, where the camera delivered pixels; other pixels do not count.
    """
    height, width = grey.shape
    size = (max(width // CELL_PX, 4), max(height // CELL_PX, 4))
    covered = _means(inside, size) > 0.9  # the border of the delivered image is not an edge of the scene
    if not covered.any():
        return Sight(MotionState.BLIND, _NO_PIXEL, inside & False)
    fine = cv2.GaussianBlur(grey, (0, 0), FINE_PX)
    detail = cv2.absdiff(fine, cv2.GaussianBlur(grey, (0, 0), COARSE_PX))
    noise = float(np.percentile(_means(detail, size)[covered], 10))
    bar = min(max(ABOVE_NOISE * noise, LEAST_DETAIL), MOST_NOISE)
    textured = _means(detail > bar, size) > TEXTURED
    light = _means(grey, size)
    saturated = _means(grey >= SATURATED, size) > SATURATED_SHARE
    nothing = ~textured & ((light < BLACK) | saturated) & covered
    if float(textured[covered].mean()) < LEAST_TEXTURE:
        reason = _why_blind(float(light[covered].mean()), float(saturated[covered].mean()))
        return Sight(MotionState.BLIND, reason, np.zeros_like(inside))
    if sharpness(grey) < LEAST_SHARPNESS:
        reason = "the camera is blind: its picture is out of focus or smeared by motion"
        return Sight(MotionState.BLIND, reason, np.zeros_like(inside))
    return Sight(None, "", ~_enlarged(nothing, grey.shape) & inside)


def sharpness(grey: NDArray[np.float32]) -> float:
    """Return the smaller of the sharpness of rows and columns; infinite without coarse detail.

    Args:
        grey: (h, w) float32, 0 to 255.
    """

    def strongest(smooth: NDArray[np.float32], smoother: NDArray[np.float32]) -> float:
        return float(np.percentile(cv2.absdiff(smooth, smoother)[:, ::2], 99))

    ratios = []
    for turned in (grey, grey.T):
        # Smoothed along rows by a Gaussian, and across them by the finest one, which takes the noise. A quarter of the
        # pixels is enough to count, and every second row enough to smooth along.
        across = cv2.sepFilter2D(np.ascontiguousarray(turned), -1, _NO_KERNEL, _gaussian(FINE_PX))[::2]
        finest, fine, *coarse = (
            cv2.sepFilter2D(across, -1, _gaussian(px), _NO_KERNEL) for px in (FINE_PX, COARSE_PX, *COARSE_DETAIL_PX)
        )
        most = strongest(*coarse)
        if most > LEAST_DETAIL:
            ratios.append(strongest(finest, fine) / most)
    return min(ratios, default=float("inf"))


@cache
def _gaussian(deviation_px: float) -> NDArray[np.float64]:
    return np.asarray(cv2.getGaussianKernel(2 * int(3 * deviation_px) + 1, deviation_px))


def _means(values: NDArray[np.generic], size: tuple[int, int]) -> NDArray[np.float32]:
    """Return the means over cells; ``size`` is (columns, rows)."""
    return np.asarray(cv2.resize(values.astype(np.float32), size, interpolation=cv2.INTER_AREA))


def _enlarged(cells: NDArray[np.bool_], size: tuple[int, ...]) -> NDArray[np.bool_]:
    whole = cv2.resize(cells.astype(np.uint8), (size[1], size[0]), interpolation=cv2.INTER_NEAREST)
    return np.asarray(whole, dtype=bool)


def _why_blind(light: float, saturated: float) -> str:
    if light < BLACK:
        return f"the camera is blind: its picture is dark (mean grey level {light:.0f} of 255)"
    if saturated > 0.5:
        return f"the camera is blind: its picture is overexposed ({saturated:.0%} of it is saturated)"
    return "the camera is blind: its picture shows no detail above its noise; is the lens covered or out of focus?"
