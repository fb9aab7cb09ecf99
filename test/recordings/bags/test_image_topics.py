"""Which topics of a bag are cameras, and what image transports leave beside them."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from known_frames import CAMERA, START_NS

from featdepth_ros.errors import ImageError, RecordingError
from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.messages.images import refuse_distances
from featdepth_ros.recordings import open_recording
from featdepth_ros.recordings.bags.messages import Messages
from featdepth_ros.recordings.bags.recording import BagRecording
from featdepth_ros.recordings.bags.writer import BagWriter

COLOUR, DEPTH = "/camera/color/image_raw/compressed", "/camera/depth/image_rect_raw/compressed"
RGB = np.broadcast_to(np.array([200, 40, 60], np.uint8), (48, 64, 3)).copy()


def write_bag(path: Path, topics: dict[str, Any], count: int = 3) -> Path:
    """Write a bag of one message a topic, ``count`` times, 0.1 s apart; values make a message of a header."""
    make = Messages()
    with BagWriter(path) as bag:
        for name, message in topics.items():
            bag.add_topic(name, message(make.header(START_NS, "cam")).__msgtype__)
        for index in range(count):
            stamp = START_NS + index * 10**8
            for name, message in topics.items():
                bag.write_message(name, stamp, message(make.header(stamp, "cam")))
    return path


def _compressed(data: bytes, form: str) -> Any:
    make = Messages()
    pixels = np.frombuffer(data, np.uint8)
    return lambda header: make.sensor_msgs__CompressedImage(header=header, format=form, data=pixels)


def _file(suffix: str, pixels: np.ndarray) -> bytes:
    return bytes(cv2.imencode(suffix, pixels)[1].tobytes())


@pytest.mark.parametrize(
    ("data", "form"),
    [
        (_file(".png", np.full((48, 64), 1500, np.uint16)), "16UC1; png compressed "),
        (_file(".jpg", np.full((48, 64), 255, np.uint8)), "16UC1; jpeg compressed "),
    ],
)
def test_compressed_depth_is_no_camera(tmp_path: Path, data: bytes, form: str) -> None:
    colour = _compressed(_file(".jpg", RGB[..., ::-1]), "rgb8; jpeg compressed bgr8")
    both = open_recording(write_bag(tmp_path / "both", {DEPTH: _compressed(data, form), COLOUR: colour}))
    assert isinstance(both, BagRecording) and both.topic == COLOUR
    with pytest.raises(RecordingError, match="holds no images"):
        open_recording(write_bag(tmp_path / "alone", {DEPTH: _compressed(data, form)}))


def test_depth_in_the_zstd_transport_is_no_camera(tmp_path: Path) -> None:
    zstd = pytest.importorskip("backports.zstd")
    topic = "/camera/depth/image_rect_raw/zstd"
    payload = struct.pack("<IIBII", 48, 64, 0, 128, 5) + b"16UC1" + zstd.compress(bytes(48 * 64 * 2))
    depth = _compressed(payload, "zstd")
    colour = _compressed(_file(".jpg", RGB[..., ::-1]), "rgb8; jpeg compressed bgr8")
    both = open_recording(write_bag(tmp_path / "both", {topic: depth, COLOUR: colour}))
    assert isinstance(both, BagRecording) and both.topic == COLOUR
    with pytest.raises(RecordingError, match="holds no images"):
        open_recording(write_bag(tmp_path / "alone", {topic: depth}))
    header = Messages().header(START_NS, "cam")
    png = _compressed(_file(".png", np.full((48, 64), 1500, np.uint16)), "16UC1; png compressed ")
    for message in (depth(header), png(header)):  # a node listens to what it is told to, and looks at the name
        with pytest.raises(ImageError, match="holds distances by its name"):
            refuse_distances(message, topic)
        refuse_distances(message, "/thermal/image_raw/compressed")


@pytest.mark.parametrize(
    ("topic", "model"), [("/direct_cam/color", "plumb_bob"), ("/cam/image_direct", "plumb_bob"), ("/c/rect", "none")]
)
def test_only_the_word_says_that_images_are_rectified(tmp_path: Path, topic: str, model: str) -> None:
    make = Messages()
    bent = CameraModel(64, 48, 60.0, 60.0, 31.5, 23.5, distortion_model="plumb_bob", distortion=(-0.2, 0.05, 0.0, 0.0))
    topics = {
        topic: lambda header: make.image(header, RGB, "rgb8"),
        f"{topic.rsplit('/', 1)[0]}/camera_info": lambda header: make.camera_info(header, bent),
    }
    recording = open_recording(write_bag(tmp_path / "bag", topics))
    assert recording.camera is not None and recording.camera.distortion_model == model


def test_the_zstd_transport_has_its_camera_info_beside(tmp_path: Path) -> None:
    zstd = pytest.importorskip("backports.zstd")
    make = Messages()
    payload = struct.pack("<IIBII", 48, 64, 0, 192, 4) + b"rgb8" + zstd.compress(RGB.tobytes())
    topics = {
        "/camera/image_raw/zstd": _compressed(payload, ""),
        "/camera/camera_info": lambda header: make.camera_info(header, CAMERA),
    }
    recording = open_recording(write_bag(tmp_path / "bag", topics))
    frames = list(recording)
    assert len(frames) == 3 and recording.camera == CAMERA
    np.testing.assert_array_equal(frames[0].image, RGB)


@pytest.mark.parametrize(
    ("camera", "says"),
    [
        (CameraModel(64, 48, 400.0, 400.0, 320.0, 240.0), "principal point lies outside"),
        (CameraModel(128, 96, 80.0, 80.0, 63.5, 47.5), "the calibration is for 128x96"),
    ],
)
def test_an_implausible_camera_info_counts_as_none_and_is_noted(tmp_path: Path, camera: CameraModel, says: str) -> None:
    make = Messages()
    topics = {
        "/camera/image_raw": lambda header: make.image(header, RGB, "rgb8"),
        "/camera/camera_info": lambda header: make.camera_info(header, camera),
    }
    recording = open_recording(write_bag(tmp_path / "bag", topics))
    assert recording.camera is None and len(list(recording)) == 3
    assert any(says in note for note in recording.notes)


def test_zeros_that_a_driver_sends_at_first_are_not_its_calibration(tmp_path: Path) -> None:
    make = Messages()
    with BagWriter(tmp_path / "bag") as bag:
        bag.add_topic("/cam/image_raw", "sensor_msgs/msg/Image")
        bag.add_topic("/cam/camera_info", "sensor_msgs/msg/CameraInfo")
        for index in range(4):
            header = make.header(stamp := START_NS + index * 10**8, "cam")
            info = make.camera_info(header, CAMERA)
            if index < 2:
                info.k[:] = info.p[:] = 0.0
            bag.write_message("/cam/camera_info", stamp, info)
            bag.write_message("/cam/image_raw", stamp, make.image(header, RGB, "rgb8"))
    assert open_recording(tmp_path / "bag").camera == CAMERA


def test_why_the_only_image_is_refused(tmp_path: Path) -> None:
    data = _file(".jpg", np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8))
    (tmp_path / "cut.jpg").write_bytes(data[: len(data) // 2])
    with pytest.raises(RecordingError, match=r"cut\.jpg: the image ends early"):
        open_recording(tmp_path / "cut.jpg")


def test_a_bag_with_a_video_stream_is_decoded_in_order(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    if "libx264" not in av.codecs_available:
        pytest.skip("this PyAV has no libx264")
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.gop_size = 64, 48, "yuv420p", 4
    encoder.time_base, encoder.options = Fraction(1, 10), {"preset": "ultrafast", "tune": "zerolatency"}
    greys = [40, 80, 120, 160, 200, 240]
    units = []
    for grey in greys:
        units += encoder.encode(av.VideoFrame.from_ndarray(np.full((48, 64, 3), grey, np.uint8), format="rgb24"))
    make, topic = Messages(), "/camera/image_raw/compressed"
    with BagWriter(tmp_path / "bag") as bag:
        bag.add_topic(topic, "sensor_msgs/msg/CompressedImage")
        for index, unit in enumerate(units[1:]):  # the recorder came late: the first key frame is missing
            stamp = START_NS + index * 10**8
            pixels = np.frombuffer(bytes(unit), np.uint8)
            message = make.sensor_msgs__CompressedImage(header=make.header(stamp, "cam"), format="h264", data=pixels)
            bag.write_message(topic, stamp, message)
    recording = open_recording(tmp_path / "bag")
    frames = list(recording)
    assert [frame.stamp_ns for frame in frames] == [START_NS + 3 * 10**8, START_NS + 4 * 10**8]
    assert [round(float(frame.image.mean())) for frame in frames] == pytest.approx(greys[4:], abs=6)
    assert len(recording.skipped) == 3 and all("key frame" in left_out.reason for left_out in recording.skipped)
