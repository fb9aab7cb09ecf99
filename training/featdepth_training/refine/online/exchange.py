"""What the learner and the node say to each other: small JSON files in the shared folder, each replaced as a whole."""

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
    """Attributes: two weights files that probation compares, on segments that begin after a stamp (nanoseconds)."""

    old: str
    new: str
    since_ns: int


@dataclass(frozen=True)
class Control:
    """What the node wants.

    Attributes:
        run: learn; else pause.
        current: the weights in force.
        budget: share of one core.
        watch: what to compare; None: nothing.
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
    """``control.json``; what it lacks, or a file that cannot be read, leaves things as they were."""

    def __init__(self, work: Path, current: str, budget: float) -> None:
        self._path = work / CONTROL
        self._last = Control(run=True, current=current, budget=budget)

    def read(self) -> Control:
        """What holds now."""
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
        work: folder.
        clock: for tests.
    """

    def __init__(self, work: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path, self._clock = work / STATUS, clock
        self._written = -1.0
        self._values: dict[str, Any] = {"state": "waiting", "round": 0, "step": 0, "steps": 0}
        self._values |= {"generation": None, "message": ""}
        self._changed = True

    def say(self, state: State, message: str, **values: Any) -> None:
        """Set the state, its words, and any of ``round``, ``step``, ``steps``, ``generation``."""
        said = {**self._values, "state": state, "message": message, **values}
        self._changed |= said != self._values
        self._values = said
        self.flush()

    def flush(self, at_once: bool = False) -> None:
        """Write what has been said, when the last time is a second ago; also a sign of life every few seconds."""
        passed = self._clock() - self._written
        if at_once or self._written < 0 or passed >= (1.0 if self._changed else 5.0):
            write_json(self._path, {**self._values, "pid": os.getpid(), "time": time.time()})
            self._written, self._changed = self._clock(), False


def decided(work: Path, generation: int) -> bool:
    """Whether ``history.jsonl`` tells what became of a generation: more than that it was offered."""
    try:
        lines = (work / HISTORY).read_text(encoding="utf-8").splitlines()
    except OSError:
        return False
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:  # being written
            continue
        if isinstance(event, dict) and event.get("generation") == generation and event.get("event") != "offered":
            return True
    return False


def accepted_weights(work: Path) -> str | None:
    """The file of ``accepted.json``: what the node goes back to."""
    values = files.read_json(work / ACCEPTED)
    return None if values is None or not values.get("weights") else str(values["weights"])


def watch_values(watch: Watch) -> dict[str, Any]:
    """The watch as plain values."""
    return asdict(watch)
