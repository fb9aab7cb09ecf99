"""H.264 and H.265 in messages: decoded in order by PyAV, refused in words where that cannot be."""

from __future__ import annotations

import sys
from fractions import Fraction
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from message_fields import compressed_message

from featdepth_ros.errors import ImageError
from featdepth_ros.messages.compressed import video_codec
from featdepth_ros.messages.video import PictureReader

av = pytest.importorskip("av")


def picture(index: int) -> np.ndarray:
    """Return (64, 96, 3): smooth, with a bright bar that tells the frame."""
    ramp = np.linspace(40, 120, 96)[None, :, None] * np.ones((64, 1, 3))
    ramp[:, 8 * index : 8 * index + 8] = 230
    return ramp.astype(np.uint8)


def stream(codec: str, frames: int = 8, **options: str) -> list[bytes]:
    """Return the access units of a stream with a key frame every four frames."""
    encoder = av.CodecContext.create(codec, "w")
    encoder.width, encoder.height, encoder.pix_fmt = 96, 64, "yuv420p"
    encoder.time_base, encoder.gop_size = Fraction(1, 30), 4
    quiet = {"x265-params": "log-level=none:keyint=4:bframes=0"} if codec == "libx265" else {}
    encoder.options = {"preset": "ultrafast", "tune": "zerolatency", **quiet, **options}
    units = []
    for index in range(frames):
        frame = av.VideoFrame.from_ndarray(picture(index), format="rgb24")
        frame.pts = index
        units += [bytes(packet) for packet in encoder.encode(frame)]
    return units + [bytes(packet) for packet in encoder.encode(None)]


def bar(image: np.ndarray) -> int:
    return int(image.mean(axis=(0, 2)).reshape(-1, 8).mean(axis=1).argmax())


def needs(codec: str) -> None:
    if codec not in av.codecs_available:
        pytest.skip(f"this PyAV has no {codec}")


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
@pytest.mark.parametrize("named", [True, False])
def test_each_message_gives_its_own_picture(codec: str, named: bool) -> None:
    needs(codec)
    form = {"libx264": "h264", "libx265": "hevc"}[codec] if named else ""
    reader = PictureReader()
    messages = [compressed_message(unit, form) for unit in stream(codec)]
    assert len(messages) == 8
    assert {video_codec(m) for m in messages} == {"h264" if codec == "libx264" else "hevc"}
    pictures = [reader.read(message) for message in messages]
    assert [bar(image) for image in pictures] == list(range(8))
    assert pictures[0].shape == (64, 96, 3) and pictures[0].dtype == np.uint8
    assert np.abs(pictures[3].astype(int) - picture(3)).mean() < 12


def test_a_stream_begins_at_its_key_frame() -> None:
    needs("libx264")
    reader, units = PictureReader(), stream("libx264")
    for unit in units[2:4]:
        with pytest.raises(ImageError, match=r"key frame is missing|cannot be decoded"):
            reader.read(compressed_message(unit, "h264"))
    assert bar(reader.read(compressed_message(units[4], "h264"))) == 4


def test_pictures_that_come_late_are_refused() -> None:
    needs("libx264")
    reordered = {"x264-params": "bframes=3:b-adapt=0:scenecut=0"}
    units = stream("libx264", 12, tune="film", preset="medium", **reordered)
    reader, refused = PictureReader(), []
    for unit in units:
        try:
            reader.read(compressed_message(unit, "h264"))
        except ImageError as error:
            refused.append(str(error))
    assert any("zerolatency" in text for text in refused)


def test_pictures_by_themselves_go_through() -> None:
    jpeg = cv2.imencode(".jpg", picture(2)[..., ::-1])[1].tobytes()
    assert bar(PictureReader().read(compressed_message(jpeg, "jpeg"))) == 2
    assert video_codec(SimpleNamespace(encoding="rgb8")) == ""


def test_without_pyav_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ImageError, match=r"featdepth_ros\[video\].*republish"):
        PictureReader().read(compressed_message(b"\0\0\0\1\x67\x42\0\x1e" + bytes(60), ""))


def test_rubbish_in_a_stream_is_an_error_in_words() -> None:
    reader = PictureReader()
    rng = np.random.default_rng(0)
    for _ in range(20):
        data = b"\0\0\0\1" + rng.integers(0, 256, 80, dtype=np.uint8).tobytes()
        with pytest.raises(ImageError):
            reader.read(compressed_message(data, "h264"))
