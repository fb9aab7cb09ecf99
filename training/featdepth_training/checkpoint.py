"""Checkpoints of a run: whole, written atomically, the newest few and the best kept."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

import torch

from featdepth_ros.errors import CheckpointError

FORMAT = 1
BEST = "best.pt"


def _name(step: int) -> str:
    return f"step_{step:08d}.pt"


def write_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write ``state`` to ``path`` so that a reader sees the old file or the new one, never a part.

    Raises:
        CheckpointError: the file system refused (full disk, permissions); what was at ``path`` before is intact.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except (OSError, RuntimeError) as error:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise CheckpointError(
            f"the checkpoint {path} could not be written: {error}. Earlier checkpoints in {path.parent} are intact; "
            "make room and go on with --resume."
        ) from error


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read what `write_checkpoint` wrote, tensors on the CPU. Nothing is unpickled but tensors and plain values.

    Raises:
        CheckpointError: missing, damaged, or not a checkpoint of a training run.
    """
    if not path.is_file():
        raise CheckpointError(f"no checkpoint at {path}")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a damaged file
        raise CheckpointError(f"the checkpoint {path} cannot be read: {error}") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise CheckpointError(f"{path} is not a training checkpoint of format {FORMAT}; is it a weights file?")
    return state


class CheckpointFolder:
    """``<output>/checkpoints``: ``step_<n>.pt`` (the newest ``keep_last``) and ``best.pt``."""

    def __init__(self, folder: Path, keep_last: int) -> None:
        self.folder = folder
        self.keep_last = max(keep_last, 1)

    def steps(self) -> list[Path]:
        """Checkpoints by step, oldest first."""
        return sorted(self.folder.glob("step_*.pt"))

    def latest(self) -> Path | None:
        """The newest checkpoint, None when there is none."""
        found = self.steps()
        return found[-1] if found else None

    def save(self, state: dict[str, Any], step: int) -> Path:
        """Write the checkpoint of ``step``, then drop the oldest beyond ``keep_last``."""
        path = self.folder / _name(step)
        write_checkpoint(path, {**state, "format": FORMAT})
        for old in self.steps()[: -self.keep_last]:
            old.unlink(missing_ok=True)
        return path

    def save_best(self, state: dict[str, Any]) -> Path:
        """Write the checkpoint with the best validation."""
        path = self.folder / BEST
        write_checkpoint(path, {**state, "format": FORMAT})
        return path
