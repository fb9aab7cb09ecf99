"""The objective without truth, on rendered frames whose depth and motion are known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from featdepth_ros.models.build import build_model
from featdepth_training.config.schema import ModelConfig, RenderedConfig, SequenceConfig, TermsConfig, TrainConfig
from featdepth_training.data.batch import FrameBatch, collate
from featdepth_training.data.clip import Clip
from featdepth_training.data.samples import ClipDataset
from featdepth_training.data.source import SampleKey, Source
from featdepth_training.data.units import depth_in_network_units, focal_ratio
from featdepth_training.engine.model_setup import model_info
from featdepth_training.objectives.prediction import Prediction
from featdepth_training.objectives.selfsupervised import selfsupervised_terms, targets_and_sources
from featdepth_training.objectives.supervised import depth_target, motion_target
from featdepth_training.rendering.rendered import ClipRenderer

INFO = model_info(ModelConfig())


def config(**weights: Any) -> TrainConfig:
    objective = TermsConfig(**{"photometric": 1.0, "automask": False, **weights})
    return TrainConfig(model=ModelConfig(frozen_blocks=1), objective=objective)


PHOTOMETRIC = config()


@pytest.fixture(scope="module")
def clip() -> Clip:
    return ClipRenderer(RenderedConfig(frames=3, height=96, width=224), "room", 0, 0)(3)


def sample(clip: Clip, frames: int) -> FrameBatch:
    dataset = ClipDataset([Source("room", [clip], 1.0, True, (96, 224))], SequenceConfig(frames=frames), None, 0)
    return collate([dataset[SampleKey(0, 0, 0, 96, 224)]]).in_floats()


def truth(batch: FrameBatch, depth_factor: float = 1.0) -> Prediction:
    """What perfect networks would say, in network units; depth times ``depth_factor``."""
    ratio = focal_ratio(batch.intrinsics, INFO)
    assert abs(float(ratio) - 1.0) > 0.2  # otherwise the conversion of units is not tested
    depth = depth_in_network_units(batch.depth, ratio, INFO).flatten(0, 1) * depth_factor
    low, high = 1 / INFO.max_depth, 1 / INFO.min_depth
    disparity = ((1 / depth - low) / (high - low)).clamp(0, 1)
    axisangle, translation = (v[None] for v in motion_target(batch, INFO))
    return Prediction([disparity] * 4, tuple(range(batch.frames)), axisangle, translation)


@pytest.mark.parametrize("frames", [2, 3])
def test_truth_explains_the_neighbours_at_any_focal_length(clip: Clip, frames: int) -> None:
    batch = sample(clip, frames)
    model = build_model("compact", INFO)
    right = selfsupervised_terms(model, truth(batch), batch, PHOTOMETRIC)
    wrong = selfsupervised_terms(model, truth(batch, 2.0), batch, PHOTOMETRIC)
    nothing = torch.zeros(1, frames - 1, 3)
    still = Prediction(truth(batch).disparities, tuple(range(frames)), nothing, nothing)
    unmoved = selfsupervised_terms(model, still, batch, PHOTOMETRIC)
    assert float(right["total"]) < 0.7 * float(unmoved["total"])
    assert float(right["total"]) < float(wrong["total"])


def test_the_rendered_partner_is_explained_by_the_true_depth() -> None:
    plain = RenderedConfig(frames=1, height=96, width=224, baseline_m=0.12)
    clip = ClipRenderer(plain, "room", 0, 0)(3)
    assert clip.partner is not None and clip.T_partner_camera is not None
    assert clip.T_partner_camera[0, 3] == pytest.approx(-0.12)
    dataset = ClipDataset(
        [Source("room", [clip], 1.0, True, (96, 224))], SequenceConfig(frames=1, stereo=True), None, 0
    )
    batch = collate([dataset[SampleKey(0, 0, 0, 96, 224)]]).in_floats()
    model = build_model("compact", INFO)

    def photometric(depth_factor: float) -> float:
        return float(selfsupervised_terms(model, truth(batch, depth_factor), batch, PHOTOMETRIC, True)["total"])

    assert photometric(1.0) < 0.7 * min(photometric(0.6), photometric(1.7))


def test_terms_are_named_and_add_up_and_reach_both_networks(clip: Clip) -> None:
    batch = sample(clip, 3)
    model = build_model("compact", INFO)
    prediction = truth(batch)
    disparity = prediction.disparities[0].clone().requires_grad_()
    translation = prediction.translation.clone().requires_grad_()
    guess = Prediction([disparity] * 4, (0, 1, 2), prediction.axisangle, translation)
    terms = selfsupervised_terms(model, guess, batch, config(automask=None, features=1e-3, smoothness=1e-3))
    assert sorted(terms) == ["features", "photometric", "smoothness", "total"]
    numbers = {name: value.detach().item() for name, value in terms.items()}
    assert numbers.pop("total") == pytest.approx(sum(numbers.values()), rel=1e-5)
    terms["total"].backward()
    assert disparity.grad is not None and bool(disparity.grad.abs().sum() > 0)
    assert translation.grad is not None and bool(translation.grad.abs().sum() > 0)
    assert all(p.grad is None for p in model.parameters())  # the features' own net is not trained by them


def test_every_inner_frame_is_a_target() -> None:
    assert targets_and_sources(2) == [(0, (1,)), (1, (0,))]
    assert targets_and_sources(1) == [(0, ())]
    assert targets_and_sources(4) == [(1, (0, 2)), (2, (1, 3))]


@pytest.mark.slow
def test_rendered_clips_are_a_function_of_seed_and_number(clip: Clip) -> None:
    again = ClipRenderer(RenderedConfig(frames=3, height=96, width=224), "room", 0, 0)
    other = again(12)  # another scene in between
    same = again(3)
    np.testing.assert_array_equal(same.images, clip.images)
    np.testing.assert_array_equal(same.poses, clip.poses)
    assert not np.array_equal(other.images, clip.images)


def test_the_sensors_depth_is_compared_in_metres(clip: Clip) -> None:
    batch = sample(clip, 2)
    batch.depth[:, :, :, :48] = torch.nan  # the sensor sees the lower half alone
    model, weights = build_model("compact", INFO), config(photometric=1e-6, sensor_depth=2.0)
    guess = truth(batch)
    guess.disparities[:] = [guess.disparities[0].nan_to_num(0.5)] * 4
    right = selfsupervised_terms(model, guess, batch, weights)
    assert float(right["sensor_depth"]) < 1e-4

    guess.disparities[:] = [guess.disparities[0] / 1.25] * 4
    far = selfsupervised_terms(model, guess, batch, weights)
    # A quarter too far is no matter of one factor a frame: it counts, and it is flat.
    assert float(far["sensor_depth"]) == pytest.approx(2 * np.log(1.25), rel=0.05)
    assert float(far["total"]) > float(far["sensor_depth"])

    batch.depth[:] = torch.nan  # a recording without a sensor has no such term
    assert float(selfsupervised_terms(model, guess, batch, weights)["sensor_depth"]) == 0


def test_unknown_depth_leaves_the_gradient_of_a_learned_focal_length_finite(clip: Clip) -> None:
    batch = sample(clip, 2)
    batch.depth[:, :, :, :48] = torch.nan
    guess = truth(batch)
    intrinsics = batch.intrinsics.clone().requires_grad_()
    batch = replace(batch, intrinsics=intrinsics, pseudo_depth=batch.depth.clone())
    guess.disparities[:] = [guess.disparities[0].nan_to_num(0.5)] * 4
    weights = config(pseudo_depth=1.0, sensor_depth=1.0)
    selfsupervised_terms(build_model("compact", INFO), guess, batch, weights)["total"].backward()
    assert intrinsics.grad is not None and bool(intrinsics.grad.isfinite().all()) and bool(intrinsics.grad.any())
    assert not depth_target(batch, (0, 1), INFO, 1.0)[0].requires_grad


def test_recorded_motion_is_compared_in_metres_and_others_are_left_out(clip: Clip) -> None:
    batch = sample(clip, 3)
    batch.T_next_frame[:, 1] = torch.nan  # the tracker was lost in the second pair
    model, weights = build_model("compact", INFO), config(photometric=1e-6, recorded_motion=1.0)

    def term(factor: float) -> tuple[Tensor, Tensor]:
        guess = truth(sample(clip, 3))
        guess.disparities[:] = [guess.disparities[0].nan_to_num(0.5)] * 4
        translation = (guess.translation * factor).requires_grad_()
        moved = Prediction(guess.disparities, guess.targets, guess.axisangle, translation)
        return selfsupervised_terms(model, moved, batch, weights)["recorded_motion"], translation

    assert float(term(1.0)[0].detach()) < 1e-4
    short, translation = term(0.8)
    assert float(term(0.6)[0].detach()) == pytest.approx(2 * float(short.detach()), rel=1e-3)
    short.backward()
    assert translation.grad is not None and bool(torch.isfinite(translation.grad).all())
    assert bool((translation.grad[:, 0] != 0).any()) and bool((translation.grad[:, 1] == 0).all())

    batch.T_next_frame[:] = torch.nan  # a recording without poses has no such term
    assert float(term(0.8)[0].detach()) == 0
