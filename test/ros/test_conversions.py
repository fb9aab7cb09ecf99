from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fake_model import POINTS, SIZE, FakeEstimator
from ros_graph import cloud_arrays
from scipy.spatial.transform import Rotation

from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.inference.odometry import Odometry
from featdepth_ros.inference.types import Estimate
from featdepth_ros.ros.conversions import (
    CloudMaker,
    depth_image,
    masked_depth,
    odometry_message,
    sigma_image,
    tracks_image,
)

CAMERA = CameraModel(64, 48, 50.0, 55.0, 30.0, 25.0)


@pytest.fixture
def estimate() -> Estimate:
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    return FakeEstimator().step(pixels, CAMERA, 1_500_000_000)


def pixels(msg: object, kind: str) -> np.ndarray:
    return np.frombuffer(msg.data, kind).reshape(msg.height, msg.width)


def test_depth_image_marks_of_rep_117(estimate: Estimate) -> None:
    msg = depth_image(estimate, "32FC1", "camera")
    depth = pixels(msg, "<f4")
    assert (msg.encoding, msg.step, msg.is_bigendian) == ("32FC1", 4 * SIZE[1], 0)
    assert (msg.header.frame_id, msg.header.stamp.sec, msg.header.stamp.nanosec) == ("camera", 1, 500_000_000)
    assert np.isneginf(depth[estimate.depth < 0.1]).all()
    far = estimate.depth > 80.0
    assert far.any() and np.isposinf(depth[far]).all()
    assert np.isnan(depth[10, 5]) and np.isnan(depth[12, 0])
    good = np.isfinite(depth)
    np.testing.assert_array_equal(depth[good], estimate.depth[good])
    assert good.sum() == (estimate.valid & estimate.in_image).sum()


def test_millimetres(estimate: Estimate) -> None:
    msg = depth_image(estimate, "16UC1", "camera")
    depth, metres = pixels(msg, "<u2"), masked_depth(estimate)
    assert (msg.encoding, msg.step) == ("16UC1", 2 * SIZE[1])
    assert (depth[~np.isfinite(metres)] == 0).all()
    assert ((metres > 65.536) & np.isfinite(metres)).any()
    assert (depth[metres > 65.536] == 0).all()
    inside = np.isfinite(metres) & (metres < 65.5)
    assert np.abs(depth[inside] / 1000.0 - metres[inside]).max() <= 0.000501


def test_sigma_is_nan_where_depth_has_no_value(estimate: Estimate) -> None:
    sigma = pixels(sigma_image(estimate, "camera"), "<f4")
    np.testing.assert_array_equal(np.isfinite(sigma), np.isfinite(masked_depth(estimate)))
    assert sigma[8, 8] == np.float32(0.25)


def test_tracks_lie_where_their_points_are_coloured_by_depth(estimate: Estimate) -> None:
    grey = replace(estimate, image=np.full((*SIZE, 3), 100, np.uint8))
    msg = tracks_image(grey, "camera")
    assert (msg.encoding, msg.header.frame_id, msg.header.stamp.nanosec) == ("rgb8", "camera", 500_000_000)
    drawn = np.frombuffer(msg.data, np.uint8).reshape(*SIZE, 3).astype(int)
    assert (grey.image == 100).all(), "the estimate's own picture stays clean"
    changed = (drawn != 100).any(axis=-1)
    v, u = np.nonzero(changed)
    # The picture is half of the 64x48 that the points lie in; pixel centres are integers.
    centres = (POINTS.pixels + 0.5) / 2 - 0.5
    away = np.linalg.norm(np.stack([u, v], axis=1)[:, None] - centres[None], axis=2)
    assert away.min(axis=1).max() <= 3.0 and (away.min(axis=0) <= 2.0).all()
    near, far, unmeasured = (drawn[v, u][away.argmin(axis=1) == i].mean(axis=0) for i in range(3))
    assert near[0] > near[2] and far[2] > far[0], "red is near, blue is far"
    assert np.ptp(unmeasured) < 1 and unmeasured.mean() > 100
    still = tracks_image(replace(grey, window=None), "camera")
    assert bytes(still.data) == grey.image.tobytes()
    with pytest.raises(ValueError, match="no camera"):
        tracks_image(replace(grey, camera=None), "camera")


