"""A recording of the node against the truth in it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rosbags")

from node_bags import STEP_NS, Recorded, true_depth, write_recording

from featdepth_ros.cli.main import main
from featdepth_ros.errors import EvaluationError
from featdepth_ros.metrics import DepthProtocol, evaluate_image
from featdepth_ros.reporting.node_report.bag import Topics
from featdepth_ros.reporting.node_report.evaluation import RecordingOptions, evaluate_recording, write_html

FULL = Recorded()


@pytest.fixture(scope="module")
def full_bag(tmp_path_factory) -> Path:
    return write_recording(tmp_path_factory.mktemp("full") / "bag", FULL)


def test_topics_are_told_apart(full_bag):
    assert evaluate_recording(full_bag).topics == Topics(
        depth="/depth_node/depth/image_rect",
        image="/camera/image_raw",
        input_image="/camera/image_raw",
        odometry="/odom",
        truth_depth="/camera/depth/image_rect",
        truth_odometry="/ground_truth/odom",
        diagnostics="/diagnostics",
    )


def test_rate_latency_and_drops(full_bag):
    result = evaluate_recording(full_bag)
    figures = result.figures()
    assert (figures["frames"], figures["input_frames"], figures["missed_frames"], figures["dropped"]) == (11, 12, 1, 1)
    kept = [i for i in range(12) if i not in FULL.drop]
    expected = np.array([80.0 + i for i in kept])
    assert np.allclose(result.latency_ms, expected) and result.latency_source == "stamp"
    assert figures["latency_ms"]["p95"] == pytest.approx(np.percentile(expected, 95))
    assert figures["rate_hz"] == pytest.approx(10 / (11 * STEP_NS * 1e-9 + 0.011))
    assert figures["age_at_publish_ms"]["p50"] == 80


def test_depth_equals_the_metrics_of_its_maps(full_bag):
    result = evaluate_recording(full_bag)
    images = []
    for index in (i for i in range(12) if i not in FULL.drop):
        truth = true_depth(index)
        small = (truth[::2, ::2] * FULL.depth_factor).astype(np.float32)
        small[:2] = np.inf
        images.append(evaluate_image(small, truth, DepthProtocol(skip_invalid=True)))
    assert result.depth is not None
    assert result.depth.summary.abs_rel == pytest.approx(np.mean([image.abs_rel for image in images]), rel=1e-6)
    pixels, skipped = sum(i.pixels for i in images), sum(i.skipped for i in images)
    assert skipped > 0 and result.coverage == pytest.approx(pixels / (pixels + skipped))
    assert np.median(result.depth.errors) == pytest.approx(FULL.depth_factor - 1, abs=0.05)  # too far is positive


def test_odometry_and_its_alignments(full_bag):
    plain = evaluate_recording(full_bag).odometry
    scaled = evaluate_recording(full_bag, RecordingOptions(align="scale")).odometry
    assert plain is not None and scaled is not None
    assert plain.scale == 1 and plain.ate_m > 0.1
    assert scaled.scale == pytest.approx(1 / 0.9) and scaled.ate_m < 1e-6


def test_relative_scale_is_fitted_and_said(tmp_path):
    result = evaluate_recording(write_recording(tmp_path / "bag", replace(FULL, scale="relative")))
    assert result.relative and result.alignment == "scale" and result.odometry.ate_m < 1e-6
    assert result.depth.protocol.scale == "median"
    assert any("relative" in note for note in result.notes)


def test_stamps_of_another_clock_are_measured_from_the_image(tmp_path):
    bag = write_recording(tmp_path / "bag", replace(FULL, start_ns=5_000_000_000, log_offset_ns=10**18))
    result = evaluate_recording(bag)
    assert result.latency_source == "image" and result.latency_ms[0] == pytest.approx(80)
    blind = write_recording(tmp_path / "blind", replace(FULL, start_ns=0, log_offset_ns=10**18, images=False))
    assert evaluate_recording(blind).figures()["latency_ms"] is None


@pytest.mark.parametrize("older_s", [0.5, 3.3, 30.0])
def test_a_recording_stamped_a_while_ago_is_not_slow(tmp_path, older_s):
    bag = write_recording(tmp_path / "bag", replace(FULL, log_offset_ns=round(older_s * 1e9)))
    result = evaluate_recording(bag)
    assert result.latency_source == "image" and result.latency_ms[0] == pytest.approx(80)


def test_truth_from_another_bag(tmp_path, full_bag):
    source = write_recording(tmp_path / "source", replace(FULL, depth=False, odometry=False, diagnostics=False))
    answers = write_recording(tmp_path / "answers", replace(FULL, truth=False))
    result = evaluate_recording(answers, RecordingOptions(truth_bag=source))
    together = evaluate_recording(full_bag)
    assert result.depth.summary == together.depth.summary
    assert result.odometry.figures() == together.odometry.figures()


def test_stamps_that_differ_a_little_are_paired(tmp_path):
    start = FULL.start_ns + 10_000_000
    shifted = replace(FULL, start_ns=start, depth=False, odometry=False, diagnostics=False)
    source = write_recording(tmp_path / "source", shifted)
    answers = write_recording(tmp_path / "answers", replace(FULL, truth=False))
    result = evaluate_recording(answers, RecordingOptions(truth_bag=source))
    assert result.depth.summary.frames == result.odometry.frames == 11
    strict = evaluate_recording(answers, RecordingOptions(truth_bag=source, max_difference_s=0.005))
    assert strict.depth is None and strict.odometry is None


def test_wheel_odometry_is_not_the_nodes(tmp_path, full_bag):
    both = evaluate_recording(write_recording(tmp_path / "both", replace(FULL, wheels=True)))
    assert both.topics.odometry == "/odom"
    assert both.odometry.figures() == evaluate_recording(full_bag).odometry.figures()


def test_twist_covariances_are_judged(tmp_path):
    """The node's motions are a tenth too short: 0.1 m in 0.1 s along one of six axes, against 1 m/s."""
    what = replace(FULL, twist_deviation=1.0, drop=(), frames=8)
    figures = evaluate_recording(write_recording(tmp_path / "bag", what)).odometry.figures()
    assert figures["nees"] == pytest.approx(1 / 6, rel=0.15) and figures["nees_left_out"] == 1


