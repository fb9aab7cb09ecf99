"""The camera's height over the ground plane, in the unit of a depth map.

There are two functions. `ground_height` uses RANSAC. It needs no initial plane, so it is robust to a pitched camera and
to objects on the road. `ground_heights` is a batched, differentiable, robust least-squares fit. It starts at a level
plane, so the camera must be mounted about level; at 5 degrees of upward pitch it fails.

The source is Xue et al., Toward Hierarchical Self-Supervised Monocular Absolute Depth Estimation for Autonomous Driving
Applications (IROS 2020).
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from featdepth_ros.geometry.cameras import CameraModel

#: Left and right limit of the image region that is taken as road, as shares of the width.
ROAD_LEFT, ROAD_RIGHT = 0.25, 0.75
#: Upper limit of that region, as a share of the height: for RANSAC, and for the fit.
SEARCH_TOP, FIT_TOP = 0.65, 0.6
#: Steps of the rows and columns that RANSAC uses.
SEARCH_STEPS = (3, 5)
#: Number of RANSAC samples, and the least number of points.
SEARCH_ROUNDS, FEWEST_POINTS = 48, 50
#: Largest relative distance of an inlier from the plane.
SEARCH_TOLERANCE = 0.06
#: Relative distances from the plane above which points lose weight, for successive fits; they exclude objects.
FIT_TOLERANCES = (0.3, 0.15, 0.07, 0.05)
#: Least share of points near the ground plane, and its largest tilts.
NEAR_SHARE = 0.5
SEARCH_MOST_TILT_RAD, FIT_MOST_TILT_RAD = math.radians(25.0), math.radians(12.0)


def ground_height(depth: NDArray[np.float32], camera: CameraModel) -> float | None:
    """Return the height of the camera over the ground plane, in units of ``depth``.

    A plane is fitted to the points in the lower middle of the image by RANSAC (Fischler and Bolles 1981; fixed seed).
    Then it is refined by least squares on the inliers.

    Args:
        depth: (h, w) float32 z-depth.
        camera: pinhole camera of the map.

    Returns:
        The height; None without a plausible ground plane with most of the points.
    """
    height, width = depth.shape
    top, left, right = int(SEARCH_TOP * height), int(ROAD_LEFT * width), int(ROAD_RIGHT * width)
    v, u = np.mgrid[top : height : SEARCH_STEPS[0], left : right : SEARCH_STEPS[1]]
    z = depth[v, u].astype(np.float64).ravel()
    points = np.stack([(u.ravel() - camera.cx) / camera.fx * z, (v.ravel() - camera.cy) / camera.fy * z, z], axis=1)
    points = points[np.isfinite(z) & (z > 0)]
    if len(points) < FEWEST_POINTS:
        return None
    random = np.random.default_rng(0)
    best: NDArray[np.bool_] | None = None
    for _ in range(SEARCH_ROUNDS):
        a, b, c = points[random.choice(len(points), 3, replace=False)]
        normal = np.cross(b - a, c - a)
        length = float(np.linalg.norm(normal))
        if length < 1e-9:
            continue
        normal /= length
        if abs(normal[1]) < math.cos(SEARCH_MOST_TILT_RAD):
            continue
        distance = abs(float(normal @ a))
        near = np.abs(points @ normal - normal @ a) < SEARCH_TOLERANCE * max(distance, 1e-6)
        if best is None or near.sum() > best.sum():
            best = near
    if best is None or best.sum() < NEAR_SHARE * len(points):
        return None
    inliers = points[best]
    centre = inliers.mean(axis=0)
    normal = np.linalg.svd(inliers - centre, full_matrices=False)[2][2]
    if abs(normal[1]) < math.cos(SEARCH_MOST_TILT_RAD):
        return None
    height_units = float(normal @ centre) * math.copysign(1.0, normal[1])
    return height_units if height_units > 0 else None


def ground_heights(depth: Tensor, camera: Tensor) -> tuple[Tensor, Tensor]:
    """Return the camera's height over a plane that is fitted to the road's depth.

    Args:
        depth: (B, 1, H, W) float32 z-depth, any unit; the fit is differentiable.
        camera: (B, 4) fx, fy, cx, cy, pixels of H x W.

    Returns:
        (B,) heights in the unit of ``depth``, and (B,) bool, whether each fit is reliable.
    """
    height, width = depth.shape[-2:]
    top, left, right = int(FIT_TOP * height), int(ROAD_LEFT * width), int(ROAD_RIGHT * width)
    fx, fy, cx, cy = (value[:, None, None] for value in camera.unbind(1))
    z = depth[:, 0, top:, left:right]
    x = (torch.arange(left, right, device=depth.device) - cx) / fx * z
    y = (torch.arange(top, height, device=depth.device)[:, None] - cy) / fy * z
    points = torch.stack((x, y, z), -1).flatten(1, 2)
    unit = points[..., 2:].detach().mean(1, keepdim=True)  # normalises values to about one for any unit of depth
    points = points / unit
    weight = (1 / points[..., 2].detach()).square()  # errors of depth grow with depth
    # The initial plane is level, at the median height of the points.
    normal = torch.zeros_like(points[:, 0])
    normal[:, 1] = 1 / points[..., 1].detach().median(1).values.clamp_min(1e-3)
    for tolerance in FIT_TOLERANCES:
        distance = (points.detach() @ normal.detach()[..., None])[..., 0] - 1
        w = (weight / (1 + (distance / tolerance).square()) ** 2)[..., None]
        A = points.mT @ (w * points)
        b = (w * points).sum(1)
        small = 1e-6 * A.diagonal(dim1=1, dim2=2).detach().mean(1)[:, None, None]
        normal = torch.linalg.solve(A + small * torch.eye(3, device=depth.device), b)
    with torch.no_grad():
        distance = (points @ normal[..., None])[..., 0] - 1
        near = (distance.abs() < 2 * FIT_TOLERANCES[-1]).float().mean(1) > NEAR_SHARE
        level = normal[:, 1] > math.cos(FIT_MOST_TILT_RAD) * normal.norm(dim=1)
    return unit[:, 0, 0] / normal.norm(dim=1).clamp_min(1e-6), near & level
