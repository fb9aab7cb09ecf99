"""Reads image files, singly and as the recording of a list of files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.errors import CalibrationError, ImageError, RecordingError
from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.messages.decode import decode_image
from featdepth_ros.messages.plausibility import of_another_size
from featdepth_ros.recordings.calibration.stereo import Rig, longest_gap_ns, pair_by_stamp, unpaired_note, within
from featdepth_ros.recordings.files.depth_images import DepthUnit, read_depth
from featdepth_ros.recordings.frame import Frame, Partner
from featdepth_ros.recordings.recording import Recording


def read_image(path: Path) -> NDArray[np.uint8]:
    """Read an image file as (H, W, 3) uint8 RGB.

    Raises:
        ImageError: the file is unreadable, truncated or no image; the message has the reason without the path.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ImageError(f"the file cannot be read: {error.strerror}") from error
    return decode_image(data)


@dataclass(frozen=True)
class FrameFile:
    """One frame on disk: image, stamp (ns), optional depth file and pose, image and stamp of its partner."""

    image: Path
    stamp_ns: int
    name: str
    depth: Path | None = None
    T_world_camera: NDArray[np.float64] | None = None
    partner: Path | None = None
    partner_stamp_ns: int = 0


class FileRecording(Recording):
    """A recording with one image file per frame: folders of images, and datasets with such a layout.

    Attributes:
        folder: folder of the camera, if a dataset has other sensors beside it; else None.
    """

    def __init__(
        self,
        kind: str,
        name: str,
        files: Sequence[FrameFile],
        camera: CameraModel | None,
        rate_hz: float,
        depth_unit: DepthUnit | None = None,
    ) -> None:
        super().__init__(name, camera, rate_hz)
        self.kind = kind
        self._files = tuple(files)
        self._depth_unit = depth_unit
        self._rig: Rig | None = None
        self.folder: Path | None = None
        if not self._files:
            raise RecordingError(f"recording '{name}' ({kind}) has no frame")

    def add_partner(self, rig: Rig, partner_of: Sequence[tuple[int, Path] | None], how: str | None = None) -> None:
        """Add the images of a second camera to the frames.

        Args:
            rig: the second camera.
            partner_of: stamp (ns) and file of the partner for each frame; None for a frame without one.
            how: how the pairs were found, for notes; None: by stamp.

        Raises:
            RecordingError: no frame has a partner.
        """
        unpaired = sum(entry is None for entry in partner_of)
        note = unpaired_note(rig.name, unpaired, len(self._files), how or within(self.rate_hz))
        if unpaired == len(self._files):
            raise RecordingError(f"recording '{self.name}' has no stereo pairs: {note}")
        self._rig, self.partner_name = rig, rig.name
        self._files = tuple(
            file if entry is None else replace(file, partner=entry[1], partner_stamp_ns=entry[0])
            for file, entry in zip(self._files, partner_of, strict=True)
        )
        if unpaired:
            self.note(note)

    def __len__(self) -> int:
        return len(self._files)

    def _frames(self) -> Iterator[Frame]:
        return self._read(self._files)

    def frames_from(self, start: int) -> Iterator[Frame]:
        """Yield the frames from number ``start`` on, without reading the earlier ones."""
        self.skipped = []
        return self._read(self._files[start:])

    def _read(self, files: Sequence[FrameFile]) -> Iterator[Frame]:
        for file in files:
            try:
                image = read_image(file.image)
                self._check_size(image)
            except (ImageError, CalibrationError) as error:
                self._skip(file.image.name, str(error))
                continue
            partner = self._partner(file)
            yield Frame(image, file.stamp_ns, file.name, self.camera, self._depth(file), file.T_world_camera, partner)

    def _partner(self, file: FrameFile) -> Partner | None:
        if file.partner is None or self._rig is None:
            return None
        try:
            image = read_image(file.partner)
            check_size(self._rig.camera, (image.shape[1], image.shape[0]), self._rig.name)
        except (ImageError, CalibrationError) as error:
            self.note(f"frame {file.name} has no partner, because {self._rig.name}/{file.partner.name}: {error}")
            return None
        return Partner(image, file.partner_stamp_ns, self._rig.camera, self._rig.T_partner_camera)

    def _depth(self, file: FrameFile) -> NDArray[np.float32] | None:
        if file.depth is None or self._depth_unit is None:
            return None
        try:
            return read_depth(file.depth, self._depth_unit).astype(np.float32)
        except ImageError as error:
            self.note(str(error))
            return None

    def _check_size(self, image: NDArray[np.uint8]) -> None:
        if self.camera is not None:
            check_size(self.camera, (image.shape[1], image.shape[0]), self.name)


def paired_files(
    stamps_ns: Sequence[int], partner_files: Sequence[tuple[int, Path]], rate_hz: float
) -> list[tuple[int, Path] | None]:
    """Return the (stamp, file) of the partner for each stamp, or None; see `pair_by_stamp`."""
    indices = pair_by_stamp(stamps_ns, [stamp for stamp, _ in partner_files], longest_gap_ns(rate_hz))
    return [None if index is None else partner_files[index] for index in indices]


def check_size(camera: CameraModel, size: tuple[int, int], what: str) -> None:
    """Check that a calibration belongs to images of this size.

    Raises:
        CalibrationError: the delivered size of ``camera`` is not ``size`` (width, height).
    """
    reason = of_another_size(camera, size)
    if reason is not None:
        raise CalibrationError(
            f"'{what}': {reason}; give the calibration of these images (--camera FILE or fx,fy,cx,cy in their pixels)"
        )


def why_unreadable(files: Sequence[Path]) -> str:
    """Return why the first of these unreadable files cannot be read, as the end of an error message."""
    for path in files:
        try:
            read_image(path)
        except ImageError as error:
            return f": {path.name}: {error}"
    return ""


def first_size(files: Sequence[Path]) -> tuple[int, int] | None:
    """Return (width, height) of the first readable image, or None when none is readable."""
    for path in files:
        try:
            image = read_image(path)
        except ImageError:
            continue
        return image.shape[1], image.shape[0]
    return None
