"""File layouts of public datasets, and the units of their depth images.

Readers, writers and the evaluation of depth all use these names and units.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from featdepth_ros.errors import RecordingError
from featdepth_ros.recordings.datasets import tables
from featdepth_ros.recordings.files.depth_images import DepthUnit
from featdepth_ros.recordings.files.names import IMAGE_SUFFIXES, natural_key

KITTI_DEPTH = DepthUnit(256.0)
TUM_DEPTH = DepthUnit(5000.0)
NYU_DEPTH = DepthUnit(1000.0)
SEVEN_SCENES_DEPTH = DepthUnit(1000.0, (0, 65535))
#: Longest time (ns) between a colour and a depth image of TUM that form a pair, as in TUM's associate.py.
TUM_DIFFERENCE_NS = 20_000_000

KITTI_ODOMETRY_CAMERAS, KITTI_RAW_CAMERAS = "image_[0-3]", "image_0[0-3]"


def camera_folders(folder: Path, pattern: str) -> list[Path]:
    """Return the folders of a KITTI recording's cameras, in order of their names."""
    return sorted(path for path in folder.glob(pattern) if path.is_dir())


def kitti_odometry_image(sequence: Path, cameras: Sequence[int], frame: int) -> Path | None:
    """Return the image file of a frame from the first of these cameras that has it; None if none has."""
    return _existing(sequence / f"image_{camera}" / f"{frame:06d}" for camera in cameras)


def kitti_odometry_laser(sequence: Path, frame: int) -> Path:
    """Return the file of a frame's laser points."""
    return sequence / "velodyne" / f"{frame:06d}.bin"


def kitti_raw_images(drive: Path, camera: int | str) -> Path:
    """Return the folder of a raw drive's images, given the camera's number."""
    return drive / f"image_{int(camera):02d}" / "data"


def kitti_raw_image(drive: Path, camera: int, frame: int) -> Path | None:
    """Return the image file of a frame of a raw drive; None if it does not exist."""
    return _existing([kitti_raw_images(drive, camera) / f"{frame:010d}"])


def kitti_raw_laser(drive: Path, frame: int) -> Path:
    """Return the file of a frame's laser points in a raw drive."""
    return drive / "velodyne_points" / "data" / f"{frame:010d}.bin"


def kitti_accumulated_depth(roots: Sequence[Path], camera: int, frame: int) -> Path:
    """Return the file of a frame in the depth benchmark, in the first of these drive folders that has it."""
    files = [root / f"proj_depth/groundtruth/image_{camera:02d}/{frame:010d}.png" for root in roots]
    return next((file for file in files if file.is_file()), files[0])


def seven_scenes_images(folder: Path, below: bool = False) -> list[Path]:
    """Return the colour images ``frame-000000.color.png`` of a sequence, or of all sequences below a folder."""
    pattern = "frame-*.color.*"
    return sorted(folder.rglob(pattern) if below else folder.glob(pattern), key=_order)


def seven_scenes_stem(image: Path) -> str:
    """Return ``frame-000000`` for ``frame-000000.color.png``; ``.depth.png`` and ``.pose.txt`` are beside it."""
    return image.name.split(".", 1)[0]


def seven_scenes_depth(image: Path) -> Path:
    """Return the depth image of a colour image."""
    return image.with_name(f"{seven_scenes_stem(image)}.depth.png")


def nyu_images(folder: Path, below: bool = False) -> list[Path]:
    """Return the colour images ``rgb_00000.jpg`` of a NYU scene, or of all scenes below a folder."""
    paths = folder.rglob("rgb_*") if below else folder.glob("rgb_*")
    return sorted((path for path in paths if path.suffix.lower() in IMAGE_SUFFIXES), key=_order)


def nyu_number(image: Path) -> str:
    """Return ``00000`` for ``rgb_00000.jpg``."""
    return image.stem.removeprefix("rgb_")


def nyu_depth(image: Path) -> Path:
    """Return the registered depth image of a colour image."""
    return image.with_name(f"sync_depth_{nyu_number(image)}.png")


def tum_images(folder: Path, kind: str) -> list[tuple[int, Path]]:
    """Return (stamp in ns, file) of the images that TUM's list ``<kind>.txt`` names, in order of time.

    Args:
        folder: the recording.
        kind: ``rgb`` or ``depth``.

    Raises:
        RecordingError: there is no such list, or a line is malformed.
    """
    path = folder / f"{kind}.txt"
    listed: list[tuple[int, Path]] = []
    for line, fields in tables.rows(path):
        if not listed and fields[0][:1].isalpha():
            continue  # a heading without '#'
        if len(fields) < 2:
            raise RecordingError(f"{path}, line {line}: expected 'seconds file', found {fields}")
        listed.append((tables.parse_stamp_ns(fields[0], path, line), folder / fields[1]))
    return sorted(listed)


def make3d_folders(path: Path) -> tuple[Path, Path] | None:
    """Return the folders of Make3D's images and laser grids, of its training or test set; None if there is neither."""
    pairs = (("Train400Img", "Train400Depth"), ("Test134", "Gridlaserdata"), ("Test134Img", "Test134Depth"), ("", ""))
    for images, grids in pairs:
        folders = path / images, path / grids
        complete = all(folder.is_dir() for folder in folders) and next(folders[1].glob("depth_sph_corr-*.mat"), None)
        if complete and next(folders[0].glob("img-*.jpg"), None) is not None:
            return folders
    return None


def make3d_grid(image: Path) -> str:
    """Return the file name of the laser grid that belongs to an image ``img-*.jpg``."""
    return f"depth_sph_corr-{image.stem.removeprefix('img-')}.mat"


def _existing(stems: Iterable[Path]) -> Path | None:
    files = (stem.with_name(stem.name + suffix) for stem in stems for suffix in IMAGE_SUFFIXES)
    return next((file for file in files if file.is_file()), None)


def _order(path: Path) -> tuple[str, tuple[tuple[int, int, str], ...]]:
    return str(path.parent), natural_key(path)
