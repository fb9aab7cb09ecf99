"""Reads videos with OpenCV; stamps come from the container."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from featdepth_ros.errors import RecordingError
from featdepth_ros.recordings.calibration.files import CameraArgument, resolve_camera
from featdepth_ros.recordings.files.images import check_size
from featdepth_ros.recordings.frame import Frame
from featdepth_ros.recordings.recording import DEFAULT_RATE_HZ, Recording

VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".ogv")


class VideoRecording(Recording):
    """A video file. Stamps count from the start of the video; the number of frames is the container's.

    Raises:
        RecordingError: no frame can be decoded.
        CalibrationError: ``camera`` is malformed or for another image size.
    """

    kind = "video"

    def __init__(self, path: Path, camera: CameraArgument, rate_hz: float | None) -> None:
        super().__init__(path.stem, None, DEFAULT_RATE_HZ)
        self._path = path
        capture = self._capture()
        try:
            decoded, image = capture.read()
            if not decoded or image is None:
                raise RecordingError(f"video '{path}' has no frame that can be decoded; convert it with ffmpeg")
            size = (image.shape[1], image.shape[0])
            container_hz = float(capture.get(cv2.CAP_PROP_FPS))
            count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
            if count <= 0:  # a stream without an index
                count = 1
                while capture.grab():
                    count += 1
        finally:
            capture.release()
        self._count = count
        self._given_hz = rate_hz
        self.rate_hz = rate_hz or (container_hz if 0.0 < container_hz < 1000.0 else DEFAULT_RATE_HZ)
        self.camera = resolve_camera(camera, size)
        if self.camera is not None:
            check_size(self.camera, size, self.name)

    def __len__(self) -> int:
        return self._count

    def _capture(self) -> cv2.VideoCapture:
        capture = cv2.VideoCapture(str(self._path))
        if not capture.isOpened():
            capture.release()
            raise RecordingError(f"video '{self._path}' cannot be opened; this OpenCV may not support its format")
        return capture

    def _frames(self) -> Iterator[Frame]:
        capture = self._capture()
        previous = -1
        index = 0
        try:
            while True:
                decoded, image = capture.read()
                if not decoded or image is None:
                    break
                stamp = round(float(capture.get(cv2.CAP_PROP_POS_MSEC)) * 1e6)
                if self._given_hz is not None or stamp <= previous:  # a given rate, or a container without times
                    stamp = max(round(index * 1e9 / self.rate_hz), previous + 1)
                previous = stamp
                rgb = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)
                yield Frame(rgb, stamp, f"{index:06d}", self.camera)
                index += 1
        finally:
            capture.release()
        if index < self._count:
            self.note(f"{index} of the {self._count} frames the container announces could be decoded")
