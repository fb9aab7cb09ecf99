"""Whether refined weights may replace the ones before: a pure function of figures, for any kind of refinement."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class HeldOutFigures:
    """What weights reach on clips that no step saw; None: the recording has no truth to tell it.

    Attributes:
        clips: clips measured.
        photometric: mean photometric term, the objective's own (docs/reference.md 3).
        features: mean feature-metric term, weighted; None: the weights hold no feature net.
        depth_frames: frames with true depth.
        abs_rel, a1, rmse_m: of depth as it is; None also for weights of relative scale.
        abs_rel_median_scaled, a1_median_scaled, rmse_m_median_scaled: each frame scaled by the ratio of medians.
        pairs: neighbouring frames with true poses.
        rpe_m, rpe_deg: mean error of the motion between them; ``rpe_m`` is None for weights of relative scale.
        rpe_m_scaled: with the one factor on all translations that fits best.
        matched_frames: frames whose depth was found by classical matching.
        shape_error: against it, mean absolute error of log depth, each picture's scale aside; see `figures`.
    """

    clips: int
    photometric: float
    features: float | None = None
    depth_frames: int = 0
    abs_rel: float | None = None
    a1: float | None = None
    rmse_m: float | None = None
    abs_rel_median_scaled: float | None = None
    a1_median_scaled: float | None = None
    rmse_m_median_scaled: float | None = None
    pairs: int = 0
    rpe_m: float | None = None
    rpe_deg: float | None = None
    rpe_m_scaled: float | None = None
    matched_frames: int = 0
    shape_error: float | None = None


@dataclass(frozen=True)
class GateLimits:
    """What still counts as no worse.

    Attributes:
        photometric: largest share the photometric figure may rise by. None: it is what refinement lowers.
        abs_rel: largest share AbsRel may rise by. It is taken as it is where the scale is observed, else median scaled.
            A few dozen frames do not tell less.
        right: AbsRel as it is, up to which depth in metres counts as right. Only above it the share ``abs_rel`` applies
            to weights that claim metres without a partner.
        scale: largest share the scale may move by, either way, where nothing but the old weights tells the scale.
        shape: largest share the error against matched depth may rise by. The photometric loss can fall while depth gets
            worse, on flat ground and behind what moves by itself.
        right_shape: that error up to which shape counts as right: matching itself is no better.
    """

    photometric: float = 0.0
    abs_rel: float = 0.01
    right: float = 0.05
    scale: float = 0.10
    shape: float = 0.02
    right_shape: float = 0.05


@dataclass(frozen=True)
class Verdict:
    """Attributes: whether the new weights may be used; if not, why, in words with figures."""

    accepted: bool
    reasons: tuple[str, ...] = ()


def judge(
    before: HeldOutFigures,
    after: HeldOutFigures,
    scale_ratio: float,
    scale_is_observed: bool = False,
    limits: GateLimits | None = None,
) -> Verdict:
    """Compare the weights before and after, on the same clips by the same protocol.

    Args:
        before: figures of the old weights.
        after: figures of the new ones.
        scale_ratio: median depth after over before, over the whole place. On few frames a scale that moves may as well
            be a view that is understood better.
        scale_is_observed: a stereo partner tells metres, so that a moved scale is a finding and no drift.
        limits: what counts as no worse.
    """
    allowed = limits or GateLimits()
    compared = [
        _worse("the photometric loss on held-out frames", before.photometric, after.photometric, allowed.photometric),
        worse_shape(before, after, allowed),
    ]
    if scale_is_observed and before.abs_rel is not None:
        compared.append(_worse("AbsRel", before.abs_rel, after.abs_rel, allowed.abs_rel))
    else:
        scaled = before.abs_rel_median_scaled, after.abs_rel_median_scaled
        compared.append(_worse("AbsRel (median scaled)", *scaled, allowed.abs_rel))
        compared.append(_worse("AbsRel (as it is)", before.abs_rel, after.abs_rel, allowed.abs_rel, allowed.right))
    reasons = list(filter(None, compared))
    if not (math.isfinite(scale_ratio) and scale_ratio > 0):
        reasons.append("depth is no number any more")
    elif not scale_is_observed and max(scale_ratio, 1 / scale_ratio) > 1 + allowed.scale:
        reasons.append(f"the scale moved by a factor of {scale_ratio:.3f}, more than {100 * allowed.scale:g} %")
    return Verdict(not reasons, tuple(reasons))


def worse_shape(before: HeldOutFigures, after: HeldOutFigures, limits: GateLimits) -> str:
    """Why the shape of depth got worse, by the limit ``shape``; empty: it did not."""
    what = "the error of shape against matched depth"
    return _worse(what, before.shape_error, after.shape_error, limits.shape, limits.right_shape)


def _worse(what: str, old: float | None, new: float | None, share: float, least: float = 0.0) -> str:
    """In words, how a figure rose above ``old``, or ``least``, by more than a share; empty: it did not."""
    if old is None or not math.isfinite(old):
        return ""
    if new is None or not math.isfinite(new):
        return f"{what} was {old:.4f} and is no number any more"
    return f"{what} rose from {' to '.join(told_apart(old, new))}" if new > max(old, least) * (1 + share) else ""


def told_apart(*values: float) -> list[str]:
    """Numbers with four decimals, or with as many as it takes to tell unequal ones apart, up to nine."""
    for digits in range(4, 10):
        texts = [f"{value:.{digits}f}" for value in values]
        if len(set(texts)) == len(set(values)):
            break
    return texts
