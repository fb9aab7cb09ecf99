"""The gate that decides by figures whether refined weights may replace the old ones."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class HeldOutFigures:
    """Figures of weights on held-out clips; None: the recording has no truth for a figure.

    Attributes:
        clips: number of evaluated clips.
        photometric: mean photometric term, the objective's own (docs/reference.md 3).
        features: mean feature-metric term, weighted; None: the weights have no feature network.
        depth_frames: number of frames with true depth.
        abs_rel, a1, rmse_m: metrics of unscaled depth; None also for weights of relative scale.
        abs_rel_median_scaled, a1_median_scaled, rmse_m_median_scaled: the same with median scaling per frame.
        pairs: number of neighbouring frames with true poses.
        rpe_m, rpe_deg: mean error of the motion between them; ``rpe_m`` is None for weights of relative scale.
        rpe_m_scaled: the same after the best common scale factor.
        matched_frames: number of frames with depth from classical matching.
        shape_error: mean absolute error of log depth against matched depth, without each image's scale; see `figures`.
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
    """Limits within which weights count as not worse.

    Attributes:
        photometric: largest relative increase of the photometric figure. None: no increase, as refinement lowers it.
        abs_rel: largest relative increase of AbsRel, unscaled if the scale is observed, else median scaled. A few dozen
            frames cannot resolve less.
        right: unscaled AbsRel up to which metric depth counts as right. For weights that are metric without a partner,
            ``abs_rel`` applies only above it.
        scale: largest relative change of the scale in both directions, if only the old weights determine the scale.
        shape: largest relative increase of the error against matched depth. The photometric loss can fall while depth
            gets worse, on flat ground and behind moving objects.
        right_shape: value of that error up to which shape counts as right, since matching itself is not better.
    """

    photometric: float = 0.0
    abs_rel: float = 0.01
    right: float = 0.05
    scale: float = 0.10
    shape: float = 0.02
    right_shape: float = 0.05


@dataclass(frozen=True)
class Verdict:
    """Whether the new weights may be used; if not, the reasons with their figures."""

    accepted: bool
    reasons: tuple[str, ...] = ()


def judge(
    before: HeldOutFigures,
    after: HeldOutFigures,
    scale_ratio: float,
    scale_is_observed: bool = False,
    limits: GateLimits | None = None,
) -> Verdict:
    """Compare the figures of old and new weights on the same clips.

    Args:
        before: figures of the old weights.
        after: figures of the new weights.
        scale_ratio: median depth after over before, over all frames. On few frames, a change of scale may also be an
            improvement of single views.
        scale_is_observed: whether a stereo partner determines metres, so that a change of scale is no drift.
        limits: limits of the gate; None: the defaults.
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
    """Return how much worse the shape of depth is than the limit ``shape`` allows; empty: it is not worse."""
    what = "the error of shape against matched depth"
    return _worse(what, before.shape_error, after.shape_error, limits.shape, limits.right_shape)


def _worse(what: str, old: float | None, new: float | None, share: float, least: float = 0.0) -> str:
    """Return how a figure rose above ``old``, or ``least``, by more than ``share``; empty: it did not."""
    if old is None or not math.isfinite(old):
        return ""
    if new is None or not math.isfinite(new):
        return f"{what} was {old:.4f} and is no number any more"
    return f"{what} rose from {' to '.join(told_apart(old, new))}" if new > max(old, least) * (1 + share) else ""


def told_apart(*values: float) -> list[str]:
    """Return numbers as text with four decimals, or up to nine if unequal ones would look equal."""
    for digits in range(4, 10):
        texts = [f"{value:.{digits}f}" for value in values]
        if len(set(texts)) == len(set(values)):
            break
    return texts
