"""Helpers of the dataset writers: creation of folders, writing of images, pairing of left and right frames."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from featdepth_ros.errors import CalibrationError, RecordingError
from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.recordings.frame import Frame


def new_folder(path: Path) -> Path:
    """Create a folder that must not exist yet.

    Raises:
        RecordingError: it exists, or cannot be created.
    """
    try:
        path.mkdir(parents=True)
    except FileExistsError as error:
        raise RecordingError(f"'{path}' exists already; name another output or remove it") from error
    except OSError as error:
        raise RecordingError(f"'{path}' cannot be created: {error.strerror}") from error
    return path


def write_png(path: Path, image: NDArray[Any]) -> None:
    """Write an (H, W, 3) uint8 RGB or (H, W) uint16 image as PNG with low compression, which is fast.

    Raises:
        RecordingError: it cannot be written (disk full, no permission).
    """
    stored = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if image.ndim == 3 else image
    encoded, data = cv2.imencode(".png", stored, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    if not encoded:
        raise RecordingError(f"image '{path}' cannot be encoded")
    write_bytes(path, data.tobytes())


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file.

    Raises:
        RecordingError: it cannot be written.
    """
    try:
        path.write_bytes(data)
    except OSError as error:
        raise RecordingError(f"'{path}' cannot be written: {error.strerror}") from error


def pairs(frames: Iterable[Frame], right_frames: Iterable[Frame] | None) -> Iterator[tuple[Frame, Frame | None]]:
    """Yield (left, right) frames one pair at a time; right is None without right frames.

    Raises:
        RecordingError: one side ends before the other, or the stamps of a pair differ.
    """
    if right_frames is None:
        for left in frames:
            yield left, None
        return
    for left_or_none, right in zip_longest(frames, right_frames):
        if left_or_none is None or right is None:
            raise RecordingError("the left and the right camera have different numbers of frames; expected pairs")
        if left_or_none.stamp_ns != right.stamp_ns:
            raise RecordingError(
                f"frame {left_or_none.name}: left and right have the stamps {left_or_none.stamp_ns} and "
                f"{right.stamp_ns} ns; expected equal ones"
            )
        yield left_or_none, right


def required_camera(frame: Frame, layout: str) -> CameraModel:
    """Return the calibration of a frame, which dataset layouts require.

    Raises:
        CalibrationError: the frame has none, or one with region of interest, binning or rectification.
    """
    camera = frame.camera
    if camera is None:
        raise CalibrationError(f"frame {frame.name} has no calibration; a {layout} folder needs one")
    if camera.roi is not None or camera.binning != (1, 1) or camera.rectification is not None:
        raise CalibrationError(f"a {layout} folder cannot hold a region of interest, binning or rectification")
    return camera


def stereo_transform(left: Frame, right: Frame) -> NDArray[np.float64]:
    """Return T_left_right (4, 4) of a pair from its true poses.

    Raises:
        CalibrationError: a pose is missing, so that the baseline is not known.
    """
    if left.T_world_camera is None or right.T_world_camera is None:
        raise CalibrationError("the baseline of the stereo pair is unknown, because its frames have no poses")
    return se3.inverse(left.T_world_camera) @ right.T_world_camera
