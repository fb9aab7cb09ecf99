"""Figures of predicted depth beside ground truth, with a common colour scale per row and a colour bar."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from featdepth_ros.reporting.figures import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DEPTH_MAP, _ERROR_MAP, _SIGMA_MAP, _UNKNOWN = "magma_r", "RdBu_r", "viridis", "#e8e8e8"
#: Legend for every page that shows these figures.
HOW_TO_READ = (
    "Depth and true depth of a row share one colour scale, and grey is unknown. The relative error is "
    "(depth - truth) / truth: red is too far, blue is too near. Sigma is the standard deviation that the estimator "
    "gives for the depth, as a share of it. Tracks are the points used for motion and fused depth: red is near, blue "
    "is far, and grey has no measured depth yet."
)
#: Names of the panels whose values are shares, without a unit.
_SHARES = ("relative error", "sigma / depth")
#: Relative error at the ends of the error colours.
_ERROR_LIMIT = 0.5


def relative_error(depth: ArrayLike, truth: ArrayLike) -> NDArray[np.float64]:
    """Return (depth - truth) / truth, (H, W); NaN where either is unknown (not finite, or truth not above 0)."""
    pred, gt = np.asarray(depth, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    known = np.isfinite(gt) & (gt > 0) & np.isfinite(pred)
    error: NDArray[np.float64] = np.divide(pred - gt, gt, out=np.full(gt.shape, np.nan), where=known)
    return error


def _visible(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Dilate sparse ground truth (laser points) so that it is visible on a page; dense maps are not changed."""
    known = np.isfinite(values)
    if known.mean() > 0.3 or not known.any():
        return values
    grown = values.copy()
    for rows in (-1, 0, 1):
        for columns in (-1, 0, 1):
            moved = np.roll(values, (rows, columns), axis=(0, 1))
            grown = np.where(np.isfinite(grown), grown, moved)
    return grown


def depth_row(
    depth: ArrayLike,
    truth: ArrayLike | None = None,
    image: ArrayLike | None = None,
    title: str = "",
    unit: str = "m",
    relative_sigma: ArrayLike | None = None,
    tracks: ArrayLike | None = None,
    depth_name: str = "depth",
    network: ArrayLike | None = None,
) -> Figure:
    """Draw image, tracks, the network's depth, depth, truth, error and sigma side by side; missing ones are omitted.

    Depth and truth share a logarithmic colour scale from the 2nd to the 98th percentile of the truth. Without truth it
    is that of the depth. The error is (depth - truth) / truth: red is too far, blue is too near. Its colours end at
    +-50 %, and those of sigma at 50 %. Grey is unknown.

    Args:
        depth: (H, W) depth.
        truth: (H, W) of the same size and unit, 0 or non-finite where unknown.
        image: (h, w, 3) uint8 RGB.
        title: title of the figure.
        unit: unit of depth, for the colour bar.
        relative_sigma: (h, w) standard deviation as a share of depth.
        tracks: (h, w, 3) uint8 RGB, the image with points drawn into it.
        depth_name: name of the depth panel.
        network: (h, w) depth of the network, before its correction to ``depth``.
    """
    pred = np.asarray(depth, dtype=np.float64)
    gt = None if truth is None else np.where(np.asarray(truth) > 0, np.asarray(truth, dtype=np.float64), np.nan)
    panels = _panels(pred, gt, depth_name, relative_sigma)
    if network is not None:
        panels.insert(0, ("network's depth", np.asarray(network, dtype=np.float64), *panels[0][2:]))
    pictures = (("image", image), ("tracks", tracks))
    panels = [(name, np.asarray(shown), None, None) for name, shown in pictures if shown is not None] + panels
    figure = _drawn(panels, pred.shape, unit, title)
    if title:
        figure.suptitle(title, fontsize=11)
    return figure


def _panels(
    pred: NDArray[np.float64], gt: NDArray[np.float64] | None, depth_name: str, relative_sigma: ArrayLike | None
) -> list[tuple[str, Any, Any, str | None]]:
    """Return the maps of a row: name, values, normalisation of the colours, colour map."""
    from matplotlib.colors import LogNorm, Normalize

    basis = pred if gt is None or not np.isfinite(gt).any() else gt
    known = basis[np.isfinite(basis) & (basis > 0)]
    low, high = np.percentile(known, (2, 98)) if known.size else (0.1, 1.0)
    norm = LogNorm(vmin=float(low), vmax=float(max(high, low * 1.01)))
    error_name, sigma_name = _SHARES
    panels: list[tuple[str, Any, Any, str | None]] = [(depth_name, pred, norm, _DEPTH_MAP)]
    if gt is not None:
        panels.append(("true depth", _visible(gt), norm, _DEPTH_MAP))
        error = _visible(relative_error(pred, gt)) * 100
        limits = Normalize(vmin=-100 * _ERROR_LIMIT, vmax=100 * _ERROR_LIMIT)
        panels.append((error_name, error, limits, _ERROR_MAP))
    if relative_sigma is not None:
        shares = 100 * np.asarray(relative_sigma, dtype=np.float64)
        panels.append((sigma_name, shares, Normalize(vmin=0, vmax=100 * _ERROR_LIMIT), _SIGMA_MAP))
    return panels


def _drawn(panels: list[tuple[str, Any, Any, str | None]], shape: tuple[int, ...], unit: str, title: str) -> Figure:
    """Return the figure of a row, each map with its colour bar."""
    from matplotlib import colormaps

    height, width = shape
    columns = 2 if len(panels) > 2 and width > 1.6 * height else len(panels)
    rows = -(-len(panels) // columns)
    panel_width = 12.4 / columns
    figure = new_figure(12.4, rows * (panel_width * 0.82 * height / width + 0.35) + (0.3 if title else 0))
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid:
        axes.set_axis_off()
    for axes, (name, values, scale, colours) in zip(grid, panels, strict=False):
        axes.set_title(name, fontsize=10)
        if colours is None:
            axes.imshow(values)
            continue
        cmap = colormaps[colours].with_extremes(bad=_UNKNOWN)
        shown = axes.imshow(np.ma.masked_invalid(values), norm=scale, cmap=cmap, interpolation="nearest")
        bar = figure.colorbar(shown, ax=axes, shrink=0.9, pad=0.015, extend="both")
        bar.ax.tick_params(labelsize=8)
        bar.set_label("%" if name in _SHARES else unit, fontsize=9)
        if name not in _SHARES:
            _plain_ticks(bar, float(scale.vmin), float(scale.vmax))
    return figure


def _plain_ticks(bar: Any, low: float, high: float) -> None:
    """Put about five round numbers on a colour bar, instead of powers of ten."""
    steps = [base * 10.0**power for power in range(-3, 4) for base in (1, 1.5, 2, 3, 5, 7)]
    inside = [step for step in steps if low <= step <= high] or [low, high]
    bar.set_ticks(inside[:: max(1, len(inside) // 6)])
    bar.ax.set_yticklabels([f"{tick:.3g}" for tick in bar.get_ticks()])
    bar.minorticks_off()


def chosen_frames(count: int, wanted: int = 12) -> list[int]:
    """Return at most ``wanted`` positions spread evenly over ``count`` frames, from the first to the last."""
    if count <= wanted:
        return list(range(count))
    return sorted({round(i * (count - 1) / max(wanted - 1, 1)) for i in range(wanted)})
