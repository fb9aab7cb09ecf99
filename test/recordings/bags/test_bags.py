"""Bags of others: ROS 1, every encoding, malformed messages, missing stamps and calibrations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from known_frames import CAMERA, START_NS, frame, frames
from ros1_types import ros1_store

from featdepth_ros.errors import FeatDepthError, RecordingError
from featdepth_ros.recordings import open_recording, read_trajectory, write_ros2_bag
from featdepth_ros.recordings.bags.messages import Messages
from featdepth_ros.recordings.bags.source import BagSource
from featdepth_ros.recordings.bags.types import CAMERA_INFO, COMPRESSED_IMAGE, IMAGE, TF_MESSAGE, ros2_store
from featdepth_ros.recordings.bags.writer import BagWriter

SIZE = (16, 12)  # width, height


def _bag(path: Path, messages: list[Any], topic: str = "/cam/image_raw", msgtype: str = IMAGE) -> Path:
    with BagWriter(path) as bag:
        bag.add_topic(topic, msgtype)
        for index, message in enumerate(messages):
            if isinstance(message, bytes):
                bag.write(topic, START_NS + index, message)
            else:
                bag.write_message(topic, START_NS + index, message)
    return path


def _image(array: np.ndarray, encoding: str, stamp_ns: int = START_NS) -> Any:
    make = Messages()
    return make.image(make.header(stamp_ns, "cam"), array, encoding)


def _ros1_bag(path: Path, compression: str | None = None) -> None:
    from rosbags.rosbag1 import Writer

    store = ros1_store()
    types = store.types
    writer = Writer(path)
    if compression is not None:
        writer.set_compression(Writer.CompressionFormat[compression])
    with writer:
        images = writer.add_connection("/cam/image_raw", IMAGE, typestore=store)
        infos = writer.add_connection("/cam/camera_info", CAMERA_INFO, typestore=store)
        tf = writer.add_connection("/tf_static", TF_MESSAGE, typestore=store, latching=1)
        for index in range(4):
            stamp = START_NS + index
            time = types["builtin_interfaces/msg/Time"](sec=stamp // 10**9, nanosec=stamp % 10**9)
            header = types["std_msgs/msg/Header"](seq=index, stamp=time, frame_id="cam")
            image = types[IMAGE](
                header=header, height=48, width=64, encoding="rgb8", is_bigendian=0, step=192,
                data=frame(index).image.reshape(-1),
            )  # fmt: skip
            roi = types["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False)
            info = types[CAMERA_INFO](
                header=header, height=48, width=64, distortion_model="plumb_bob", D=np.zeros(5),
                K=CAMERA.K.reshape(9), R=np.eye(3).reshape(9), P=np.zeros(12), binning_x=0, binning_y=0, roi=roi,
            )  # fmt: skip
            pose = types["geometry_msgs/msg/Transform"](
                types["geometry_msgs/msg/Vector3"](1.0, 2.0, 3.0),
                types["geometry_msgs/msg/Quaternion"](0.0, 0.0, 0.0, 1.0),
            )
            stamped = types["geometry_msgs/msg/TransformStamped"](header, "base", pose)
            late = stamp + 5_000_000_000  # recorded five seconds later than exposed
            writer.write(images, late, store.serialize_ros1(image, IMAGE))
            writer.write(infos, late, store.serialize_ros1(info, CAMERA_INFO))
            writer.write(tf, late, store.serialize_ros1(types[TF_MESSAGE]([stamped]), TF_MESSAGE))


@pytest.mark.parametrize("compression", [None, "BZ2", "LZ4"])
def test_ros1_bag(tmp_path: Path, compression: str | None) -> None:
    _ros1_bag(tmp_path / "old.bag", compression)
    recording = open_recording(tmp_path / "old.bag")
    read = list(recording)
    assert recording.camera == CAMERA and [f.stamp_ns for f in read] == [START_NS + i for i in range(4)]
    assert all(np.array_equal(f.image, frame(i).image) for i, f in enumerate(read))
    source = BagSource(tmp_path / "old.bag")
    assert source.topics["/tf_static"].transient_local
    message = source.decode(next(iter(source.messages(["/cam/image_raw"]))))
    assert message.header.stamp.nanosec == START_NS % 10**9 and message.header.frame_id == "cam"
    np.testing.assert_array_equal(read_trajectory(tmp_path / "old.bag", "/tf_static")[0][1][:3, 3], [1, 2, 3])


def test_truncated_ros1_bag(tmp_path: Path) -> None:
    _ros1_bag(tmp_path / "old.bag")
    data = (tmp_path / "old.bag").read_bytes()
    (tmp_path / "cut.bag").write_bytes(data[: len(data) // 2])
    recording = open_recording(tmp_path / "cut.bag")
    read = list(recording)
    assert 1 <= len(read) <= 2 and len(recording) == len(read) and "damaged" in recording.notes[0]
    np.testing.assert_array_equal(read[0].image, frame(0).image)


COLOUR = np.array([200, 40, 90], np.uint8)
#: Video range, as cameras and cv_bridge mean it.
BT601 = np.array([[65.481, 128.553, 24.966], [-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]])


def _encoded(encoding: str) -> tuple[np.ndarray, str]:
    rgb = np.broadcast_to(COLOUR, (SIZE[1], SIZE[0], 3)).copy()
    bgr = rgb[..., ::-1].copy()
    opaque = np.full((SIZE[1], SIZE[0], 1), 255, np.uint8)
    luma = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    made: dict[str, np.ndarray] = {
        "rgb8": rgb,
        "bgr8": bgr,
        "8UC3": bgr,
        "rgba8": np.concatenate([rgb, opaque], 2),
        "bgra8": np.concatenate([bgr, opaque], 2),
        "mono8": luma,
        "8UC1": luma,
        "mono16": luma.astype(np.uint16) * 257,
        "rgb16": rgb.astype(np.uint16) * 257,
    }
    if encoding.startswith("bayer_"):
        mosaic = np.empty((SIZE[1], SIZE[0]), np.uint8)
        for corner, letter in enumerate(encoding[6:10]):
            mosaic[corner // 2 :: 2, corner % 2 :: 2] = COLOUR["rgb".index(letter)]
        made[encoding] = mosaic
    if encoding in ("yuv422", "yuv422_yuy2", "uyvy", "yuyv"):
        y, u, v = np.round(BT601 @ (COLOUR / 255.0) + [16, 128, 128]).astype(np.uint8)
        pair = [u, y, v, y] if encoding in ("yuv422", "uyvy") else [y, u, y, v]
        made[encoding] = np.tile(np.array(pair, np.uint8), SIZE[0] * SIZE[1] // 2).reshape(SIZE[1], SIZE[0], 2)
    return made[encoding], "grey" if encoding in ("mono8", "8UC1", "mono16") else "colour"


@pytest.mark.parametrize(
    "encoding",
    ["rgb8", "bgr8", "8UC3", "rgba8", "bgra8", "rgb16", "mono8", "8UC1", "mono16"]
    + ["bayer_rggb8", "bayer_bggr8", "bayer_gbrg8", "bayer_grbg8", "yuv422", "yuv422_yuy2", "uyvy", "yuyv"],
)
def test_encodings(tmp_path: Path, encoding: str) -> None:
    array, kind = _encoded(encoding)
    (read,) = open_recording(_bag(tmp_path / "bag", [_image(array, encoding)]))
    expected = COLOUR if kind == "colour" else np.full(3, cv2.cvtColor(COLOUR[None, None], cv2.COLOR_RGB2GRAY)[0, 0])
    assert read.image.shape == (SIZE[1], SIZE[0], 3) and read.image.dtype == np.uint8 and read.image.flags.writeable
    inner = read.image[2:-2, 2:-2].astype(int)
    tolerance = 3 if encoding.startswith(("yuv", "uyvy", "yuyv")) else 1
    assert np.abs(inner - expected.astype(int)).max() <= tolerance


def test_row_padding_and_big_endian(tmp_path: Path) -> None:
    rgb = frame(0).image
    message = _image(rgb, "rgb8")
    padded = np.zeros((48, 200), np.uint8)
    padded[:, :192] = rgb.reshape(48, 192)
    message.step, message.data = 200, padded.reshape(-1)
    grey = np.arange(48 * 64, dtype=np.uint16).reshape(48, 64) * 21
    big = _image(grey, "mono16")
    big.is_bigendian, big.data = 1, grey.astype(">u2").reshape(-1).view(np.uint8)
    read = list(open_recording(_bag(tmp_path / "bag", [message, big])))
    np.testing.assert_array_equal(read[0].image, rgb)
    np.testing.assert_allclose(read[1].image[..., 0], grey / 257.0, atol=1.0)


def test_compressed_images(tmp_path: Path) -> None:
    make = Messages()
    smooth = cv2.GaussianBlur(frame(0).image, (0, 0), 4)
    message = make.jpeg(make.header(START_NS, "cam"), smooth)
    recording = open_recording(
        _bag(tmp_path / "bag", [message], "/cam/image_raw/compressed", COMPRESSED_IMAGE), camera="50,51,31.5,23.5"
    )
    (read,) = recording
    assert np.abs(read.image.astype(int) - smooth).mean() < 3 and recording.camera == CAMERA


def test_malformed_messages_are_counted_drops(tmp_path: Path) -> None:
    good = frame(0).image
    short = _image(good, "rgb8")
    short.data = short.data[:100]
    unknown = _image(good, "rgb8")
    unknown.encoding = "hsv9"
    empty = _image(good, "rgb8")
    empty.width = 0
    cut = bytes(ros2_store().serialize_cdr(_image(good, "rgb8"), IMAGE))[:40]
    recording = open_recording(
        _bag(tmp_path / "bag", [_image(good, "rgb8"), short, unknown, empty, cut, _image(good, "rgb8")])
    )
    assert [f.name for f in recording] == ["000000", "000005"] and len(recording) == 6
    reasons = {s.name: s.reason for s in recording.skipped}
    assert sorted(reasons) == ["000001", "000002", "000003", "000004"]
    assert "100 bytes" in reasons["000001"] and "hsv9" in reasons["000002"] and "size 0x48" in reasons["000003"]


def test_headers_without_stamps_fall_back_to_recording_times(tmp_path: Path) -> None:
    recording = open_recording(_bag(tmp_path / "bag", [_image(frame(0).image, "rgb8", 0) for _ in range(3)]))
    assert [f.stamp_ns for f in recording] == [START_NS + i for i in range(3)] and "no stamps" in recording.notes[0]


def test_depth_topic_is_no_picture_but_two_cameras_are_ambiguous(tmp_path: Path) -> None:
    _bag(tmp_path / "depth", [_image(np.ones((4, 4), np.float32), "32FC1")])
    with pytest.raises(RecordingError, match="holds no images"):
        open_recording(tmp_path / "depth")
    with BagWriter(tmp_path / "two") as bag:
        for topic in ("/left/image_raw", "/right/image_raw"):
            bag.add_topic(topic, IMAGE)
            bag.write_message(topic, START_NS, _image(frame(0).image, "rgb8"))
    with pytest.raises(RecordingError, match=r"--topic\): /left/image_raw \(1 Image\), /right/image_raw"):
        open_recording(tmp_path / "two")


def test_invalid_poses_are_left_out(tmp_path: Path) -> None:
    make = Messages()
    poses = []
    for index, matrix in enumerate((np.eye(4), np.full((4, 4), np.nan), np.eye(4))):
        poses.append(make.odometry(make.header(START_NS - index, "odom"), "base", np.eye(4), np.zeros(6)))
        poses[-1].pose.pose.position.x = float(matrix[0, 0])
    bag = _bag(tmp_path / "bag", poses, "/odom", "nav_msgs/msg/Odometry")
    assert [stamp for stamp, _ in read_trajectory(bag)] == [START_NS - 2, START_NS]
    with pytest.raises(RecordingError, match="no poses on /odometry; did you mean '/odom'"):
        read_trajectory(bag, "/odometry")


def test_the_truth_is_no_estimate(tmp_path: Path) -> None:
    make = Messages()

    def drive(speed: float) -> list[object]:
        poses = [make.odometry(make.header(START_NS + i, "odom"), "base", np.eye(4), np.zeros(6)) for i in range(3)]
        for index, message in enumerate(poses):
            message.pose.pose.position.x = speed * index
        return poses

    def last_x(topics: list[str], topic: str | None = None) -> float:
        path = tmp_path / "_".join(name.strip("/").replace("/", "-") for name in topics)
        if not path.exists():
            with BagWriter(path) as bag:
                for name in topics:
                    bag.add_topic(name, "nav_msgs/msg/Odometry")
                    for message in drive(speeds[name]):
                        bag.write_message(name, START_NS, message)
        return float(read_trajectory(path, topic, estimate=True)[-1][1][0, 3])

    speeds = {"/ground_truth/odom": 1.0, "/odom": 2.0, "/wheel/odom": 3.0}
    assert last_x(["/ground_truth/odom", "/odom", "/wheel/odom"]) == 4
    assert last_x(["/ground_truth/odom", "/wheel/odom"]) == 6
    assert last_x(["/ground_truth/odom"]) == 2  # nothing else can be meant
    assert last_x(["/ground_truth/odom", "/odom", "/wheel/odom"], "/ground_truth/odom") == 2
    assert float(read_trajectory(tmp_path / "ground_truth-odom_odom_wheel-odom")[-1][1][0, 3]) == 2


def test_transforms_are_never_guessed(tmp_path: Path) -> None:
    write_ros2_bag(tmp_path / "bag", frames())
    with pytest.raises(RecordingError, match="/tf_static:base_link:camera_optical_frame"):
        read_trajectory(tmp_path / "bag", "/tf_static")


@pytest.mark.parametrize("kind", ["sqlite3", "mcap", "ros1"])
def test_damaged_bytes_are_told_or_read_around(tmp_path: Path, kind: str) -> None:
    """Flipped and missing bytes anywhere end in frames or in the package's own error, never in another."""
    if kind == "ros1":
        file = bag = tmp_path / "bag.bag"
        _ros1_bag(bag)
    else:
        bag = tmp_path / "bag"
        write_ros2_bag(bag, frames(4), kind)
        file = next(p for p in bag.iterdir() if p.suffix in (".db3", ".mcap"))
    whole = file.read_bytes()
    rng = np.random.default_rng(3)
    told = read = 0
    for attempt in range(10):
        damaged = bytearray(whole)
        reach = 400 if attempt % 2 else len(whole)
        for position in rng.integers(0, reach, 6):
            damaged[position] = rng.integers(0, 256)
        if attempt % 5 == 0:
            damaged = damaged[: rng.integers(0, len(whole))]
        file.write_bytes(bytes(damaged))
        try:
            read += len(list(open_recording(bag)))
        except FeatDepthError:
            told += 1
    assert read > 0 and told > 0


def test_a_ros2_bag_whose_folder_ends_like_a_ros1_bag(tmp_path: Path) -> None:
    write_ros2_bag(tmp_path / "drive.bag", frames(3))
    assert [f.stamp_ns for f in open_recording(tmp_path / "drive.bag")] == [f.stamp_ns for f in frames(3)]
