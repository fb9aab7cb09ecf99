"""The status of refine_node: its message on /diagnostics, and the JSON of ~/status."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from featdepth_ros.files import read_json
from featdepth_ros.recordings.buffer.writer import BufferFigures
from featdepth_ros.ros.images import time_message
from featdepth_ros.ros.refine.director import Director
from featdepth_ros.ros.refine.learner import LearnerProcess
from featdepth_ros.ros.refine.ledger import STATUS

#: Seconds of silence after which a warning appears. A learner reports every few seconds after a start of half a minute.
_STARVED_S = 60.0


@dataclass(frozen=True)
class Parts:
    """The parts of refine_node to report on.

    Attributes:
        running: whether learning is enabled.
        director: makes the decisions.
        learner: the learner's process.
        buffer: content of the buffer; None: nothing was written yet.
        trouble: problem of the buffer or the disk; empty: none.
        folder: folder shared with the learner.
    """

    running: bool
    director: Director
    learner: LearnerProcess
    buffer: BufferFigures | None
    trouble: str
    folder: str


def facts(parts: Parts) -> dict[str, Any]:
    """Return the complete status as plain values for JSON."""
    director, learner = parts.director, parts.learner
    accepted, trial, report = director.accepted, director.trial, director.report
    said = read_json(director.work / STATUS) or {}
    silent_s = learner.silent_s(said)
    return {
        "running": parts.running,
        "message": director.words + (_starved(silent_s) if silent_s > _STARVED_S else ""),
        "trouble": parts.trouble or learner.trouble,
        "weights": report.weights if report else None,
        "accepted": asdict(accepted) if accepted else None,
        "trial": {"generation": trial.generation, **trial.watch} if trial else None,
        "live": asdict(director.live),
        "learner": {**said, "alive": learner.pid is not None, "crashes": learner.crashes},
        "buffer": asdict(parts.buffer) if parts.buffer else None,
        "folder": parts.folder,
    }


def _starved(silent_s: float) -> str:
    return f"; the learner has been silent for {silent_s:.0f} s: is any processor time left for it?"


def status_text(parts: Parts) -> str:
    """Return the answer of ~/status: one line of JSON."""
    return json.dumps(facts(parts))


def diagnostics(parts: Parts, name: str, stamp: int) -> DiagnosticArray:
    """Return the diagnostics message.

    Args:
        parts: the parts to report on.
        name: name of the node.
        stamp: stamp of the message, nanoseconds.
    """
    known = facts(parts)
    level, message = DiagnosticStatus.OK, known["message"]
    if known["trouble"]:
        gone = parts.running and parts.learner.pid is None
        level, message = DiagnosticStatus.ERROR if gone else DiagnosticStatus.WARN, known["trouble"]
    elif known["weights"] is None:
        level = DiagnosticStatus.WARN
    accepted, trial, learner, live = known["accepted"] or {}, known["trial"] or {}, known["learner"], known["live"]
    buffer = known["buffer"] or {"segments": {}, "frames": {}, "bytes": 0, "seen": {}}
    values: dict[str, Any] = {
        "running": str(known["running"]).lower(),
        "weights": known["weights"],
        "accepted": accepted.get("weights"),
        "accepted_generation": accepted.get("generation"),
        "shipped": accepted.get("shipped"),
        "trial": trial.get("generation"),
        "trial_moving_s": f"{live['moving_s']:.0f}" if trial else None,
        "learner_alive": str(learner["alive"]).lower(),
        "learner_state": learner.get("state"),
        "learner_message": learner.get("message"),
        "learner_round": learner.get("round"),
        "learner_step": f"{learner.get('step', 0)} of {learner.get('steps', 0)}",
        "learner_crashes": learner["crashes"],
        "buffer_mb": f"{buffer['bytes'] * 1e-6:.1f}",
        "buffer_segments": sum(buffer["segments"].values()),
        "buffer_held_out": buffer["segments"].get("held_out", 0),
        "buffer_frames": sum(buffer["frames"].values()),
        "folder": known["folder"],
    }
    values |= {f"seen_{verdict}": count for verdict, count in sorted(buffer["seen"].items())}
    status = DiagnosticStatus(level=level, name=f"{name}: refinement", message=message)
    status.values = [KeyValue(key=k, value="" if v is None else str(v)) for k, v in values.items()]
    array = DiagnosticArray(status=[status])
    array.header.stamp = time_message(stamp)
    return array
