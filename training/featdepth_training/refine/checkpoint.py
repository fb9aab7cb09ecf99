"""Where a refinement stands, so that one that was stopped or killed goes on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from featdepth_ros.errors import CheckpointError, ConfigError
from featdepth_training.engine.checkpoint import read_torch, write_checkpoint
from featdepth_training.engine.loop import TrainingLoop
from featdepth_training.refine.config import RefineConfig

NAME = "refine.pt"
#: Settings that decide nothing of the steps.
_FREE = ("accept_worse", "device", "limits", "measured_clips", "checkpoint_every")


class RefineCheckpoint:
    """The checkpoint in the folder of a refinement.

    Args:
        folder: of the refinement.
        settings: of it.
        weights: name of what is refined.
        recordings: names of what it is refined on.
    """

    def __init__(self, folder: Path, settings: RefineConfig, weights: str, recordings: Sequence[str]) -> None:
        self._path = folder / NAME
        values = {key: value for key, value in asdict(settings).items() if key not in _FREE}
        self._made: dict[str, Any] = {**values, "weights": weights, "recordings": list(recordings)}

    def save(self, loop: TrainingLoop) -> None:
        """Write where ``loop`` stands.

        Raises:
            CheckpointError: it cannot be written.
        """
        write_checkpoint(self._path, {"made": self._made, "loop": loop.state_dict()})

    def restore(self, loop: TrainingLoop) -> None:
        """Put ``loop`` where the checkpoint was; without one it stays at the start.

        Raises:
            CheckpointError: the file is damaged, or of other networks.
            ConfigError: it is of another refinement; the message says what differs.
        """
        if not self._path.is_file():
            return
        state = read_torch(self._path)
        made = {key: list(value) if isinstance(value, tuple) else value for key, value in self._made.items()}
        old = {key: list(value) if isinstance(value, tuple) else value for key, value in state["made"].items()}
        differing = [f"{key} ({old.get(key)}, now {made.get(key)})" for key in made if made[key] != old.get(key)]
        if differing:
            raise ConfigError(
                f"{self._path} is of another refinement: {', '.join(differing)}; name another --work, or begin anew "
                "without --resume"
            )
        try:
            loop.load_state_dict(state["loop"])
        except (KeyError, RuntimeError, ValueError) as error:
            raise CheckpointError(f"{self._path} does not fit these weights: {error}") from error

    def remove(self) -> None:
        """Remove the file: the refinement has come to its end."""
        self._path.unlink(missing_ok=True)
