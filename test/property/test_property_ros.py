"""What other nodes may send on /tf, ~/set_pose and as points: the tree stays a tree, poses stay poses."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from damage import has_words
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from featdepth_ros.messages.cloud_filter import CloudFilter

NAMES = st.sampled_from(["", "a", "b", "c", "base_link", "odom", "map", "camera"])
ANY = st.floats(width=64)
needs_ros = pytest.mark.skipif(importlib.util.find_spec("rclpy") is None, reason="rclpy is not installed")


@needs_ros
@pytest.mark.ros
@given(
    edges=st.lists(
        st.tuples(NAMES, NAMES, st.booleans(), st.integers(0, 10**10), st.lists(ANY, min_size=7, max_size=7))
    ),
    stamp=st.integers(0, 10**10),
)
def test_transforms_of_any_content(edges: list[tuple[str, str, bool, int, list[float]]], stamp: int) -> None:
    from geometry_msgs.msg import TransformStamped

    from featdepth_ros.ros.frames.tree import Edge, FrameTree
    from featdepth_ros.ros.transforms import matrix_from_transform

    tree = FrameTree()
    for child, parent, static, when, (x, y, z, a, b, c, d) in edges:
        msg = TransformStamped()
        msg.transform.translation.x, msg.transform.translation.y, msg.transform.translation.z = x, y, z
        q = msg.transform.rotation
        q.x, q.y, q.z, q.w = a, b, c, d
        try:
            T = matrix_from_transform(msg)
        except ValueError as error:
            has_words(error)
            continue
        np.testing.assert_allclose(T[:3, :3] @ T[:3, :3].T, np.eye(3), atol=1e-6)
        tree.set(child, Edge(parent, T, static, when))
    found = tree.extrinsics("camera", "base_link", "odom", stamp)
    if found is not None and found.T_base_camera is not None:
        assert found.missing or np.isfinite(found.T_base_camera).all()
        assert found.base not in ("odom", "map")
    attachment = tree.attachment("base_link", "odom")
    assert attachment.root not in ("odom", "map") and np.isfinite(attachment.T_root_base).all()


@needs_ros
@pytest.mark.ros
@given(pose=st.lists(ANY, min_size=7, max_size=7), covariance=st.lists(ANY, min_size=36, max_size=36), frame=NAMES)
def test_given_poses_of_any_content(pose: list[float], covariance: list[float], frame: str) -> None:
    from geometry_msgs.msg import PoseWithCovarianceStamped

    from featdepth_ros.ros.frames.pose_message import given_pose

    msg = PoseWithCovarianceStamped()
    msg.header.frame_id = frame
    p, q = msg.pose.pose.position, msg.pose.pose.orientation
    p.x, p.y, p.z, q.x, q.y, q.z, q.w = pose
    msg.pose.covariance = covariance
    try:
        taken = given_pose(msg, "odom")
    except ValueError as error:
        has_words(error)
        return
    assert np.isfinite(taken.T_odom_base).all() and np.isfinite(taken.covariance).all()
    assert (np.diag(taken.covariance) > 0).all()


@given(
    points=arrays.arrays(np.float32, st.tuples(st.integers(0, 30), st.just(4)), elements=st.floats(width=32)),
    band=st.tuples(st.floats(-5, 5), st.floats(-5, 5)),
    reach=st.sampled_from([0.0, 3.0]),
    voxel=st.sampled_from([0.0, 0.05, 1.0]),
)
def test_filtered_points_lie_in_the_band(
    points: np.ndarray, band: tuple[float, float], reach: float, voxel: float
) -> None:
    low, high = band
    stay = CloudFilter(low, high, reach, voxel).kept(points, np.eye(4))
    kept = points[stay][:, :3]
    assert stay.shape == (len(points),) and np.isfinite(kept).all()
    assert ((kept[:, 2] >= np.float32(low)) & (kept[:, 2] <= np.float32(high))).all()
    if reach:
        assert (np.linalg.norm(kept.astype(np.float64), axis=1) <= reach * 1.0001).all()
    if voxel and len(kept):
        cells = np.floor(kept.astype(np.float64) / np.float32(voxel))
        assert len(kept) <= len({tuple(cell) for cell in cells}) + (np.abs(kept) > 1e4).any() * len(kept)
