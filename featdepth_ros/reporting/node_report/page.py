"""The evaluation report of a recording as a self-contained HTML page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from featdepth_ros.reporting.depth_figures import HOW_TO_READ
from featdepth_ros.reporting.figures import (
    drift_figure,
    histogram_figure,
    path_figure,
    segment_figure,
    trajectory_figure,
)
from featdepth_ros.reporting.html import Page
from featdepth_ros.reporting.tables import number

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from featdepth_ros.reporting.depth_evaluation import DepthResult
    from featdepth_ros.reporting.node_report.result import RecordingResult

_LATENCY_WORDS = {
    "stamp": "from the image's stamp to the recording of its result",
    "image": "from the recording of the image to the recording of its result",
}


def write_html(result: RecordingResult, path: str | Path) -> Path:
    """Write the report of a recording and return its path; missing folders are created.

    Raises:
        EvaluationError: the file cannot be written.
        MissingDependencyError: matplotlib is not installed.
    """
    page = Page("Depth and odometry of a recording")
    page.text(f"Recording: {result.bag}")
    page.tiles(_tiles(result))
    for note in result.notes:
        page.note(note)
    _depth_section(page, result)
    _odometry_section(page, result)
    _time_section(page, result)
    page.heading("All figures")
    page.table(["figure", "value"], _rows(result))
    return page.write(path)


def _tiles(result: RecordingResult) -> list[tuple[str, str]]:
    figures = result.figures()
    latency = figures["latency_ms"] or {}
    unit = "" if result.relative else " m"
    depth, odometry = result.depth, result.odometry
    return [
        (number(result.frames), "frames"),
        (number(result.rate_hz, 1), "frames/s"),
        (" / ".join(number(latency.get(p), 0) for p in ("p50", "p95", "p99")), "latency p50 / p95 / p99, ms"),
        (number((figures["age_at_publish_ms"] or {}).get("p50"), 0), "age at publish, by the node, ms"),
        (number(figures["dropped"] if figures["dropped"] is not None else result.missed), "dropped frames"),
        (number(depth.summary.abs_rel, 3) if depth else "-", "AbsRel"),
        (number(depth.summary.a1, 3) if depth else "-", "within 25 %"),
        (_within(depth), "of pixels within 1 / 2 sigma"),
        (f"{odometry.ate_m:.2f} m" if odometry else "-", "ATE"),
        (f"{odometry.length_m:.1f} m" if odometry else f"{number(figures['path_m'], 1)}{unit}", "path"),
    ]


def _within(depth: DepthResult | None) -> str:
    if depth is None or depth.summary.within_1_sigma is None or depth.summary.within_2_sigma is None:
        return "-"
    return f"{depth.summary.within_1_sigma:.0%} / {depth.summary.within_2_sigma:.0%}"


def _depth_section(page: Page, result: RecordingResult) -> None:
    if not result.pictures:
        return
    page.heading("Depth")
    if result.depth is not None:
        rules = result.depth.protocol
        page.text(
            f"{result.depth.summary.frames} frames are compared with ground truth from {rules.min_depth:g} to "
            f"{rules.max_depth:g} m, scale {rules.scale}. The node gave a depth for "
            f"{100 * (result.coverage or 0):.1f} % of these pixels."
        )
    unit = "model units" if result.relative and result.depth is None else "m"
    kind = result.diagnosis.values.get("depth", "")  # fused, or the network's
    page.text(HOW_TO_READ)
    for picture in result.pictures:
        page.figure(picture.draw(f"{kind} depth".strip(), unit), picture.name, dpi=75)
    if result.depth is not None and result.depth.errors.size:
        page.figure(_error_histogram(result), "(depth - truth) / truth over all compared pixels")


def _error_histogram(result: RecordingResult) -> Figure:
    import numpy as np

    assert result.depth is not None
    errors = 100 * result.depth.errors
    return histogram_figure(errors, "relative error (%)", "pixels (%)", {"median": float(np.median(errors))})


def _odometry_section(page: Page, result: RecordingResult) -> None:
    if result.odometry is not None:
        page.heading("Odometry")
        page.text(f"Alignment: {result.alignment}. Both paths are relative to the first common frame.")
        page.figure(trajectory_figure([result.odometry]), "Path from above and from the side")
        page.figure(drift_figure([result.odometry]), "Position error along the path")
        segments = segment_figure([result.odometry])
        if segments is not None:
            page.figure(segments, "Segment errors against length and speed")
    elif result.path is not None:
        page.heading("Odometry")
        page.figure(path_figure(result.path, "m" if not result.relative else "model units"), "Estimated path")


def _time_section(page: Page, result: RecordingResult) -> None:
    latency = result.figures()["latency_ms"]
    if latency is None:
        return
    page.heading("Latency")
    page.text(f"Latency is measured in milliseconds {_LATENCY_WORDS[result.latency_source]}.")
    figure = histogram_figure(result.latency_ms, "latency (ms)", "frames (%)", dict(latency))
    page.figure(figure, "Distribution of the latency; the last bin holds all larger values")


def _rows(result: RecordingResult) -> list[list[str]]:
    rows: list[list[str]] = []
    for key, value in result.figures().items():
        if key == "notes":
            continue
        if isinstance(value, dict):
            rows += [[f"{key}.{inner}", number(item)] for inner, item in value.items()]
        else:
            rows.append([key, number(value)])
    said = result.diagnosis.values
    rows += [[f"node: {key}", said[key]] for key in sorted(said) if key.startswith("stage_") and said[key]]
    topics = vars(result.topics)
    rows += [[f"topic: {part.replace('_', ' ')}", name or "-"] for part, name in topics.items()]
    return rows
