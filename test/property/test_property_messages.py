"""Messages of any content: a picture, a camera or a depth map of the promised form comes out, or an error in words."""

from __future__ import annotations

import struct
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from damage import WORDS, answered, damaged
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from message_fields import compressed_message, image_message, info_message

from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.messages.camera_info import MODEL_NAMES, camera_from_info, distortion_of
from featdepth_ros.messages.compressed import is_compressed_picture, parse_format
from featdepth_ros.messages.compressed_depth import compressed_depth_fields
from featdepth_ros.messages.decode import decode_image
from featdepth_ros.messages.encode import depth_fields, image_fields
from featdepth_ros.messages.images import depth_from_message, rgb_from_message
from featdepth_ros.messages.plausibility import implausible, usable_camera

ENCODINGS = (
    "rgb8 bgr8 rgba8 bgra8 mono8 mono16 rgb16 bayer_rggb8 bayer_grbg16 8UC1 8UC3 16UC1 32FC1 yuv422 yuyv uyvy nv12 "
    "nv21 nv24 i420 YV12 yuv422_yuy2 64FC1 RGB8 rgb 8UC2"
).split() + [""]
FORMATS = [
    *(
        "jpeg",
        "png",
        "h264",
        "hevc",
        "zstd",
        "",
        ";;;",
        "mono16; png",
        "bgr8; png compressed ",
        "32FC1; compressedDepth",
    ),
    *("rgb8; jpeg compressed bgr8", "bayer_rggb8; jpeg compressed bayer_rggb8", "16UC1; compressedDepth png"),
]
PICTURE = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
ENCODED = {suffix: cv2.imencode(suffix, PICTURE)[1].tobytes() for suffix in (".png", ".jpg", ".webp", ".tiff", ".bmp")}
GREY16 = cv2.imencode(".png", PICTURE[..., 0].astype(np.uint16) * 100)[1].tobytes()
NUMBERS = st.floats(width=64) | st.sampled_from([0.0, -0.0, 1e308, 5e-324, 1e-30, float("nan"), float("inf")])


def is_picture(image: Any) -> bool:
    return image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3 and image.size > 0


@given(
    encoding=st.sampled_from(ENCODINGS),
    width=st.integers(0, 40),
    height=st.integers(0, 40),
    step=st.integers(0, 400),
    data=st.binary(max_size=2000),
    big=st.booleans(),
)
def test_images(encoding: str, width: int, height: int, step: int, data: bytes, big: bool) -> None:
    fields = {"encoding": encoding, "width": width, "height": height, "step": step, "data": data, "is_bigendian": big}
    image = answered(lambda: rgb_from_message(SimpleNamespace(**fields)))
    assert image is None or (is_picture(image) and image.shape[:2] == (height, width))
    depth = answered(lambda: depth_from_message(SimpleNamespace(**fields)))
    assert depth is None or (depth.dtype == np.float32 and depth.shape == (height, width))


@given(data=st.sampled_from([*ENCODED.values(), GREY16]).flatmap(damaged), form=st.sampled_from(FORMATS))
def test_compressed_images(data: bytes, form: str) -> None:
    image = answered(lambda: rgb_from_message(compressed_message(data, form)))
    assert image is None or is_picture(image)


@given(text=st.text(max_size=40) | st.tuples(*[st.sampled_from(FORMATS)] * 2).map("".join), data=st.binary(max_size=80))
def test_formats(text: str, data: bytes) -> None:
    told = parse_format(text)
    assert told.encoding == told.encoding.lower()
    assert is_compressed_picture(compressed_message(data, text)) in (True, False)
    answered(lambda: rgb_from_message(compressed_message(data, text)))


@given(
    size=st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)),
    encoding=st.sampled_from(ENCODINGS),
    step=st.integers(0, 2**32 - 1),
    pixels=st.binary(max_size=64),
)
def test_the_zstd_transport(size: tuple[int, int], encoding: str, step: int, pixels: bytes) -> None:
    zstd = pytest.importorskip("backports.zstd")
    name = encoding.encode()
    data = struct.pack("<IIBII", *size, 0, step, len(name)) + name + zstd.compress(pixels)
    image = answered(lambda: rgb_from_message(compressed_message(data, "zstd")))
    assert image is None or is_picture(image)


CAMERA = CameraModel(64, 48, 50.0, 51.0, 31.5, 23.5, "plumb_bob", (0.1, 0.01, 0.0, 0.0, 0.0))


