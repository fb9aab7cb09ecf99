"""What the writers write, the readers and the documented layouts give back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from known_frames import CAMERA, START_NS, STEP_NS, frame, frames, pose

from featdepth_ros.errors import CalibrationError, RecordingError
from featdepth_ros.recordings import (
    Frame,
    open_recording,
    read_trajectory,
    write_euroc,
    write_kitti_odometry,
    write_ros2_bag,
)


@pytest.mark.parametrize("storage", ["sqlite3", "mcap"])
def test_bag_round_trip(tmp_path: Path, storage: str) -> None:
    assert write_ros2_bag(tmp_path / "bag", frames(), storage) == 6
    recording = open_recording(tmp_path / "bag")
    assert (recording.kind, len(recording), recording.camera) == ("bag", 6, CAMERA)
    assert recording.rate_hz == pytest.approx(1e9 / STEP_NS)
    for _ in range(2):  # can be iterated again
        read = list(recording)
        assert [f.stamp_ns for f in read] == [START_NS + i * STEP_NS for i in range(6)]
        assert [f.name for f in read] == [f"{i:06d}" for i in range(6)]
        assert all(np.array_equal(f.image, frame(i).image) for i, f in enumerate(read))
        for index, back in enumerate(read):
            np.testing.assert_array_equal(back.depth, frame(index).depth)
            assert back.T_world_camera is not None and read[0].T_world_camera is not None
            moved = np.linalg.inv(read[0].T_world_camera) @ back.T_world_camera
            np.testing.assert_allclose(moved, np.linalg.inv(pose(0)) @ pose(index), atol=1e-9)
    assert not recording.skipped and not recording.notes


def test_bag_truth_is_of_the_base_with_x_forward(tmp_path: Path) -> None:
    write_ros2_bag(tmp_path / "bag", frames())
    trajectory = read_trajectory(tmp_path / "bag")
    assert [stamp for stamp, _ in trajectory] == [START_NS + i * STEP_NS for i in range(6)]
    np.testing.assert_allclose(trajectory[0][1], np.eye(4), atol=1e-12)
    last = trajectory[-1][1]
    np.testing.assert_allclose(last[:3, 3], [0.5, 0.0, 0.0], atol=1e-9)  # forward is +x
    np.testing.assert_allclose(last[:3, 0], [np.cos(0.1), -np.sin(0.1), 0.0], atol=1e-9)  # right is a negative yaw
    by_tf = read_trajectory(tmp_path / "bag", "/tf:map:base_link_ground_truth")
    np.testing.assert_allclose(by_tf[3][1], trajectory[3][1], atol=1e-12)
    extrinsics = read_trajectory(tmp_path / "bag", "/tf_static:base_link:camera_optical_frame")[0][1]
    np.testing.assert_allclose(extrinsics[:3, 2], [1.0, 0.0, 0.0], atol=1e-12)  # the optical axis looks along x


def test_bag_messages_hold_rep_118_depth_and_twist_in_the_base(tmp_path: Path) -> None:
    from featdepth_ros.messages.images import depth_from_message
    from featdepth_ros.recordings.bags.source import BagSource

    write_ros2_bag(tmp_path / "bag", frames())
    source = BagSource(tmp_path / "bag")
    assert source.topics["/tf_static"].transient_local and not source.topics["/camera/image_raw"].transient_local
    depths = [source.decode(raw) for raw in source.messages(["/camera/depth/image_rect"])]
    assert (depths[2].encoding, depths[2].header.frame_id) == ("32FC1", "camera_optical_frame")
    np.testing.assert_array_equal(depth_from_message(depths[2]), frame(2).depth)
    infos = [source.decode(raw) for raw in source.messages(["/camera/depth/camera_info"])]
    assert infos[0].k.tolist() == [50.0, 0.0, 31.5, 0.0, 51.0, 23.5, 0.0, 0.0, 1.0]
    assert infos[0].p.tolist() == [50.0, 0.0, 31.5, 0.0, 0.0, 51.0, 23.5, 0.0, 0.0, 0.0, 1.0, 0.0]
    odometry = [source.decode(raw) for raw in source.messages(["/ground_truth/odom"])]
    twist = odometry[4].twist.twist
    seconds = STEP_NS * 1e-9
    assert (odometry[4].header.frame_id, odometry[4].child_frame_id) == ("map", "base_link")
    assert twist.linear.x == pytest.approx(0.1 / seconds, rel=1e-2)
    assert twist.angular.z == pytest.approx(-0.02 / seconds, rel=1e-6)
    assert (odometry[4].pose.covariance[::7] > 0).all()


def test_kitti_layout(tmp_path: Path) -> None:
    assert write_kitti_odometry(tmp_path, frames(), frames(right_m=0.5), sequence="07") == 6
    sequence = tmp_path / "sequences" / "07"
    lines = dict(line.split(": ", 1) for line in (sequence / "calib.txt").read_text().splitlines())
    assert [float(v) for v in lines["P2"].split()] == [50, 0, 31.5, 0, 0, 51, 23.5, 0, 0, 0, 1, 0]
    assert float(lines["P3"].split()[3]) == pytest.approx(-25.0)  # -fx times baseline
    times = [float(line) for line in (sequence / "times.txt").read_text().splitlines()]
    assert times == pytest.approx([i * STEP_NS * 1e-9 for i in range(6)], abs=1e-9)
    poses = np.loadtxt(tmp_path / "poses" / "07.txt")
    assert poses.shape == (6, 12)
    np.testing.assert_allclose(poses[3].reshape(3, 4), (np.linalg.inv(pose(0)) @ pose(3))[:3], atol=1e-9)
    bgr = cv2.imread(str(sequence / "image_3" / "000004.png"))
    np.testing.assert_array_equal(bgr[..., ::-1], frame(4, right_m=0.5).image)
    depth = cv2.imread(str(sequence / "depth_2" / "000001.png"), cv2.IMREAD_UNCHANGED)
    assert depth.dtype == np.uint16 and depth[0, 0] == 0 and depth[1, 1] == 3 * 256


def test_kitti_round_trip(tmp_path: Path) -> None:
    write_kitti_odometry(tmp_path, frames(), frames(right_m=0.5))
    left, right = open_recording(tmp_path), open_recording(tmp_path, "image_3")
    assert left.kind == "kitti_odometry" and left.camera == right.camera == CAMERA
    lefts, rights = list(left), list(right)
    assert lefts[5].stamp_ns == 5 * STEP_NS
    assert lefts[2].T_world_camera is not None and rights[2].T_world_camera is not None and lefts[2].depth is not None
    relative = np.linalg.inv(lefts[2].T_world_camera) @ rights[2].T_world_camera
    np.testing.assert_allclose(relative[:3, 3], [0.5, 0.0, 0.0], atol=1e-9)
    assert np.isnan(lefts[2].depth[0, 0]) and lefts[2].depth[1, 1] == 4.0


def test_euroc_layout_and_round_trip(tmp_path: Path) -> None:
    camera = replace(CAMERA, distortion_model="plumb_bob", distortion=(-0.28, 0.07, 2e-4, 1.8e-5))
    assert write_euroc(tmp_path, frames(camera=camera), frames(camera=camera, right_m=0.11)) == 6
    folder = tmp_path / "mav0" / "cam1"
    sensor = yaml.safe_load((folder / "sensor.yaml").read_text().replace("%YAML:1.0", ""))
    assert sensor["distortion_model"] == "radial-tangential" and sensor["resolution"] == [64, 48]
    T_body_right = np.array(sensor["T_BS"]["data"]).reshape(4, 4)
    np.testing.assert_allclose(T_body_right[:3, 3], [0.0, -0.11, 0.0], atol=1e-9)  # right is -y of the body
    rows = (folder / "data.csv").read_text().splitlines()
    assert rows[1] == f"{START_NS},{START_NS}.png" and (folder / "data" / f"{START_NS}.png").is_file()
    recording = open_recording(tmp_path)
    read = list(recording)
    assert (recording.kind, recording.camera) == ("euroc", camera)
    assert read[3].stamp_ns == START_NS + 3 * STEP_NS and read[0].T_world_camera is not None
    moved = np.linalg.inv(read[0].T_world_camera) @ read[5].T_world_camera
    np.testing.assert_allclose(moved, np.linalg.inv(pose(0)) @ pose(5), atol=1e-6)
    states = np.loadtxt(tmp_path / "mav0" / "state_groundtruth_estimate0" / "data.csv", delimiter=",")
    steps_m_per_s = np.diff(states[:, 1:4], axis=0) / (STEP_NS * 1e-9)
    np.testing.assert_allclose(states[1:, 8:11], steps_m_per_s, atol=1e-6)
    assert np.abs(steps_m_per_s).max() > 0.1


@pytest.mark.parametrize("write", [write_ros2_bag, write_kitti_odometry, write_euroc])
def test_existing_outputs_are_refused_and_untouched(tmp_path: Path, write: Callable[..., int]) -> None:
    write(tmp_path / "out", frames())
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*") if p.is_file()}
    with pytest.raises(RecordingError, match="exists already"):
        write(tmp_path / "out", frames())
    assert before == {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*") if p.is_file()}


@pytest.mark.parametrize("write", [write_ros2_bag, write_kitti_odometry, write_euroc])
def test_no_frame_is_an_error(tmp_path: Path, write: Callable[..., int]) -> None:
    with pytest.raises(RecordingError, match="no frame"):
        write(tmp_path / "out", iter(()))


def test_writers_hold_one_frame_at_a_time(tmp_path: Path) -> None:
    import weakref

    alive: list[weakref.ref[Frame]] = []
    most = 0

    def watched() -> Iterator[Frame]:
        nonlocal most
        for made in frames(12):
            alive.append(weakref.ref(made))
            most = max(most, sum(ref() is not None for ref in alive))
            yield made
            del made

    write_ros2_bag(tmp_path / "bag", watched(), "mcap")
    assert most <= 2


def test_layouts_refuse_what_they_cannot_hold(tmp_path: Path) -> None:
    distorted = replace(CAMERA, distortion_model="plumb_bob", distortion=(0.1, 0.0, 0.0, 0.0))
    with pytest.raises(CalibrationError, match="rectified"):
        write_kitti_odometry(tmp_path / "a", frames(camera=distorted))
    rational = replace(CAMERA, distortion_model="rational_polynomial", distortion=(0.1,) * 8)
    with pytest.raises(CalibrationError, match="rational_polynomial"):
        write_euroc(tmp_path / "b", frames(camera=rational))
    with pytest.raises(CalibrationError, match="no calibration"):
        write_euroc(tmp_path / "c", frames(camera=None))
    with pytest.raises(RecordingError, match="different numbers"):
        write_euroc(tmp_path / "d", frames(3), frames(2, right_m=0.1))


@pytest.mark.parametrize("storage", ["sqlite3", "mcap"])
def test_full_disk_is_told_and_leaves_what_was_written(tmp_path: Path, storage: str) -> None:
    """A limit on the file size stands for the full disk; it needs a process of its own."""
    import subprocess
    import sys

    script = f"""
