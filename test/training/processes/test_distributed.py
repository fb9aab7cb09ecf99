"""Two real processes over gloo: they learn what one with two micro-batches learns, and none waits for the dead."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from runs import PATIENCE_S, Run, records, same, write_config

from featdepth_training.engine.published import read_state

pytestmark = pytest.mark.slow

STEPS = 4


def recipe(**changes: Any) -> dict[str, Any]:
    """A few rendered clips, with all that is random in training."""
    return {
        "seed": 8,
        "model": {"initial": "none"},
        "data": {
            "rendered": {"clips": 3, "validation_clips": 1, "frames": 2, "height": 64, "width": 96, "scenes": ["room"]}
        },
        "stages": [{"steps": STEPS, "sizes": [[64, 64]], "batch_size": 1}],
        "engine": {
            **{"checkpoint_every": 2, "validate_every": 3, "log_every": 1, "max_nonfinite": 3},
            **{"tensorboard": False, "threads": 1},
        },
        **changes,
    }


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("processes")
    write_config(folder / "run.yaml", recipe())
    return folder


def torchrun(place: Path, *arguments: str, restarts: int = 0) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command.append(f"--max-restarts={restarts}")
    train = [
        "-m",
        "featdepth_ros.cli.main",
        "train",
        "--device",
        "cpu",
        "--config",
        str(place / "run.yaml"),
        *arguments,
    ]
    return subprocess.Popen(
        [*command, *train], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def said(run: subprocess.Popen[str]) -> str:
    """Wait for the end of a torchrun; returns what all its processes said."""
    try:
        return run.communicate(timeout=PATIENCE_S)[0]
    except subprocess.TimeoutExpired:
        os.killpg(run.pid, signal.SIGKILL)
        raise


def test_torchrun_equals_one_process_with_two_micro_batches(place: Path) -> None:
    """As a user types it; asked to stop after a step or two, then resumed. Rank 0 alone speaks and writes."""
    output, figures = place / "two", place / "two.json"
    run = torchrun(place, "--output", str(output))
    end = time.monotonic() + PATIENCE_S
    while not records(output) and run.poll() is None and time.monotonic() < end:
        time.sleep(0.01)
    os.kill(run.pid, signal.SIGTERM)
    text = said(run)
    assert text.count("training stopped after") == 1, text
    assert run.returncode != 0
    stopped_at = max(int(p.stem[5:]) for p in (output / "checkpoints").glob("step_*.pt"))
    assert 0 < stopped_at < STEPS
    runs = pair(place, "two", more=["--resume", "--json", str(figures)])
    assert [run.finish() for run in runs] == [0, 0], runs[0].text()
    text = "".join(run.text() for run in runs)
    for once in ("resumed from", "training complete", "step 3: "):
        assert text.count(once) == (1 if once != "step 3: " or stopped_at < 3 else 0), text
    assert json.loads(figures.read_text())["steps"] == STEPS

    alone = Run(
        place / "one",
        ["--config", str(place / "run.yaml"), f"data.rendered.cache={output / 'cache'}"]
        + ['stages=[{"steps": 4, "sizes": [[64, 64]], "batch_size": 1, "accumulate": 2}]'],
    )
    assert alone.finish() == 0, alone.text()
    two, one = (read_state(o / "checkpoints" / f"step_{STEPS:08d}.pt") for o in (output, alone.output))
    assert (two["processes"], one["processes"]) == (2, 1)
    for part in ("model", "average", "optimiser"):  # running statistics are part of the model
        assert same(two[part], one[part]), part
    assert records(output) == records(alone.output)


def test_torchrun_starts_again_after_a_killed_worker(place: Path) -> None:
    """The same line goes on from the newest checkpoint, and comes to what one process alone comes to."""
    output, steps = place / "restarted", 24
    stage = f'stages=[{{"steps": {steps}, "sizes": [[64, 64]], "batch_size": 1%s}}]'
    cache = f"data.rendered.cache={place / 'cache'}"
    alone = Run(place / "alone", ["--config", str(place / "run.yaml"), cache, stage % ', "accumulate": 2'])
    assert alone.finish() == 0, alone.text()
    run = torchrun(place, "--output", str(output), "--resume", "auto", cache, stage % "", restarts=2)
    end = time.monotonic() + PATIENCE_S
    while max([0, *(r["step"] for r in records(output))]) < 3 and run.poll() is None and time.monotonic() < end:
        time.sleep(0.01)
    workers = [int(pid) for pid in Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()]
    ranks = {pid: Path(f"/proc/{pid}/environ").read_bytes().split(b"\0") for pid in workers}
    second = [pid for pid, environment in ranks.items() if b"RANK=1" in environment]
    os.kill(second[0], signal.SIGKILL)
    text = said(run)
    assert run.returncode == 0, text
    assert text.count("training complete") == 1 and "resumed from" in text
    two, one = (read_state(o / "checkpoints" / f"step_{steps:08d}.pt") for o in (output, alone.output))
    assert two["processes"] == 2
    for part in ("model", "average", "optimiser"):
        assert same(two[part], one[part]), part


def pair(
    place: Path, name: str, before: Any = None, given: tuple[Any, ...] = (), more: Sequence[str] = ()
) -> list[Run]:
    """Two processes without torchrun's helper."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    arguments = ["--config", str(place / "run.yaml"), f"data.rendered.cache={place / 'two' / 'cache'}", *more]
    return [
        Run(place / name, arguments, before, given, {**common, "RANK": rank, "LOCAL_RANK": rank}) for rank in ("0", "1")
    ]


