"""Pairs of image and ground-truth depth from the usual depth benchmarks, by their published protocols.

It reads local folders only and downloads nothing. File names and units are in `recordings.datasets.layouts`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.errors import EvaluationError, ImageError
from featdepth_ros.metrics import associate, calibration_entry, kitti_velodyne_projection, lidar_depth_map
from featdepth_ros.metrics.depth import CropName
from featdepth_ros.recordings.datasets import layouts
from featdepth_ros.recordings.datasets.singles import read_make3d_grid
from featdepth_ros.recordings.datasets.tables import labelled
from featdepth_ros.recordings.files.depth_images import read_depth
from featdepth_ros.recordings.files.images import read_image
from featdepth_ros.recordings.files.names import image_files
from featdepth_ros.reporting.depth_maps import listed
from featdepth_ros.reporting.truth_archive import read_truth_archive

KittiTruth = Literal["eigen", "eigen_laser", "improved"]

#: Crop and largest evaluated depth (metres) of each data set.
PROTOCOLS: dict[str, tuple[CropName, float]] = {
    "kitti_raw": ("garg", 80.0),
    "kitti_odom": ("garg", 80.0),
    "tum": ("none", 10.0),
    "nyu": ("nyu", 10.0),
    "seven_scenes": ("none", 10.0),
    "make3d": ("none", 70.0),
}


@dataclass(frozen=True)
class Sample:
    """One image and its ground truth, which are read on access.

    Attributes:
        name: name of the sample in messages.
        image: returns (H, W, 3) uint8 RGB.
        truth: returns (H', W') metres, 0 or NaN where unknown.
    """

    name: str
    image: Callable[[], NDArray[np.uint8]]
    truth: Callable[[], NDArray[np.float64]]


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """Read an image as (H, W, 3) uint8 RGB.

    Raises:
        EvaluationError: the file cannot be read; the message names it.
    """
    try:
        return read_image(path)
    except ImageError as error:
        raise EvaluationError(f"{path}: {error}") from error


def _lines(split: Path | None) -> list[list[str]] | None:
    if split is None:
        return None
    try:
        rows = [line.split() for line in split.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise EvaluationError(f"the split {split} cannot be read: {error}") from error
    if not rows:
        raise EvaluationError(f"the split {split} names no frame; expected one frame per line")
    return rows


def _images(folder: Path) -> list[Path]:
    return image_files(folder) if folder.is_dir() else []


def _points(path: Path) -> NDArray[np.float32]:
    values = np.fromfile(path, dtype=np.float32)
    if values.size % 4:
        raise EvaluationError(f"{path} holds {values.size} numbers; expected 4 per point (x y z reflectance)")
    return values.reshape(-1, 4)


def _frame(words: Sequence[str], split: Path | None) -> tuple[int, str]:
    if len(words) < 2 or not words[1].isdecimal() or (words[2:] and words[2] not in ("l", "r")):
        raise EvaluationError(f"{split}: line '{' '.join(words)}' is invalid; expected 'folder frame l|r'")
    return int(words[1]), words[2] if len(words) > 2 else "l"


def _kitti_raw(
    root: Path, split: Path | None, kind: KittiTruth, archive: Sequence[NDArray[np.floating]] | None = None
) -> list[Sample]:
    def truth_path(folder: str, camera: int, number: int) -> Path:
        if kind == "improved":
            drive = Path(folder).name
            drives = (root / folder, root / drive, root / "train" / drive, root / "val" / drive)
            return layouts.kitti_accumulated_depth(drives, camera, number)
        return layouts.kitti_raw_laser(root / folder, number)

    def read_truth(path: Path, folder: str, camera: int) -> NDArray[np.float64]:
        if kind == "improved":
            return read_depth(path, layouts.KITTI_DEPTH)
        day = root / Path(folder).parent
        calibrations = (labelled(day / "calib_cam_to_cam.txt"), labelled(day / "calib_velo_to_cam.txt"))
        projection, shape = kitti_velodyne_projection(*calibrations, camera)
        return lidar_depth_map(_points(path), projection, shape, kind == "eigen_laser").astype(np.float64)

    lines = _lines(split)
    if lines is None:
        drives = [path for path in sorted(root.glob("*/*_sync")) if path.is_dir()]
        images = [(d.relative_to(root).as_posix(), p) for d in drives for p in _images(layouts.kitti_raw_images(d, 2))]
        lines = [
            [folder, image.stem, "l"]
            for folder, image in images
            if image.stem.isdecimal() and truth_path(folder, 2, int(image.stem)).is_file()
        ]
    if archive is not None and len(archive) != len(lines):
        raise EvaluationError(
            f"the ground-truth archive holds {len(archive)} maps, but {split} names {len(lines)} frames; "
            "expected one map per frame"
        )
    samples = []
    for position, words in enumerate(lines):
        number, side = _frame(words, split)
        folder, camera = words[0], {"l": 2, "r": 3}[side]
        image = layouts.kitti_raw_image(root / folder, camera, number)
        if archive is not None:
            samples.append(_archived(f"{folder} {number} {side}", image, archive[position]))
            continue
        truth = truth_path(folder, camera, number)
        samples.append(_sample(f"{folder} {number} {side}", image, truth, read_truth, folder, camera))
    return samples


def _kitti_odom(root: Path, split: Path | None) -> list[Sample]:
    sequences = root / "sequences" if (root / "sequences").is_dir() else root

    def read_truth(path: Path, folder: Path, image: Path) -> NDArray[np.float64]:
        entries = labelled(folder / "calib.txt")
        try:
            P = calibration_entry(entries, f"P{image.parent.name[-1]}", (3, 4))
            laser = calibration_entry(entries, "Tr", (3, 4))
        except EvaluationError as error:
            raise EvaluationError(f"{folder / 'calib.txt'}: {error}") from error
        T_camera_laser = np.vstack([laser, [0, 0, 0, 1]])
        shape = read_rgb(image).shape
        return lidar_depth_map(_points(path), P @ T_camera_laser, (shape[0], shape[1])).astype(float)

    lines = _lines(split)
    if lines is None:
        clouds = sorted(sequences.glob("*/velodyne/*.bin"))
        lines = [[p.parents[1].name, p.stem, "l"] for p in clouds if p.stem.isdecimal()]
    samples = []
    for words in lines:
        number, side = _frame(words, split)
        folder = sequences / (f"{int(words[0]):02d}" if words[0].isdecimal() else words[0])
        image = layouts.kitti_odometry_image(folder, (2, 0) if side == "l" else (3, 1), number)
        truth = layouts.kitti_odometry_laser(folder, number)
        samples.append(_sample(f"{folder.name} {number} {side}", image, truth, read_truth, folder, image))
    return samples


def _seven_scenes(root: Path, split: Path | None) -> list[Sample]:
    images = _chosen(layouts.seven_scenes_images(root, below=True), root, split, strip=".color")
    return [
        _sample(str(p.relative_to(root)), p, layouts.seven_scenes_depth(p), read_depth, layouts.SEVEN_SCENES_DEPTH)
        for p in images
    ]


def _tum(root: Path, split: Path | None) -> list[Sample]:
    colour, depth = layouts.tum_images(root, "rgb"), layouts.tum_images(root, "depth")
    of_depth, of_colour = associate(
        [stamp for stamp, _ in depth], [stamp for stamp, _ in colour], layouts.TUM_DIFFERENCE_NS
    )
    pairs = {colour[c][1]: depth[d][1] for c, d in zip(of_colour, of_depth, strict=True)}
    images = _chosen(list(pairs), root, split)
    return [_sample(p.name, p, pairs[p], read_depth, layouts.TUM_DEPTH) for p in images]


def _nyu(root: Path, split: Path | None) -> list[Sample]:
    lines = _lines(split)
    if lines is not None and all(len(words) >= 2 for words in lines):
        pairs = [(root / words[0].lstrip("/"), root / words[1].lstrip("/")) for words in lines]
    else:
        images = _chosen(layouts.nyu_images(root, below=True), root, split)
        pairs = [(image, layouts.nyu_depth(image)) for image in images]
    return [
        _sample(str(image.relative_to(root)), image, depth, read_depth, layouts.NYU_DEPTH) for image, depth in pairs
    ]


def _make3d(root: Path, split: Path | None) -> list[Sample]:
    """Return ``Test134/img-*.jpg`` with ``Gridlaserdata/depth_sph_corr-*.mat``, both cropped to the central 2:1."""

    def middle(values: NDArray[np.generic], rows: int) -> slice:
        start = (values.shape[0] - rows) // 2
        return slice(start, start + rows)

    def read_truth(path: Path) -> NDArray[np.float64]:
        grid = read_make3d_grid(path)
        # 21 of the 55 laser rows correspond to the central 2:1 crop of the image, as in published evaluations.
        return grid[middle(grid, 21)]

    def read_image(path: Path) -> NDArray[np.uint8]:
        image = read_rgb(path)
        return image[middle(image, image.shape[1] // 2)]

    folder, truth = layouts.make3d_folders(root) or (root, root)
    images = _chosen(sorted(folder.glob("img-*.jpg")), root, split)
    samples = []
    for path in images:
        sample = _sample(path.name, path, truth / layouts.make3d_grid(path), read_truth)
        samples.append(Sample(sample.name, lambda path=path: read_image(path), sample.truth))  # type: ignore[misc]
    return samples


def _chosen(images: Sequence[Path], root: Path, split: Path | None, strip: str = "") -> list[Path]:
    """Return the images in order, or only those that a split names by relative path, file name or stem."""
    lines = _lines(split)
    if lines is None:
        return list(images)
    names: dict[str, Path] = {}
    for path in images:
        relative = path.relative_to(root).as_posix()
        for name in (relative, path.name, path.stem, path.stem.removesuffix(strip)):
            names.setdefault(name, path)
    unknown = [words[0] for words in lines if words[0] not in names]
    if unknown:
        raise EvaluationError(f"{split} names {len(unknown)} images that are not in {root}: {listed(unknown)}")
    return [names[words[0]] for words in lines]


def _sample(
    name: str, image: Path | None, truth: Path, read_truth: Callable[..., NDArray[np.float64]], *extra: object
) -> Sample:
    if image is None or not image.is_file():
        raise EvaluationError(f"{name}: no image" + (f" at {image}" if image else " (.png, .jpg)"))
    if not truth.is_file():
        raise EvaluationError(f"{name}: no ground-truth depth at {truth}")
    return Sample(name, lambda: read_rgb(image), lambda: read_truth(truth, *extra))


def _archived(name: str, image: Path | None, depth: NDArray[np.floating]) -> Sample:
    if image is None:
        raise EvaluationError(f"{name}: no image (.png, .jpg)")
    return Sample(name, lambda: read_rgb(image), lambda: np.asarray(depth, np.float64))


def open_dataset(
    name: str,
    root: str | Path,
    split: str | Path | None,
    truth: KittiTruth = "eigen",
    archive: str | Path | None = None,
) -> list[Sample]:
    """Return the samples of a data set.

    Args:
        name: a key of `PROTOCOLS`.
        root: the data set's folder.
        split: file with one frame per line: ``date/drive frame l|r`` (kitti_raw), ``sequence frame l|r`` (kitti_odom),
            image and depth path (nyu), else an image's relative path, file name or stem. None: every frame with truth.
        truth: ground truth of kitti_raw: projected laser points, or the accumulated maps of the depth benchmark.
        archive: for kitti_raw, a ``gt_depths.npz`` with the ground truth of the split's frames, in the same order.

    Raises:
        EvaluationError: the folder, an image or its ground truth is missing, the split is malformed, or no frame is
            found.
        RecordingError: a list of images is missing or malformed.
    """
    folder = Path(root).expanduser()
    if not folder.is_dir():
        raise EvaluationError(f"no folder at {folder}")
    lines = Path(split).expanduser() if split else None
    if archive is not None and (name != "kitti_raw" or lines is None):
        raise EvaluationError("a ground-truth archive needs kitti_raw and a split; give both")
    if name == "kitti_raw":
        maps = None if archive is None else read_truth_archive(archive)
        samples = _kitti_raw(folder, lines, truth, maps)
    else:
        readers = {
            "kitti_odom": _kitti_odom, "tum": _tum, "nyu": _nyu, "seven_scenes": _seven_scenes, "make3d": _make3d
        }  # fmt: skip
        if name not in readers:
            raise EvaluationError(f"the data set '{name}' is unknown; expected one of {', '.join(PROTOCOLS)}")
        samples = readers[name](folder, lines)
    if not samples:
        raise EvaluationError(f"{folder} holds no image with ground-truth depth in the layout of {name}")
    return samples