import resource, sys
sys.path.insert(0, {str(Path(__file__).resolve().parents[1] / "support" / "worlds")!r})
from known_frames import START_NS, frames
from featdepth_ros.errors import RecordingError
from featdepth_ros.recordings.bags.messages import Messages
from featdepth_ros.recordings.bags.writer import BagWriter
resource.setrlimit(resource.RLIMIT_FSIZE, (2_500_000, 2_500_000))
make = Messages()
try:
    with BagWriter({str(tmp_path / "bag")!r}, {storage!r}) as bag:
        bag.add_topic("/camera/image_raw", "sensor_msgs/msg/Image")
        for index, frame in enumerate(frames(1000)):
            image = make.image(make.header(START_NS, "c"), frame.image, "rgb8")
            bag.write_message("/camera/image_raw", START_NS + index, image)
            if index % 20 == 0:
                bag.commit()
except RecordingError as error:
    print("told:", error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert "told: bag '" in done.stdout and not done.stderr, done.stdout + done.stderr
    assert len(list(open_recording(tmp_path / "bag"))) >= 100


def test_only_the_depth_of_the_very_image_is_taken(tmp_path: Path) -> None:
    """A frame without depth between two with depth stays without; distorted images have none."""
    mixed = [replace(f, depth=None) if i == 1 else f for i, f in enumerate(frames(4))]
    write_ros2_bag(tmp_path / "bag", mixed)
    depths = [f.depth for f in open_recording(tmp_path / "bag")]
    assert [None if d is None else float(d[1, 1]) for d in depths] == [2.0, None, 4.0, 5.0]
    distorted = replace(CAMERA, distortion_model="plumb_bob", distortion=(0.1, 0.0, 0.0, 0.0, 0.0))
    assert all(f.depth is None for f in open_recording(tmp_path / "bag", camera=distorted))
