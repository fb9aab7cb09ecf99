"""Uncalibrated cameras: a focal length and one distortion coefficient per recording, learned in the run.

Photometric terms determine both when the camera rotates, because a wrong focal length moves pixels by a wrong amount.
Source of the idea: Gordon et al., Depth from Videos in the Wild (ICCV 2019), who predict intrinsics for each pair of
frames. Here a recording has one camera. Straight motion does not determine the focal length.

Images are undistorted by the current coefficient. Its gradient comes from the derivative of the projection
(`featdepth_ros.geometry.lens`). So no term can be lowered just by stretching an image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from featdepth_training.data.batch import FrameBatch
from featdepth_training.data.source import Source

#: Limit of the coefficient, so that a step of the optimiser stays in the range that can be undistorted.
MOST_DISTORTION = 0.6


class LearnedCameras(nn.Module):
    """Corrections of the intrinsics in the caches.

    Args:
        locations: locations of the caches whose cameras are learned.

    Attributes:
        log_focal: (N,) logarithm of the factor on fx and fy.
        k1: (N,) radial coefficient: a ray at distance r from the axis is seen at ``r (1 + k1 r^2)``.
    """

    def __init__(self, locations: Sequence[str]) -> None:
        super().__init__()
        self.locations = list(locations)
        self.log_focal = nn.Parameter(torch.zeros(len(self.locations)))
        self.k1 = nn.Parameter(torch.zeros(len(self.locations)))

    def rows(self, sources: Sequence[Source]) -> Tensor:
        """Return the camera number of each source, (S,) int64; -1: none of these cameras."""
        known = {location: row for row, location in enumerate(self.locations)}
        return torch.tensor([known.get(source.location, -1) for source in sources])

    def figures(self) -> dict[str, float]:
        """Return the factor on the focal length and the coefficient of each camera, for the log."""
        values = zip(self.locations, self.log_focal.exp().tolist(), self.k1.tolist(), strict=True)
        by_camera: dict[str, float] = {}
        for location, factor, k1 in values:
            name = location.rstrip("/").rpartition("/")[2]
            by_camera |= {f"camera/{name}/focal": factor, f"camera/{name}/k1": k1}
        return by_camera

    def forward(self, batch: FrameBatch, rows: Tensor) -> FrameBatch:
        """Return the batch with corrected intrinsics, which have gradients, and undistorted images.

        Args:
            batch: batch with float images.
            rows: camera numbers by ``batch.group``, see `rows`.
        """
        row = rows.to(batch.group.device)[batch.group]
        learned = row >= 0
        if not bool(learned.any()):
            return batch
        row = row.clamp_min(0)
        factor = torch.where(learned, self.log_focal[row], 0.0).exp()
        k1 = torch.where(learned, self.k1[row].clamp(-MOST_DISTORTION, MOST_DISTORTION), 0.0)
        scale = torch.stack((factor, factor, torch.ones_like(factor), torch.ones_like(factor)), 1)
        camera = batch.intrinsics * scale
        images = undistorted(batch.images, camera.detach(), k1.detach())
        # Zero in value: what is left to be bent once the images are straight; its gradient is that of the coefficient.
        return replace(batch, images=images, intrinsics=camera, lens=k1 - k1.detach())


def undistorted(images: Tensor, camera: Tensor, k1: Tensor) -> Tensor:
    """Straighten the images (B, F, 3, H, W) of cameras (B, 4) with radial coefficients (B,); borders are repeated."""
    if not bool((k1 != 0).any()):
        return images
    height, width = images.shape[-2:]
    fx, fy, cx, cy = (value.view(-1, 1, 1) for value in camera.unbind(1))
    x = (torch.arange(width, device=images.device) - cx) / fx
    y = (torch.arange(height, device=images.device)[:, None] - cy) / fy
    bent = 1 + k1.view(-1, 1, 1) * (x * x + y * y)
    u, v = x * bent * fx + cx, y * bent * fy + cy
    grid = torch.stack((2 * u / (width - 1) - 1, 2 * v / (height - 1) - 1), -1)
    count = images.shape[1]
    flat = F.grid_sample(
        images.flatten(0, 1), grid.repeat_interleave(count, 0), padding_mode="border", align_corners=True
    )
    straight: Tensor = flat.unflatten(0, (-1, count))
    return straight
