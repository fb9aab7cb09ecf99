"""The learner as a process: its priority and budget, kill -9 within a round, SIGTERM, and only one of them a folder."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from segments import wall_segments

from featdepth_ros.errors import ConfigError
from featdepth_ros.files import sha256_of
from featdepth_training.refine.online import __main__ as command

#: Every round is accepted, so that there is something to lose.
SETTINGS = (
    "steps=4", "least_clips=12", "least_held_out=6", "measured_clips=6", "replay_frames=0", "matching=0",
    "least_gain=-9", "most_change=9", "limits.photometric=9", "limits.scale=9", "limits.shape=9",
)  # fmt: skip
BUDGET = 0.3


@contextmanager
def process(work: Path) -> Iterator[subprocess.Popen[str]]:
    """Run the command; it is gone afterwards."""
    line = [sys.executable, "-m", "featdepth_training.refine.online", str(work), "--weights", "compact-open"]
    with subprocess.Popen([*line, "--device", "cpu", "--budget", str(BUDGET), *SETTINGS], text=True) as child:
        try:
            yield child
        finally:
            child.kill()


def read(path: Path) -> dict[str, Any]:
    try:
        values: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return values


def wait(what: Callable[[], bool], seconds: float = 200.0) -> None:
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until, "nothing happened"
        time.sleep(0.05)


def processor_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.slow
def test_a_killed_learner_loses_nothing_that_was_accepted(tmp_path: Path) -> None:
    wall_segments(tmp_path / "buffer", range(3))
    first, second = (tmp_path / "generations" / name for name in ("0001", "0002"))
    status = tmp_path / "learner.json"
    with process(tmp_path) as child:
        wait(lambda: read(status).get("round") == 1)  # "judging" may be over between two looks
        assert os.getpriority(os.PRIO_PROCESS, child.pid) == 19
        began, used = time.monotonic(), processor_s(child.pid)
        wait(lambda: (first / "evidence.json").is_file())
        # The last piece of work is slept off only after the evidence is written.
        assert processor_s(child.pid) - used < BUDGET * (time.monotonic() - began) + 1.5
        current = str(first / "model.safetensors")
        (tmp_path / "control.json").write_text(json.dumps({"run": True, "current": current, "budget": 4.0}))
        wait(lambda: read(status).get("round") == 2 and read(status).get("step", 0) > 0)
        child.send_signal(signal.SIGKILL)
        child.wait(10)
    evidence = read(first / "evidence.json")
    assert evidence["accepted"] and sha256_of(current) == evidence["sha256"]
    assert not (second / "evidence.json").exists()
    with process(tmp_path) as child:
        wait(lambda: (second / "evidence.json").is_file())
        assert read(second / "evidence.json")["parent"] == current
        child.terminate()
        assert child.wait(30) == 0
    assert (read(status)["state"], read(status)["message"]) == ("paused", "ended")
    assert not list(tmp_path.rglob("*.partial")) and Path(current).is_file()


def test_a_second_learner_waits_and_then_gives_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "PATIENCE_S", 0.6)
    script = (
        "import sys, time; from pathlib import Path; from contextlib import ExitStack\n"
        "from featdepth_training.refine.online.__main__ import _alone\n"
        "with ExitStack() as held:\n    _alone(held, Path(sys.argv[1])); print('held', flush=True); time.sleep(60)"
    )
    line = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        with ExitStack() as held, pytest.raises(ConfigError, match="another run is writing"):
            command._alone(held, tmp_path)
        other.kill()
    with ExitStack() as held:
        command._alone(held, tmp_path)
