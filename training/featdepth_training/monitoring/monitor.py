"""Reports of a run: ``metrics.jsonl``, a progress line, and TensorBoard scalars and images."""

from __future__ import annotations

import contextlib
import json
import math
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.errors import FeatDepthError
from featdepth_ros.files import atomic_write
from featdepth_ros.progress import ProgressBar


def _json_value(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


class Monitor:
    """Writes metrics during a run, one record per line of ``metrics.jsonl``; numbers that are not finite become null.

    Args:
        output: folder of the run.
        start_step: first step of this run. Records from this step on are removed from an existing file, so that a
            resumed run has no duplicates.
        total_steps: number of steps, for the progress line.
        tensorboard: also write ``<output>/tensorboard``, if the package is installed.
        silent: write and show nothing, for all processes except the first.
        shown: show a progress line; False: write only files.
    """

    def __init__(
        self,
        output: Path,
        start_step: int,
        total_steps: int,
        tensorboard: bool,
        silent: bool = False,
        shown: bool = True,
    ) -> None:
        output.mkdir(parents=True, exist_ok=True)
        self._path = Path(os.devnull) if silent else output / "metrics.jsonl"
        #: Kinds of record that exist at ``start_step``: a resumed run may repeat the measurement of that step.
        self._there: set[tuple[int, str]] = set()
        if not silent:
            self._drop_after(start_step)
        self._file = self._path.open("a", encoding="utf-8")
        tensorboard = tensorboard and not silent
        self._writer = _tensorboard_writer(output / "tensorboard", start_step) if tensorboard else None
        self.silent = silent
        self._bar = ProgressBar("training", total_steps, "step", done=start_step, shown=shown and not silent)
        self._images = 0
        self._since = time.monotonic()

    def _drop_after(self, step: int) -> None:
        if not self._path.is_file():
            return
        kept: list[str] = []
        for line in self._path.read_text(encoding="utf-8").splitlines():
            try:
                record = json.loads(line)
                if int(record["step"]) <= step:
                    kept.append(line)
                    if int(record["step"]) == step:
                        self._there.add((step, record["kind"]))
            except (ValueError, KeyError, TypeError):
                continue  # a kill truncated this line
        try:
            atomic_write(self._path, "".join(f"{line}\n" for line in kept))
        except OSError as error:
            raise self._write_error(error) from error

    def _write_error(self, error: OSError) -> FeatDepthError:
        return FeatDepthError(
            f"{self._path} could not be written: {error}. Checkpoints are intact; free disk space and continue with "
            "--resume."
        )

    def advance(self, images: int) -> None:
        """Count one step of ``images`` images."""
        self._images += images
        self._bar.update(1)

    def rate(self) -> float:
        """Images per second since the last call."""
        now = time.monotonic()
        rate = self._images / max(now - self._since, 1e-9)
        self._images, self._since = 0, now
        return rate

    def record(self, kind: str, step: int, values: dict[str, Any]) -> None:
        """Write one record and show its ``total`` and rate on the progress line."""
        line = {"step": step, "kind": kind, **{k: _json_value(v) for k, v in values.items()}}
        if (step, kind) not in self._there:
            try:
                self._file.write(json.dumps(line) + "\n")
                self._file.flush()
            except OSError as error:
                raise self._write_error(error) from error
        if self._writer is not None:
            for key, value in values.items():
                if isinstance(value, (int, float)):
                    self._writer.add_scalar(f"{kind}/{key}", value, step)
        if kind == "train":
            shown = f"loss {values['total']:.5f}, {values['images_per_s']:.1f} images/s"
            self._bar.status(shown)

    @property
    def shows_pictures(self) -> bool:
        """Return whether images are written to TensorBoard."""
        return self._writer is not None

    def picture(self, name: str, step: int, image: NDArray[np.uint8]) -> None:
        """Write an (H, W, 3) uint8 RGB image to TensorBoard."""
        if self._writer is not None:
            self._writer.add_image(name, image, step, dataformats="HWC")

    def say(self, text: str) -> None:
        """Print a line above the progress line."""
        if not self.silent:
            self._bar.write(text)

    def close(self) -> None:
        """Flush and close everything."""
        self._bar.close()
        with contextlib.suppress(OSError):  # a full disk fails again here, but it was already reported
            self._file.close()
        if self._writer is not None:
            self._writer.close()


def _tensorboard_writer(folder: Path, start_step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None  # an optional extra: metrics.jsonl holds the same scalars
    return SummaryWriter(str(folder), purge_step=start_step or None, flush_secs=30)