def test_a_lost_process_ends_the_run_with_words(place: Path) -> None:
    first, second = pair(place, "lost")
    first.wait_for_step(1)
    second.kill()
    assert first.finish() == 1
    assert "another process of this run has ended" in first.text() and "--resume" in first.text()
    assert "Traceback" not in first.text()


def spoil(kind: str, number: int) -> None:
    """In the second process, let one sample be unreadable, or one micro-batch come to nothing finite."""
    from featdepth_ros.errors import RecordingError
    from featdepth_training.data import samples
    from featdepth_training.engine import loop

    if os.environ["RANK"] != "1":
        return
    read, compute = samples.ClipDataset.__getitem__, loop.TrainingLoop._micro_batch

    def unreadable(self: Any, key: Any) -> Any:
        if key.number == number:
            raise RecordingError("shard 000000.tar is damaged.")
        return read(self, key)

    def not_finite(self: Any, batch: Any, micro_batch: int) -> Any:
        terms = compute(self, batch, micro_batch)
        return {**terms, "total": terms["total"] * (float("nan") if micro_batch == number else 1.0)}

    if kind == "unreadable":
        samples.ClipDataset.__getitem__ = unreadable  # type: ignore[method-assign]
    else:
        loop.TrainingLoop._micro_batch = not_finite  # type: ignore[method-assign]


def test_what_one_process_cannot_read_stops_all_and_is_saved(place: Path) -> None:
    runs = pair(place, "unreadable", spoil, ("unreadable", 3))  # the second sample of step 1
    assert [run.finish() for run in runs] == [1, 1]
    first, second = (run.text() for run in runs)
    assert "another process could not read its data" in first and "saved at step 1" in first
    assert "shard 000000.tar is damaged. Training ends" in second
    assert "Traceback" not in first + second
    assert read_state(runs[0].output / "checkpoints" / "step_00000001.pt")["step"] == 1


def test_not_finite_in_one_process_is_skipped_by_all(place: Path) -> None:
    runs = pair(place, "nan", spoil, ("nan", 3))
    assert [run.finish() for run in runs] == [0, 0], runs[0].text()
    assert "step 2: loss or gradient not finite, step skipped (1 in all)" in runs[0].text()
    state = read_state(runs[0].output / "checkpoints" / f"step_{STEPS:08d}.pt")
    assert (state["skipped"], state["skipped_in_a_row"]) == (1, 0)
    assert all(bool(v.isfinite().all()) for v in state["model"].values() if v.is_floating_point())
    dumped = sorted((runs[0].output / "nonfinite").iterdir())
    assert [p.name for p in dumped] == ["step_00000001_0_0.pt", "step_00000001_1_0.pt"]
    assert all(torch.load(p, weights_only=True)["images"].shape == (1, 2, 3, 64, 64) for p in dumped)
