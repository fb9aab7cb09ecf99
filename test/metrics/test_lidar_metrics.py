"""Laser points as depth maps, against a plain loop over the published procedure."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from featdepth_ros.errors import EvaluationError
from featdepth_ros.metrics import kitti_velodyne_projection, lidar_depth_map

CAM_TO_CAM = {
    "S_rect_02": [60, 20],
    "R_rect_00": [1, 0, 0, 0, 1, 0, 0, 0, 1],
    "P_rect_02": [30, 0, 30, 4, 0, 30, 10, 0, 0, 0, 1, 0],
    "P_rect_03": [30, 0, 30, -12, 0, 30, 10, 0, 0, 0, 1, 0],
}
VELO_TO_CAM = {"R": [0, -1, 0, 0, 0, -1, 1, 0, 0], "T": [0, -0.1, -0.3]}


def by_the_book(points: np.ndarray, projection: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Point by point, with the reference's index that is not unique."""
    height, width = shape
    depth = np.zeros(shape)
    kept = []
    for x, y, z, _ in points:
        if x < 0:
            continue
        u, v, w = projection @ [x, y, z, 1]
        column, row = np.round(u / w) - 1, np.round(v / w) - 1
        if 0 <= column < width and 0 <= row < height:
            kept.append((int(row), int(column), w))
            depth[int(row), int(column)] = w
    index = [row * (width - 1) + column - 1 for row, column, _ in kept]
    for value, count in Counter(index).items():
        if count > 1:
            same = [kept[i] for i in range(len(kept)) if index[i] == value]
            depth[same[0][0], same[0][1]] = min(w for _, _, w in same)
    return np.maximum(depth, 0)


@pytest.fixture
def points() -> np.ndarray:
    rng = np.random.default_rng(5)
    cloud = rng.uniform([-3, -12, -4, 0], [40, 12, 3, 1], (6000, 4))
    return cloud.astype(np.float32)


def test_a_point_goes_through_the_mounting_then_the_rectification():
    """A rectification that turns the camera by a quarter about its axis: right becomes down."""
    turned = {**CAM_TO_CAM, "R_rect_00": [0, -1, 0, 1, 0, 0, 0, 0, 1]}
    projection, _ = kitti_velodyne_projection(turned, VELO_TO_CAM)
    forward, left, up = 10.3, -2.0, 0.9  # 2 right, 1 up and 10 ahead, seen from the camera 0.1 below and 0.3 ahead
    u, v, w = projection @ [forward, left, up, 1]
    assert w == pytest.approx(10.0)
    assert (u / w, v / w) == pytest.approx(((30 * 1 + 30 * 10 + 4) / 10, (30 * 2 + 10 * 10) / 10))
    right, _ = kitti_velodyne_projection(turned, VELO_TO_CAM, camera=3)
    assert (right - projection)[0, 3] == pytest.approx(-16)


def test_map_equals_the_published_procedure(points):
    projection, shape = kitti_velodyne_projection(CAM_TO_CAM, VELO_TO_CAM)
    assert shape == (20, 60)
    expected = by_the_book(points, projection, shape)
    found = lidar_depth_map(points, projection, shape)
    assert (expected > 0).sum() > 500
    assert np.allclose(found, expected, rtol=1e-5)


def test_the_shared_index_of_two_border_pixels_is_reproduced():
    # (row 3, last column) and (row 4, column 0) share an index: only the first pixel gets the nearer depth.
    projection = np.array([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]])
    far, near = 8.0, 2.0
    points = [[10 * far, 4 * far, far, 0], [1 * near, 5 * near, near, 0]]
    depth = lidar_depth_map(points, projection, (6, 10))
    assert depth[3, 9] == near and depth[4, 0] == near


def test_the_nearest_of_several_points_stays():
    projection = np.array([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]])
    points = [[4 * d, 3 * d, d, 0] for d in (9.0, 2.0, 5.0)]
    depth = lidar_depth_map(points, projection, (6, 10))
    assert depth[2, 3] == 2.0 and (depth > 0).sum() == 1


def test_a_point_straight_ahead_has_its_depth_in_front_of_the_camera():
    projection, shape = kitti_velodyne_projection(CAM_TO_CAM, VELO_TO_CAM)
    depth = lidar_depth_map([[10.3, 0.0, 0.0, 0.5]], projection, shape)
    assert depth.max() == pytest.approx(10.0)
    assert lidar_depth_map([[10.3, 0.0, 0.0, 0.5]], projection, shape, True).max() == pytest.approx(10.3)


def test_right_camera_and_no_points():
    left, shape = kitti_velodyne_projection(CAM_TO_CAM, VELO_TO_CAM, 2)
    right, _ = kitti_velodyne_projection(CAM_TO_CAM, VELO_TO_CAM, 3)
    assert left[0, 3] - right[0, 3] == pytest.approx(16)
    assert not lidar_depth_map(np.zeros((0, 4)), left, shape).any()


def test_missing_entries_are_named():
    with pytest.raises(EvaluationError, match="R_rect_00 is missing"):
        kitti_velodyne_projection({"P_rect_02": [1, 2, 3]}, VELO_TO_CAM)
    with pytest.raises(EvaluationError, match="T has 2 numbers"):
        kitti_velodyne_projection(CAM_TO_CAM, {"R": [1, 0, 0, 0, 1, 0, 0, 0, 1], "T": [1, 2]})
