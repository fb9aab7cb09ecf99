from __future__ import annotations

import cv2
import numpy as np
import pytest
from sensor_msgs.msg import CompressedImage, Image

from featdepth_ros.errors import ImageError
from featdepth_ros.messages.encode import byte_array
from featdepth_ros.messages.images import rgb_from_message
from featdepth_ros.messages.stamps import stamp_ns
from featdepth_ros.ros.images import image_message, time_message


def picture(height: int = 12, width: int = 16) -> np.ndarray:
    """A smooth colour picture, so that chroma subsampling and demosaicing stay near it."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    rgb = np.stack([80 + 5 * x, 60 + 6 * y, 200 - 4 * x], axis=-1)
    return rgb.astype(np.uint8)


def message(data: np.ndarray, encoding: str, width: int, height: int, pad: int = 0, big: bool = False) -> Image:
    """Build a message by hand: rows with ``pad`` bytes of rubbish behind them."""
    rows = data.reshape(-1, data.shape[1] * data[0, 0].size) if data.ndim == 3 else data
    raw = np.ascontiguousarray(rows).view(np.uint8).reshape(rows.shape[0], -1)
    raw = np.concatenate([raw, np.full((raw.shape[0], pad), 77, np.uint8)], axis=1)
    return Image(
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=int(big),
        step=raw.shape[1],
        data=byte_array(raw),
    )


def bayer(rgb: np.ndarray, pattern: str) -> np.ndarray:
    """Sample a mosaic; ``pattern`` names the colours of the first 2x2 block in reading order, as ROS does."""
    out = np.empty(rgb.shape[:2], np.uint8)
    for index, colour in enumerate(pattern):
        dy, dx = divmod(index, 2)
        out[dy::2, dx::2] = rgb[dy::2, dx::2, "rgb".index(colour)]
    return out


def yuv422(rgb: np.ndarray, order: str) -> np.ndarray:
    """Pack to two bytes a pixel, BT.601 limited range, as OpenCV reads it back."""
    r, g, b = (rgb[..., i].astype(np.float32) for i in range(3))
    y = 16 + 0.257 * r + 0.504 * g + 0.098 * b
    u = 128 - 0.148 * r - 0.291 * g + 0.439 * b
    v = 128 + 0.439 * r - 0.368 * g - 0.071 * b
    chroma = np.empty_like(y)
    chroma[:, 0::2] = (u[:, 0::2] + u[:, 1::2]) / 2
    chroma[:, 1::2] = (v[:, 0::2] + v[:, 1::2]) / 2
    pair = (chroma, y) if order == "uyvy" else (y, chroma)
    return np.rint(np.stack(pair, axis=-1)).clip(0, 255).astype(np.uint8)


def nv(rgb: np.ndarray, first: str) -> np.ndarray:
    """Pack to a luma plane and a half-size plane of chroma pairs."""
    i420 = cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420)
    height, width = rgb.shape[:2]
    u = i420[height : height + height // 4].reshape(height // 2, width // 2)
    v = i420[height + height // 4 :].reshape(height // 2, width // 2)
    pairs = np.stack((u, v) if first == "u" else (v, u), axis=-1).reshape(height // 2, width)
    return np.concatenate([i420[:height], pairs])


@pytest.mark.parametrize("pad", [0, 5])
@pytest.mark.parametrize(
    ("encoding", "channels"),
    [("rgb8", [0, 1, 2]), ("bgr8", [2, 1, 0]), ("rgba8", [0, 1, 2, 0]), ("bgra8", [2, 1, 0, 0]), ("8UC3", [2, 1, 0])],
)
def test_colour_orders_are_exact(encoding: str, channels: list[int], pad: int) -> None:
    rgb = picture()
    got = rgb_from_message(message(rgb[..., channels], encoding, 16, 12, pad))
    np.testing.assert_array_equal(got, rgb)
    assert got.flags.c_contiguous


@pytest.mark.parametrize("encoding", ["mono8", "8UC1"])
def test_grey_is_repeated(encoding: str) -> None:
    grey = picture()[..., 0]
    np.testing.assert_array_equal(
        rgb_from_message(message(grey, encoding, 16, 12, 3)), np.repeat(grey[..., None], 3, axis=2)
    )


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("pad", [0, 6])
def test_16_bit_is_scaled_in_either_byte_order(big: bool, pad: int) -> None:
    words = np.array([[0, 257, 65535], [32896, 128, 129]], np.uint16)
    stored = words.astype(">u2" if big else "<u2")
    got = rgb_from_message(message(stored, "mono16", 3, 2, pad, big))
    np.testing.assert_array_equal(got[..., 0], [[0, 1, 255], [128, 0, 1]])
    rgb = np.repeat(words[..., None], 3, axis=2)
    rgb[..., 2] = 0
    got = rgb_from_message(message(rgb.astype(stored.dtype), "bgr16", 3, 2, pad, big))
    np.testing.assert_array_equal(got[..., 0], np.zeros((2, 3)))
    np.testing.assert_array_equal(got[..., 2], [[0, 1, 255], [128, 0, 1]])


@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
def test_bayer_patterns_are_told_apart(pattern: str) -> None:
    rgb = picture()
    got = rgb_from_message(message(bayer(rgb, pattern), f"bayer_{pattern}8", 16, 12, 2))
    assert np.abs(got[2:-2, 2:-2].astype(int) - rgb[2:-2, 2:-2]).max() <= 3


@pytest.mark.parametrize(
    ("encoding", "order"), [("uyvy", "uyvy"), ("yuv422", "uyvy"), ("yuyv", "yuyv"), ("yuv422_yuy2", "yuyv")]
)
def test_packed_yuv(encoding: str, order: str) -> None:
    rgb = picture()
    got = rgb_from_message(message(yuv422(rgb, order), encoding, 16, 12, 4))
    assert np.abs(got.astype(int) - rgb).max() <= 8


@pytest.mark.parametrize(("encoding", "first"), [("nv12", "u"), ("nv21", "v")])
def test_planar_yuv(encoding: str, first: str) -> None:
    rgb = picture()
    got = rgb_from_message(message(nv(rgb, first), encoding, 16, 12, 4))
    assert np.abs(got.astype(int) - rgb).max() <= 16


@pytest.mark.parametrize(
    "encoding",
    ["rgb8", "bgr8", "rgba8", "bgra8", "mono8", "bayer_rggb8", "bayer_bggr8", "bayer_gbrg8", "bayer_grbg8", "uyvy",
     "yuv422", "yuyv", "yuv422_yuy2"],
)  # fmt: skip
def test_agrees_with_rosbags_image(encoding: str) -> None:
    convert = pytest.importorskip("rosbags.image").message_to_cvimage
    channels = {"rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4}.get(encoding, 2 if "y" in encoding.split("_")[0] else 1)
    if encoding.startswith("bayer"):
        channels = 1
    noise = np.random.default_rng(3).integers(0, 256, (12, 16, channels), dtype=np.uint8)
    msg = message(noise if channels > 1 else noise[..., 0], encoding, 16, 12)
    np.testing.assert_array_equal(rgb_from_message(msg), convert(msg, "rgb8"))


@pytest.mark.parametrize("encoding", ["rgb8", "bgr8", "mono8", "mono16", "bgra8", "bayer_rggb8", "yuv422"])
def test_agrees_with_cv_bridge(encoding: str) -> None:
    bridge = pytest.importorskip("cv_bridge").CvBridge()
    channels = {"rgb8": 3, "bgr8": 3, "bgra8": 4, "yuv422": 2}.get(encoding, 1)
    kind = np.uint16 if encoding.endswith("16") else np.uint8
    noise = np.random.default_rng(4).integers(0, np.iinfo(kind).max + 1, (12, 16, channels), dtype=kind)
    msg = message(noise if channels > 1 else noise[..., 0], encoding, 16, 12)
    expected = bridge.imgmsg_to_cv2(msg, "rgb8").astype(int)
    assert np.abs(rgb_from_message(msg).astype(int) - expected).max() <= (1 if kind == np.uint16 else 0)


def spoiled(**changes: object) -> Image:
    """A good rgb8 message with some fields changed."""
    msg = image_message(picture(), "rgb8", 1, "camera")
    for name, value in changes.items():
        setattr(msg, name, value)
    return msg


@pytest.mark.parametrize(
    ("msg", "says"),
    [
        (spoiled(encoding="rbg8"), "did you mean 'rgb8'"),
        (spoiled(encoding=""), "not known"),
        (spoiled(encoding="32FC1"), "depth"),
        (spoiled(encoding="64FC1"), "depth"),
        (spoiled(width=0), "0x12"),
        (spoiled(height=0), "16x0"),
        (spoiled(step=47), "step is 47"),
        (spoiled(step=0), "step is 0"),
        (spoiled(height=13), "has 576 bytes"),
        (spoiled(data=byte_array(np.zeros(10, np.uint8))), "has 10 bytes"),
        (spoiled(encoding="rgb16"), "step is 48"),
        (spoiled(encoding="yuv422", width=15), "even"),
        (spoiled(encoding="nv12", height=11), "even"),
        (spoiled(width=2**31, step=2**32 - 1), "step is"),
    ],
)
def test_malformed_images_are_refused_in_words(msg: Image, says: str) -> None:
    with pytest.raises(ImageError, match=says):
        rgb_from_message(msg)


def test_compressed_png_is_exact_and_jpeg_near() -> None:
    rgb = picture(24, 32)
    for form, tolerance in ((".png", 0), (".jpg", 20)):
        data = cv2.imencode(form, cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))[1]
        msg = CompressedImage(format=f"rgb8; {form[1:]} compressed bgr8", data=byte_array(data))
        assert np.abs(rgb_from_message(msg).astype(int) - rgb).max() <= tolerance


@pytest.mark.parametrize(
    ("form", "data"),
    [("jpeg", b""), ("jpeg", b"not a picture"), ("32FC1; compressedDepth", b"\x00" * 40)],
)
def test_undecodable_images_are_refused(form: str, data: bytes) -> None:
    with pytest.raises(ImageError, match="compressed image"):
        rgb_from_message(CompressedImage(format=form, data=byte_array(np.frombuffer(data, np.uint8))))


def test_cut_off_png_is_no_crash() -> None:
    data = cv2.imencode(".png", picture(24, 32))[1][:60]
    with pytest.raises(ImageError):
        rgb_from_message(CompressedImage(format="png", data=byte_array(data)))


@pytest.mark.parametrize("nanoseconds", [0, 1, 999_999_999, 1_700_000_000_123_456_789])
def test_stamps_round_trip(nanoseconds: int) -> None:
    assert stamp_ns(time_message(nanoseconds)) == nanoseconds


def test_image_message_round_trip_of_a_view() -> None:
    rgb = picture()[:, ::2]  # not contiguous
    msg = image_message(rgb, "rgb8", 5, "camera")
    assert (msg.width, msg.height, msg.step, msg.header.frame_id) == (8, 12, 24, "camera")
    np.testing.assert_array_equal(rgb_from_message(msg), rgb)
