"""The rule of `Estimate.valid`, which selects reliable depths.

A pixel is valid when all of these hold:

1. rectification found it inside the delivered image;
2. its depth lies strictly inside the configured range;
3. it does not sit on a depth edge. Among its neighbours depth changes by less than `EDGE_RATIO`. Or inverse depth
   changes evenly from row to row, as on the ground that runs away from the camera. A network's half-resolution
   disparity smears edges into points that float between object and background;
4. where the previous frame saw the same point (known motion, inside its image), that frame's depth agrees within
   `AGREEMENT`: the geometric consistency test of Bian et al. (SC-SfMLearner, NeurIPS 2019), which catches moving
   objects, holes and flicker.

Where depth has a standard deviation (`inference.sigma`), another rule replaces the third: it is below `MOST_SIGMA` of
the depth. An error of a quarter is then larger than one standard deviation. Edges have a large standard deviation, and
so have pixels far beyond all measured points. This rule was measured on fused depth of rendered streets and rooms and
of 7-Scenes. It keeps 0.85 to 1.00 of the pixels, 0.88 to 0.96 of them within 25 % of the truth. Of those that it drops,
0.5 to 0.75 are.

The precision is the share of valid pixels whose depth is within 25 % of rendered truth. docs/results.md gives it beside
the share before the rule, and a test holds it.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from featdepth_ros.geometry import warp
from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.geometry.projection import backproject, project
from featdepth_ros.inference.fused_depth import PublishedDepth
from featdepth_ros.inference.motion import MeasuredMotion
from featdepth_ros.inference.types import Motion

#: Largest over smallest depth among neighbours that still counts as one surface.
EDGE_RATIO = 1.15
#: Second difference of inverse depth from row to row, relative to it, that still counts as a plane.
PLANE_BEND = 0.03
#: Standard deviation over depth below which a depth is trusted.
MOST_SIGMA = 0.25
#: Relative difference of the two frames' depths of one point that still counts as agreement.
AGREEMENT = 0.20


def valid_mask(
    depth: PublishedDepth,
    measured: MeasuredMotion,
    before: PublishedDepth | None,
    depth_range: tuple[float, float],
) -> torch.Tensor:
    """Return the valid pixels by all four rules.

    Args:
        depth: depth of the current frame.
        measured: motion since the earlier frame.
        before: depth of the previous frame; it is used only if the motion counts from that frame.
        depth_range: nearest and farthest depth, published units.

    Returns:
        (1, 1, h, w) bool at the networks' size.
    """
    values, frame = depth.values, depth.frame
    mask = (values > depth_range[0]) & (values < depth_range[1])
    if depth.correction is None:
        mask &= off_edges(values)
    else:
        mask &= certain(values, torch.from_numpy(depth.sigma)[None, None].to(values))
    camera, earlier = frame.depth_camera, measured.earlier
    if camera is not None and earlier is not None:
        same = before is not None and before.frame is earlier and before.correction is not None
        seen = before.values if same and before is not None else earlier.network_depth * depth.factor
        views = earlier.rectified.views.network
        in_image = None if views.is_pure_resize else views.in_image
        mask &= _agrees_with_earlier(values, seen, camera, measured.motion, in_image)
    full = warp.resize_nearest(mask.float(), *frame.rectified.size) > 0.5
    return full & frame.rectified.in_image


def _agrees_with_earlier(
    depth: torch.Tensor,
    earlier: torch.Tensor,
    camera: CameraModel,
    motion: Motion,
    in_image: torch.Tensor | None = None,
) -> torch.Tensor:
    """Apply rule 4 to the (1, 1, h, w) depth of two frames of one camera.

    ``in_image`` (H, W) is True where the earlier image has pixels; None: everywhere. Points outside it pass.
    """
    K = torch.from_numpy(camera.K)[None].to(depth)
    T = torch.from_numpy(motion.T_previous_current)[None].to(depth)
    pixels, predicted = project(backproject(depth, K), K, T)
    seen = warp.sample_pixels(earlier, pixels)
    height, width = depth.shape[-2:]
    x, y = pixels[..., 0], pixels[..., 1]
    covered = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    if in_image is not None:
        whole = warp.resize_nearest(in_image[None, None].to(depth), height, width)
        covered &= warp.sample_pixels(whole, pixels)[:, 0] > 1 - 1e-3  # all four neighbours
    return agrees(predicted, seen, covered[:, None] & (predicted > 0))


def off_edges(depth: torch.Tensor) -> torch.Tensor:
    """Return the (1, 1, h, w) bool mask of rule 3 for (1, 1, h, w) depth."""
    inverse = 1.0 / depth
    above = F.pad(inverse, (0, 0, 1, 1), mode="replicate")
    bend = (above[..., :-2, :] + above[..., 2:, :] - 2.0 * inverse).abs()
    return _even(depth, (1, 3)) & (_even(depth, (3, 1)) | (bend < PLANE_BEND * inverse))


def certain(depth: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """Return the (1, 1, h, w) bool mask of the rule that replaces rule 3, for (1, 1, h, w) depth and sigma."""
    return sigma < MOST_SIGMA * depth


def _even(depth: torch.Tensor, window: tuple[int, int]) -> torch.Tensor:
    """Return where depth within a window of (rows, columns) varies by less than `EDGE_RATIO`."""
    values, around = depth[0, 0].cpu().numpy(), np.ones(window, dtype=np.uint8)
    # torch's pooling of such a small map takes several times as long
    even = cv2.dilate(values, around) < np.float32(EDGE_RATIO) * cv2.erode(values, around)
    return torch.from_numpy(even)[None, None].to(depth.device)


def agrees(predicted: torch.Tensor, seen: torch.Tensor, covered: torch.Tensor) -> torch.Tensor:
    """Apply rule 4: compare the predicted depth of the current points in the previous camera with that frame's depth.

    Args:
        predicted: (1, 1, h, w) depth of the current frame's points in the previous camera.
        seen: (1, 1, h, w) depth of the previous frame at these points.
        covered: (1, 1, h, w) bool, where the previous image contains the point. Other pixels pass.
    """
    apart = (predicted - seen).abs() > AGREEMENT * torch.minimum(predicted, seen)
    return ~(apart & covered)
