"""Tests that the shipped weights reach the metrics on their cards, if the recordings are available."""

from __future__ import annotations

from pathlib import Path

import pytest
from real_recordings import Judging, measure

from featdepth_ros import load_model


@pytest.mark.slow
def test_the_default_weights_reach_what_their_card_says(test_data: Path) -> None:
    figures = measure(test_data, load_model("compact"), Judging(motions=("network",)), ("drive", "kitchen", "odometry"))
    if not figures:
        pytest.skip("none of the recordings is there")
    limits = {  # values of the card, with a margin for other processors
        ("drive 0001 depth", "abs_rel"): 0.07,
        ("7-Scenes depth", "abs_rel"): 0.14,
        ("KITTI 00 pose network", "ate_m"): 0.9,
        ("KITTI 00 pose network", "rpe_m"): 0.1,
        ("KITTI 00 pose network", "rpe_deg"): 0.145,
        ("KITTI 00 standing", "path_m"): 1e-4,
    }
    for (name, key), limit in limits.items():
        if name in figures:
            assert figures[name][key] <= limit, (name, key)
    if "drive 0001 depth" in figures:  # the scale is that of the training rig, on frames that were not in the training
        assert abs(figures["drive 0001 depth"]["scale_median"] - 1) < 0.1
