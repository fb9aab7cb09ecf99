"""Plots show what they are given; tables and pages are whole."""

from __future__ import annotations

import json
import math
import subprocess
import sys

import numpy as np
import pytest

from featdepth_ros.errors import EvaluationError
from featdepth_ros.metrics import evaluate_odometry, make_trajectory
from featdepth_ros.reporting.tables import comparison_table, finite, number, text_table, write_json

pytest.importorskip("matplotlib")

from featdepth_ros.reporting import figures as plots
from featdepth_ros.reporting.depth_figures import chosen_frames, depth_row, relative_error
from featdepth_ros.reporting.html import Page


def result(name: str, factor: float):
    poses = np.tile(np.eye(4), (200, 1, 1))
    poses[:, 2, 3] = np.arange(200)
    poses[:, 0, 3] = 10 * np.sin(np.arange(200) / 20)
    estimate = poses.copy()
    estimate[:, :3, 3] *= factor
    keys = np.arange(200)
    return evaluate_odometry(make_trajectory(keys, poses, False), make_trajectory(keys, estimate, False, name))


def test_estimates_overlay_in_both_views_with_equal_scales():
    figure = plots.trajectory_figure([result("a", 0.9), result("b", 1.1)])
    top, side = figure.axes
    assert [text.get_text() for text in top.get_legend().get_texts()] == ["ground truth", "a", "b", "start"]
    assert top.get_xlabel().startswith("x, right") and side.get_ylabel().startswith("-y, up")
    assert top.get_aspect() == side.get_aspect() == 1.0
    longest = max(line.get_ydata().max() for line in top.get_lines())
    assert longest == pytest.approx(1.1 * 199)


def test_an_estimate_that_starts_later_is_drawn_where_it_belongs():
    poses = np.tile(np.eye(4), (50, 1, 1))
    poses[:, 2, 3] = np.arange(50)
    truth = make_trajectory(np.arange(50), poses, False)
    late = make_trajectory(np.arange(20, 50), poses[20:], False, "late")
    results = [evaluate_odometry(truth, late), evaluate_odometry(truth, truth)]
    line = next(x for x in plots.trajectory_figure(results).axes[0].get_lines() if x.get_label() == "late")
    assert line.get_ydata()[0] == pytest.approx(20) and line.get_ydata()[-1] == pytest.approx(49)


def test_segment_curves_hold_the_means():
    figure = plots.segment_figure([result("a", 0.9)])
    line = figure.axes[0].get_lines()[0]
    assert line.get_xdata()[0] == 100 and line.get_ydata()[0] == pytest.approx(10, abs=0.5)
    short = make_trajectory([0, 1], np.tile(np.eye(4), (2, 1, 1)), False)
    assert plots.segment_figure([evaluate_odometry(short, short)]) is None


def test_a_base_link_path_is_seen_from_above_too():
    poses = np.tile(np.eye(4), (10, 1, 1))
    poses[:, 0, 3], poses[:, 1, 3] = np.arange(10), np.arange(10) ** 2
    figure = plots.path_figure(poses)
    assert figure.axes[0].get_ylabel() == "y, left (m)" and figure.axes[1].get_ylabel() == "z, up (m)"


def test_depth_and_truth_share_one_scale_and_have_bars():
    truth = np.linspace(2, 20, 200).reshape(10, 20)
    figure = depth_row(truth * 1.5, truth, np.zeros((10, 20, 3), np.uint8), "frame")
    images = [axes.images[0] for axes in figure.axes if axes.images]
    depth, true, error = images[1:]
    assert depth.norm.vmin == true.norm.vmin and depth.norm.vmax == true.norm.vmax
    assert np.allclose(error.get_array(), 50)
    titles = [axes.get_title() for axes in figure.axes]
    assert titles[:4] == ["image", "depth", "true depth", "relative error"] and len(figure.axes) == 7


@pytest.mark.parametrize("depth", [np.full((4, 6), np.nan), np.zeros((4, 6)), np.full((4, 6), 3.0)])
def test_empty_and_constant_maps_can_be_drawn(depth):
    assert plots.png_bytes(depth_row(depth, depth)).startswith(b"\x89PNG")


def test_relative_error_knows_what_is_unknown():
    error = relative_error([[2.0, np.inf, 3.0, 1.0]], [[1.0, 1.0, 0.0, np.nan]])
    assert error[0, 0] == 1 and np.isnan(error[0, 1:]).all()


def test_histogram_counts_everything_that_is_finite():
    values = np.r_[np.arange(1000.0), 1e6, np.nan]
    axes = plots.histogram_figure(values, "x", marks={"p50": 500.0}).axes[0]
    assert sum(bar.get_height() for bar in axes.patches) == pytest.approx(100)
    assert axes.get_xlim()[1] < 2000 and axes.get_legend().get_texts()[0].get_text() == "p50 500"
    assert plots.png_bytes(plots.histogram_figure([], "x"))
    assert plots.png_bytes(plots.histogram_figure([0.0, 0.0], "x", marks={"median": 0.0}))


def test_frames_are_spread_evenly():
    assert chosen_frames(3, 12) == [0, 1, 2] and chosen_frames(100, 3) == [0, 50, 99]
    assert chosen_frames(0, 5) == [] and chosen_frames(9, 0) == [] and chosen_frames(9, 1) == [0]


def test_tables():
    assert [number(x) for x in (None, math.nan, 3, 0.25, "cpu", True)] == ["-", "-", "3", "0.2500", "cpu", "True"]
    text = text_table(*comparison_table({"a": {"ate_m": 1.5}, "b": {"ate_m": None}}))
    assert text.splitlines()[1].split() == ["ate_m", "1.5000", "-"]


def test_json_never_holds_nan(tmp_path):
    figures = {"a": math.nan, "b": [np.float32("inf"), np.int64(3)], "c": {"d": (1.5, None)}}
    assert finite(figures) == {"a": None, "b": [None, 3], "c": {"d": [1.5, None]}}
    write_json(tmp_path / "x" / "y.json", figures)
    assert json.loads((tmp_path / "x/y.json").read_text())["b"] == [None, 3]
    with pytest.raises(EvaluationError, match="cannot be written"):
        write_json(tmp_path / "x", figures)


def test_pages_escape_and_embed(tmp_path):
    page = Page("a < b")
    page.note("<script>")
    page.table(["x"], [["&"]])
    page.figure(plots.histogram_figure([1.0, 2.0], "x"), 'say "so"')
    text = page.write(tmp_path / "p.html").read_text()
    assert "<script>" not in text and "a &lt; b" in text and "<td>&amp;</td>" in text
    assert "data:image/png;base64,iVBOR" in text and "&quot;so&quot;" in text
    with pytest.raises(EvaluationError, match="cannot be written"):
        page.write(tmp_path)


def test_importing_reports_loads_no_plotting():
    code = (
        "import sys, featdepth_ros.cli.eval, featdepth_ros.metrics, featdepth_ros.reporting.node_report.evaluation\n"
        "print(sorted({'matplotlib', 'torch', 'rosbags', 'cv2', 'scipy', 'tqdm'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert found.stdout.strip() == "[]"
