"""Real kills and a disk that is really full: a run goes on to the very bit, or says what to do."""

from __future__ import annotations

import os
import resource
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn_clips import drawn_clip
from runs import Run, records, same, write_config

from featdepth_ros.errors import ConfigError, FeatDepthError
from featdepth_training.data.cache import write_cache
from featdepth_training.engine.checkpoint import CheckpointFolder, exclusive_output
from featdepth_training.engine.published import read_state
from featdepth_training.monitoring.monitor import Monitor

pytestmark = pytest.mark.slow

STEPS = 9


def small_recipe(folder: Path, **changes: Any) -> dict[str, Any]:
    """Two caches of unequal shares, two stages, two micro-batches a step; everything random switched on."""
    return {
        "seed": 5,
        "model": {"initial": "none"},
        "data": {
            "kind": "prepared",
            "prepared": {"caches": [str(folder / "one"), str(folder / "two")], "shares": [2, 1], "held_out": 0.2},
            "augment": {"haze": 0.0},
        },
        "stages": [
            {"steps": 5, "sizes": [[64, 64], [64, 96]], "batch_size": 1, "accumulate": 2},
            {"steps": STEPS - 5, "sizes": [[64, 96]], "batch_size": 1, "accumulate": 1},
        ],
        "objective": {"depth": 1.0, "photometric": 0.5, "smoothness": 1e-3},
        "engine": {
            **{"checkpoint_every": 2, "validate_every": 4, "log_every": 1, "keep_last": 2},
            **{"tensorboard": False, "threads": 1},
        },
        **changes,
    }


def write_small_caches(folder: Path) -> None:
    write_cache(folder / "one", {"made": "one", "frames": 2}, 5, 3, drawn_clip)
    write_cache(folder / "two", {"made": "two", "frames": 2}, 4, 3, lambda number: drawn_clip(10 + number))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    write_small_caches(folder)
    write_config(folder / "run.yaml", small_recipe(folder))
    return folder


@pytest.fixture(scope="module")
def whole(place: Path) -> Path:
    """The run that nothing happens to."""
    run = start(place, "whole")
    assert run.finish() == 0, run.text()
    return run.output


def start(place: Path, name: str, *arguments: str, **options: Any) -> Run:
    return Run(place / name, ["--config", str(place / "run.yaml"), *arguments], **options)


def final(output: Path) -> dict[str, Any]:
    state = read_state(output / "checkpoints" / f"step_{STEPS:08d}.pt")
    del state["config"]["data"]["workers"]
    return state