@pytest.mark.parametrize("missing", ["truth", "depth", "odometry", "images", "diagnostics"])
def test_works_with_whatever_is_there(tmp_path, missing):
    pytest.importorskip("matplotlib")
    bag = write_recording(tmp_path / "bag", replace(FULL, **{missing: False}))
    result = evaluate_recording(bag, RecordingOptions(pictures=2))
    figures = json.loads(json.dumps(result.figures(), allow_nan=False))
    assert (figures["depth"] is None) == (missing in ("truth", "depth"))
    assert (figures["odometry"] is None) == (missing in ("truth", "odometry"))
    assert (figures["input_frames"] is None) == (missing == "images")
    assert (figures["age_at_publish_ms"] is None) == (missing == "diagnostics")
    if missing not in ("images", "diagnostics"):
        assert any(f"no {'true depth' if missing == 'truth' else missing}" in note for note in result.notes)
    page = write_html(result, tmp_path / "sub" / "report.html").read_text()
    words = re.sub(r"base64,[^\"]*", "", page)
    assert words.startswith("<!DOCTYPE html>") and "http" not in words and ">nan" not in words
    assert all(note.split("'")[0] in words for note in result.notes)


def test_malformed_messages_cost_nothing_but_themselves(tmp_path):
    bag = write_recording(tmp_path / "bag", replace(FULL, spoiled=(2,)))
    result = evaluate_recording(bag, RecordingOptions(pictures=1))
    assert result.depth is not None and result.depth.summary.frames == 10
    assert any(note.startswith("frame 2: depth cannot be read") for note in result.notes)
    assert result.odometry is None and result.path is None
    assert any("odometry cannot be read" in note and "NaN" in note for note in result.notes)


SEEN = replace(FULL, sigma=True, tracks=True)


