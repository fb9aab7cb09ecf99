"""The checkpoint of a refinement, from which a stopped or killed one continues."""

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
#: Settings without influence on the steps.
_FREE = ("accept_worse", "device", "limits", "measured_clips", "checkpoint_every")


class RefineCheckpoint:
    """The checkpoint in the folder of a refinement.

    Args:
        folder: folder of the refinement.
        settings: settings of the refinement.
        weights: name of the refined weights.
        recordings: names of the recordings.
    """

    def __init__(self, folder: Path, settings: RefineConfig, weights: str, recordings: Sequence[str]) -> None:
        self._path = folder / NAME
        values = {key: value for key, value in asdict(settings).items() if key not in _FREE}
        self._made: dict[str, Any] = {**values, "weights": weights, "recordings": list(recordings)}

    def save(self, loop: TrainingLoop) -> None:
        """Write the state of ``loop``.

        Raises:
            CheckpointError: the file cannot be written.
        """
        write_checkpoint(self._path, {"made": self._made, "loop": loop.state_dict()})

    def restore(self, loop: TrainingLoop) -> None:
        """Restore ``loop`` from the checkpoint, if there is one.

        Raises:
            CheckpointError: the file is damaged, or belongs to other networks.
            ConfigError: it belongs to another refinement; the message names the differences.
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
        """Remove the file at the end of the refinement."""
        self._path.unlink(missing_ok=True)
