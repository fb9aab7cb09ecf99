"""Decodes H.264 and H.265 in CompressedImage messages, with one access unit each, if PyAV is installed.

One message alone cannot be decoded: the decoder needs every message since a key frame, in order. A stream with
reordered frames (B-frames) delays its images. Such streams are rejected, because images would get wrong stamps.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.errors import ImageError
from featdepth_ros.messages.compressed import republish_hint, video_codec
from featdepth_ros.messages.images import rgb_from_message


class PictureReader:
    """Decodes the messages of one topic in order: single images, or a video stream."""

    def __init__(self) -> None:
        self._codec = ""
        self._decoder: Any = None
        self._count = 0

    def read(self, message: Any) -> NDArray[np.uint8]:
        """Return the image of a message as (H, W, 3) uint8 RGB; see `rgb_from_message`.

        Raises:
            ImageError: the message has no image. For a stream: PyAV is missing, there was no key frame yet, or messages
                are lost.
        """
        codec = video_codec(message)
        if not codec:
            return rgb_from_message(message)
        if codec != self._codec or self._decoder is None:
            self._decoder, self._codec = _decoder(codec), codec
        return self._decoded(bytes(memoryview(message.data)))

    def _decoded(self, data: bytes) -> NDArray[np.uint8]:
        import av

        self._count += 1
        packet = av.Packet(data)
        packet.pts = packet.dts = self._count
        try:
            frames = self._decoder.decode(packet)
        except av.FFmpegError as error:
            why = f"there was no key frame before it, or it is damaged ({error.strerror})"
            raise ImageError(f"a message of the {self._codec} video stream cannot be decoded: {why}") from error
        own = [frame for frame in frames if frame.pts == self._count]
        if own and not own[0].is_corrupt:
            return np.asarray(own[0].to_ndarray(format="rgb24"), dtype=np.uint8)
        if frames and not own:
            raise ImageError(
                f"the {self._codec} video stream has B-frames, which delay its images; encode it without B-frames "
                "(tune zerolatency)"
            )
        raise ImageError(
            f"the {self._codec} video stream has no image yet: a key frame is missing, or messages were lost"
        )


def _decoder(codec: str) -> Any:
    try:
        import av
    except ModuleNotFoundError as error:
        how = f"install PyAV to decode it (pip install 'featdepth_ros[video]'), or {republish_hint()}"
        raise ImageError(f"the message is part of an {codec} video stream; {how}") from error
    decoder = av.CodecContext.create(codec, "r")
    decoder.thread_count = 1  # frame threads would delay every image by one message
    decoder.flags |= av.codec.context.Flags.low_delay
    return decoder
