"""Reading of depth maps from ``.npy`` (float) and 16-bit PNG files, and pairing of predictions and ground truth."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.errors import EvaluationError, ImageError
from featdepth_ros.recordings.datasets.layouts import KITTI_DEPTH
from featdepth_ros.recordings.files.depth_images import DepthUnit, read_depth

#: KITTI's 16-bit PNG: value / 256 is metres, 0 is unknown.
KITTI_DIVISOR = KITTI_DEPTH.per_metre
_SUFFIXES = (".npy", ".png")
_LISTED = 10


def read_array(path: Path) -> NDArray[Any]:
    """Read the numbers of a ``.npy`` file.

    Raises:
        EvaluationError: the file cannot be read, or does not hold numbers.
    """
    try:
        values = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise EvaluationError(f"{path} cannot be read as a numeric .npy array: {error}") from error
    if values.dtype.kind not in "fiu":
        raise EvaluationError(f"{path} holds {values.dtype}; expected numbers")
    return np.asarray(values)


def read_depth_map(path: str | Path, divisor: float = KITTI_DIVISOR) -> NDArray[np.float64]:
    """Read one depth map.

    Args:
        path: ``.npy`` with (H, W), (1, H, W) or (H, W, 1) numbers, which are not scaled; or a 16-bit PNG.
        divisor: a PNG's values divided by this are metres; its zeros are unknown.

    Returns:
        (H, W) float64; NaN where a PNG is 0.

    Raises:
        EvaluationError: the file cannot be read, is not a single map, or has 8 bits.
    """
    source = Path(path)
    if source.suffix == ".npy":
        values = read_array(source)
        if values.ndim == 3 and 1 in (values.shape[0], values.shape[2]):
            values = values[0] if values.shape[0] == 1 else values[..., 0]
        if values.ndim != 2 or values.size == 0:
            raise EvaluationError(f"{source} has shape {values.shape}; expected (height, width)")
        return values.astype(np.float64)
    try:
        return read_depth(source, DepthUnit(divisor))
    except ImageError as error:
        raise EvaluationError(str(error)) from error


def maps_by_stem(folder: str | Path, what: str, inside: str = "depth") -> dict[str, Path]:
    """Return the maps of a folder by stem, in name order.

    Args:
        folder: folder of maps, or an output folder of `featdepth infer`.
        what: name of the folder in messages.
        inside: the subfolder in which `infer` writes the maps. It is searched first, because `infer` writes another
            array beside it.

    Raises:
        EvaluationError: the folder is missing, holds no map, or holds two maps with the same stem.
    """
    source = Path(folder).expanduser()
    if not source.is_dir():
        raise EvaluationError(f"{what}: no folder at {source}")
    for directory in (source / inside, source):
        if not directory.is_dir():
            continue
        maps: dict[str, Path] = {}
        for path in sorted(p for p in directory.iterdir() if p.suffix in _SUFFIXES):
            if path.stem in maps:
                raise EvaluationError(
                    f"{what}: {maps[path.stem].name} and {path.name} share a stem; expected one map per frame"
                )
            maps[path.stem] = path
        if maps:
            return maps
    raise EvaluationError(f"{what}: {source} holds no {inside} map; expected <stem>.npy or 16-bit <stem>.png")


def listed(names: Sequence[str]) -> str:
    """Return the first names of a list, and how many more there are."""
    more = len(names) - _LISTED
    return ", ".join(names[:_LISTED]) + (f" and {more} more" if more > 0 else "")


def pair_folders(predictions: str | Path, truth: str | Path) -> tuple[list[tuple[str, Path, Path]], list[str]]:
    """Pair maps by stem.

    Returns:
        (stem, prediction, truth) in name order, and the stems of predictions without ground truth.

    Raises:
        EvaluationError: a folder is missing or empty, or ground truth has no prediction; the message lists the stems.
    """
    predicted, true = maps_by_stem(predictions, "predictions"), maps_by_stem(truth, "ground truth")
    missing = [stem for stem in true if stem not in predicted]
    extra = [stem for stem in predicted if stem not in true]
    if missing:
        words = f"{len(missing)} of {len(true)} true depth maps have no prediction: {listed(missing)}"
        if extra:
            words += f"; {len(extra)} predictions have no truth: {listed(extra)}"
        raise EvaluationError(f"{words}. Expected the same stems in both folders")
    return [(stem, predicted[stem], true[stem]) for stem in true], extra
