"""`featdepth bench network|estimator`: every back end is timed in turns with eager PyTorch; figures are of one run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from featdepth_ros.cli.main import main
from featdepth_training.bench.timing import in_turns, percentiles

pytestmark = pytest.mark.slow


def test_calls_take_turns() -> None:
    order: list[str] = []
    calls = {"a": lambda n: order.append(f"a{n}"), "b": lambda n: order.append(f"b{n}")}
    times = in_turns(calls, 2)
    assert order == ["a0", "b0", "a1", "b1", "a2", "b2", "a3", "b3", "a4", "b4"]
    assert set(times) == {"a", "b"} and times["a"]["frames_per_s"] == pytest.approx(1e3 / times["a"]["ms"]["p50"])
    assert percentiles([float(v) for v in range(101)]) == {"p50": 50.0, "p95": 95.0, "p99": 99.0}


def test_networks_are_timed_beside_eager_pytorch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("openvino")
    words = ["bench", "network", "--size", "64x96", "--frames", "8", "--backend", "torch", "--backend", "openvino"]
    assert main([*words, "--precision", "fp32", "--json", str(tmp_path / "out.json")]) == 0
    figures = json.loads((tmp_path / "out.json").read_text())
    assert list(figures["variants"]) == ["eager fp32", "torch fp32", "openvino fp32"] and not figures["refused"]
    eager = figures["variants"]["eager fp32"]
    for one in figures["variants"].values():
        assert one["ratio"] == pytest.approx(eager["ms"]["p50"] / one["ms"]["p50"])
        assert 0 < one["ms"]["p50"] <= one["ms"]["p95"] <= one["ms"]["p99"] and one["cpu_ms"] > 0
    assert figures["flops"] > 1e8 and 0 < figures["floor_ms"] < eager["ms"]["p99"]
    assert figures["machine"]["threads"] == 1 and figures["size"] == [64, 96]
    assert "times eager fp32" in capsys.readouterr().out


def test_the_estimator_is_timed_with_the_window_and_without(tmp_path: Path) -> None:
    words = ["bench", "estimator", "--size", "64x192", "--frames", "8", "--backend", "torch", "--precision", "fp32"]
    assert main([*words, "--json", str(tmp_path / "out.json")]) == 0
    figures = json.loads((tmp_path / "out.json").read_text())
    assert list(figures["variants"]) == ["torch, window, fused", "torch, network, network"]
    for one in figures["variants"].values():
        assert {"rectify", "depth", "motion", "fusion", "output"} <= set(one["stages_ms"])
        assert sum(one["stages_ms"].values()) < 2 * one["ms"]["p99"]
