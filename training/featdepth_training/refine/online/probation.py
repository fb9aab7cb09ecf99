"""Probation: compares old and new weights on new images since a swap, for the decision of the node."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from featdepth_ros.errors import FeatDepthError, RecordingError
from featdepth_ros.models.base import FeatDepthModel
from featdepth_training.refine.figures import measure
from featdepth_training.refine.online.buffer import Buffer
from featdepth_training.refine.online.config import OnlineConfig
from featdepth_training.refine.online.exchange import PROBATION, Watch, watch_values, write_json
from featdepth_training.refine.online.round import batches_of, judging_plan
from featdepth_training.refine.steps import give_focal, start_model


class Probation:
    """Measures each new segment once with both weights and keeps ``probation.json`` up to date.

    A robot may write segments faster than the budget can measure them. So one is measured at a time, the newest first.
    Then the figures are always recent, and a current round continues.

    Args:
        work: the shared folder.
        buffer: buffer of segments, which its owner refreshes.
        config: settings of the learner.
        device: device of the networks.

    Attributes:
        trouble: why the latest request cannot be served; empty: it can.
    """

    def __init__(self, work: Path, buffer: Buffer, config: OnlineConfig, device: torch.device) -> None:
        self._path, self._buffer, self._config, self._device = work / PROBATION, buffer, config, device
        self._watch: Watch | None = None
        self._models: tuple[FeatDepthModel, FeatDepthModel] | None = None
        self._measured: dict[str, tuple[int, float, float]] = {}
        self.trouble = ""

    def update(self, watch: Watch | None, rest: Callable[[], None]) -> None:
        """Measure the newest segment since the last call; ``rest`` is called after each batch."""
        if watch != self._watch:
            self._begin(watch)
        if watch is None or self._models is None:
            return
        fresh = [s for s in self._buffer.usable(since_ns=watch.since_ns) if s.name not in self._measured]
        for segment in fresh[-1:]:
            try:
                portion = self._buffer.watched(segment)
                figures = [self._photometric(model, portion, rest) for model in self._models]
            except RecordingError:  # the node has deleted it meanwhile
                figures, clips = [], 0
            else:
                clips = portion.clips
            self._measured[segment.name] = (clips, *figures) if clips else (0, 0.0, 0.0)  # type: ignore[assignment]
        if fresh or not self._path.is_file():
            self._write(watch)

    def _begin(self, watch: Watch | None) -> None:
        self._watch, self._models, self._measured, self.trouble = watch, None, {}, ""
        self._path.unlink(missing_ok=True)
        if watch is None:
            return
        try:
            old, new = (
                start_model(path).eval().requires_grad_(False).to(self._device) for path in (watch.old, watch.new)
            )
        except FeatDepthError as error:
            self.trouble = f"probation cannot compare: {error}"
            return
        self._models = (old, new)

    def _photometric(self, model: FeatDepthModel, portion: Any, rest: Callable[[], None]) -> float:
        give_focal(model, portion.camera, portion.size)
        plan = judging_plan(model, portion, self._config)

        def rested() -> Any:
            for batch in batches_of(portion, plan, self._device):
                yield batch
                rest()

        return measure(model, rested(), plan)[0].photometric

    def _write(self, watch: Watch) -> None:
        clips = sum(count for count, _, _ in self._measured.values())
        sums = [sum(row[0] * row[k] for row in self._measured.values()) for k in (1, 2)]
        old, new = (total / clips if clips else None for total in sums)
        values = {**watch_values(watch), "clips": clips, "old_photometric": old, "new_photometric": new}
        write_json(self._path, {**values, "time": time.time()})