def die_while_saving(step: int, half: bool) -> None:
    """Let SIGKILL come in the middle of a checkpoint's file, or when it is whole and not yet in its place."""
    from featdepth_training.engine import checkpoint

    save, replace = checkpoint.torch.save, os.replace

    def write_half(state: dict[str, Any], file: Any) -> None:
        save(state, file)
        if state["step"] == step and half:
            file.truncate(file.tell() // 2)
            file.flush()
            os.kill(os.getpid(), signal.SIGKILL)

    def do_not_replace(old: Any, new: Any) -> None:
        if Path(new).name == f"step_{step:08d}.pt" and not half:
            os.kill(os.getpid(), signal.SIGKILL)
        replace(old, new)

    checkpoint.torch.save, os.replace = write_half, do_not_replace  # type: ignore[assignment]


@pytest.mark.parametrize("workers", [0, 2])
def test_kills_change_nothing(place: Path, whole: Path, workers: int) -> None:
    """SIGKILL at a step drawn by lot, while a checkpoint is written, and at a later step; resumed each time."""
    rng = np.random.default_rng([11, workers])
    name, more = f"killed{workers}", [f"data.workers={workers}"]
    output = place / name
    run = start(place, name, *more)
    run.wait_for_step(int(rng.integers(3, 5)))
    loaders = run.children()
    assert len(loaders) == workers
    run.kill()
    run = start(place, name, "--resume", *more, before=die_while_saving, given=[6, workers == 0])
    assert run.finish() == -signal.SIGKILL
    partial = list((output / "checkpoints").glob(".*.partial"))
    assert len(partial) == 1
    run = start(place, name, "--resume", *more)
    run.wait_for_step(int(rng.integers(7, STEPS)))
    run.kill()
    assert "step_00000004.pt at step 4" in run.text()
    assert not partial[0].exists()
    run = start(place, name, "--resume", *more)
    assert run.finish() == 0, run.text()
    assert same(final(whole), final(output))
    assert records(whole) == records(output)
    for file in ("model.safetensors", "checkpoints/best.pt"):
        assert (output / file).is_file()
    assert (whole / "model.safetensors").read_bytes() == (output / "model.safetensors").read_bytes()
    assert not any(Path(f"/proc/{loader}").exists() for loader in loaders)  # they have seen that their parent is gone
    assert sorted(p.name for p in (output / "checkpoints").iterdir()) == [
        "best.pt", f"step_{STEPS - 1:08d}.pt", f"step_{STEPS:08d}.pt"
    ]  # fmt: skip


def allow_files_of(size: int) -> None:
    """Refuse to write beyond ``size`` bytes of a file, as a full disk or a quota does."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def test_a_full_disk_costs_nothing_but_room(place: Path, whole: Path) -> None:
    """The checkpoint before is intact, the message says what to do, and the run goes on once there is room."""
    output = place / "full"
    run = start(place, "full", before=die_while_saving, given=[4, True])
    assert run.finish() == -signal.SIGKILL
    before = (output / "checkpoints" / "step_00000002.pt").read_bytes()
    run = start(place, "full", "--resume", before=allow_files_of, given=[len(before) // 2])
    assert run.finish() == 1
    said = run.text()
    assert "step_00000004.pt could not be written" in said and "free disk space and continue with --resume" in said
    assert "Traceback" not in said
    assert [p.name for p in (output / "checkpoints").iterdir()] == ["step_00000002.pt"]
    assert (output / "checkpoints" / "step_00000002.pt").read_bytes() == before
    run = start(place, "full", "--resume")
    assert run.finish() == 0, run.text()
    assert same(final(whole), final(output))
    assert records(whole) == records(output)


def test_a_full_disk_for_figures_is_said_too(tmp_path: Path) -> None:
    monitor = Monitor(tmp_path, 0, 1, tensorboard=False)
    with Path("/dev/full").open("w") as full:
        monitor._file.close()
        monitor._file = full
        with pytest.raises(FeatDepthError, match=r"metrics.jsonl could not be written.*No space left.*--resume"):
            monitor.record("train", 1, {"total": 1.0, "images_per_s": 1.0})
        monitor.close()


def test_another_course_from_an_older_checkpoint(tmp_path: Path) -> None:
    """Checkpoints of the old course are set aside: they are neither the newest nor push out the new ones."""
    folder = CheckpointFolder(tmp_path / "checkpoints", 2)
    for step in (2, 4, 6):
        folder.save({"step": step}, step)
    aside = folder.set_aside_after(4)
    assert [p.name for p in aside] == ["step_00000006.pt.old"] and aside[0].is_file()
    assert [p.name for p in folder.steps()] == ["step_00000004.pt"]
    folder.save({"step": 5}, 5)
    assert folder.latest() == tmp_path / "checkpoints" / "step_00000005.pt"


def test_one_run_a_folder(tmp_path: Path) -> None:
    run = Run(tmp_path / "held", [], before=hold_and_wait, given=[tmp_path / "held"])
    for _ in range(3000):
        if (tmp_path / "held" / "holds").exists():
            break
        time.sleep(0.01)
    with pytest.raises(ConfigError, match="another run is writing"), exclusive_output(tmp_path / "held"):
        pass
    run.kill()
    with exclusive_output(tmp_path / "held"):
        pass


def hold_and_wait(output: Path) -> None:
    """Hold the folder until killed."""
    with exclusive_output(output):
        (output / "holds").touch()
        time.sleep(600)
