"""Tests of the measurement with refine_node: it detects a jump of the odometry, but none in a steady path or gap."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="the measurement needs ROS")

from beside_node import Meter, generations, history, jumps  # ROS is looked for first


def drive(jump_m: float, at: int) -> list[tuple[float, float, float, float, float]]:
    """Return 40 s of odometry at 10 Hz and 5 m/s, which restarts after 20 s; one step is longer."""
    path, x = [], 0.0
    for k in range(400):
        x += 0.5 + (jump_m if k == at else 0.0)
        path.append((100.0 + 0.1 * k, 0.1 * (k % 200), x, 0.0, 0.0))
    return path


def test_a_jump_at_an_exchange_is_seen() -> None:
    steady = jumps(drive(0.0, 300), [130.5])
    assert steady["at_swaps"] == pytest.approx([1.0]) and steady["usual"] == pytest.approx(1.0)
    moved = jumps(drive(2.0, 300), [130.5])
    assert moved["at_swaps"] == pytest.approx([5.0]) and moved["usual"] == pytest.approx(1.0)
    again = jumps(drive(50.0, 200), [120.5])  # where the recording begins again, nothing is compared
    assert again["at_swaps"] == pytest.approx([1.0])
    assert jumps([], [5.0]) == {"at_swaps": [None], "usual": None}


def test_what_the_learner_wrote_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "generations" / "0001"
    folder.mkdir(parents=True)
    facts = {"generation": 1, "accepted": True, "reasons": [], "scale_ratio_start": 1.02, "steps": 40, "camera": [1]}
    facts |= {"before": {"photometric": 0.06}, "after": {"photometric": 0.05, "shape_error": 0.1}}
    (folder / "evidence.json").write_text(json.dumps(facts))
    (tmp_path / "history.jsonl").write_text('{"event": "swapped", "generation": 1, "time": 3}\n')
    (one,) = generations(tmp_path)
    assert one["photometric"] == [0.06, 0.05] and one["shape_error"] == [None, 0.1] and "camera" not in one
    assert history(tmp_path) == [{"event": "swapped", "generation": 1}]


def test_processes_are_metered() -> None:
    meter = Meter()
    meter.read({"me": os.getpid(), "gone": 2**22 + 1})
    sum(k * k for k in range(300_000))
    meter.read({"me": os.getpid()})
    assert set(meter.cores()) == {"me"} and 0 <= meter.cores()["me"] < 8 and meter.memory_mb["me"] > 10
