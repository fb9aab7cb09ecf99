"""The depth that an estimate gives: the network's, or the network's corrected by the window, with its deviation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from featdepth_ros.geometry import warp
from featdepth_ros.inference.frame import EncodedFrame
from featdepth_ros.inference.fusion import fuse
from featdepth_ros.inference.sigma import depth_sigma
from featdepth_ros.inference.types import ScaleState
from featdepth_ros.inference.window.types import WindowResult


@dataclass(frozen=True, eq=False)
class PublishedDepth:
    """Depth of one frame at the size of the network's map.

    Attributes:
        frame: the frame.
        factor: published unit per network unit, of the network's depth.
        correction: (1, 1, h, w) float32, factor of the window on top; None: the depth is the network's.
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


def fused_by_window(
    frame: EncodedFrame, scale: ScaleState, window: WindowResult | None, wanted: bool
) -> PublishedDepth:
    """Correct a frame's depth by the points of the window; without points it stays exactly the network's.

    Args:
        frame: with the network's depth.
        scale: what one unit of the network is worth.
        window: what the window gave of the frame; its points are in the picture that `tracked_picture` returned.
        wanted: False: leave the depth as it is.
    """
    network = np.asarray(frame.host_depth * np.float32(scale.factor))
    if not wanted or window is None or window.camera is None:
        return PublishedDepth(frame, scale.factor, None, depth_sigma(network))
    fused = fuse(network, window.points, window.camera)
    if fused.depth is network:
        return PublishedDepth(frame, scale.factor, None, fused.sigma)
    correction = torch.from_numpy(fused.depth / network)[None, None].to(frame.network_depth)
    return PublishedDepth(frame, scale.factor, correction, fused.sigma)
