"""Evaluation of depth maps against ground truth, per image: metrics, and the images that a report shows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.errors import EvaluationError
from featdepth_ros.metrics import (
    DepthProtocol,
    DepthSummary,
    ImageErrors,
    evaluate_image,
    scaled_prediction,
    summarise_depth,
)
from featdepth_ros.progress import progress
from featdepth_ros.reporting.depth_maps import listed, maps_by_stem, pair_folders, read_depth_map
from featdepth_ros.reporting.truth_archive import read_truth_archive

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ERRORS_A_FRAME = 5000


@dataclass(frozen=True)
class DepthPair:
    """A predicted depth map and its ground truth; maps are read on access.

    Attributes:
        name: name of the pair in messages.
        prediction: returns (h, w) depth.
        truth: returns (H, W) metres, 0 or non-finite where unknown.
        image: returns the (h, w, 3) uint8 RGB image for the report; None: there is none.
        sigma: returns (h, w), the prediction's standard deviation in its unit; None: there is none.
        tracks: returns (h, w, 3) uint8 RGB, the image with the points used for the prediction; None: there is none.
        network: returns (h, w), the network's depth before its correction; None: there is none.
    """

    name: str
    prediction: Callable[[], NDArray[np.float64]]
    truth: Callable[[], NDArray[np.float64]]
    image: Callable[[], NDArray[np.uint8]] | None = None
    sigma: Callable[[], NDArray[np.float64]] | None = None
    tracks: Callable[[], NDArray[np.uint8]] | None = None
    network: Callable[[], NDArray[np.float32]] | None = None


@dataclass(frozen=True)
class Picture:
    """Maps of one frame for a report. They are scaled as in the comparison, but not clamped.

    Attributes:
        name: name of the frame in the report.
        depth: (H, W) predicted depth.
        truth: (H, W) ground truth, NaN where unknown.
        image: (h, w, 3) uint8 RGB.
        relative_sigma: (h, w) standard deviation as a share of depth, at the size of the prediction.
        tracks: (h, w, 3) uint8 RGB, the image with the points used for the depth.
        network: (h, w) depth of the network, with the same scale as ``depth``.
    """

    name: str
    depth: NDArray[np.float32]
    truth: NDArray[np.float32] | None
    image: NDArray[np.uint8] | None
    relative_sigma: NDArray[np.float32] | None = None
    tracks: NDArray[np.uint8] | None = None
    network: NDArray[np.float32] | None = None

    def draw(self, depth_name: str = "depth", unit: str = "m") -> Figure:
        """Return the figure of one report row; see `depth_figures.depth_row`."""
        from featdepth_ros.reporting.depth_figures import depth_row

        return depth_row(
            self.depth,
            self.truth,
            self.image,
            unit=unit,
            relative_sigma=self.relative_sigma,
            tracks=self.tracks,
            depth_name=depth_name,
            network=self.network,
        )


def relative_sigma(sigma: NDArray[Any] | None, depth: NDArray[Any]) -> NDArray[np.float32] | None:
    """Return a standard deviation as a share of its depth, (h, w) float32, NaN where either is unknown."""
    if sigma is None or sigma.shape != depth.shape:
        return None
    known = np.isfinite(sigma) & np.isfinite(depth) & (depth > 0)
    share = np.full(depth.shape, np.nan, dtype=np.float32)
    share[known] = sigma[known] / depth[known]
    return share


@dataclass(frozen=True)
class DepthResult:
    """Depth metrics of a set of images, with the data for a report.

    Attributes:
        summary: means over images.
        images: metrics of every image with at least one compared pixel.
        protocol: the evaluation protocol.
        pictures: a few frames, spread evenly.
        errors: (N,) a sample of relative errors over all images, for histograms.
        notes: remarks for the reader of the metrics.
    """

    summary: DepthSummary
    images: tuple[ImageErrors, ...]
    protocol: DepthProtocol
    pictures: tuple[Picture, ...]
    errors: NDArray[np.float64]
    notes: tuple[str, ...] = field(default=())

    def figures(self) -> dict[str, Any]:
        """Return the metrics by the JSON keys of the command line; ``skipped_pixels`` only if skipping is enabled."""
        figures = asdict(self.summary)
        if self.protocol.skip_invalid:
            figures["skipped_pixels"] = sum(image.skipped for image in self.images)
        return figures


def folder_pairs(
    predictions: str | Path,
    truth: str | Path,
    prediction_divisor: float,
    truth_divisor: float,
    sigma: str | Path | None = None,
) -> tuple[list[DepthPair], list[str]]:
    """Pair the maps of two folders by stem, and report predictions without ground truth.

    Args:
        predictions: folder of predicted maps.
        truth: folder of ground-truth maps.
        prediction_divisor: divisor of predictions in PNG files, see `read_depth_map`.
        truth_divisor: divisor of ground truth in PNG files.
        sigma: folder of the predictions' standard deviations, which are not scaled; None: there are none.

    Raises:
        EvaluationError: see `depth_maps.pair_folders`, or a paired prediction has no standard deviation.
    """
    matched, extra = pair_folders(predictions, truth)
    notes = [f"{len(extra)} predictions have no ground truth and are ignored: {listed(extra)}"] if extra else []
    deviations = maps_by_stem(sigma, "sigma", inside="sigma") if sigma is not None else {}
    missing = [stem for stem, _, _ in matched if stem not in deviations] if sigma is not None else []
    if missing:
        raise EvaluationError(
            f"sigma: {len(missing)} of {len(matched)} predictions have no standard deviation in {sigma}: "
            f"{listed(missing)}. Expected the same stems in both folders"
        )

    def pair(stem: str, predicted: Path, true: Path) -> DepthPair:
        return DepthPair(
            name=predicted.name,
            prediction=lambda: read_depth_map(predicted, prediction_divisor),
            truth=lambda: read_depth_map(true, truth_divisor),
            sigma=(lambda: read_depth_map(deviations[stem], prediction_divisor)) if deviations else None,
        )

    return [pair(*names) for names in matched], notes


def archive_pairs(predictions: str | Path, archive: str | Path, divisor: float) -> list[DepthPair]:
    """Pair predictions, in the order of their names, with the maps of a ``gt_depths.npz``.

    Args:
        predictions: folder of maps, one per line of the split from which the archive was made.
        archive: see `read_truth_archive`.
        divisor: divisor of predictions in PNG files, see `read_depth_map`.

    Raises:
        EvaluationError: the archive cannot be read, or has a different number of maps.
    """
    predicted, true = list(maps_by_stem(predictions, "predictions").values()), read_truth_archive(archive)
    if len(predicted) != len(true):
        raise EvaluationError(
            f"{predictions} holds {len(predicted)} predictions and {archive} {len(true)} ground-truth maps; they are "
            "paired in order, so equal numbers are expected"
        )

    def pair(path: Path, depth: NDArray[np.floating]) -> DepthPair:
        return DepthPair(path.name, lambda: read_depth_map(path, divisor), lambda: np.asarray(depth, np.float64))

    return [pair(*both) for both in zip(predicted, true, strict=True)]


def _sample(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return values[:: max(1, values.size // _ERRORS_A_FRAME)]


def evaluate_pairs(pairs: Sequence[DepthPair], protocol: DepthProtocol, pictures: int = 0) -> DepthResult:
    """Evaluate a set of images, with a progress bar.

    Args:
        pairs: at least one pair.
        protocol: depth limits, crop and scale.
        pictures: largest number of frames whose maps are kept. Above 0, a sample of the errors is kept too.

    Raises:
        EvaluationError: no image has a pixel to compare, or see `metrics.evaluate_image`. If non-finite predictions
            are errors, the message names all images with them.
    """
    from featdepth_ros.reporting.depth_figures import chosen_frames

    shown = set(chosen_frames(len(pairs), pictures)) if pictures else set()
    images: list[ImageErrors] = []
    empty: list[str] = []
    refused: list[str] = []
    kept: list[Picture] = []
    errors: list[NDArray[np.float64]] = []
    for position, pair in enumerate(progress(pairs, "depth", unit="image")):
        prediction, truth = pair.prediction(), pair.truth()
        try:
            sigma = pair.sigma() if pair.sigma else None
            figures = evaluate_image(prediction, truth, protocol, pair.name, sigma)
        except EvaluationError as error:
            refused.append(str(error))
            continue
        if figures is None:
            empty.append(pair.name)
            continue
        images.append(figures)
        if pictures:
            scaled, mask, _, factor = scaled_prediction(prediction, truth, protocol)
            clamped = np.clip(scaled[mask], protocol.min_depth, protocol.max_depth)
            errors.append(_sample((clamped - truth[mask]) / truth[mask]))
            if position in shown:
                inside = (truth > protocol.min_depth) & (truth < protocol.max_depth)  # the crop is for metrics only
                gt = np.where(inside, truth, np.nan)
                image, tracks = (read() if read else None for read in (pair.image, pair.tracks))
                share = relative_sigma(sigma, prediction)
                network = None if pair.network is None else (pair.network() * factor).astype(np.float32)
                maps = scaled.astype(np.float32), gt.astype(np.float32)
                kept.append(Picture(pair.name, *maps, image, share, tracks, network))
    if refused:
        more = f" ({len(refused) - 1} more such images: {listed([r.split(':')[0] for r in refused[1:]])})"
        raise EvaluationError(refused[0] + (more if len(refused) > 1 else ""))
    notes = []
    if empty:
        notes.append(f"{len(empty)} images have no pixel to compare and are ignored: {listed(empty)}")
    skipped = [image for image in images if image.skipped]
    if skipped:
        total = sum(image.skipped for image in skipped)
        names = listed([f"{image.name} ({image.skipped})" for image in skipped])
        notes.append(f"{total} predictions are not finite and were skipped, in {len(skipped)} images: {names}")
    sample = np.concatenate(errors) if errors else np.zeros(0)
    return DepthResult(summarise_depth(images), tuple(images), protocol, tuple(kept), sample, tuple(notes))


def write_depth_report(result: DepthResult, notes: Sequence[str], folder: str | Path) -> Path:
    """Write an HTML page with a few frames and a histogram of the errors, and its PNG files; return the page's path."""
    from featdepth_ros.reporting.depth_figures import HOW_TO_READ
    from featdepth_ros.reporting.figures import histogram_figure, save_figures
    from featdepth_ros.reporting.html import Page
    from featdepth_ros.reporting.tables import comparison_table, number

    rules = result.protocol
    page = Page("Depth against ground truth")
    page.text(
        f"Crop {rules.crop}, ground truth between {rules.min_depth:g} and {rules.max_depth:g} m, scale {rules.scale}. "
        "All metrics are means over images."
    )
    page.table(*comparison_table({"mean over images": result.figures()}))
    for note in notes:
        page.note(note)
    worst = sorted(result.images, key=lambda image: -image.abs_rel)[:5]
    figures = {f"depth_{i:02d}": picture.draw() for i, picture in enumerate(result.pictures)}
    page.text(HOW_TO_READ)
    for picture, figure in zip(result.pictures, figures.values(), strict=True):
        page.figure(figure, picture.name)
    figures["errors"] = histogram_figure(
        100 * result.errors, "relative error (%)", "pixels (%)", {"median": 100 * float(np.median(result.errors))}
    )
    page.heading("Distribution of the relative error")
    page.figure(
        figures["errors"], "(depth - truth) / truth over all compared pixels; the last bin holds all larger errors"
    )
    page.heading("Images with the largest AbsRel")
    rows = [[i.name, number(i.abs_rel), number(i.rmse), number(i.a1), number(i.scale)] for i in worst]
    page.table(["image", "abs_rel", "rmse", "a1", "scale"], rows)
    save_figures(figures, folder)
    return page.write(Path(folder) / "report.html")
