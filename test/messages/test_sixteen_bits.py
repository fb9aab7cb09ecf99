"""16-bit pictures: contrast out of the bits that sensors fill, the same for messages and files, steady over frames."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from message_fields import compressed_message, image_message

from featdepth_ros.errors import ImageError
from featdepth_ros.messages.decode import decode_image
from featdepth_ros.messages.images import refuse_distances, rgb_from_message
from featdepth_ros.messages.sixteen_bits import eight_bits

RAMP = np.add.outer(np.arange(48) / 48, np.arange(64) / 64) / 2


@pytest.mark.parametrize(("dark", "values"), [(7600, 600), (0, 1000), (0, 4000), (0, 16_000), (30_000, 3000)], ids=str)
def test_the_bits_in_use_are_spread(dark: int, values: int) -> None:
    words = (dark + values * RAMP).astype(np.uint16)
    grey = eight_bits(words, grey=True)
    assert len(np.unique(grey)) > 100
    order = np.argsort(words.ravel(), kind="stable")
    assert (np.diff(grey.ravel()[order].astype(int)) >= 0).all()  # brighter stays brighter


def test_messages_and_files_give_the_same_picture() -> None:
    words = (7600 + 600 * RAMP).astype(np.uint16)
    expected = np.repeat(eight_bits(words, grey=True)[..., None], 3, axis=2)
    png = cv2.imencode(".png", words)[1].tobytes()
    for encoding in ("16UC1", "mono16", "MONO16"):
        np.testing.assert_array_equal(rgb_from_message(image_message(words, encoding)), expected)
    np.testing.assert_array_equal(rgb_from_message(compressed_message(png, "mono16; png compressed ")), expected)
    np.testing.assert_array_equal(decode_image(png), expected)


def test_the_range_is_steady_over_frames() -> None:
    rng = np.random.default_rng(1)
    frames = [(7600 + 600 * RAMP + rng.normal(0, 3, RAMP.shape)).astype(np.uint16) for _ in range(10)]
    pixel = [
        int(eight_bits(np.where(RAMP > 0.5, 7900, frame).astype(np.uint16), grey=True)[40, 60]) for frame in frames
    ]
    assert len(set(pixel)) == 1


def test_a_picture_without_contrast_stays_without() -> None:
    noise = np.random.default_rng(2).integers(24_150, 24_160, (48, 64)).astype(np.uint16)
    assert len(np.unique(eight_bits(noise, grey=True))) <= 2
    assert eight_bits(np.full((4, 4), 94 * 257, np.uint16), grey=True)[0, 0] == 94


def test_full_pictures_are_divided() -> None:
    words = np.arange(1 << 16, dtype=np.uint16).reshape(256, 256)
    np.testing.assert_array_equal(eight_bits(words, grey=True), np.rint(words / 257).astype(np.uint8))


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_colours_keep_their_zero_and_their_ratios(bits: int) -> None:
    colour = np.array([200, 40, 90])
    words = np.zeros((8, 8, 3), np.uint16)
    words[:, :4] = colour * ((1 << bits) - 1) // 255
    np.testing.assert_allclose(eight_bits(words, grey=False)[:, :4], np.broadcast_to(colour, (8, 4, 3)), atol=1)
    assert not eight_bits(words, grey=False)[:, 4:].any()


def test_a_16_bit_colour_file_keeps_its_colours(tmp_path: Path) -> None:
    bgr = np.empty((8, 8, 3), np.uint16)
    bgr[:] = (60 * 257, 40 * 257, 200 * 257)
    png = cv2.imencode(".png", bgr)[1].tobytes()
    np.testing.assert_array_equal(decode_image(png), np.broadcast_to([200, 40, 60], (8, 8, 3)))


@pytest.mark.parametrize("topic", ["/camera/depth/image_rect_raw", "/aligned_depth_to_color/image_raw", "/disparity"])
def test_distances_are_told_by_name_and_encoding(topic: str) -> None:
    values = np.full((48, 64), 1500, np.uint16)
    with pytest.raises(ImageError, match="holds distances"):
        refuse_distances(image_message(values, "16UC1"), topic)
    refuse_distances(image_message(values, "mono16"), topic)  # a grey picture says so itself
    refuse_distances(image_message(values, "16UC1"), "/thermal/image_raw")
    with pytest.raises(ImageError, match="holds measurements"):
        rgb_from_message(image_message(values.astype(np.float32), "32FC1"))
