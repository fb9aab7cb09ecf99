"""Depth maps from KITTI's laser points, the raw ground truth of the Eigen split (docs/reference.md 6). numpy only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from featdepth_ros.errors import EvaluationError


def calibration_entry(entries: Mapping[str, Sequence[float]], key: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return an entry of a KITTI calibration file as a matrix.

    Raises:
        EvaluationError: the entry is missing or has another number of values.
    """
    size = int(np.prod(shape))
    numbers = entries.get(key)
    if numbers is None or len(numbers) != size:
        what = "is missing" if numbers is None else f"has {len(numbers)} numbers"
        raise EvaluationError(f"calibration entry {key} {what}; expected {size} numbers")
    return np.array(numbers, dtype=np.float64).reshape(shape)


def kitti_velodyne_projection(
    cam_to_cam: Mapping[str, Sequence[float]], velo_to_cam: Mapping[str, Sequence[float]], camera: int = 2
) -> tuple[NDArray[np.float64], tuple[int, int]]:
    """Return the projection of laser points into a rectified KITTI raw image, and the image's size.

    Args:
        cam_to_cam: entries of ``calib_cam_to_cam.txt`` by name.
        velo_to_cam: entries of ``calib_velo_to_cam.txt`` by name.
        camera: 2 (left colour) or 3 (right colour).

    Returns:
        (3, 4) float64 P_rect_0<camera> R_rect_00 T_cam_velo, and (height, width) from S_rect_02.

    Raises:
        EvaluationError: an entry is missing or has another number of values.
    """
    T_camera_velo = np.eye(4)
    T_camera_velo[:3, :3] = calibration_entry(velo_to_cam, "R", (3, 3))
    T_camera_velo[:3, 3] = calibration_entry(velo_to_cam, "T", (3,))
    R_rectified = np.eye(4)
    R_rectified[:3, :3] = calibration_entry(cam_to_cam, "R_rect_00", (3, 3))
    P = calibration_entry(cam_to_cam, f"P_rect_0{camera}", (3, 4))
    width, height = calibration_entry(cam_to_cam, "S_rect_02", (2,)).astype(int)
    return P @ R_rectified @ T_camera_velo, (int(height), int(width))


def lidar_depth_map(
    points: ArrayLike, projection: ArrayLike, shape: tuple[int, int], laser_depth: bool = False
) -> NDArray[np.float32]:
    """Project laser points into an image and keep the nearest return of every pixel.

    This is the usual ground truth of the Eigen split. Points with x < 0, behind the laser, are dropped. Depth is z
    along the optical axis. The pixel is round(u) - 1, as in KITTI's 1-based development kit. The published maps use a
    pixel index that is not unique: row * (width - 1) + column - 1. If several points have the same index, the smallest
    depth is written to the pixel of the *first* one only. This is reproduced.

    Args:
        points: (N, 3) or (N, 4) laser points, metres, x forward, y left, z up (a fourth column is ignored).
        projection: (3, 4), see `kitti_velodyne_projection`.
        shape: (height, width) of the image.
        laser_depth: use the laser's forward coordinate x instead of z, as some published ground-truth files do.

    Returns:
        (H, W) float32 depth in metres; 0 in pixels without points.

    Raises:
        EvaluationError: an array has another shape.
    """
    cloud, P = np.asarray(points, dtype=np.float64), np.asarray(projection, dtype=np.float64)
    if cloud.ndim != 2 or cloud.shape[1] not in (3, 4) or P.shape != (3, 4):
        raise EvaluationError(f"points have shape {cloud.shape}, projection {P.shape}; expected (N, 3|4) and (3, 4)")
    height, width = shape
    cloud = cloud[cloud[:, 0] >= 0, :3]
    projected = cloud @ P[:, :3].T + P[:, 3]
    with np.errstate(divide="ignore", invalid="ignore"):
        u = np.round(projected[:, 0] / projected[:, 2]) - 1
        v = np.round(projected[:, 1] / projected[:, 2]) - 1
        inside = (u >= 0) & (v >= 0) & (u < width) & (v < height)
    column, row = u[inside].astype(np.intp), v[inside].astype(np.intp)
    depth = cloud[inside, 0] if laser_depth else projected[inside, 2]

    image = np.zeros((height, width), dtype=np.float32)
    image[row, column] = depth  # in file order: the last return of a pixel is kept unless it is replaced below
    index = row * (width - 1) + column - 1
    order = np.argsort(index, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(index[order]) > 0]) if index.size else np.zeros(0, dtype=np.intp)
    counts = np.diff(np.r_[starts, index.size])
    repeated = starts[counts > 1]
    if repeated.size:
        nearest = np.minimum.reduceat(depth[order], starts)[counts > 1]
        first = order[repeated]
        image[row[first], column[first]] = nearest
    return np.maximum(image, 0)
