"""Decides which weights depth_node should use. Needs no ROS: it takes reports, makes requests and stores decisions.

depth_node reports the weights in use, and the ledger holds the wanted ones. They differ after either process was
killed, or when somebody sets weights by hand. Each difference has one meaning.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from featdepth_ros.files import read_json, write_json
from featdepth_ros.ros.refine.ledger import (
    CONTROL,
    PROBATION,
    Accepted,
    Candidate,
    Ledger,
    damage,
)
from featdepth_ros.ros.refine.live import LiveFigures, LiveWindow, NodeReport
from featdepth_ros.ros.refine.settings import RefineSettings
from featdepth_ros.ros.refine.trial import Trial, Verdict, judge

#: Seconds without a report after which depth_node counts as gone, and between two requests without an effect.
SILENT_S, ASK_AGAIN_S = 5.0, 15.0

Why = Literal["offer", "again", "rollback"]


@dataclass
class _Wish:
    """A request to depth_node to use other weights."""

    weights: str
    generation: int | None
    why: Why
    at_s: float


class Director:
    """Makes the decisions for one depth_node.

    Args:
        ledger: stored decisions.
        settings: returns the current parameters.
        ask: sets the parameter ``weights`` of depth_node; the answer goes to `answered`.
        say: logs a sentence.
        clock: returns monotonic seconds.

    Attributes:
        words: the current state as a sentence.
        trial: the trial of new weights; None: there is none.
        accepted: weights that depth_node should use; None before its first report.
    """

    def __init__(
        self,
        ledger: Ledger,
        settings: Callable[[], RefineSettings],
        ask: Callable[[str], None],
        say: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ledger, self._settings, self._ask, self._say, self._clock = ledger, settings, ask, say, clock
        self.accepted: Accepted | None = ledger.accepted()
        self.trial: Trial | None = None
        self.words = "waits for depth_node"
        self._wish: _Wish | None = None
        self._report: NodeReport | None = None
        self._before = LiveWindow()
        self._control: dict[str, Any] | None = None
        self._newest_ns = 0

    @property
    def work(self) -> Path:
        """The folder that is shared with the learner."""
        return self._ledger.work

    # -- what comes in --------------------------------------------------------------------------------------------

    @property
    def report(self) -> NodeReport | None:
        """The newest report of depth_node; None if there is none, or if it is too old."""
        report = self._report
        return report if report is not None and self._clock() - report.at_s < SILENT_S else None

    def take(self, report: NodeReport, newest_ns: int) -> None:
        """Add a report of depth_node, and the newest stamp (nanoseconds) in the buffer at that time."""
        self._report, self._newest_ns = report, newest_ns
        accepted = self._accepted_by(report)
        if self._wish is not None:
            self._follow_wish(self._wish, report)
            return
        if self.trial is not None and report.weights == self.trial.new:
            self.trial.live.add(report)
        elif self.trial is None and report.weights == accepted.weights:
            self._before.add(report)
        else:
            self._differs(report, accepted)

    def answered(self, weights: str, refusal: str) -> None:
        """Handle the immediate answer of depth_node to a request.

        Args:
            weights: the requested weights.
            refusal: why depth_node rejects them; empty: it loads them.
        """
        wish = self._wish
        if wish is not None and wish.weights == weights and refusal:
            self._wish = None
            self._refused(wish, refusal)

    def tick(self, run: bool, learner_lives: bool) -> None:
        """Make the decisions that are due.

        Args:
            run: whether learning is enabled.
            learner_lives: whether the learner runs, so that it will compare clips.
        """
        report = self.report
        if self._wish is not None or self.accepted is None or report is None or report.state != "active":
            self._say_why(report)
        elif self.trial is not None:
            self._judge(self.trial, learner_lives)
        else:
            self.words = "learning" if run else "stopped: ~/start learns"
            candidate = self._ledger.candidate(self.accepted.weights) if run else None
            if candidate is not None and self._settings().auto_offer:
                self._offer(candidate)
            elif candidate is not None:
                self.words = f"generation {candidate.number} is better: ~/accept puts it on trial"
        self._write_control(run)

    # -- what people want -----------------------------------------------------------------------------------------

    def accept(self) -> tuple[bool, str]:
        """Accept the weights on trial at once, or put the newest candidate on trial. Returns (success, message)."""
        if self.trial is not None:
            number = self.trial.generation
            self._accept(self.trial, "accepted by hand")
            return True, f"generation {number} is accepted"
        if self.accepted is None or self.report is None:
            return False, "there is no report of depth_node yet, so there is nothing to accept"
        candidate = self._ledger.candidate(self.accepted.weights)
        if candidate is None:
            return False, "there is no better generation yet"
        if self._wish is not None:
            return False, f"depth_node is loading '{self._wish.weights}'; try again in a moment"
        self._offer(candidate)
        return True, f"generation {candidate.number} is offered; its trial begins when depth_node uses it"

    def roll_back(self) -> tuple[bool, str]:
        """Roll the trial back; without a trial, return to the weights that depth_node was started with."""
        if self.trial is not None:
            number = self.trial.generation
            self._roll_back(self.trial, "rolled back by hand")
            return True, f"generation {number} is rolled back"
        accepted = self.accepted
        if accepted is None:
            return False, "there is no report of depth_node yet, so there is nothing to roll back"
        wish = self._wish
        if wish is not None and wish.why == "offer":
            self._note("rolled_back", wish.generation, wish.weights, reason="rolled back by hand")
            self._want(accepted.weights, accepted.generation, "rollback")
            return True, f"generation {wish.generation} is withdrawn"
        if accepted.weights == accepted.shipped:
            return False, f"depth_node already uses '{accepted.shipped}', with which it was started"
        self._note("rolled_back", accepted.generation, accepted.weights, reason="to the weights of the start")
        self._accepted_is(accepted.shipped, accepted.shipped)
        self._want(accepted.shipped, None, "rollback")
        return True, f"back to '{accepted.shipped}'"

    # -- differences between wish and truth -----------------------------------------------------------------------

    def _accepted_by(self, report: NodeReport) -> Accepted:
        accepted = self.accepted
        if accepted is None:
            return self._accepted_is(report.weights, report.weights)
        if report.swapped == 0 and report.weights not in (accepted.weights, accepted.shipped):
            if self.trial is not None:
                self._note("rolled_back", self.trial.generation, self.trial.new, reason="depth_node was restarted")
            self.trial = self._wish = None
            self._before.clear()
            self._note("restarted", None, report.weights, reason="depth_node was started with other weights")
            return self._accepted_is(report.weights, report.weights)
        return accepted

    def _accepted_is(self, weights: str, shipped: str) -> Accepted:
        self.accepted = Accepted(weights, self._ledger.generation_of(weights), shipped)
        self._ledger.accept(self.accepted)
        return self.accepted

    def _differs(self, report: NodeReport, accepted: Accepted) -> None:
        trial, number = self.trial, self._ledger.generation_of(report.weights)
        if report.swapped == 0:  # depth_node was restarted
            if trial is not None:
                self._note("rolled_back", trial.generation, trial.new, reason="depth_node ended during the trial")
                self.trial = None
            self._before.clear()
            if report.weights != accepted.weights:
                self._want(accepted.weights, accepted.generation, "again")
        elif trial is None and number is not None and number not in self._ledger.decided:
            # This process was killed between the swap and the verdict: the trial goes on.
            self._begin_trial(number, accepted.weights, report.weights)
        else:
            if trial is not None:
                self._note("rolled_back", trial.generation, trial.new, reason="other weights were set by hand")
                self.trial = None
            self._before.clear()
            self._note("set_by_hand", number, report.weights)
            self._accepted_is(report.weights, accepted.shipped)

    # -- wishes ---------------------------------------------------------------------------------------------------

    def _want(self, weights: str, generation: int | None, why: Why) -> None:
        self._wish = _Wish(weights, generation, why, self._clock())
        self._ask(weights)

    def _follow_wish(self, wish: _Wish, report: NodeReport) -> None:
        if report.weights == wish.weights:
            self._wish = None
            self._arrived(wish)
        elif report.trouble.startswith(f"weights '{wish.weights}' are not taken"):
            self._wish = None
            self._refused(wish, report.trouble)
        elif report.pending:
            wish.at_s = self._clock()
        elif self._clock() - wish.at_s > ASK_AGAIN_S:
            wish.at_s = self._clock()
            self._ask(wish.weights)

    def _offer(self, candidate: Candidate) -> None:
        broken = damage(candidate)
        if broken:
            self._note("refused", candidate.number, candidate.weights, reason=broken)
            return
        self._note("offered", candidate.number, candidate.weights, evidence=candidate.evidence)
        self._want(candidate.weights, candidate.number, "offer")

    def _arrived(self, wish: _Wish) -> None:
        accepted = self.accepted
        assert accepted is not None, "wishes come after the first report"
        if wish.why == "offer" and wish.generation is not None:
            self._note("swapped", wish.generation, wish.weights)
            self._begin_trial(wish.generation, accepted.weights, wish.weights)
        elif wish.why == "again":
            self._note("restored", wish.generation, wish.weights, reason="depth_node began anew")

    def _refused(self, wish: _Wish, reason: str) -> None:
        accepted = self.accepted
        assert accepted is not None, "wishes come after the first report"
        self._note("refused", wish.generation, wish.weights, reason=reason)
        if wish.why == "again" and wish.weights != accepted.shipped:
            # The accepted weights are no longer available, so depth_node keeps those it was started with.
            self._accepted_is(accepted.shipped, accepted.shipped)
        elif wish.why == "rollback" and wish.weights != accepted.shipped:
            self._accepted_is(accepted.shipped, accepted.shipped)
            self._want(accepted.shipped, None, "rollback")

    # -- the trial ------------------------------------------------------------------------------------------------

    def _begin_trial(self, generation: int, old: str, new: str) -> None:
        self.trial = Trial(generation, old, new, self._newest_ns, self._before.figures)

    def _judge(self, trial: Trial, learner_lives: bool) -> None:
        settings = self._settings()
        wanted = settings.probation_clips if learner_lives else 0
        verdict: Verdict = judge(trial, self._probation(), settings.probation_s, wanted)
        self.words = f"generation {trial.generation} is on trial: {verdict.words}"
        if verdict.decision == "accept":
            self._accept(trial, verdict.words)
        elif verdict.decision == "roll_back":
            self._roll_back(trial, verdict.words)

    def _probation(self) -> dict[str, Any] | None:
        return read_json(self._ledger.work / PROBATION)

    def _accept(self, trial: Trial, reason: str) -> None:
        assert self.accepted is not None, "a trial comes after the first report"
        facts = trial.facts(self._probation())
        self._accepted_is(trial.new, self.accepted.shipped)
        self._note("accepted", trial.generation, trial.new, reason=reason, evidence=facts)
        self.trial, self._before = None, LiveWindow()
        self.words = f"generation {trial.generation} is accepted: {reason}"

    def _roll_back(self, trial: Trial, reason: str) -> None:
        assert self.accepted is not None, "a trial comes after the first report"
        facts = trial.facts(self._probation())
        self._note("rolled_back", trial.generation, trial.new, reason=reason, evidence=facts)
        self.trial = None
        self.words = f"generation {trial.generation} is rolled back: {reason}"
        self._want(self.accepted.weights, self.accepted.generation, "rollback")

    # -- words and control ----------------------------------------------------------------------------------------

    def _say_why(self, report: NodeReport | None) -> None:
        name = self._settings().node
        if report is None:
            self.words = f"there is no report of '{name}' on /diagnostics: is it running, and configured?"
        elif report.state != "active":
            self.words = f"'{name}' is {report.state}"
        elif self._wish is not None:
            self.words = f"'{name}' is loading '{self._wish.weights}'" + (
                f": {report.pending}" if report.pending else ""
            )

    def _write_control(self, run: bool) -> None:
        if self.accepted is None:
            return
        trial = self.trial
        control = {
            "run": run,
            "current": trial.new if trial else self.accepted.weights,
            "budget": self._settings().budget,
            "watch": trial.watch if trial else None,
        }
        if control != self._control:
            write_json(self._ledger.work / CONTROL, control)
            self._control = control

    def _note(self, event: str, generation: int | None, weights: str, **facts: Any) -> None:
        """Write an event into the history, and log it."""
        self._ledger.write(event, generation, weights, **facts)
        what = f"'{weights}'" if generation is None else f"generation {generation}"
        reason = facts.get("reason", "")
        self._say(f"{what}: {event.replace('_', ' ')}" + (f", {reason}" if reason else ""))

    @property
    def live(self) -> LiveFigures:
        """Figures of depth_node with the weights in use."""
        return self.trial.live.figures if self.trial else self._before.figures
