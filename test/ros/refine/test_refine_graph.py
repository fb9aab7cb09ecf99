"""refine_node beside a depth_node in a real graph, with a learner that keeps the contract and learns nothing."""

from __future__ import annotations

import itertools
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.srv import DescribeParameters
from rclpy.parameter import Parameter
from ros_graph import Graph, Probe, call, wait
from std_srvs.srv import Trigger
from wall_drive import WallDrive, flat_weights

from featdepth_ros.recordings.buffer.segments import read_stored
from featdepth_ros.ros.refine.learner import learner_command
from featdepth_ros.ros.refine.node import RefineNode
from featdepth_ros.ros.refine.settings import RefineSettings

pytest.importorskip("numba")
pytest.importorskip("scipy")
pytestmark = pytest.mark.ros

STAND_IN = str(Path(__file__).with_name("stand_in_learner.py"))


def stand_in(work: Path, weights: str, settings: RefineSettings) -> list[str]:
    python, _, _, *words = learner_command(work, weights, settings)
    return [python, STAND_IN, *words]


@pytest.fixture(autouse=True)
def short_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("featdepth_ros.recordings.buffer.writer.SEGMENT_FRAMES", 5)


def refine(ros: Graph, folder: Path, *settings: str, **parameters: Any) -> RefineNode:
    values = {"folder": str(folder), "diagnostics_period_s": 0.1, "probation_s": 2.0, "probation_clips": 1}
    values |= {"learner_settings": list(settings) or [""], **parameters}
    overrides = [Parameter(name, value=value) for name, value in values.items()]
    return ros.add(RefineNode(stand_in, context=ros.context, parameter_overrides=overrides))


def ask(probe: Probe, name: str) -> Trigger.Response:
    return call(probe, Trigger, f"/refine_node/{name}", Trigger.Request())


def told(reports: list[DiagnosticArray]) -> dict[str, str]:
    mine = wait(lambda: [m for m in list(reports) if m.status[0].name == "refine_node: refinement"], "diagnostics")
    status = mine[-1].status[0]
    return {**{v.key: v.value for v in status.values}, "message": status.message, "level": status.level.hex()}


def events(folder: Path) -> list[str]:
    path = folder / "history.jsonl"
    return [json.loads(line)["event"] for line in path.read_text().splitlines()] if path.is_file() else []


def test_parameters_are_described_and_refused_in_words(ros: Graph, tmp_path: Path) -> None:
    probe = Probe(ros)
    node = refine(ros, tmp_path, autostart=False)
    request = DescribeParameters.Request(names=["budget"])
    (described,) = call(probe, DescribeParameters, "/refine_node/describe_parameters", request).descriptors
    assert "core" in described.description and described.floating_point_range[0].from_value == 0.05
    refused = node.set_parameters([Parameter("folder", value="/elsewhere")])[0]
    assert not refused.successful and "at the start" in refused.reason
    assert node.set_parameters([Parameter("budget", value=1.5)])[0].successful
    status = json.loads(ask(probe, "status").message)
    assert status["running"] is False and status["learner"]["alive"] is False and status["accepted"] is None
    reports = probe.hear(DiagnosticArray, "/diagnostics")
    wait(lambda: "there is no report of 'depth_node'" in told(reports)["message"], "the words")