@given(
    k=st.lists(NUMBERS, min_size=9, max_size=9) | st.just(list(CAMERA.K.ravel())),
    d=st.lists(NUMBERS, max_size=15),
    p=st.lists(NUMBERS, min_size=12, max_size=12) | st.just([0.0] * 12),
    r=st.lists(NUMBERS, min_size=9, max_size=9) | st.just([0.0] * 9),
    model=st.sampled_from([*MODEL_NAMES, "PLUMB BOB", "fov", "?"]),
    sizes=st.tuples(*[st.integers(0, 5000)] * 2),
    binning=st.integers(0, 300),
    roi=st.tuples(*[st.integers(0, 5000)] * 4),
    rectified=st.booleans(),
)
def test_camera_infos(
    k: list[float], d: list[float], p: list[float], r: list[float], model: str, sizes: tuple[int, int], binning: int,
    roi: tuple[int, int, int, int], rectified: bool,
) -> None:  # fmt: skip
    region = SimpleNamespace(x_offset=roi[0], y_offset=roi[1], width=roi[2], height=roi[3], do_rectify=False)
    info = info_message(CAMERA, k=k, d=d, p=p, r=r, distortion_model=model, width=sizes[0], height=sizes[1])
    info.binning_x = info.binning_y = binning
    info.roi = region if roi[0] % 2 else info.roi
    found = answered(lambda: usable_camera(info, rectified, (64, 48)))
    if found is not None:
        camera, reason = found
        assert (camera is None) or (reason == "" and implausible(camera) is None and camera.delivered_size == (64, 48))


@given(
    size=st.tuples(st.integers(17, 4000), st.integers(17, 4000)),
    focal=st.floats(0.2, 10.0),
    centre=st.tuples(st.floats(0.1, 0.9), st.floats(0.1, 0.9)),
    lens=st.sampled_from([("none", 0), ("plumb_bob", 5), ("rational_polynomial", 8), ("equidistant", 4)]),
    strength=st.floats(-0.3, 0.3),
)
def test_cameras_that_there_are_go_through_messages_unchanged(
    size: tuple[int, int], focal: float, centre: tuple[float, float], lens: tuple[Any, int], strength: float
) -> None:
    name, count = lens
    model = (name, (strength,) * count) if strength or name == "equidistant" else ("none", ())
    camera = CameraModel(
        *size, focal * size[0], focal * size[0], centre[0] * size[0], centre[1] * size[1],
        distortion_model=model[0], distortion=model[1],
    )  # fmt: skip
    assert usable_camera(info_message(camera), image_size=size) == (camera, "")
    assert camera_from_info(info_message(camera)) == camera


@given(
    name=st.sampled_from([*MODEL_NAMES]),
    values=st.lists(st.floats(-2, 2), max_size=8),
    zeros=st.integers(0, 8),
    upper=st.booleans(),
)
def test_surplus_zeros_and_the_case_of_a_name_change_no_lens(
    name: str, values: list[float], zeros: int, upper: bool
) -> None:
    plain = answered(lambda: distortion_of(name, values))
    if plain is not None and len(values) >= 4:
        longer = distortion_of(name.upper() if upper else name, [*values, *[0.0] * zeros])
        trimmed = [tuple(np.trim_zeros(lens[1], "b")) for lens in (plain, longer)]
        assert trimmed[0] == trimmed[1] and longer[0] in (plain[0], "none")


@given(
    pixels=arrays.arrays(np.uint8, st.tuples(st.integers(1, 20), st.integers(1, 20), st.just(3))),
    encoding=st.sampled_from(["rgb8", "bgr8"]),
)
def test_pictures_come_back_as_they_went(pixels: np.ndarray, encoding: str) -> None:
    sent = pixels if encoding == "rgb8" else pixels[..., ::-1]
    back = rgb_from_message(SimpleNamespace(**image_fields(np.ascontiguousarray(sent), encoding)))
    np.testing.assert_array_equal(back, pixels)
    np.testing.assert_array_equal(decode_image(cv2.imencode(".png", pixels[..., ::-1])[1].tobytes()), pixels)


@given(depth=arrays.arrays(np.float32, (4, 6), elements=st.floats(width=32)))
def test_depth_of_any_content_is_encoded(depth: np.ndarray) -> None:
    back = depth_from_message(image_message(depth, "32FC1"))
    np.testing.assert_array_equal(back, depth)
    for encoding in ("32FC1", "16UC1"):
        fields = depth_fields(depth, encoding)
        assert len(fields["data"]) == fields["step"] * 4
        assert compressed_depth_fields(depth, encoding, 80.0)["format"].startswith(encoding)


@pytest.mark.parametrize("suffix", [*ENCODED, "16 bits"])
@given(data=st.data())
def test_picture_files(suffix: str, data: st.DataObject) -> None:
    content = data.draw(damaged(ENCODED.get(suffix, GREY16)))
    image = answered(lambda: decode_image(content))
    assert image is None or is_picture(image)


@given(data=st.binary(max_size=64) | st.lists(st.sampled_from(WORDS)).map(b"".join))
def test_bytes_that_are_no_picture(data: bytes) -> None:
    assert answered(lambda: decode_image(data)) is None
