"""The depth of an estimate: the network's, or the network's corrected by the window, with its standard deviation."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from featdepth_ros.geometry import warp
from featdepth_ros.geometry.projection import backproject, project
from featdepth_ros.inference.foreign.convention import FARTHEST
from featdepth_ros.inference.frame import EncodedFrame
from featdepth_ros.inference.fusion import find_correction
from featdepth_ros.inference.motion import MeasuredMotion
from featdepth_ros.inference.sigma import LEAST_SPREAD, Support, depth_sigma
from featdepth_ros.inference.types import MotionState, ScaleState
from featdepth_ros.inference.window.prior import InverseDepthFit

#: Factor on a correction for each frame over which it is propagated.
CARRIED_SHARE = 0.9
#: States in which the image is unchanged or shows nothing, so that the correction stays.
_NOTHING_NEW = (MotionState.STANDING, MotionState.FROZEN, MotionState.BLIND)
#: A propagated correction is dropped if its largest value (log depth) is below this.
LEAST_CARRIED = 0.003


@dataclass(frozen=True, eq=False)
class PublishedDepth:
    """Depth of one frame at the size of the network's map.

    Attributes:
        frame: the frame.
        factor: published units per network unit.
        correction: (1, 1, h, w) float32, additional factor from the window; None: the depth is the network's.
        sigma: (h, w) float32 standard deviation, published units.
    """

    frame: EncodedFrame
    factor: float
    correction: Tensor | None
    sigma: NDArray[np.float32]

    @property
    def values(self) -> Tensor:
        """(1, 1, h, w) float32 depth, published units."""
        depth = self.frame.network_depth * self.factor
        return depth if self.correction is None else depth * self.correction

    @property
    def network(self) -> NDArray[np.float32]:
        """(h, w) float32 depth of the network alone, published units."""
        return np.asarray(self.frame.host_depth * np.float32(self.factor))

    def resized(self, height: int, width: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return depth and sigma of another size, (height, width) float32 each.

        Inverse depth is interpolated: it is linear in the image across a plane, depth is not.
        """
        if self.correction is None:
            depth = self.factor / warp.resize_bilinear(1.0 / self.frame.network_depth, height, width)
        else:
            depth = 1.0 / warp.resize_bilinear(1.0 / self.values, height, width)
        relative = torch.from_numpy(self.sigma)[None, None].to(depth) / self.values
        sigma = depth * warp.resize_bilinear(relative, height, width)
        return depth[0, 0].cpu().numpy(), sigma[0, 0].cpu().numpy()


@dataclass(frozen=True, eq=False)
class _Kept:
    """A stored correction.

    Attributes:
        common: logarithm of the factor that the whole frame shares.
        maps: (1, 4, h, w). The first is the logarithm of the correction without the common factor. The second is the
            number of measured points in reach. The third is the remaining share of the correction. The last is that
            share times the logarithm of the spread (see `fusion.Correction`).
    """

    common: float
    maps: Tensor

    def plus(self, other: _Kept | None) -> _Kept:
        return self if other is None else _Kept(self.common + other.common, self.maps + other.maps)

    @property
    def support(self) -> Support:
        correction, reach, share, spread = self.maps[0].cpu().numpy()
        return Support(reach, np.abs(correction), np.exp(spread / np.maximum(share, np.float32(1e-6))), share)


