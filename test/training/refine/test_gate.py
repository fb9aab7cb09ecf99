"""The gate: which figures let refined weights pass."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import pytest

from featdepth_training.refine.gate import GateLimits, HeldOutFigures, judge

BEFORE = HeldOutFigures(
    clips=9,
    photometric=0.10,
    depth_frames=9,
    abs_rel=0.30,
    abs_rel_median_scaled=0.20,
    matched_frames=9,
    shape_error=0.1,
)


def test_better_and_equal_weights_pass() -> None:
    assert judge(BEFORE, BEFORE, 1.0).accepted
    better = replace(BEFORE, photometric=0.09, abs_rel_median_scaled=0.19)
    verdict = judge(BEFORE, better, 1.05)
    assert verdict.accepted and verdict.reasons == ()


def test_shape_may_vary_within_what_matching_tells() -> None:
    assert judge(BEFORE, replace(BEFORE, shape_error=0.1019), 1.0).accepted
    assert judge(replace(BEFORE, shape_error=0.02), replace(BEFORE, shape_error=0.05), 1.0).accepted
    assert judge(replace(BEFORE, shape_error=None), replace(BEFORE, shape_error=None), 1.0).accepted


@pytest.mark.parametrize(
    ("changes", "ratio", "words"),
    [
        ({"photometric": 0.1001}, 1.0, "photometric loss on held-out frames rose from 0.1000 to 0.1001"),
        ({"photometric": math.nan}, 1.0, "no number any more"),
        ({"photometric": 0.05, "abs_rel_median_scaled": 0.21}, 1.0, "AbsRel .* rose from 0.2000 to 0.2100"),
        ({"photometric": 0.05, "abs_rel_median_scaled": None}, 1.0, "AbsRel .* no number any more"),
        ({"photometric": 0.05, "shape_error": 0.1021}, 1.0, "shape against matched depth rose from 0.1000 to 0.1021"),
        ({"photometric": 0.05, "shape_error": None}, 1.0, "shape against matched depth .* no number any more"),
        ({"photometric": 0.05}, 1.11, "scale moved by a factor of 1.110"),
        ({"photometric": 0.05}, 0.89, "scale moved by a factor of 0.890"),
        ({"photometric": 0.05}, math.nan, "depth is no number"),
    ],
)  # fmt: skip
def test_worse_weights_do_not_pass(changes: dict[str, float], ratio: float, words: str) -> None:
    verdict = judge(BEFORE, replace(BEFORE, **changes), ratio)
    assert not verdict.accepted
    assert len(verdict.reasons) == 1 and re.search(words, verdict.reasons[0])


def test_a_hair_of_abs_rel_is_noise_and_limits_are_the_callers() -> None:
    after = replace(BEFORE, abs_rel_median_scaled=0.201)
    assert judge(BEFORE, after, 1.0).accepted
    assert not judge(BEFORE, after, 1.0, limits=GateLimits(abs_rel=0.0)).accepted
    assert judge(BEFORE, BEFORE, 1.3, limits=GateLimits(scale=0.5)).accepted


def test_without_truth_the_photometric_loss_decides_alone() -> None:
    blind = HeldOutFigures(clips=9, photometric=0.10)
    assert judge(blind, replace(blind, photometric=0.099), 1.0).accepted
    assert not judge(blind, replace(blind, photometric=0.101), 1.0).accepted


def test_a_scale_that_a_stereo_partner_tells_may_move() -> None:
    assert judge(BEFORE, BEFORE, 1.4, scale_is_observed=True).accepted
    assert len(judge(BEFORE, replace(BEFORE, photometric=1.0, abs_rel_median_scaled=1.0), 2.0).reasons) == 3


def test_where_the_scale_is_observed_depth_is_judged_as_it_is() -> None:
    right_in_metres = replace(BEFORE, abs_rel=0.15, abs_rel_median_scaled=0.22)
    assert judge(BEFORE, right_in_metres, 1.4, scale_is_observed=True).accepted
    assert not judge(BEFORE, right_in_metres, 1.0).accepted
    wrong_in_metres = replace(BEFORE, abs_rel=0.35, abs_rel_median_scaled=0.15)
    reasons = judge(BEFORE, wrong_in_metres, 1.4, scale_is_observed=True).reasons
    assert reasons == ("AbsRel rose from 0.3000 to 0.3500",)