@pytest.mark.slow
def test_the_whole_loop_buffer_offer_trial_acceptance_and_the_way_back(ros: Graph, tmp_path: Path) -> None:
    first, second = flat_weights(tmp_path, "first"), flat_weights(tmp_path, "second", 1.3)
    folder = tmp_path / "work"
    drive = WallDrive(ros, first)
    node = refine(ros, folder, f"file={second}", "new=0.09")
    drive.go_until(lambda _: "accepted" in events(folder), "acceptance", 250)
    assert events(folder) == ["offered", "swapped", "accepted"]
    generation = str(folder / "generations" / "0001" / "model.safetensors")
    assert json.loads((folder / "accepted.json").read_text()) == {
        "weights": generation,
        "generation": 1,
        "shipped": first,
    }
    assert drive.told()["weights"] == generation
    # What was stored are stretches of the drive, with its calibration and the node's poses in metres.
    stored = [s for p in sorted((folder / "buffer").iterdir()) if (s := read_stored(p)) is not None]
    assert len(stored) >= 2 and {s.split for s in stored} == {"train", "held_out"}
    facts = json.loads((stored[0].folder / "segment.json").read_text())
    assert facts["size"] == [32, 96] and facts["metric"] is True
    poses = [line.split() for line in (stored[0].folder / "poses.txt").read_text().splitlines()[1:]]
    assert len(poses) == stored[0].frames
    moved = [float(b[1 + k]) - float(a[1 + k]) for a, b in itertools.pairwise(poses) for k in range(3)]
    assert 0.001 < max(map(abs, moved)) < 1.0

    # kill -9 of the learner: another one is started.
    learner = node._learner.pid
    assert learner is not None and os.getpriority(os.PRIO_PROCESS, learner) == 19
    group = Path(f"/proc/{learner}/autogroup")
    assert not group.is_file() or group.read_text().split()[-1] in ("19", "0"), "0: autogroups are off"
    os.kill(learner, signal.SIGKILL)
    wait(lambda: node._learner.pid not in (None, learner), "another learner")
    assert drive.told()["weights"] == generation

    # The way back to what depth_node was started with.
    assert ask(drive.probe, "rollback").success
    drive.go_until(lambda report: report["weights"] == first, "the shipped weights")
    assert json.loads((folder / "accepted.json").read_text())["weights"] == first
    status = json.loads(ask(drive.probe, "status").message)
    assert status["weights"] == first and status["buffer"]["segments"]["train"] >= 1
    assert status["learner"]["state"] == "training" and status["learner"]["alive"]
    assert ask(drive.probe, "stop").success
    wait(lambda: node._learner.pid is None, "the learner's end")
    wait(lambda: told(drive.reports)["running"] == "false", "the words")
    steps = drive.steps_m()
    assert steps[6:].max() < 1.6 * float(sorted(steps[6:])[len(steps[6:]) // 2]), "odometry never jumped"


@pytest.mark.slow
def test_worse_weights_are_rolled_back_by_themselves(ros: Graph, tmp_path: Path) -> None:
    first, second = flat_weights(tmp_path, "first"), flat_weights(tmp_path, "second", 1.3)
    folder = tmp_path / "work"
    drive = WallDrive(ros, first)
    refine(ros, folder, f"file={second}", "new=0.2")
    drive.go_until(lambda _: "rolled_back" in events(folder), "the roll back", 250)
    drive.go_until(lambda report: report["weights"] == first, "the old weights")
    assert events(folder) == ["offered", "swapped", "rolled_back"]
    assert json.loads((folder / "accepted.json").read_text())["weights"] == first


def test_a_learner_that_cannot_start_says_what_is_missing_and_is_given_up(ros: Graph, tmp_path: Path) -> None:
    probe = Probe(ros)
    reports = probe.hear(DiagnosticArray, "/diagnostics")
    (tmp_path / "accepted.json").write_text(json.dumps({"weights": "compact", "shipped": "compact"}))
    node = refine(ros, tmp_path, "crash=1", learner_restarts=0)
    wait(lambda: "is not restarted" in node._learner.trouble, "the end of patience", 30.0)
    wait(lambda: "'tensorboard' is not installed: pip install" in told(reports)["message"], "the words")
    assert told(reports)["level"] == "02" and told(reports)["learner_crashes"] == "1"
    assert ask(probe, "start").success
    wait(lambda: node._learner.crashes == 0 or node._learner.pid, "another try")
    assert sys.executable in stand_in(tmp_path, "compact", node._settings)[0]
