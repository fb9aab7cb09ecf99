"""Pose files of KITTI, TUM and EuRoC: read as written, stamps to the nanosecond, mistakes named by their line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from featdepth_ros.errors import RecordingError
from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.recordings.datasets.pose_files import euroc_text, kitti_text, read_pose_file, read_times, tum_text

STAMPS = [1_305_031_102_175_304_001, 1_305_031_102_211_214_999, 1_305_031_103_000_000_000]


@pytest.fixture
def poses() -> list[np.ndarray]:
    rng = np.random.default_rng(2)
    return [se3.exp(rng.normal(0, 0.5, 6)) for _ in STAMPS]


@pytest.mark.parametrize("kind", ["kitti", "tum", "euroc"])
def test_what_is_written_is_read_again(tmp_path: Path, poses: list[np.ndarray], kind: str) -> None:
    text = {"kitti": kitti_text(poses), "tum": tum_text(STAMPS, poses, "poses"), "euroc": euroc_text(STAMPS, poses)}
    path = tmp_path / "poses.txt"
    path.write_text(text[kind])
    for expected in (None, kind):
        table = read_pose_file(path, expected)  # type: ignore[arg-type]
        assert table.stamped == (kind != "kitti")
        assert table.keys.tolist() == ([0, 1, 2] if kind == "kitti" else STAMPS)
        np.testing.assert_allclose(table.poses, poses, atol=2e-8)


def test_stamps_are_the_nearest_nanosecond(tmp_path: Path) -> None:
    tum = tmp_path / "tum.txt"
    texts = ("0.29999999999999999", "1305031102.1753040004", "1305031102.1753040006", "1.5e9", "-0.0000000006")
    tum.write_text("".join(f"{text} 0 0 0 0 0 0 1\n" for text in texts))
    expected = [300_000_000, 1_305_031_102_175_304_000, 1_305_031_102_175_304_001, 1_500_000_000_000_000_000, -1]
    assert read_pose_file(tum).keys.tolist() == expected
    times = tmp_path / "times.txt"
    times.write_text("0.29999999999999999\n1.036620e-01\n")
    assert read_times(times).tolist() == [300_000_000, 103_662_000]
    euroc = tmp_path / "euroc.csv"
    euroc.write_text("timestamp,x,y,z,qw,qx,qy,qz\n1403636579758555392,0,0,0,1,0,0,0\n")
    assert read_pose_file(euroc).keys.tolist() == [1_403_636_579_758_555_392]


def test_kitti_lines_may_carry_frame_numbers(tmp_path: Path, poses: list[np.ndarray]) -> None:
    lines = kitti_text(poses).splitlines()
    path = tmp_path / "poses.txt"
    path.write_text(f"4 {lines[1]}\n# a comment\n\n2 {lines[0]}\n")
    table = read_pose_file(path)
    assert table.keys.tolist() == [4, 2]
    keys, ascending = table.ascending()
    assert keys == [2, 4]
    np.testing.assert_allclose(ascending, poses[:2], atol=1e-11)


def test_columns_behind_the_pose_are_left_out_and_the_order_of_quaternions_is_each_formats_own(tmp_path: Path) -> None:
    tum, euroc = tmp_path / "a.txt", tmp_path / "b.csv"
    tum.write_text("\ufeff1.0 1 2 3 0.6 0 0 0.8\n", encoding="utf-8")  # an editor's byte order mark
    euroc.write_text("# t\n1000000000, 1, 2, 3, 0.8, 0.6, 0, 0, 9, 9, 9\n")
    a, b = read_pose_file(tum), read_pose_file(euroc)
    assert a.keys.tolist() == b.keys.tolist() == [1_000_000_000]
    np.testing.assert_array_equal(a.poses, b.poses)
    np.testing.assert_allclose(a.poses[0], se3.from_quaternion((1, 2, 3), (0.6, 0, 0, 0.8)))


@pytest.mark.parametrize(
    ("text", "expected", "words"),
    [
        ("# nothing\n", None, "holds no pose"),
        ("1 2 3\n", None, "has 3 numbers a line; expected KITTI"),
        ("1 0 0 0 0 0 0 1\n", "kitti", "has 8 numbers a line; expected KITTI"),
        ("1 0 0 0 0 0 0\n", "tum", "has 7 numbers a line; expected TUM"),
        ("1 0 0 0 0 0 0 1\n\n1 0 0\n", "tum", "line 3 has 3 numbers, line 1 has 8"),
        ("1 0 0 0 0 0 0 1\n2 0 zero 0 0 0 0 1\n", None, "line 2: 'zero' is no number"),
        ("1 0 0 0 0 0 0 1\n2 0 inf 0 0 0 0 1\n", None, "the pose in line 2 holds NaN or infinity"),
        ("1e30 0 0 0 0 0 0 1\n", None, "line 1: '1e30' is not a stamp"),
        ("1E03636579813555584 0 0 0 0 0 0 1\n", None, "is not a stamp"),
        ("nan 0 0 0 0 0 0 1\n", None, "line 1: 'nan' is not a stamp"),
        ("1 0 0 0 0 0 0 2\n", None, "quaternion in line 1 is far from unit length, its norm is 2"),
        ("0.5 1 0 0 0 0 1 0 0 0 0 1 0\n", None, "whole frame number"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, expected: str | None, words: str) -> None:
    path = tmp_path / "poses.txt"
    path.write_text(text)
    with pytest.raises(RecordingError, match=words):
        read_pose_file(path, expected)  # type: ignore[arg-type]
