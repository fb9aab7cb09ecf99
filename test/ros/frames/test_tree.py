from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.ros.frames.mounting import AxesDoubt, mounting
from featdepth_ros.ros.frames.tree import Edge, FrameTree

SECOND = 1_000_000_000


def pose(x: float, degrees: float = 0.0) -> np.ndarray:
    T = np.eye(4)
    T[:3, :3] = Rotation.from_euler("z", degrees, True).as_matrix()
    T[0, 3] = x
    return T


def tree(*edges: tuple[str, str, np.ndarray, bool]) -> FrameTree:
    made = FrameTree()
    for child, parent, T, static in edges:
        made.set(child, Edge(parent, T, static))
    return made


def test_extrinsics_chain_transforms_in_order() -> None:
    frames = tree(("optical", "mount", pose(0.1, 90.0), True), ("mount", "base_link", pose(1.0, 90.0), True))
    found = frames.extrinsics("optical", "base_link", "odom")
    assert found is not None and found.base == "base_link" and found.moving == ()
    np.testing.assert_allclose(found.T_base_camera, pose(1.0, 90.0) @ pose(0.1, 90.0), atol=1e-12)


def test_a_corrected_transform_takes_the_place_of_the_earlier_one() -> None:
    frames = tree(("optical", "base_link", pose(0.1), True), ("optical", "base_link", pose(0.3), True))
    found = frames.extrinsics("optical", "base_link", "odom")
    assert found is not None
    np.testing.assert_allclose(found.T_base_camera, pose(0.3))
    frames.set("optical", Edge("mount", pose(0.2), True))  # and so does one to another parent
    other = frames.extrinsics("optical", "base_link", "odom")
    assert other is not None and other.base == "mount"


def test_without_base_the_root_of_the_cameras_fixed_tree_stands_in() -> None:
    found = tree(("optical", "camera_link", pose(0.1), True)).extrinsics("optical", "base_link", "odom")
    assert found is not None and found.base == "camera_link"
    np.testing.assert_allclose(found.T_base_camera, pose(0.1))
    # somebody's odometry of another name moves the camera: it is no part of the robot
    frames = tree(("optical", "camera_link", pose(0.1), True), ("camera_link", "t265_pose", pose(3.0), False))
    found = frames.extrinsics("optical", "base_link", "odom")
    assert found is not None and (found.base, found.moving) == ("camera_link", ())


def test_camera_without_parent_has_no_extrinsics() -> None:
    assert tree(("other", "base_link", pose(0.1), True)).extrinsics("optical", "base_link", "odom") is None
    itself = tree().extrinsics("base_link", "base_link", "odom")
    assert itself is not None and itself.T_base_camera is None


@pytest.mark.parametrize("world", ["odom", "map", "robot1/odom", "world"])
def test_world_frames_and_loops_end_the_way_up(world: str) -> None:
    frames = tree(("optical", "camera_link", pose(0.1), True), ("camera_link", world, pose(3.0), False))
    found = frames.extrinsics("optical", "base_link", "odom")
    assert found is not None and found.base == "camera_link"
    loop = tree(("a", "b", pose(1.0), True), ("b", "a", pose(1.0), True)).extrinsics("a", "base_link", "odom")
    assert loop is not None and loop.base == "b"


def pan(frames: FrameTree, stamp: int, degrees: float) -> None:
    frames.set("tilt", Edge("base_link", pose(1.0, degrees), False, stamp))


