"""What is played of a recording, before any ROS comes into it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import pytest
from known_frames import CAMERA, START_NS, STEP_NS, frame, frames

from featdepth_ros.errors import FeatDepthError
from featdepth_ros.recordings import write_euroc, write_ros2_bag
from featdepth_ros.recordings.bags.messages import Messages
from featdepth_ros.recordings.bags.types import IMAGE, ros2_store
from featdepth_ros.recordings.bags.writer import BagWriter
from featdepth_ros.recordings.stream import StreamOptions, open_stream


def _any(_: str) -> bool:
    return True


def _two_cameras(path: Path) -> Path:
    make = Messages()
    with BagWriter(path) as bag:
        for topic in ("/left/image_raw", "/right/image_raw", "/left/depth/image_rect"):
            bag.add_topic(topic, IMAGE, reliable=False)
            header = make.header(START_NS, "left")
            image = make.image(header, frame(0).depth, "32FC1") if "depth" in topic else None
            bag.write_message(topic, START_NS, image or make.image(header, frame(0).image, "rgb8"))
    return path


def test_a_bag_is_played_message_for_message(tmp_path: Path) -> None:
    write_ros2_bag(tmp_path / "bag", frames())
    stream = open_stream(tmp_path / "bag", StreamOptions(), _any, 0)
    messages = list(stream)
    assert len(messages) == stream.total == 6 * 6 + 1 and stream.image_topic == "/camera/image_raw"
    assert [m.log_ns for m in messages] == sorted(m.log_ns for m in messages)
    image = next(m for m in messages if m.topic == "/camera/image_raw")
    assert ros2_store().deserialize_cdr(image.data, IMAGE).header.frame_id == "camera_optical_frame"
    assert {t.name for t in stream.topics if t.transient_local} == {"/tf_static"}


def test_one_camera_of_two_under_another_name_with_its_depth(tmp_path: Path) -> None:
    bag = _two_cameras(tmp_path / "bag")
    stream = open_stream(bag, StreamOptions(topic="/left/image_raw", image_topic="/front/image_raw"), _any, 0)
    assert {t.name for t in stream.topics} == {"/front/image_raw", "/front/depth/image_rect"}
    assert all(t.reliable is False for t in stream.topics)
    assert len(open_stream(bag, StreamOptions(), _any, 0).topics) == 3
    with pytest.raises(FeatDepthError, match="several image topics"):
        open_stream(bag, StreamOptions(image_topic="/front/image_raw"), _any, 0)


def test_types_that_are_not_installed_are_named(tmp_path: Path) -> None:
    write_ros2_bag(tmp_path / "bag", frames())
    stream = open_stream(tmp_path / "bag", StreamOptions(), lambda name: not name.startswith("nav_msgs"), 0)
    assert "/ground_truth/odom (nav_msgs/msg/Odometry)" in stream.notes[0]
    assert "/ground_truth/odom" not in {m.topic for m in stream}
    with pytest.raises(FeatDepthError, match="no topic whose type is installed"):
        open_stream(tmp_path / "bag", StreamOptions(), lambda _: False, 0)


def test_frames_become_topics_and_relative_stamps_start_now(tmp_path: Path) -> None:
    for index in range(3):
        cv2.imwrite(str(tmp_path / f"{index}.png"), frame(index).image)
    stream = open_stream(tmp_path, StreamOptions(camera="50,51,31.5,23.5", rate_hz=20.0), _any, START_NS)
    for _ in range(2):  # a loop starts at the same stamp again
        stamps = [m.log_ns for m in stream if m.topic == "/camera/image_raw"]
        assert stamps == [START_NS + i * 50_000_000 for i in range(3)]
    assert [t.name for t in stream.topics] == ["/tf_static", "/camera/image_raw", "/camera/camera_info"]
    bare = open_stream(tmp_path, StreamOptions(), _any, START_NS)
    assert "no calibration" in bare.notes[0] and "/camera/camera_info" not in {t.name for t in bare.topics}


def test_absolute_stamps_and_truth_of_other_recordings_stay(tmp_path: Path) -> None:
    write_euroc(tmp_path, frames())
    stream = open_stream(tmp_path, StreamOptions(compressed=True), _any, 1)
    messages = list(stream)
    stamps = [m.log_ns for m in messages if m.topic == "/camera/image_raw/compressed"]
    assert stamps == [START_NS + i * STEP_NS for i in range(6)] and stream.image_topic.endswith("/compressed")
    assert sum(m.topic == "/ground_truth/odom" for m in messages) == 6


def test_a_calibration_replaces_the_recorded_one(tmp_path: Path) -> None:
    write_ros2_bag(tmp_path / "bag", frames(camera=replace(CAMERA, fx=70.0)))
    stream = open_stream(tmp_path / "bag", StreamOptions(camera="50,51,31.5,23.5"), _any, 0)
    infos = [m for m in stream if m.topic == "/camera/camera_info"]
    decoded = [ros2_store().deserialize_cdr(m.data, "sensor_msgs/msg/CameraInfo") for m in infos]
    assert len(infos) == 6 and {d.k[0] for d in decoded} == {50.0}
