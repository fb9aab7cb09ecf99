"""Generations: candidates with their evidence, kept as a disk limit allows."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

from featdepth_ros.files import read_json, sha256_of
from featdepth_ros.models.base import FeatDepthModel
from featdepth_ros.models.checkpoints import save_model
from featdepth_training.refine.online.exchange import write_json

WEIGHTS, EVIDENCE = "model.safetensors", "evidence.json"


class Generations:
    """``WORK/generations/<NNNN>``; only one learner at a time may write there.

    Args:
        folder: is made; what a killed learner left half written there is removed.
        limit_mb: disk for weights, megabytes.
        refusals_kept: refused generations whose evidence stays.
    """

    def __init__(self, folder: Path, limit_mb: float, refusals_kept: int) -> None:
        self.folder, self._limit_bytes, self._refusals_kept = folder, limit_mb * 1e6, refusals_kept
        folder.mkdir(parents=True, exist_ok=True)
        for path in self._all():
            if not (path / EVIDENCE).is_file():
                shutil.rmtree(path, ignore_errors=True)

    def _all(self) -> list[Path]:
        return sorted(
            (path for path in self.folder.iterdir() if path.name.isdecimal()), key=lambda path: int(path.name)
        )

    def newest(self) -> int | None:
        """Number of the newest; None: there is none yet."""
        every = self._all()
        return int(every[-1].name) if every else None

    def weights(self, number: int) -> Path:
        """File of the weights of a generation, which refused ones lack."""
        return self.folder / f"{number:04d}" / WEIGHTS

    def evidence(self, number: int) -> dict[str, Any]:
        """What was measured."""
        return read_json(self.folder / f"{number:04d}" / EVIDENCE) or {}

    def write(self, evidence: dict[str, Any], model: FeatDepthModel | None) -> int:
        """Write the next generation, its evidence last; returns its number.

        Args:
            evidence: plain values.
            model: accepted weights; None: they were refused.

        Raises:
            OSError, CheckpointError: no space left, or no permission.
        """
        number = (self.newest() or 0) + 1
        folder = self.folder / f"{number:04d}"
        folder.mkdir(exist_ok=True)
        facts: dict[str, Any] = {"generation": number, "time": time.time(), "weights": None, "sha256": None}
        if model is not None:
            path = save_model(folder / WEIGHTS, model)
            facts |= {"weights": WEIGHTS, "sha256": sha256_of(path)}
        write_json(folder / EVIDENCE, {**facts, **evidence})
        return number

    def prune(self, kept: Collection[str | None]) -> list[int]:
        """Delete the weights of the oldest generations beyond the limit; their evidence stays.

        Args:
            kept: files that are in force, accepted or compared, which are never deleted; nor is the newest.

        Returns:
            numbers of the generations whose weights are gone.
        """
        wanted = {os.path.realpath(path) for path in kept if path}
        holding = [path for path in self._all() if (path / WEIGHTS).is_file()]
        total = sum((path / WEIGHTS).stat().st_size for path in holding)
        removed: list[int] = []
        for path in holding[:-1]:
            weights = path / WEIGHTS
            if total > self._limit_bytes and os.path.realpath(weights) not in wanted:
                total -= weights.stat().st_size
                weights.unlink(missing_ok=True)
                removed.append(int(path.name))
        refused = [path for path in self._all() if read_json(path / EVIDENCE) == {} or self._is_refused(path)]
        for path in refused[: -self._refusals_kept or None]:
            if path != self._all()[-1]:  # its number must not come again
                shutil.rmtree(path, ignore_errors=True)
        return removed

    @staticmethod
    def _is_refused(path: Path) -> bool:
        evidence = read_json(path / EVIDENCE)
        return evidence is not None and not evidence.get("accepted", False)