class DepthFusion:
    """Corrects the depth of one camera by the points of the window, and stores the correction.

    While the camera stands, no window runs and the last correction is kept, since the image is the same. The same
    holds while a driver repeats an image, and while nothing is visible. If a frame has too few points, such as in a
    turn on the spot, the previous correction is propagated by the motion, and fades. After a gap only the common
    factor is left, and an unknown motion removes the correction.

    Args:
        wanted: False: the depth stays the network's.
        inverse: whether the network gives an inverse depth up to a scale and a shift, whose reciprocal is in the
            frames. Scale and shift of the window are applied once they are known.
    """

    def __init__(self, wanted: bool, inverse: bool = False) -> None:
        self._wanted, self._inverse = wanted, inverse
        self._fit: InverseDepthFit | None = None
        self._kept: _Kept | None = None

    def reset(self) -> None:
        """Forget the correction."""
        self._kept, self._fit = None, None

    def forget_shape(self) -> None:
        """Forget the local correction, which belongs to the old weights, because other weights are used from now on.

        The common factor of the frame stays, because it belongs to the current scale.
        """
        if self._kept is not None:
            self._kept = replace(self._kept, maps=torch.zeros_like(self._kept.maps))

    def update(self, frame: EncodedFrame, scale: ScaleState, measured: MeasuredMotion) -> PublishedDepth:
        """Return the corrected depth of a frame; without a correction it is exactly the network's.

        Args:
            frame: frame with the network's depth.
            scale: published units per network unit.
            measured: motion since the previous frame, and result of the window; its points are in pixels of the image
                of `tracked_picture`.
        """
        solved = self._solved(frame, scale, measured)
        network = frame.network_depth * scale.factor if solved is None else frame.network_depth * scale.factor * solved
        depth = np.asarray(frame.host_depth * np.float32(scale.factor))
        if solved is not None:
            depth = np.asarray(network[0, 0].cpu().numpy())
        if self._kept is not None and self._kept.maps.shape[-2:] != network.shape[-2:]:
            self._kept = None
        if self._wanted and measured.motion.state not in _NOTHING_NEW:
            self._kept = self._corrected(network, depth, frame, measured)
        if not self._wanted or self._kept is None:
            return PublishedDepth(frame, scale.factor, solved, depth_sigma(depth))
        correction = (self._kept.maps[:, :1] + self._kept.common).exp()
        fused = (network * correction)[0, 0].cpu().numpy()
        if solved is not None:
            correction = correction * solved
        return PublishedDepth(frame, scale.factor, correction, depth_sigma(fused, self._kept.support))

    def _solved(self, frame: EncodedFrame, scale: ScaleState, measured: MeasuredMotion) -> Tensor | None:
        """Return the factor (1, 1, h, w) that applies the window's scale and shift to an inverse depth, else None."""
        if not self._inverse:
            return None
        if measured.window is not None and measured.window.network is not None:
            self._fit = measured.window.network
        if self._fit is None:
            return None
        network_depth = frame.host_depth.astype(np.float64) * scale.factor
        depth = np.where(frame.host_depth < FARTHEST, self._fit.depth(1.0 / network_depth, FARTHEST), FARTHEST)
        return torch.from_numpy((depth / network_depth).astype(np.float32))[None, None].to(frame.network_depth)

    def _corrected(
        self, network: Tensor, depth: NDArray[np.float32], frame: EncodedFrame, measured: MeasuredMotion
    ) -> _Kept | None:
        """Return the correction of a frame that moved: by its own points, and by the earlier one as far as needed.

        Args:
            network: (1, 1, h, w) depth of the network.
            depth: (h, w) the same.
            frame: the frame.
            measured: its motion and points.
        """
        window, own, share = measured.window, None, 1.0
        if window is not None and window.camera is not None:
            correction = find_correction(depth, window.points, window.camera)
            if correction is not None:
                known = np.full_like(correction.reach, correction.confidence)
                spread = known * np.log(np.maximum(correction.spread, LEAST_SPREAD))
                maps = np.stack(
                    [correction.log_ratio - np.float32(correction.common_log_ratio), correction.reach, known, spread]
                )
                own = _Kept(correction.common_log_ratio, torch.from_numpy(maps)[None].to(network))
                share -= correction.confidence
        earlier = self._carried(network, frame, measured, share * CARRIED_SHARE) if share > 0 else None
        return earlier if own is None else own.plus(earlier)

    def _carried(self, network: Tensor, frame: EncodedFrame, measured: MeasuredMotion, share: float) -> _Kept | None:
        """Return a share of the stored correction, warped to a new frame; None if nothing is left.

        Every pixel is looked up in the previous frame. Pixels outside its view get only the common factor.
        """
        kept, camera, state = self._kept, frame.depth_camera, measured.motion.state
        if kept is None or camera is None or state not in (MotionState.TRACKED, MotionState.GAP):
            return None
        maps = torch.zeros_like(kept.maps)
        if state is MotionState.TRACKED:
            K = torch.from_numpy(camera.K)[None].to(network)
            T = torch.from_numpy(measured.motion.T_previous_current)[None].to(network)
            pixels, depth = project(backproject(network, K), K, T)
            maps = warp.sample_pixels(kept.maps, pixels, outside="zeros") * (depth > 0) * share
        carried = _Kept(kept.common * share, maps)
        largest = max(abs(carried.common), float(maps[:, 0].abs().max()))
        return carried if largest > LEAST_CARRIED else None
