"""Test that the online learner improves shipped weights in a place that differs from their training data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("numba")

from online_refinement import LOOKS, live, rendered, triples

from featdepth_ros.models.checkpoints import load_model
from featdepth_training.refine.online.config import OnlineConfig

pytestmark = pytest.mark.slow


def test_the_shipped_weights_get_better_in_a_new_street(tmp_path: Path) -> None:
    """Photometric loss and AbsRel of held-out frames fall in a short round, and everyone loads what is written."""
    street = rendered(replace(LOOKS["street"], frames=48))
    config = OnlineConfig(steps=16, patience_s=0, replay_frames=4)
    before, after = live("street", street, triples([street[:4]]), "compact-open", config, 0.01, tmp_path / "work")
    # The second row is there only if the round was accepted.
    assert after["photometric"] < 0.95 * before["photometric"]
    assert after["abs_rel"] < 0.98 * before["abs_rel"]
    assert (tmp_path / "work/replay_96x320_4.npy").is_file()
    refined = load_model(tmp_path / "work/generations/0001/model.safetensors")
    assert refined.info.licence.endswith("+ data terms")