def test_sigma_is_judged_and_shown_with_the_tracks(tmp_path):
    bag = write_recording(tmp_path / "bag", SEEN)
    result = evaluate_recording(bag, RecordingOptions(pictures=3))
    topics = result.topics
    assert topics.network_depth == "/depth_node/depth/network"
    assert (topics.sigma, topics.tracks) == ("/depth_node/depth/sigma", "/depth_node/tracks")
    assert (topics.image, topics.truth_depth) == ("/camera/image_raw", "/camera/depth/image_rect")
    # Depth is 10 % too far all over, and sigma says 10 %: resampling puts the error on both sides of one sigma.
    figures = json.loads(json.dumps(result.figures(), allow_nan=False))["depth"]
    assert figures["within_1_sigma"] < 1 and figures["within_2_sigma"] > 0.95
    assert evaluate_recording(bag, RecordingOptions(scale=1 / 1.1)).depth.summary.within_1_sigma > 0.95
    for picture, index in zip(result.pictures, (0, 6, 11), strict=True):
        share = picture.relative_sigma
        assert np.isnan(share[:2]).all() and np.allclose(share[2:], 0.1 / 1.1, rtol=1e-5)
        assert picture.tracks[0, 0].tolist() == [index, 200, 10]
        ratio = np.median(picture.network[6]) / np.median(picture.depth[24])
        assert ratio == pytest.approx(1.5 / SEEN.depth_factor, rel=0.1)
        assert [axes.get_title() for axes in picture.draw("fused depth").axes if axes.get_title()] == [
            "image", "tracks", "network's depth", "fused depth", "true depth", "relative error", "sigma / depth",
        ]  # fmt: skip


def test_sigma_of_some_frames_is_shown_and_not_judged(tmp_path):
    bag = write_recording(tmp_path / "bag", replace(SEEN, sigma_drop=(0, 3), spoiled=(2,)))
    result = evaluate_recording(bag, RecordingOptions(pictures=12))
    assert result.figures()["depth"]["ause"] is None and result.depth.summary.frames == 10
    assert any(note.startswith("sigma was recorded for 9 of 11 frames") for note in result.notes)
    assert [picture.relative_sigma is None for picture in result.pictures[:3]] == [True, False, True]


def test_sigma_and_tracks_without_truth_are_shown(tmp_path):
    bag = write_recording(tmp_path / "bag", replace(SEEN, truth=False))
    result = evaluate_recording(bag, RecordingOptions(pictures=2))
    assert [p.tracks[0, 0, 0] for p in result.pictures] == [0, 11]
    assert all(np.nanmax(p.relative_sigma) < 0.1 and p.truth is None for p in result.pictures)
    assert all(np.allclose(p.network[1:], 1.5 / SEEN.depth_factor * p.depth[2::2, ::2]) for p in result.pictures)


def test_few_pictures_of_many_frames(tmp_path):
    bag = write_recording(tmp_path / "bag", replace(FULL, frames=40))
    result = evaluate_recording(bag)
    assert len(result.pictures) == 12 and result.pictures[0].image is not None
    assert result.pictures[0].name.startswith("frame 0,") and result.pictures[-1].name.startswith("frame 38,")
    assert evaluate_recording(bag, RecordingOptions(pictures=0)).pictures == ()


def test_what_cannot_be_judged_is_refused(tmp_path, full_bag):
    with pytest.raises(EvaluationError, match="no bag at"):
        evaluate_recording(tmp_path / "nothing")
    source = write_recording(tmp_path / "source", replace(FULL, depth=False, odometry=False))
    with pytest.raises(EvaluationError, match="neither depth images nor odometry"):
        evaluate_recording(source)
    with pytest.raises(EvaluationError, match="did you mean '/odom'"):
        evaluate_recording(full_bag, RecordingOptions(topics=Topics(odometry="/odm")))


@pytest.mark.slow
def test_the_command(tmp_path, full_bag, capsys):
    pytest.importorskip("matplotlib")
    out, page = tmp_path / "f.json", tmp_path / "r.html"
    assert main(["eval", "recording", str(full_bag), "--json", str(out), "--html", str(page), "--align", "7dof"]) == 0
    figures = json.loads(out.read_text())
    assert figures["odometry"]["align"] == "7dof" and figures["depth"]["abs_rel"] > 0.05
    assert page.stat().st_size < 3_000_000 and "depth.abs_rel" in capsys.readouterr().out
    assert main(["eval", "recording", str(tmp_path)]) == 1
    assert "no bag at" in capsys.readouterr().err
