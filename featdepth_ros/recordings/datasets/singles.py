"""Datasets of single images with depth: NYU Depth V2's labelled part, and Make3D.

Their frames have no neighbours. So the stamps of consecutive images are ten seconds apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from featdepth_ros.errors import ImageError, MissingDependencyError, RecordingError
from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.recordings.calibration.files import CameraArgument, resolve_camera
from featdepth_ros.recordings.datasets import layouts
from featdepth_ros.recordings.datasets.rgbd import NYU_CALIBRATION
from featdepth_ros.recordings.files.images import check_size, first_size, read_image
from featdepth_ros.recordings.frame import Frame
from featdepth_ros.recordings.recording import Recording

APART_NS = 10_000_000_000
#: Frames per second, which correspond to ten seconds between images.
RATE_HZ = 0.1
#: Distance in metres that Make3D's laser reports without an echo.
MAKE3D_FARTHEST_M = 80.0


def is_nyu_labelled(path: Path) -> bool:
    """Return whether a file may be NYU's ``nyu_depth_v2_labeled.mat``."""
    return path.suffix.lower() == ".mat" and path.is_file()


class LabelledNyu(Recording):
    """NYU's 1449 labelled images with filled depth, read one by one from a MATLAB 7.3 file (HDF5).

    Raises:
        RecordingError: the file has no such arrays.
        MissingDependencyError: h5py is not installed.
        CalibrationError: ``camera`` does not fit the images.
    """

    kind = "nyu"

    def __init__(self, path: Path, camera: CameraArgument) -> None:
        super().__init__(path.stem, None, RATE_HZ)
        self._path = path
        with self._file() as file:
            shapes = {name: file[name].shape for name in ("images", "depths") if name in file}
            if set(shapes) != {"images", "depths"} or len(shapes["images"]) != 4 or shapes["images"][1] != 3:
                listed = ", ".join(f"{name} {shape}" for name, shape in shapes.items()) or ", ".join(map(str, file))
                raise RecordingError(f"{path} holds {listed}; expected images (N, 3, W, H) and depths (N, W, H)")
        self._count, _, width, height = shapes["images"]
        self.camera = resolve_camera(camera, (width, height)) or CameraModel(640, 480, *NYU_CALIBRATION)
        check_size(self.camera, (width, height), self.name)

    def _file(self) -> Any:
        try:
            import h5py
        except ImportError as error:
            raise MissingDependencyError(
                f"reading {self._path} needs h5py; install it with: pip install 'featdepth_ros[datasets]'"
            ) from error
        try:
            return h5py.File(self._path, "r")
        except OSError as error:
            raise RecordingError(f"{self._path} is not a MATLAB file of version 7.3 (HDF5): {error}") from error

    def __len__(self) -> int:
        return int(self._count)

    def _frames(self) -> Iterator[Frame]:
        return self.frames_from(0)

    def frames_from(self, start: int) -> Iterator[Frame]:
        """Yield the frames from number ``start`` on, without reading the earlier ones."""
        self.skipped = []
        with self._file() as file:
            for number in range(start, len(self)):
                # MATLAB stores arrays column-major: its (H, W, 3, N) is (N, 3, W, H) here.
                image = np.ascontiguousarray(file["images"][number].transpose(2, 1, 0), np.uint8)
                depth = np.ascontiguousarray(file["depths"][number].T, np.float32)
                known = np.where(depth > 0, depth, np.float32(np.nan))
                yield Frame(image, number * APART_NS, f"{number:06d}", self.camera, known)


def is_make3d(path: Path) -> bool:
    """Return whether a folder holds Make3D's images beside its laser grids."""
    return layouts.make3d_folders(path) is not None


class Make3d(Recording):
    """Make3D's images with laser grids of 55x305 readings; each pixel gets the depth of the nearest reading.

    The dataset has no calibration.

    Raises:
        RecordingError: no image can be read.
        CalibrationError: ``camera`` does not fit the images.
    """

    kind = "make3d"

    def __init__(self, path: Path, camera: CameraArgument) -> None:
        super().__init__(path.name, None, RATE_HZ)
        folders = layouts.make3d_folders(path)
        assert folders is not None
        self._images, self._grids = sorted(folders[0].glob("img-*.jpg")), folders[1]
        size = first_size(self._images)
        if size is None:
            raise RecordingError(f"none of the {len(self._images)} images in '{folders[0]}' can be read")
        self.camera = resolve_camera(camera, size)
        if self.camera is not None:
            check_size(self.camera, size, self.name)

    def __len__(self) -> int:
        return len(self._images)

    def _frames(self) -> Iterator[Frame]:
        for number, file in enumerate(self._images):
            try:
                image = read_image(file)
            except ImageError as error:
                self._skip(file.name, str(error))
                continue
            yield Frame(image, number * APART_NS, file.stem, self.camera, self._depth(file, image.shape[:2]))

    def _depth(self, image: Path, shape: tuple[int, ...]) -> NDArray[np.float32] | None:
        file = self._grids / layouts.make3d_grid(image)
        if not file.is_file():
            return None
        try:
            grid = read_make3d_grid(file).astype(np.float32)
        except RecordingError as error:
            self.note(str(error))
            return None
        known = np.where((grid > 0) & (grid < MAKE3D_FARTHEST_M), grid, np.float32(np.nan))
        resized: NDArray[np.float32] = cv2.resize(known, shape[1::-1], interpolation=cv2.INTER_NEAREST_EXACT)
        return resized


def read_make3d_grid(file: Path) -> NDArray[np.float64]:
    """Return the (55, 305) distances of a ``depth_sph_corr-*.mat``, metres.

    Raises:
        RecordingError: the file is unreadable or has no ``Position3DGrid``.
        MissingDependencyError: scipy is not installed.
    """
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise MissingDependencyError(
            "Make3D's .mat files need scipy; install it with: pip install 'featdepth_ros[datasets]'"
        ) from error
    try:
        grid = np.asarray(loadmat(file)["Position3DGrid"], dtype=np.float64)
        return np.asarray(grid[..., 3])
    except (OSError, ValueError, KeyError, IndexError, NotImplementedError) as error:
        raise RecordingError(f"{file} has no Position3DGrid with four numbers per reading: {error!r}") from error
