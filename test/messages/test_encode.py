"""Arrays to messages: rclpy's and rosbags' classes are filled from the same fields, and give the arrays back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.messages.encode import byte_array, depth_fields, image_fields, jpeg_fields, marked_depth
from featdepth_ros.messages.images import depth_from_message, rgb_from_message
from featdepth_ros.messages.point_cloud import POINT_FIELDS, OrganisedCloud
from featdepth_ros.messages.stamps import header_stamp_ns, stamp_fields, stamp_ns

STAMP = 1_600_000_000_123_456_789
RNG = np.random.default_rng(5)
RGB = RNG.integers(0, 256, (6, 8, 3), dtype=np.uint8)
DEPTH = RNG.uniform(0.2, 20.0, (6, 8)).astype(np.float32)
CAMERA = CameraModel(8, 6, 5.0, 6.0, 3.5, 2.5)


class Rosbags:
    """Messages of rosbags' store, from the fields the package gives out."""

    def __init__(self) -> None:
        pytest.importorskip("rosbags.typesys")
        from featdepth_ros.recordings.bags.types import ros2_store

        self._store = ros2_store()

    def _make(self, name: str, /, **fields: Any) -> Any:
        return self._store.types[name](**fields)

    def message(self, name: str, fields: dict[str, Any]) -> Any:
        stamp = self._make("builtin_interfaces/msg/Time", **stamp_fields(STAMP))
        header = self._make("std_msgs/msg/Header", stamp=stamp, frame_id="camera")
        data = {"data": np.frombuffer(fields["data"], np.uint8)}
        if name == "PointCloud2":
            data["fields"] = [self._make("sensor_msgs/msg/PointField", **field) for field in POINT_FIELDS]
        return self._make(f"sensor_msgs/msg/{name}", header=header, **{**fields, **data})

    def serialised(self, message: Any) -> bytes:
        return bytes(self._store.serialize_cdr(message, message.__msgtype__))

    def deserialised(self, data: bytes, msgtype: str) -> Any:
        return self._store.deserialize_cdr(data, msgtype)


class Rclpy:
    """Messages of ROS's own classes, from the fields the package gives out."""

    def __init__(self) -> None:
        pytest.importorskip("rclpy")

    def message(self, name: str, fields: dict[str, Any]) -> Any:
        import sensor_msgs.msg
        from builtin_interfaces.msg import Time
        from std_msgs.msg import Header

        from featdepth_ros.ros.images import filled

        more = {}
        if name == "PointCloud2":
            more["fields"] = [sensor_msgs.msg.PointField(**field) for field in POINT_FIELDS]
        header = Header(stamp=Time(**stamp_fields(STAMP)), frame_id="camera")
        return filled(getattr(sensor_msgs.msg, name)(header=header), {**fields, **more})

    def serialised(self, message: Any) -> bytes:
        from rclpy.serialization import serialize_message

        return bytes(serialize_message(message))


@pytest.fixture(params=[Rosbags, Rclpy])
def classes(request: pytest.FixtureRequest) -> Any:
    return request.param()


def cloud(depth: np.ndarray) -> dict[str, Any]:
    maker = OrganisedCloud(CAMERA)
    maker.fill(depth, RGB)
    return maker.fields()


def test_a_picture_comes_back(classes: Any) -> None:
    message = classes.message("Image", image_fields(RGB, "rgb8"))
    np.testing.assert_array_equal(rgb_from_message(message), RGB)
    assert header_stamp_ns(message) == stamp_ns(message.header.stamp) == STAMP
    np.testing.assert_array_equal(
        rgb_from_message(classes.message("Image", image_fields(RGB[:, 2:5], "rgb8"))), RGB[:, 2:5]
    )


