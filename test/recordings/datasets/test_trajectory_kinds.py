"""Trajectories as the tools of the field write them: told by their content, read to the same poses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featdepth_ros.errors import RecordingError
from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.recordings import read_trajectory
from featdepth_ros.recordings.bags.messages import Messages
from featdepth_ros.recordings.bags.writer import BagWriter
from featdepth_ros.recordings.datasets.pose_files import read_pose_file

STAMPS = [1_403_636_579_763_555_500 + 50_000_000 * index for index in range(20)]
POSES = [se3.exp(np.array([0.3 * i, 0.01 * i, -0.02 * i, 0.02 * i, 0.01 * i, 0.06 * i])) for i in range(20)]


def _seconds(stamp: int) -> str:
    return f"{stamp // 10**9}.{stamp % 10**9:09d}"


def _write(path: Path, heading: str, stamps: list[str], order: str, separator: str, behind: tuple[object, ...]) -> Path:
    lines = [heading] if heading else []
    for stamp, pose in zip(stamps, POSES, strict=True):
        position, quaternion = se3.to_quaternion(pose)
        parts = dict(zip("xyzw", quaternion, strict=True))
        numbers = [*position, *(parts[letter] for letter in order)]
        lines.append(separator.join([stamp, *(f"{float(value):.9f}" for value in numbers), *map(str, behind)]))
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize(
    ("heading", "stamps", "order", "separator", "behind"),
    [
        ("", [_seconds(s) for s in STAMPS], "xyzw", " ", ()),  # TUM
        ("#timestamp x y z qx qy qz qw id", [_seconds(s) for s in STAMPS], "xyzw", " ", (7,)),  # RTAB-Map
        ("# timestamp(s) tx ty tz qx qy qz qw Pr11 Pr12", [_seconds(s) for s in STAMPS], "xyzw", " ", (0.1,) * 12),
        ("", [f"{s}.000000" for s in STAMPS], "xyzw", " ", ()),  # ORB-SLAM3's "EuRoC"
        ("#timestamp,p_x,p_y,p_z,q_w,q_x,q_y,q_z", [str(s) for s in STAMPS], "wxyz", ",", ()),  # EuRoC
        ("", [str(s) for s in STAMPS], "wxyz", ",", (0, 0, 0, 1)),  # VINS: 12 columns
        ("", [str(s) for s in STAMPS], "wxyz", ", ", (0,) * 5),  # 13 columns
        ("timestamp,tx,ty,tz,qx,qy,qz,qw", [_seconds(s) for s in STAMPS], "xyzw", ",", ()),
        ("t;x;y;z;qx;qy;qz;qw", [_seconds(s) for s in STAMPS], "xyzw", ";", ()),
        ("timestamp x y z q_RS_w q_RS_x q_RS_y q_RS_z", [str(s) for s in STAMPS], "wxyz", "\t", ()),
    ],
)  # fmt: skip
def test_stamped_poses_of_every_tool(
    tmp_path: Path, heading: str, stamps: list[str], order: str, separator: str, behind: tuple[object, ...]
) -> None:
    table = read_pose_file(_write(tmp_path / "trajectory.txt", heading, stamps, order, separator, behind))
    assert table.stamped and table.keys.tolist() == STAMPS
    np.testing.assert_allclose(table.poses, POSES, atol=1e-8)


@pytest.mark.parametrize(("divisor", "digits"), [(10**6, 13), (10**3, 16)])
def test_the_unit_follows_from_the_size(tmp_path: Path, divisor: int, digits: int) -> None:
    stamps = [str(stamp // divisor) for stamp in STAMPS]
    assert {len(text) for text in stamps} == {digits}
    table = read_pose_file(_write(tmp_path / "a.txt", "", stamps, "xyzw", " ", ()))
    assert table.keys.tolist() == [stamp // divisor * divisor for stamp in STAMPS]


@pytest.mark.parametrize("numbered", [False, True])
def test_kittis_matrices_stay_kittis_whatever_parts_them(tmp_path: Path, numbered: bool) -> None:
    rows = [[*([float(i)] if numbered else []), *pose[:3].ravel()] for i, pose in enumerate(POSES)]
    for separator in (" ", ","):
        (tmp_path / "poses.txt").write_text("".join(separator.join(map(str, row)) + "\n" for row in rows))
        table = read_pose_file(tmp_path / "poses.txt")
        assert not table.stamped and table.keys.tolist() == list(range(20))
        np.testing.assert_allclose(table.poses, POSES, atol=1e-12)


def _bag(path: Path, messages: list[tuple[str, int, Any]]) -> Path:
    with BagWriter(path) as bag:
        for topic, stamp, message in messages:
            if topic not in bag.counts:
                bag.add_topic(topic, message.__msgtype__)
            bag.write_message(topic, stamp, message)
    return path


def test_the_last_path_holds_the_whole_path(tmp_path: Path) -> None:
    make = Messages()
    stamped = [
        make.geometry_msgs__PoseStamped(header=make.header(stamp, "map"), pose=make.pose(pose))
        for stamp, pose in zip(STAMPS, POSES, strict=True)
    ]
    paths = [
        ("/path", stamp, make.nav_msgs__Path(header=make.header(stamp, "map"), poses=stamped[: index + 1]))
        for index, stamp in enumerate(STAMPS)
    ]
    stamps, poses = zip(*read_trajectory(_bag(tmp_path / "bag", paths)), strict=True)
    assert list(stamps) == STAMPS
    np.testing.assert_allclose(poses, POSES, atol=1e-12)


def _tf(parent: str, child: str, stamp: int, pose: np.ndarray) -> Any:
    make = Messages()
    return make.tf2_msgs__TFMessage(transforms=[make.tf(make.header(stamp, parent), child, pose)])


def test_frames_that_are_linked_over_others_are_chained(tmp_path: Path) -> None:
    """Map -> odom comes seldom and moves, odom -> base_link often; the camera stands on the base."""
    mount = se3.exp(np.array([0.1, 0.2, 0.3, 0.4, 0.0, 0.0]))
    drift = [se3.make(np.eye(3), (0.5 + 0.1 * index, 0.0, 0.0)) for index in range(20)]
    messages = [("/tf_static", STAMPS[0], _tf("base_link", "camera", STAMPS[0], mount))]
    for index, stamp in enumerate(STAMPS):
        messages.append(("/tf", stamp, _tf("odom", "/base_link", stamp, POSES[index])))
        if index % 19 == 0:
            messages.append(("/tf", stamp, _tf("map", "odom", stamp, drift[index])))
    bag = _bag(tmp_path / "bag", messages)
    stamps, poses = zip(*read_trajectory(bag, "/tf:map:base_link"), strict=True)
    assert list(stamps) == STAMPS
    np.testing.assert_allclose(poses, [a @ b for a, b in zip(drift, POSES, strict=True)], atol=1e-9)
    _, poses = zip(*read_trajectory(bag, "/tf:map:camera"), strict=True)
    np.testing.assert_allclose(poses, [a @ b @ mount for a, b in zip(drift, POSES, strict=True)], atol=1e-9)
    _, poses = zip(*read_trajectory(bag, "/tf:base_link:map"), strict=True)
    np.testing.assert_allclose(poses[3], se3.inverse(drift[3] @ POSES[3]), atol=1e-9)
    with pytest.raises(RecordingError, match="no transform from map to moon; it holds: /tf:odom:base_link"):
        read_trajectory(bag, "/tf:map:moon")


def test_a_corrected_mounting_under_the_same_stamp_is_the_one_that_holds(tmp_path: Path) -> None:
    """Static publishers often stamp with 0: the second message corrects the first."""
    wrong, right = (se3.make(np.eye(3), (x, 0.0, 0.0)) for x in (1.0, 2.0))
    messages = [("/tf_static", STAMPS[0] + i, _tf("base", "camera", 0, pose)) for i, pose in enumerate((wrong, right))]
    messages += [("/tf", stamp, _tf("odom", "base", stamp, pose)) for stamp, pose in zip(STAMPS, POSES, strict=True)]
    bag = _bag(tmp_path / "bag", messages)
    _, poses = zip(*read_trajectory(bag, "/tf:odom:camera"), strict=True)
    np.testing.assert_allclose(poses, [pose @ right for pose in POSES], atol=1e-9)
    np.testing.assert_allclose(read_trajectory(bag, "/tf_static:base:camera")[0][1], right, atol=1e-12)


def test_a_path_whose_poses_have_no_stamps_is_refused(tmp_path: Path) -> None:
    make = Messages()
    poses = [make.geometry_msgs__PoseStamped(header=make.header(0, "map"), pose=make.pose(pose)) for pose in POSES]
    path = make.nav_msgs__Path(header=make.header(STAMPS[0], "map"), poses=poses)
    with pytest.raises(RecordingError, match=r"the 20 poses of /path .* all have the stamp 0 s"):
        read_trajectory(_bag(tmp_path / "bag", [("/path", STAMPS[0], path)]))


def test_matrices_with_their_last_row_are_kittis(tmp_path: Path) -> None:
    """Replica's 16 numbers; at a start in the origin lines 4 to 7 look like a quaternion."""
    for poses in (POSES, [np.eye(4)] * 3):
        (tmp_path / "traj.txt").write_text("".join(" ".join(map(str, pose.ravel())) + "\n" for pose in poses))
        table = read_pose_file(tmp_path / "traj.txt")
        assert not table.stamped and table.keys.tolist() == list(range(len(poses)))
        np.testing.assert_allclose(table.poses, poses, atol=1e-12)
