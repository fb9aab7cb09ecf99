"""Plots of trajectories, segment errors and distributions. matplotlib is imported only when a figure is made.

Figures are built without pyplot, so they open no window, have no global state, and need no closing.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from featdepth_ros.errors import MissingDependencyError
from featdepth_ros.metrics import OdometryResult, absolute_errors, mean_by, path_distances

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TRUTH_COLOUR = "#333333"
#: The palette of Okabe and Ito, which is suitable for colour-blind readers.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
#: Centres of the speed bins of the reference's draw_odometry, m/s.
SPEEDS = tuple(float(speed) for speed in range(2, 25, 2))


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure; ``width`` and ``height`` are in inches.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError("plots need matplotlib: pip install matplotlib") from error
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def png_bytes(figure: Figure, dpi: int = 100) -> bytes:
    """Return a figure as a PNG file's bytes."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=dpi)
    return stream.getvalue()


def save_figures(figures: Mapping[str, Figure], folder: str | Path) -> list[Path]:
    """Write ``<name>.png`` into a folder, which is created if missing; return the paths."""
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, figure in figures.items():
        path = target / f"{name}.png"
        path.write_bytes(png_bytes(figure))
        paths.append(path)
    return paths


def _plain(axes: Axes, xlabel: str, ylabel: str, title: str = "") -> None:
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    if title:
        axes.set_title(title, fontsize=11)
    axes.grid(True, color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _views(positions: NDArray[np.float64]) -> tuple[tuple[int, int, int], tuple[int, int, int], tuple[str, ...]]:
    """Return the axes of the top and side view as (horizontal, vertical, sign of vertical), and their labels.

    The axes follow from the path, which extends less in height than along the ground. If y extends less than z, these
    are camera axes (y down), else base axes (z up).
    """
    extent = np.ptp(positions, axis=0)
    if extent[1] < extent[2]:
        return (0, 2, 1), (2, 1, -1), ("x, right (m)", "z, forward (m)", "z, forward (m)", "-y, up (m)")
    return (0, 1, 1), (0, 2, 1), ("x, forward (m)", "y, left (m)", "x, forward (m)", "z, up (m)")


def _lines(axes: Axes, results: Sequence[OdometryResult], view: tuple[int, int, int]) -> None:
    across, along, sign = view
    longest = _longest(results)
    T_base_world = np.linalg.inv(longest.T_world_base)
    truth = longest.truth[:, :3, 3]
    axes.plot(truth[:, across], sign * truth[:, along], color=TRUTH_COLOUR, linewidth=2.2, label="ground truth")
    for result, colour in zip(results, _colours(len(results)), strict=True):
        # An estimate is relative to its own first frame, so it is moved to the origin of the drawn ground truth.
        path = (T_base_world @ result.T_world_base @ result.estimate)[:, :3, 3]
        axes.plot(path[:, across], sign * path[:, along], color=colour, linewidth=1.3, label=result.name)
    axes.plot(
        truth[:1, across], sign * truth[:1, along], "o", color=TRUTH_COLOUR, markersize=6, label="start", zorder=5
    )


def _longest(results: Sequence[OdometryResult]) -> OdometryResult:
    return max(results, key=lambda result: result.frames)


def _colours(count: int) -> list[str]:
    return [COLOURS[i % len(COLOURS)] for i in range(count)]


def trajectory_figure(results: Sequence[OdometryResult]) -> Figure:
    """Plot all estimates over the ground truth, from above and from the side, with equal axis scales."""
    figure = new_figure(12, 5.5)
    top, side = figure.subplots(1, 2)
    top_view, side_view, labels = _views(_longest(results).truth[:, :3, 3])
    _lines(top, results, top_view)
    _lines(side, results, side_view)
    _plain(top, labels[0], labels[1], "from above")
    _plain(side, labels[2], labels[3], "from the side")
    top.set_aspect("equal", adjustable="datalim")
    side.set_aspect("equal", adjustable="datalim")
    top.legend(frameon=False, fontsize=9)
    return figure


def path_figure(poses: ArrayLike, unit: str = "m") -> Figure:
    """Plot a path without ground truth, from above and from the side. ``poses`` is (N, 4, 4)."""
    path = np.asarray(poses, dtype=np.float64)[:, :3, 3]
    figure = new_figure(12, 5.5)
    top_view, side_view, labels = _views(path)
    for axes, (across, along, sign), title, xlabel, ylabel in zip(
        figure.subplots(1, 2),
        (top_view, side_view),
        ("from above", "from the side"),
        labels[::2],
        labels[1::2],
        strict=True,
    ):
        axes.plot(path[:, across], sign * path[:, along], color=COLOURS[0], linewidth=1.5)
        axes.plot(path[:1, across], sign * path[:1, along], "o", color=TRUTH_COLOUR, markersize=6)
        _plain(axes, xlabel.replace("(m)", f"({unit})"), ylabel.replace("(m)", f"({unit})"), title)
        axes.set_aspect("equal", adjustable="datalim")
    return figure


def drift_figure(results: Sequence[OdometryResult]) -> Figure:
    """Plot the position error in metres and as a percentage of the path, against the travelled path."""
    figure = new_figure(12, 3.6)
    metres, share = figure.subplots(1, 2)
    for result, colour in zip(results, _colours(len(results)), strict=True):
        distance, error = path_distances(result.truth), absolute_errors(result.truth, result.estimate)
        metres.plot(distance, error, color=colour, linewidth=1.3, label=result.name)
        travelled = distance > 0.05 * max(distance[-1], 1e-9)  # a percentage of a very short path is meaningless
        share.plot(distance[travelled], 100 * error[travelled] / distance[travelled], color=colour, linewidth=1.3)
    _plain(metres, "path (m)", "position error (m)")
    _plain(share, "path (m)", "position error (% of path)")
    for axes in (metres, share):
        axes.set_ylim(bottom=0)
    metres.legend(frameon=False, fontsize=9)
    return figure


def segment_figure(results: Sequence[OdometryResult]) -> Figure | None:
    """Plot the segment errors against length and against speed; None when no estimate has a segment."""
    judged = [result for result in results if result.segments]
    if not judged:
        return None
    figure = new_figure(12, 7)
    grid = figure.subplots(2, 2)
    for result, colour in zip(results, _colours(len(results)), strict=True):
        segments = result.segment_errors
        if not len(segments):
            continue
        by_length = mean_by(segments.length_m, segments, sorted(set(segments.length_m.tolist())), 1e-6)
        by_speed = mean_by(segments.speed, segments, SPEEDS, 2.0)
        for column, (curve, unit) in enumerate(((by_length, 1.0), (by_speed, 3.6))):
            x = [point[0] * unit for point in curve]
            for row in (0, 1):
                y = [point[1 + row] for point in curve]
                grid[row, column].plot(x, y, "s-", color=colour, markersize=4, linewidth=1.3, label=result.name)
    for row, ylabel in enumerate(("translation error (%)", "rotation error (deg / 100 m)")):
        _plain(grid[row, 0], "segment length (m)", ylabel)
        _plain(grid[row, 1], "speed (km/h)", ylabel)
        for axes in grid[row]:
            axes.set_ylim(0, 1.05 * axes.get_ylim()[1])
    grid[0, 0].legend(frameon=False, fontsize=9)
    return figure


def odometry_figures(results: Sequence[OdometryResult]) -> dict[str, Figure]:
    """Return all plots of a comparison, by file name."""
    figures = {"trajectory": trajectory_figure(results), "drift": drift_figure(results)}
    segments = segment_figure(results)
    if segments is not None:
        figures["segments"] = segments
    return figures


def histogram_figure(
    values: ArrayLike, xlabel: str, ylabel: str = "share (%)", marks: Mapping[str, float] | None = None, bins: int = 60
) -> Figure:
    """Plot a histogram of the finite values in per cent, with named vertical marks (percentiles, median).

    The axis ends at the 99.5th percentile; larger values are counted in the last bin.
    """
    data = np.asarray(values, dtype=np.float64).ravel()
    data = data[np.isfinite(data)]
    figure = new_figure(7, 3.6)
    axes: Any = figure.subplots()
    if data.size:
        low, high = float(data.min()), float(np.percentile(data, 99.5))
        high = max(high, low + 1e-6 * max(abs(low), 1.0), *(marks or {}).values())
        weights = np.full(data.size, 100.0 / data.size)
        axes.hist(np.clip(data, low, high), bins=bins, range=(low, high), weights=weights, color=COLOURS[0])
        for (label, value), colour in zip((marks or {}).items(), COLOURS[1:], strict=False):
            axes.axvline(value, color=colour, linewidth=1.6, label=f"{label} {value:.3g}")
        if marks:
            axes.legend(frameon=False, fontsize=9)
    _plain(axes, xlabel, ylabel)
    return figure