def test_cloud_is_organised_coloured_and_projects_back(estimate: Estimate) -> None:
    camera = estimate.camera
    assert camera is not None
    msg = CloudMaker()(estimate, camera, "camera")
    assert (msg.height, msg.width, msg.point_step, msg.row_step) == (*SIZE, 16, 16 * SIZE[1])
    assert not msg.is_dense and not msg.is_bigendian and len(msg.data) == msg.row_step * msg.height
    points, colours = cloud_arrays(msg)
    np.testing.assert_array_equal(colours, estimate.image)
    good = np.isfinite(masked_depth(estimate))
    np.testing.assert_array_equal(np.isfinite(points).all(axis=-1), good)
    np.testing.assert_array_equal(np.isnan(points).all(axis=-1), ~good)
    v, u = np.nonzero(good)
    x, y, z = points[good].T
    np.testing.assert_allclose(camera.fx * x / z + camera.cx, u, atol=1e-3)
    np.testing.assert_allclose(camera.fy * y / z + camera.cy, v, atol=1e-3)


def test_cloud_follows_a_change_of_camera(estimate: Estimate) -> None:
    make = CloudMaker()
    first = cloud_arrays(make(estimate, estimate.camera, "camera"))[0]
    shifted = CameraModel(SIZE[1], SIZE[0], 30.0, 30.0, 0.0, 0.0)
    second = cloud_arrays(make(estimate, shifted, "camera"))[0]
    assert not np.array_equal(first, second, equal_nan=True)
    np.testing.assert_allclose(second[8, 15, 0], 15 / 30.0 * second[8, 15, 2], rtol=1e-6)


def test_agrees_with_sensor_msgs_py(estimate: Estimate) -> None:
    point_cloud2 = pytest.importorskip("sensor_msgs_py.point_cloud2")
    msg = CloudMaker()(estimate, estimate.camera, "camera")
    read = point_cloud2.read_points(msg, field_names=("x", "y", "z")).reshape(SIZE)
    points, _ = cloud_arrays(msg)
    for index, name in enumerate("xyz"):
        np.testing.assert_array_equal(read[name], points[..., index])


def two_frames(T_base_camera: np.ndarray | None) -> object:
    fake, odometry = FakeEstimator(), Odometry(T_base_camera)
    image = np.zeros((48, 64, 3), np.uint8)
    odometry.update(fake.step(image, CAMERA, 0))
    return odometry.update(fake.step(image, CAMERA, 50_000_000))


MOUNTED = np.array([[0, 0, 1, 1.0], [-1, 0, 0, 0.0], [0, -1, 0, 0.5], [0, 0, 0, 1]])


def test_odometry_has_pose_in_odom_and_twist_in_the_child_frame() -> None:
    state = two_frames(MOUNTED)
    msg = odometry_message(state, "odom", "base_link")
    assert (msg.header.frame_id, msg.child_frame_id) == ("odom", "base_link")
    assert msg.header.stamp.nanosec == 50_000_000
    # Forward is +x (REP-103); turning left is +z. Numbers: 0.1 m and 0.01 rad in 0.05 s, seen 1 m behind the camera.
    assert msg.pose.pose.position.x == pytest.approx(0.1, abs=1e-3)
    assert msg.twist.twist.linear.x == pytest.approx(2.0, abs=0.02)
    assert msg.twist.twist.angular.z == pytest.approx(0.2, abs=1e-3)
    q = msg.pose.pose.orientation
    assert Rotation.from_quat([q.x, q.y, q.z, q.w]).as_rotvec() == pytest.approx([0, 0, 0.01], abs=1e-6)
    np.testing.assert_array_equal(np.reshape(msg.pose.covariance, (6, 6)), state.pose_covariance)
    np.testing.assert_array_equal(np.reshape(msg.twist.covariance, (6, 6)), state.twist_covariance)
    assert not np.array_equal(state.pose_covariance, state.twist_covariance)
