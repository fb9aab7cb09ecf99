"""H.264 and H.265 in CompressedImage messages, one access unit each, decoded by PyAV where it is installed.

A piece of a stream is no picture by itself: decoding needs every message from a key frame on, in order. A stream with
reordered frames gives pictures late; such ones are refused, because their stamps would be another picture's.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.errors import ImageError
from featdepth_ros.messages.compressed import republish_hint, video_codec
from featdepth_ros.messages.images import rgb_from_message


class PictureReader:
    """Pictures of one topic's messages, in order: each by itself, or decoded from a video stream."""

    def __init__(self) -> None:
        self._codec = ""
        self._decoder: Any = None
        self._count = 0

    def read(self, message: Any) -> NDArray[np.uint8]:
        """Return the picture of a message as (H, W, 3) uint8 RGB; see `rgb_from_message`.

        Raises:
            ImageError: no picture; of a stream: PyAV is missing, no key frame came yet, or pieces are lost.
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
            why = f"no key frame came before it, or it is damaged ({error.strerror})"
            raise ImageError(f"a piece of the {self._codec} video stream cannot be decoded: {why}") from error
        own = [frame for frame in frames if frame.pts == self._count]
        if own and not own[0].is_corrupt:
            return np.asarray(own[0].to_ndarray(format="rgb24"), dtype=np.uint8)
        if frames and not own:
            raise ImageError(
                f"the {self._codec} video stream gives pictures late (B-frames); encode it without: tune zerolatency"
            )
        raise ImageError(
            f"no picture of the {self._codec} video stream yet: a key frame is missing, or pieces were lost"
        )


def _decoder(codec: str) -> Any:
    try:
        import av
    except ModuleNotFoundError as error:
        how = f"PyAV decodes it (pip install 'featdepth_ros[video]'); or {republish_hint()}"
        raise ImageError(f"a piece of an {codec} video stream: {how}") from error
    decoder = av.CodecContext.create(codec, "r")
    decoder.thread_count = 1  # threads of frames would give every picture one message late
    decoder.flags |= av.codec.context.Flags.low_delay
    return decoder