def test_a_jpeg_comes_back_nearly(classes: Any) -> None:
    smooth = np.repeat(np.linspace(0, 255, 64).astype(np.uint8)[None, :, None], 48, axis=0).repeat(3, axis=2)
    got = rgb_from_message(classes.message("CompressedImage", jpeg_fields(smooth)))
    assert np.abs(got.astype(int) - smooth).max() <= 6


def test_depth_comes_back_in_both_encodings(classes: Any) -> None:
    marked = DEPTH.copy()
    marked[0, :3] = (np.nan, np.inf, -np.inf)
    got = depth_from_message(classes.message("Image", depth_fields(marked, "32FC1")))
    np.testing.assert_array_equal(got, marked)
    millimetres = depth_from_message(classes.message("Image", depth_fields(marked, "16UC1")))
    assert np.isnan(millimetres[0, :3]).all()
    good = np.isfinite(marked)
    assert np.abs(millimetres[good] - marked[good]).max() <= 0.000501


def test_millimetres_end_where_16_bits_do() -> None:
    depth = np.array([[0.0004, 0.0006, 65.535, 65.536]], np.float32)
    assert np.frombuffer(depth_fields(depth, "16UC1")["data"], "<u2").tolist() == [0, 1, 65535, 0]


def test_elements_of_another_byte_order_are_turned() -> None:
    fields = image_fields(np.array([[1, 2]], ">u2"), "mono16")
    assert fields["is_bigendian"] == 0 and fields["step"] == 4 and bytes(fields["data"]) == b"\x01\x00\x02\x00"


def test_marks_of_rep_117() -> None:
    depth = np.array([[0.05, 1.0, 90.0, 2.0, 3.0]], np.float32)
    valid = np.array([[True, True, True, False, True]])
    in_image = np.array([[True, True, True, True, False]])
    marked = marked_depth(depth, valid, in_image, (0.1, 80.0))
    np.testing.assert_array_equal(marked, np.array([[-np.inf, 1.0, np.inf, np.nan, np.nan]], np.float32))


def test_points_lie_on_the_rays_of_their_pixels(classes: Any) -> None:
    depth = DEPTH.copy()
    depth[2, 3:6] = (np.nan, np.inf, -np.inf)
    message = classes.message("PointCloud2", cloud(depth))
    points = np.frombuffer(bytes(message.data), np.float32).reshape(6, 8, 4)
    assert np.isnan(points[2, 3:6, :3]).all()
    v, u = np.nonzero(np.isfinite(depth))
    x, y, z = points[v, u, :3].T
    np.testing.assert_array_equal(z, depth[v, u])
    np.testing.assert_allclose(CAMERA.fx * x / z + CAMERA.cx, u, atol=1e-5)
    np.testing.assert_allclose(CAMERA.fy * y / z + CAMERA.cy, v, atol=1e-5)
    colour = points[..., 3].view(np.uint32)
    np.testing.assert_array_equal(np.stack([colour >> 16 & 255, colour >> 8 & 255, colour & 255], axis=-1), RGB)


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("Image", image_fields(RGB, "rgb8")),
        ("Image", depth_fields(DEPTH, "16UC1")),
        ("CompressedImage", jpeg_fields(RGB)),
        ("PointCloud2", cloud(DEPTH)),
    ],
)
def test_both_kinds_of_classes_carry_the_same_content(name: str, fields: dict[str, Any]) -> None:
    ours, theirs = Rosbags(), Rclpy()
    made = ours.message(name, fields)
    # Read again and written again, because the padding that rclpy leaves is rubbish.
    carried = ours.deserialised(theirs.serialised(theirs.message(name, fields)), made.__msgtype__)
    assert ours.serialised(carried) == ours.serialised(made)


def test_bytes_of_nothing_are_no_bytes() -> None:
    """A filtered cloud may have no point left."""
    assert byte_array(np.zeros((0, 4), np.float32)).tobytes() == b""
    assert byte_array(np.arange(3, dtype=np.uint16)).tobytes() == b"\x00\x00\x01\x00\x02\x00"
