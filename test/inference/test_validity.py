"""The validity rule, piece by piece, and its precision on rendered truth with the weights that ship."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from featdepth_ros.inference.validity import agrees, off_edges


def test_a_depth_step_is_an_edge_and_a_slope_is_not() -> None:
    step = torch.full((1, 1, 8, 8), 10.0)
    step[..., 4:] = 20.0
    mask = off_edges(step)[0, 0]
    assert not mask[:, 3:5].any()
    assert mask[:, :3].all() and mask[:, 5:].all()
    slope = torch.linspace(10.0, 12.0, 8).expand(1, 1, 8, 8)
    assert off_edges(slope).all()


def test_the_ground_far_away_is_no_edge() -> None:
    rows_below_horizon = torch.arange(24.0, 2.0, -1.0).flip(0)
    ground = (300.0 / rows_below_horizon).reshape(1, 1, -1, 1).expand(1, 1, -1, 8)  # 100 m to 12.5 m
    assert off_edges(ground)[0, 0, 1:-1].all()
    assert not off_edges(torch.where(torch.arange(22).reshape(1, 1, -1, 1) < 10, ground * 2, ground))[0, 0, 9:11].any()


def test_disagreement_counts_only_where_the_other_frame_saw_the_point() -> None:
    predicted = torch.tensor([[[[10.0, 10.0, 10.0]]]])
    seen = torch.tensor([[[[11.0, 20.0, 20.0]]]])
    covered = torch.tensor([[[[True, True, False]]]])
    assert agrees(predicted, seen, covered).flatten().tolist() == [True, False, True]


def _benchmark() -> ModuleType:
    path = Path(__file__).resolve().parents[1] / "benchmarks" / "uncertainty" / "validity.py"
    spec = importlib.util.spec_from_file_location("validity_benchmark", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up there
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_valid_depths_are_better_than_the_others_on_rendered_truth() -> None:
    pytest.importorskip("numba")
    precision = _benchmark().measure("street", (901,), frames=8)
    assert precision.kept > 0.5
    assert precision.after > precision.before > precision.rejected
    assert precision.after > 0.7
