"""The trial of new weights: compares the measurements of node and learner since the swap with those before it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from featdepth_ros.ros.refine.live import LiveFigures, LiveWindow

Decision = Literal["wait", "accept", "roll_back"]

#: Seconds in motion from which figures count at all, and from which clearly worse ones end a trial early.
LEAST_MOVING_S, SOON_S = 3.0, 10.0
#: By how much a median may be worse at the end of a trial, since places differ by that much. `EARLY` times as much ends
#: the trial early, since a few seconds show only one place.
RESIDUAL_SHARE, RESIDUAL_PX, TRACKS_SHARE, VALID_SHARE, LOST_SHARE, EARLY = 0.15, 0.05, 0.25, 0.12, 0.05, 3.0
#: By how much the photometric loss on new images may exceed that of the old weights, at the end and before it.
PHOTOMETRIC, PHOTOMETRIC_SOON = 0.005, 0.03


@dataclass
class Trial:
    """New weights in use that are not accepted yet.

    Attributes:
        generation: number of the new weights.
        old, new: files of the old and the new weights.
        since_ns: newest stamp in the buffer at the swap, nanoseconds; only later images count.
        before: figures with the old weights.
        live: reports since the swap.
    """

    generation: int
    old: str
    new: str
    since_ns: int
    before: LiveFigures
    live: LiveWindow = field(default_factory=lambda: LiveWindow(10_000))

    @property
    def watch(self) -> dict[str, Any]:
        """Return the request to the learner to compare old and new weights."""
        return {"old": self.old, "new": self.new, "since_ns": self.since_ns}

    def facts(self, probation: dict[str, Any] | None) -> dict[str, Any]:
        """Return the facts about the trial for the history."""
        return {"before": asdict(self.before), "since": asdict(self.live.figures), "probation": probation}


@dataclass(frozen=True)
class Verdict:
    """Decision about a trial (``accept``, ``roll_back`` or ``wait``), and its reason as a sentence."""

    decision: Decision
    words: str


def judge(trial: Trial, probation: dict[str, Any] | None, probation_s: float, clips_wanted: int) -> Verdict:
    """Judge a trial.

    Args:
        trial: the trial with its reports so far.
        probation: measurements of the learner, the content of ``probation.json``; None: none yet.
        probation_s: seconds in motion after which it may be accepted.
        clips_wanted: number of clips of new images that the learner must have compared.
    """
    now, before = trial.live.figures, trial.before
    ours = probation if probation and probation.get("new") == trial.new and probation.get("old") == trial.old else {}
    clips = int(ours.get("clips") or 0)
    old, new = ours.get("old_photometric"), ours.get("new_photometric")
    worse_share = None if not clips or old is None or new is None or old <= 0 else new / old - 1.0
    soon = now.moving_s >= SOON_S
    for times, ready in ((EARLY, soon), (1.0, now.moving_s >= probation_s)):
        if ready and before.moving_s >= LEAST_MOVING_S:
            worse = _worse(before, now, times)
            if worse:
                return Verdict("roll_back", worse)
    enough = clips >= clips_wanted
    if worse_share is not None and clips >= max(clips_wanted, 1) and worse_share > PHOTOMETRIC_SOON:
        return Verdict("roll_back", f"the photometric loss of {clips} fresh clips is {worse_share:.1%} higher")
    if now.moving_s < probation_s:
        return Verdict("wait", f"{now.moving_s:.0f} of {probation_s:.0f} s in motion, {clips} clips compared")
    if not enough:
        return Verdict("wait", f"{clips} of {clips_wanted} fresh clips compared")
    if worse_share is not None and worse_share > PHOTOMETRIC:
        return Verdict("roll_back", f"the photometric loss of {clips} fresh clips is {worse_share:.1%} higher")
    gain = (
        "" if worse_share is None else f", and the photometric loss of {clips} fresh clips fell by {-worse_share:.1%}"
    )
    return Verdict("accept", f"nothing got worse in {now.moving_s:.0f} s in motion{gain}")


def _worse(before: LiveFigures, now: LiveFigures, times: float) -> str:
    """Return which figure got worse by more than ``times`` its limit; empty: none."""
    if before.residual_px is not None and now.residual_px is not None:
        most = before.residual_px * (1 + times * RESIDUAL_SHARE) + times * RESIDUAL_PX
        if now.residual_px > most:
            return f"the tracks' residual rose from {before.residual_px:.2f} to {now.residual_px:.2f} pixels"
    for name, share in (("tracks", TRACKS_SHARE), ("valid_share", VALID_SHARE)):
        old, new = getattr(before, name), getattr(now, name)
        if old is not None and new is not None and new < old * (1 - times * share):
            return f"{name.replace('_', ' ')} fell from {old:.3g} to {new:.3g}"
    old, new = before.lost_share, now.lost_share
    if old is not None and new is not None and new > old + times * LOST_SHARE:
        return f"motion is lost in {new:.0%} of the images, and was in {old:.0%}"
    return ""
