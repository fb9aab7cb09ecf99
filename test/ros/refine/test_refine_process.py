"""kill -9 of refine_node as a process, and of depth_node: odometry goes on, and no accepted weights are lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from ros_graph import graph, wait
from wall_drive import WallDrive, flat_weights

pytest.importorskip("numba")
pytest.importorskip("scipy")
pytestmark = [pytest.mark.ros, pytest.mark.slow]

HERE = Path(__file__).parent
#: refine_node with the learner that learns nothing, and short segments.
RUN = f"""
import sys
from featdepth_ros.recordings.buffer import writer
from featdepth_ros.ros.refine.learner import learner_command
from featdepth_ros.ros.refine.node import RefineNode
from featdepth_ros.ros.running.spin import run_node
writer.SEGMENT_FRAMES = 5
def stand_in(*given):
    python, _, _, *words = learner_command(*given)
    return [python, {str(HERE / "stand_in_learner.py")!r}, *words]
sys.exit(run_node("refine_node", lambda: RefineNode(stand_in), None))
"""


@contextmanager
def refine_process(folder: Path, *settings: str) -> Iterator[subprocess.Popen[bytes]]:
    parameters = {
        "folder": folder,
        "probation_s": 2.0,
        "probation_clips": 1,
        "learner_settings": f"[{','.join(settings)}]",
    }
    words = [word for name, value in parameters.items() for word in ("-p", f"{name}:={value}")]
    process = subprocess.Popen([sys.executable, "-c", RUN, "--ros-args", *words])
    try:
        yield process
    finally:
        process.kill()
        process.wait(20)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not state.is_file() or state.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def read(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return {}


def events(folder: Path) -> list[str]:
    path = folder / "history.jsonl"
    return [json.loads(line)["event"] for line in path.read_text().splitlines()] if path.is_file() else []


def test_kill_9_of_either_loses_no_odometry_and_no_accepted_weights(tmp_path: Path) -> None:
    first, second = flat_weights(tmp_path, "first"), flat_weights(tmp_path, "second", 1.3)
    folder = tmp_path / "work"
    settings = (f"file={second}", "new=0.09")
    generation = str(folder / "generations" / "0001" / "model.safetensors")
    with graph() as ros:
        drive = WallDrive(ros, first)
        with refine_process(folder, *settings) as process:
            drive.go_until(lambda _: "accepted" in events(folder), "acceptance", 400)
            learner = read(folder / "learner.json")["pid"]
            os.kill(process.pid, signal.SIGKILL)
            process.wait(20)
        wait(lambda: not is_alive(learner), "the learner to end with who started it")
        drive.go(3)  # each waits for its odometry
        assert drive.told()["weights"] == generation
        drive.end_node()
        drive.start_node()
        with refine_process(folder, *settings):
            drive.go_until(lambda told: told["weights"] == generation, "the accepted weights", 400)
            wait(lambda: events(folder)[-1] == "restored", "the word of it")
            drive.go(3)
        assert (
            read(folder / "accepted.json")["weights"] == generation
            and read(folder / "accepted.json")["shipped"] == first
        )
        assert ros.failure is None
