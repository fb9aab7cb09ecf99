"""Encodings and compressed formats as drivers send them: odd names, Bayer inside, depth, video and zstd transports."""

from __future__ import annotations

import struct
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from message_fields import compressed_message, image_message

from featdepth_ros.errors import ImageError
from featdepth_ros.messages.compressed import is_compressed_picture, parse_format
from featdepth_ros.messages.decode import decode_image
from featdepth_ros.messages.images import rgb_from_message

COLOUR = np.array([200, 40, 60], np.uint8)
RGB = np.broadcast_to(COLOUR, (48, 64, 3)).copy()


def _planes() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return I420's planes of the colour: (48, 64) brightness, two (24, 32) of chroma."""
    packed = cv2.cvtColor(RGB, cv2.COLOR_RGB2YUV_I420)
    return packed[:48], packed[48:60].reshape(24, 32), packed[60:].reshape(24, 32)


def _yuv(encoding: str) -> np.ndarray:
    y, u, v = _planes()
    if encoding == "nv24":
        pairs = np.stack([np.full((48, 64), u[0, 0]), np.full((48, 64), v[0, 0])], axis=-1)
        return np.concatenate([y, pairs.reshape(96, 64)])
    first, second = (v, u) if encoding == "yv12" else (u, v)
    return np.concatenate([y, first.reshape(12, 64), second.reshape(12, 64)])


@pytest.mark.parametrize("encoding", ["nv24", "NV24", "i420", "yuv420", "yv12"])
def test_planar_encodings(encoding: str) -> None:
    data = _yuv(encoding.lower()).reshape(-1)
    message = SimpleNamespace(height=48, width=64, encoding=encoding, is_bigendian=0, step=64, data=data)
    assert np.abs(rgb_from_message(message).astype(int) - COLOUR).max() <= 4


def test_capitals_do_not_matter() -> None:
    message = image_message(RGB, "rgb8")
    message.encoding = "RGB8"
    np.testing.assert_array_equal(rgb_from_message(message), RGB)


@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
def test_a_compressed_mosaic_is_interpolated(pattern: str) -> None:
    mosaic = np.empty((48, 64), np.uint8)
    for index, letter in enumerate(pattern):
        mosaic[index // 2 :: 2, index % 2 :: 2] = COLOUR["rgb".index(letter)]
    png = cv2.imencode(".png", mosaic)[1].tobytes()
    got = rgb_from_message(compressed_message(png, f"bayer_{pattern}8; png compressed "))
    assert np.abs(got[2:-2, 2:-2].astype(int) - COLOUR).max() <= 2


def test_a_mosaic_that_was_interpolated_before_is_taken_as_it_is() -> None:
    png = cv2.imencode(".png", RGB[..., ::-1])[1].tobytes()
    for form in ("bayer_rggb8; png compressed bgr8", "bayer_rggb8; png compressed "):
        np.testing.assert_array_equal(rgb_from_message(compressed_message(png, form)), RGB)
    grey = cv2.imencode(".png", np.full((8, 8), 77, np.uint8))[1].tobytes()
    assert (rgb_from_message(compressed_message(grey, "bayer_rggb8; png compressed mono8")) == 77).all()


@pytest.mark.parametrize(
    ("form", "picture"),
    [("jpeg", True), ("rgb8; jpeg compressed bgr8", True), ("mono16; png compressed ", True), ("", True),
     ("16UC1; png compressed ", False), ("16UC1; jpeg compressed ", False), ("32FC1; compressedDepth png", False)],
)  # fmt: skip
def test_depth_is_no_picture(form: str, picture: bool) -> None:
    assert is_compressed_picture(SimpleNamespace(format=form, data=b"")) is picture


def test_parts_of_the_format() -> None:
    both = parse_format("bayer_RGGB8; jpeg compressed bgr8")
    assert (both.encoding, both.target, both.bayer) == ("bayer_rggb8", "bgr8", "")
    assert parse_format("bayer_gbrg16; png compressed ").bayer == "bayer_gbrg"


@pytest.mark.parametrize("form", ["h264", "H.265", "hevc", "libx264", ""])
def test_a_video_stream_is_named(form: str) -> None:
    with pytest.raises(ImageError, match=r"video stream.*republish"):
        rgb_from_message(compressed_message(b"\0\0\0\1\x67\x42\0\x1e" + bytes(60), form))


def test_the_zstd_transport() -> None:
    zstd = pytest.importorskip("backports.zstd")
    head = struct.pack("<IIBII", 48, 64, 0, 192, 4) + b"rgb8"
    whole = zstd.compress(RGB.tobytes())
    np.testing.assert_array_equal(rgb_from_message(compressed_message(head + whole, "")), RGB)
    with pytest.raises(ImageError, match="zstd transport cannot be decoded"):
        rgb_from_message(compressed_message(head + whole[:-5], ""))


def _textured() -> np.ndarray:
    return cv2.resize(np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8), (320, 240))


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_what_lies_behind_a_picture_is_left_alone(suffix: str) -> None:
    data = cv2.imencode(suffix, RGB[..., ::-1])[1].tobytes()
    film = b"MotionPhoto_Data" + np.random.default_rng(0).integers(0, 255, 40_000, dtype=np.uint8).tobytes()
    assert np.abs(decode_image(data + film).reshape(-1, 3).mean(0) - COLOUR).max() < 3


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize("share", [0.3, 0.5, 0.9, 0.999])
def test_a_cut_picture_is_refused(suffix: str, share: float) -> None:
    data = cv2.imencode(suffix, _textured())[1].tobytes()
    with pytest.raises(ImageError, match="ends early"):
        decode_image(data[: int(share * len(data))])


def test_a_thumbnails_end_is_not_the_pictures() -> None:
    data = cv2.imencode(".jpg", _textured())[1].tobytes()
    thumbnail = cv2.imencode(".jpg", RGB)[1].tobytes()
    segment = b"\xff\xe1" + struct.pack(">H", 2 + len(thumbnail)) + thumbnail
    assert decode_image(data[:2] + segment + data[2:]).shape == (240, 320, 3)
    with pytest.raises(ImageError, match="ends early"):
        decode_image((data[:2] + segment + data[2:])[: len(segment) + len(data) // 2])


@pytest.mark.parametrize("option", [(cv2.IMWRITE_JPEG_PROGRESSIVE, 1), (cv2.IMWRITE_JPEG_RST_INTERVAL, 2)])
def test_scans_and_restarts_are_walked_through(option: tuple[int, int]) -> None:
    data = cv2.imencode(".jpg", _textured(), option)[1].tobytes()
    assert decode_image(data + b"junk" * 3000).shape == (240, 320, 3)
    with pytest.raises(ImageError, match="ends early"):
        decode_image(data[: len(data) // 2])
