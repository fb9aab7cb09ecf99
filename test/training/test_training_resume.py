"""Real kills and a disk that is really full: a run goes on to the very bit, or says what to do."""

from __future__ import annotations

import os
import resource
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import SIZE, drawn_clip
from runs import Run, records, same, write_config

from featdepth_training.cache import write_cache
from featdepth_training.checkpoint import read_checkpoint

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
    for name, clips in (("one", 5), ("two", 4)):
        write_cache(folder / name, {"made": name, "frames": 2}, clips, 3, lambda n, s=len(name): drawn_clip(n + 10 * s))


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
    state = read_checkpoint(output / "checkpoints" / f"step_{STEPS:08d}.pt")
    del state["config"]["data"]["workers"]
    return state


def die_while_saving(step: int, half: bool) -> None:
    """Let SIGKILL come in the middle of a checkpoint's file, or when it is whole and not yet in its place."""
    from featdepth_training import checkpoint

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
    assert sorted(p.name for p in (output / "checkpoints").iterdir()) == [
        "best.pt", f"step_{STEPS - 1:08d}.pt", f"step_{STEPS:08d}.pt"
    ]  # fmt: skip
