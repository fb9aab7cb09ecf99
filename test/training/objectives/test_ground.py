"""The scale from the camera's height over the road."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from featdepth_training.objectives.ground import ground_heights, ground_term

HEIGHT, WIDTH, FOCAL = 64, 208, 180.0
CAMERA = torch.tensor([[FOCAL, FOCAL, 103.5, 31.5]])


def road(height_m: float, pitch_rad: float, box_m: float | None = None) -> Tensor:
    """Depth of a level road under a camera looking down by ``pitch_rad``; a box's back ``box_m`` ahead, 40 m beyond."""
    y = ((torch.arange(HEIGHT) - 31.5) / FOCAL)[:, None].expand(HEIGHT, WIDTH)
    below = math.cos(pitch_rad) * y + math.sin(pitch_rad)
    depth = torch.where(below > 0, height_m / below.clamp_min(1e-6), 40.0).clamp(max=40.0)
    if box_m is not None:
        depth[20:46, 90:118] = depth[20:46, 90:118].clamp(max=box_m)
    return depth[None, None]


@pytest.mark.parametrize("pitch_deg", [-2.0, 0.0, 3.0])
@pytest.mark.parametrize("box_m", [None, 6.0])
def test_the_height_of_a_road_is_found_whatever_the_pitch_and_what_stands_on_it(
    pitch_deg: float, box_m: float | None
) -> None:
    heights, believed = ground_heights(road(1.65, math.radians(pitch_deg), box_m), CAMERA)
    assert bool(believed[0])
    assert float(heights[0]) == pytest.approx(1.65, rel=0.02)


def test_a_wall_is_no_road() -> None:
    depth = torch.full((1, 1, HEIGHT, WIDTH), 8.0)
    assert not bool(ground_heights(depth, CAMERA)[1][0])


def test_the_term_pulls_at_the_scale_and_at_nothing_when_the_height_is_unknown() -> None:
    scale = torch.tensor(0.7, requires_grad=True)
    depth = scale * road(1.65, 0.02)
    known = ground_term(depth, CAMERA, torch.tensor([1.65]))
    assert float(known.detach()) == pytest.approx(-math.log(0.7), rel=0.03)
    (gradient,) = torch.autograd.grad(known, scale)
    assert float(gradient) == pytest.approx(-1 / 0.7, rel=0.03)
    unknown = ground_term(scale * road(1.65, 0.02), CAMERA, torch.tensor([float("nan")]))
    (gradient,) = torch.autograd.grad(unknown, scale)
    assert float(unknown.detach()) == 0.0 and float(gradient) == 0.0
