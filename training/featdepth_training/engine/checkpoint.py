"""Checkpoints of a run, which are written atomically; the newest few and the best are kept."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from featdepth_ros.errors import CheckpointError, ConfigError
from featdepth_ros.files import atomic_path

FORMAT = 1
BEST = "best.pt"
#: Suffix of later checkpoints after a run was resumed from an earlier one.
SET_ASIDE = ".old"


def _name(step: int) -> str:
    return f"step_{step:08d}.pt"


@contextlib.contextmanager
def exclusive_output(output: Path) -> Iterator[None]:
    """Create the folder of a run and lock it against other runs; the lock ends with the process.

    Raises:
        ConfigError: another run writes there, or the folder cannot be written.
    """
    try:
        output.mkdir(parents=True, exist_ok=True)
        file = (output / ".lock").open("a")
    except OSError as error:
        raise ConfigError(f"the folder {output} cannot be written: {error}; name another --output") from error
    with file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # unlike flock, loader processes do not inherit it
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                raise ConfigError(
                    f"another run is writing to {output}; wait for it, or name another --output"
                ) from error
            # The file system has no locks, so other runs are not excluded.
        yield


def write_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write ``state`` to ``path`` atomically: a reader sees the old file or the new one.

    Raises:
        CheckpointError: the file could not be written (full disk, permissions); an earlier file at ``path`` is intact.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with atomic_path(path) as partial, partial.open("wb") as file:
            torch.save(state, file)
    except (OSError, RuntimeError) as error:
        raise CheckpointError(
            f"the checkpoint {path} could not be written: {_reason(error, path.parent, state)}. Earlier checkpoints in "
            f"{path.parent} are intact; free disk space and continue with --resume."
        ) from error


def _reason(error: Exception, folder: Path, state: dict[str, Any]) -> str:
    """Return why a file could not be written, because torch's message does not mention a full disk."""
    if isinstance(error, OSError) and error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return str(error)
    needed = _bytes_of(state)
    free = shutil.disk_usage(folder).free
    if isinstance(error, OSError) or free < needed:
        return f"No space left on the disk ({free / 1e6:.0f} MB are free, about {needed / 1e6:.0f} MB are needed)"
    return str(error)


def _bytes_of(value: Any) -> int:
    if isinstance(value, torch.Tensor):
        return value.nbytes
    if isinstance(value, dict):
        return sum(map(_bytes_of, value.values()))
    return sum(map(_bytes_of, value)) if isinstance(value, (list, tuple)) else 0


def read_torch(path: Path) -> Any:
    """Read a file of torch.save to the CPU, with ``weights_only``: only tensors and plain values are unpickled.

    Raises:
        CheckpointError: the file is missing or damaged; the message names other files in its folder.
    """
    if not path.is_file():
        raise CheckpointError(f"no checkpoint at {path}")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a damaged file
        others = [other.name for other in CheckpointFolder(path.parent, 1).steps() if other != path]
        hint = f"; {path.parent} also holds {', '.join(others)}: name one with --resume" if others else ""
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise CheckpointError(f"the checkpoint {path} cannot be read: {reason}{hint}") from error


class CheckpointFolder:
    """``<output>/checkpoints``: ``step_<n>.pt`` (the newest ``keep_last``) and ``best.pt``."""

    def __init__(self, folder: Path, keep_last: int) -> None:
        self.folder = folder
        self.keep_last = max(keep_last, 1)

    def steps(self) -> list[Path]:
        """Checkpoints by step, oldest first."""
        return sorted(self.folder.glob("step_" + "[0-9]" * 8 + ".pt"))

    def latest(self) -> Path | None:
        """Return the newest checkpoint; None if there is none."""
        steps = self.steps()
        return steps[-1] if steps else None

    def clean(self) -> None:
        """Remove incomplete files of a killed process."""
        for partial in self.folder.glob(".*.partial"):
            partial.unlink(missing_ok=True)

    def set_aside_after(self, step: int) -> list[Path]:
        """Rename checkpoints after ``step``, from which the run continues differently.

        Otherwise they would count as the newest, and displace the new ones.
        """
        later = [path for path in self.steps() if path.name > _name(step)]
        return [path.replace(path.with_name(path.name + SET_ASIDE)) for path in later]

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