def test_a_joint_is_taken_at_the_images_stamp() -> None:
    frames = tree(("optical", "tilt", pose(0.1), True))
    for step in range(11):
        pan(frames, step * SECOND // 10, step * 10.0)
    found = frames.extrinsics("optical", "base_link", "odom", int(0.25 * SECOND))
    assert found is not None and (found.moving, found.missing) == (("tilt",), "")
    np.testing.assert_allclose(found.T_base_camera, pose(1.0, 25.0) @ pose(0.1), atol=1e-9)


def test_a_joint_whose_state_at_the_stamp_is_unknown_is_refused_in_words() -> None:
    frames = tree(("optical", "tilt", pose(0.1), True))
    pan(frames, 0, 0.0)
    pan(frames, SECOND, 10.0)
    late = frames.extrinsics("optical", "base_link", "odom", int(1.5 * SECOND))
    assert late is not None and "base_link -> tilt moves" in late.missing and "0.500 s older" in late.missing
    early = frames.extrinsics("optical", "base_link", "odom", -1)
    assert early is not None and "oldest kept one is later" in early.missing


def test_a_joint_at_rest_holds() -> None:
    frames = tree(("optical", "tilt", pose(0.1), True))
    pan(frames, 0, 10.0)
    pan(frames, SECOND, 10.0)
    found = frames.extrinsics("optical", "base_link", "odom", int(1.5 * SECOND))
    assert found is not None and found.missing == ""
    np.testing.assert_allclose(found.T_base_camera, pose(1.0, 10.0) @ pose(0.1), atol=1e-9)


def test_a_recording_that_starts_again_leaves_no_joint_of_its_end() -> None:
    frames = tree(("pan", "base_link", pose(0.0), True))
    for seconds, degrees in ((9.0, 80.0), (7.5, 10.0), (7.7, 30.0)):
        frames.set("optical", Edge("pan", pose(0.0, degrees), False, round(seconds * SECOND)))
    for seconds, degrees in ((7.6, 20.0), (8.5, None)):
        found = frames.extrinsics("optical", "base_link", "odom", round(seconds * SECOND))
        assert found is not None and found.T_base_camera is not None
        if degrees is None:
            assert "not known" in found.missing
        else:
            np.testing.assert_allclose(found.T_base_camera, pose(0.0, degrees), atol=1e-9)


@pytest.mark.parametrize(("child", "parent"), [("optical", "optical"), ("optical", "")])
def test_a_transform_to_itself_or_without_a_name_hides_nothing(child: str, parent: str) -> None:
    frames = tree(("optical", "base_link", pose(1.0), True), (child, parent, pose(5.0), True))
    found = frames.extrinsics("optical", "base_link", "odom")
    assert found is not None and found.base == "base_link"
    np.testing.assert_allclose(found.T_base_camera, pose(1.0), atol=1e-12)


def test_the_root_of_the_robots_tree_is_found_above_the_base() -> None:
    frames = tree(("base_link", "base_footprint", pose(0.5), True), ("odom", "map", pose(9.0), False))
    found = frames.attachment("base_link", "odom")
    assert (found.root, found.rival) == ("base_footprint", "")
    np.testing.assert_allclose(found.T_root_base, pose(0.5))
    alone = tree().attachment("base_link", "odom")
    assert (alone.root, alone.rival) == ("base_link", "")


@pytest.mark.parametrize(
    ("child", "parent", "static"),
    [
        ("base_link", "odom", False),  # wheel odometry
        ("base_footprint", "odom", False),  # the same above the root
        ("base_link", "wheel_odometry", False),  # of a name of its own
        ("base_footprint", "map", True),  # a fixed world
        ("base_link", "odom", True),
    ],
)
def test_whoever_else_moves_the_base_is_a_rival(child: str, parent: str, static: bool) -> None:
    frames = tree(("base_link", "base_footprint", pose(0.5), True))
    frames.set(child, Edge(parent, pose(1.0), static))
    assert f"{parent} -> {child}" in frames.attachment("base_link", "odom").rival


def test_a_moving_rival_is_forgotten_when_it_falls_silent() -> None:
    now = [0.0]
    frames = FrameTree(clock=lambda: now[0])
    frames.set("base_link", Edge("odom", pose(1.0), False))
    assert frames.attachment("base_link", "odom").rival
    now[0] = 3.5
    assert not frames.attachment("base_link", "odom").rival


def test_a_fixed_rival_is_forgotten_when_it_is_not_said_again() -> None:
    frames = tree(("base_link", "map", pose(1.0), True), ("optical", "base_link", pose(0.1), True))
    frames.new_round()
    frames.set("tower", Edge("map", pose(2.0), True))
    frames.drop_unrepeated("odom")
    assert not frames.attachment("base_link", "odom").rival
    assert frames.attachment("tower", "odom").rival
    found = frames.extrinsics("optical", "base_link", "odom")
    assert found is not None and found.base == "base_link", "what is fixed to the robot stays, as in tf2"


def test_the_inverted_transform_has_rivals_of_its_own() -> None:
    frames = tree(("base_link", "odom", pose(1.0), True))
    assert not frames.other_parent("odom")
    frames.set("odom", Edge("map", pose(1.0), False))
    assert "map -> odom on /tf" in frames.other_parent("odom")


def test_a_camera_that_is_said_to_look_up_and_goes_where_it_looks_is_doubted() -> None:
    pitched = se3.make(se3.rotation_from_vector([0.0, 0.2, 0.0]), np.array([0.1, 0.0, 0.3]))
    ahead, across = se3.make(np.eye(3), np.array([0.0, 0.0, 0.3])), se3.make(np.eye(3), np.array([0.3, 0.0, 0.0]))
    doubt = AxesDoubt()
    assert [doubt.take(pitched, ahead) for _ in range(8)] == [False] * 6 + [True] * 2
    assert not doubt.take(se3.T_BODY_OPTICAL, ahead), "it was corrected"
    assert not any(doubt.take(se3.T_BODY_OPTICAL, ahead) for _ in range(20)), "an optical frame"
    assert not any(doubt.take(np.eye(4), across) for _ in range(20)), "a camera that watches the ceiling"
    assert not any(doubt.take(None, ahead) for _ in range(20)), "nothing is said of its place"


def test_two_cameras_with_one_frame_have_no_place_beside_each_other() -> None:
    tree = FrameTree()
    tree.set("optical", Edge("base_link", se3.T_BODY_OPTICAL, static=True))
    found = mounting(tree, "optical", "optical", ("odom", "base_link"), 0)
    assert found.T_reference_camera is None and "both cameras have the frame_id 'optical'" in found.missing
