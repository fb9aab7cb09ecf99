"""The stored decisions: history.jsonl, accepted.json, and the generations that the learner wrote."""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from featdepth_ros.files import read_json, sha256_of, write_json

HISTORY, ACCEPTED, CONTROL, STATUS, PROBATION = (
    "history.jsonl",
    "accepted.json",
    "control.json",
    "learner.json",
    "probation.json",
)
GENERATIONS, WEIGHTS, EVIDENCE = "generations", "model.safetensors", "evidence.json"
#: Events after which a generation is not offered again.
DECISIONS = ("accepted", "rolled_back", "refused", "set_by_hand")


@dataclass(frozen=True)
class Accepted:
    """The weights that depth_node should use.

    Attributes:
        weights: file, or name of a model that ships.
        generation: number of the generation; None: the weights are not from the learner.
        shipped: weights that depth_node was started with, to which it can always return.
    """

    weights: str
    generation: int | None
    shipped: str


@dataclass(frozen=True)
class Candidate:
    """A generation of weights that the learner found better than its parent.

    Attributes:
        number: number of the generation.
        weights: file of the weights.
        evidence: measurements of the learner, the content of ``evidence.json``.
    """

    number: int
    weights: str
    evidence: dict[str, Any]


class Ledger:
    """The decisions in one folder. Only one process at a time may write them.

    Args:
        work: the folder; it is created if it does not exist.

    Raises:
        OSError: the folder cannot be created.
    """

    def __init__(self, work: Path) -> None:
        work.mkdir(parents=True, exist_ok=True)
        self.work = work
        self.decided: set[int] = set()
        for event in self._read_history():
            if event.get("event") in DECISIONS and isinstance(event.get("generation"), int):
                self.decided.add(event["generation"])

    def _read_history(self) -> list[dict[str, Any]]:
        try:
            lines = (self.work / HISTORY).read_text(encoding="utf-8").splitlines()
        except OSError:
            return []
        events = []
        for line in lines:
            try:
                event = json.loads(line)
            except ValueError:  # the process was killed while writing this line
                continue
            if isinstance(event, dict):
                events.append(event)
        return events

    def write(self, event: str, generation: int | None, weights: str, **facts: Any) -> None:
        """Append an event; it is on the disk when this returns.

        Raises:
            OSError: the disk is full.
        """
        line = {"event": event, "generation": generation, "weights": weights, "time": time.time(), **facts}
        with (self.work / HISTORY).open("ab+") as file:
            if file.tell():
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":  # the last line is incomplete after a kill
                    file.write(b"\n")
            file.write((json.dumps(line) + "\n").encode())
            file.flush()
            os.fsync(file.fileno())
        if event in DECISIONS and generation is not None:
            self.decided.add(generation)

    def accepted(self) -> Accepted | None:
        """The weights accepted last; None: none were accepted yet."""
        values = read_json(self.work / ACCEPTED)
        if values is None or not values.get("weights"):
            return None
        weights, number = str(values["weights"]), values.get("generation")
        return Accepted(weights, number if isinstance(number, int) else None, str(values.get("shipped") or weights))

    def accept(self, accepted: Accepted) -> None:
        """Store the accepted weights, to return to them after a kill.

        Raises:
            OSError: the disk is full.
        """
        write_json(self.work / ACCEPTED, asdict(accepted))

    def generation_of(self, weights: str) -> int | None:
        """Return the number of the generation that a file belongs to; None: it is not from the learner."""
        path = Path(weights)
        ours = path.name == WEIGHTS and path.parent.name.isdecimal() and path.parent.parent == self.work / GENERATIONS
        return int(path.parent.name) if ours else None

    def candidate(self, current: str) -> Candidate | None:
        """Return the newest undecided generation that was trained from the weights ``current``; None: there is none."""
        folder = self.work / GENERATIONS
        try:
            numbers = sorted((int(p.name), p) for p in folder.iterdir() if p.name.isdecimal())
        except OSError:
            return None
        for number, path in reversed(numbers):
            evidence = read_json(path / EVIDENCE)
            if number in self.decided or evidence is None:
                continue
            weights = path / WEIGHTS
            if evidence.get("accepted") is True and evidence.get("parent") == current and weights.is_file():
                return Candidate(number, str(weights), evidence)
        return None


def damage(candidate: Candidate) -> str:
    """Return what is wrong with the file of a candidate; empty: it is the file that the learner wrote."""
    wanted = candidate.evidence.get("sha256")
    if not wanted:
        return ""
    try:
        checksum = sha256_of(candidate.weights)
    except OSError as error:
        return f"the file cannot be read: {error.strerror}"
    return "" if checksum == wanted else "the file was changed after the learner wrote it: its checksum differs"
