"""Communication of learner and node: small JSON files in the shared folder, each replaced atomically."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from featdepth_ros import files
from featdepth_ros.reporting.tables import finite

CONTROL, STATUS, PROBATION = "control.json", "learner.json", "probation.json"
HISTORY, ACCEPTED = "history.jsonl", "accepted.json"

State = Literal["waiting", "training", "judging", "paused", "failed"]


@dataclass(frozen=True)
class Watch:
    """Two weights files that probation compares, on segments that begin after a stamp (nanoseconds)."""

    old: str
    new: str
    since_ns: int


@dataclass(frozen=True)
class Control:
    """Requests of the node.

    Attributes:
        run: whether to learn; else pause.
        current: the weights in use.
        budget: processor cores to use.
        watch: weights to compare; None: nothing.
    """

    run: bool
    current: str
    budget: float
    watch: Watch | None = None


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Replace a file by plain values; NaN and infinity become null.

    Raises:
        OSError: the folder is missing, or the disk is full.
    """
    files.write_json(path, finite(values))


class ControlFile:
    """``control.json``. A missing key, or an unreadable file, leaves the last values unchanged."""

    def __init__(self, work: Path, current: str, budget: float) -> None:
        self._path = work / CONTROL
        self._last = Control(run=True, current=current, budget=budget)

    def read(self) -> Control:
        """Return the current requests."""
        values = files.read_json(self._path)
        if values is None:
            return self._last
        last, watch = self._last, values.get("watch")
        try:
            self._last = Control(
                run=bool(values.get("run", last.run)),
                current=str(values.get("current") or last.current),
                budget=max(float(values.get("budget", last.budget)), 0.01),
                watch=None if watch is None else Watch(str(watch["old"]), str(watch["new"]), int(watch["since_ns"])),
            )
        except (KeyError, TypeError, ValueError):
            return last
        return self._last


class StatusFile:
    """``learner.json``, written at most once a second.

    Args:
        work: the shared folder.
        clock: returns monotonic seconds; tests pass their own.
    """

    def __init__(self, work: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path, self._clock = work / STATUS, clock
        self._written = -1.0
        self._values: dict[str, Any] = {"state": "waiting", "round": 0, "step": 0, "steps": 0}
        self._values |= {"generation": None, "message": ""}
        self._changed = True

    def say(self, state: State, message: str, **values: Any) -> None:
        """Set the state, its message, and any of ``round``, ``step``, ``steps``, ``generation``."""
        said = {**self._values, "state": state, "message": message, **values}
        self._changed |= said != self._values
        self._values = said
        self.flush()

    def flush(self, at_once: bool = False) -> None:
        """Write a changed status at most once a second, and an unchanged one every few seconds as a sign of life."""
        passed = self._clock() - self._written
        if at_once or self._written < 0 or passed >= (1.0 if self._changed else 5.0):
            write_json(self._path, {**self._values, "pid": os.getpid(), "time": time.time()})
            self._written, self._changed = self._clock(), False


def decided(work: Path, generation: int) -> bool:
    """Return whether ``history.jsonl`` has a decision on a generation, and not only its offer."""
    try:
        lines = (work / HISTORY).read_text(encoding="utf-8").splitlines()
    except OSError:
        return False
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:  # the line is still being written
            continue
        if isinstance(event, dict) and event.get("generation") == generation and event.get("event") != "offered":
            return True
    return False


def accepted_weights(work: Path) -> str | None:
    """Return the weights in ``accepted.json``, to which the node returns."""
    values = files.read_json(work / ACCEPTED)
    return None if values is None or not values.get("weights") else str(values["weights"])


def watch_values(watch: Watch) -> dict[str, Any]:
    """Return the watch as plain values."""
    return asdict(watch)
