"""Schedule, average, step, units, objective: the parts of the engine by themselves."""

from __future__ import annotations

import dataclasses
import math
from itertools import pairwise

import pytest
import torch
from torch import nn

from featdepth_ros.geometry.se3 import pose_matrix, refocused_motion
from featdepth_ros.models.build import build_model
from featdepth_ros.models.compact import CompactModel
from featdepth_ros.models.info import ModelInfo
from featdepth_training.config.schema import (
    SUPERVISED,
    AugmentConfig,
    ModelConfig,
    OptimiserConfig,
    ScheduleConfig,
    TrainConfig,
)
from featdepth_training.data import augment
from featdepth_training.data.augment import photometric
from featdepth_training.data.batch import FrameBatch, axisangle_of
from featdepth_training.data.units import depth_in_network_units, focal_ratio
from featdepth_training.engine.ema import WeightAverage
from featdepth_training.engine.model_setup import start_model, training_mode
from featdepth_training.engine.optimiser import build_optimiser, rate_factor
from featdepth_training.engine.step import train_step
from featdepth_training.objectives.prediction import Prediction, predict
from featdepth_training.objectives.supervised import flow_term, gradient_term, motion_target, supervised_terms

INFO = ModelInfo(focal=(0.58, 1.92), input_size=(192, 640))


def test_schedules() -> None:
    cosine = ScheduleConfig(kind="cosine", warmup_steps=10, warmup_ratio=0.1, final_ratio=0.01)
    assert rate_factor(0, 100, cosine) == pytest.approx(0.1, rel=1e-3)
    assert rate_factor(50, 100, cosine) == pytest.approx(0.505)
    assert rate_factor(100, 100, cosine) == pytest.approx(0.01)
    rates = [rate_factor(s, 100, cosine) for s in range(10, 101)]
    assert all(a > b for a, b in pairwise(rates))
    steps = ScheduleConfig(kind="step", warmup_steps=0, milestones=(0.5, 0.75), gamma=0.5)
    assert [rate_factor(s, 100, steps) for s in (0, 49, 50, 75)] == [1.0, 1.0, 0.5, 0.25]


def test_average_follows_the_weights() -> None:
    net = nn.Linear(2, 2, bias=False)
    average = WeightAverage(net, 0.9)
    first = net.weight.detach().clone()
    with torch.no_grad():
        net.weight.add_(1.0)
    average.update(net)
    decay = min(0.9, 2 / 11)
    torch.testing.assert_close(average.values["weight"], decay * first + (1 - decay) * net.weight.detach())


class _Odd(nn.Module):
    """A weight and a running statistic that the forward pass changes."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))
        self.register_buffer("seen", torch.zeros(1))

    def terms(self, factor: float) -> dict[str, torch.Tensor]:
        assert isinstance(self.seen, torch.Tensor)
        self.seen += 1
        return {"total": (self.weight * factor).sum()}


@pytest.mark.parametrize("factor", [math.nan, math.inf])
def test_a_step_that_is_not_finite_changes_nothing(factor: float) -> None:
    net = _Odd()
    optimiser = torch.optim.Adam(net.parameters(), 0.1)
    result = train_step(net, [lambda: net.terms(factor)], optimiser, list(net.parameters()), 1.0)
    assert not result.applied
    assert torch.equal(net.weight.detach(), torch.ones(3))
    assert torch.equal(net.seen, torch.zeros(1))  # type: ignore[arg-type]
    assert train_step(net, [lambda: net.terms(1.0)], optimiser, list(net.parameters()), 1.0).applied
    assert not torch.equal(net.weight.detach(), torch.ones(3))


def test_the_gradient_is_the_mean_over_micro_batches() -> None:
    net = _Odd()
    optimiser = torch.optim.SGD(net.parameters(), 1.0)
    micro = [lambda: net.terms(0.5), lambda: net.terms(0.25), lambda: net.terms(0.75)]
    result = train_step(net, micro, optimiser, list(net.parameters()))
    torch.testing.assert_close(net.weight.detach(), torch.full((3,), 0.5))
    torch.testing.assert_close(net.seen, torch.ones(1))  # as one micro-batch moves it
    assert result.gradient_norm == pytest.approx(0.5 * math.sqrt(3))
    assert result.terms["total"] == pytest.approx(1.5)


def test_clipping_shortens_the_step_and_reports_the_whole_norm() -> None:
    net = _Odd()
    optimiser = torch.optim.SGD(net.parameters(), 1.0)
    result = train_step(net, [lambda: net.terms(1.0)], optimiser, list(net.parameters()), clip_norm=0.1)
    assert float((net.weight.detach() - 1).norm()) == pytest.approx(0.1, rel=1e-3)
    assert result.gradient_norm == pytest.approx(math.sqrt(3))


@pytest.mark.parametrize("architecture", ["compact", "baseline_r18"])
def test_rates_and_decay_of_the_parts(architecture: str) -> None:
    config = OptimiserConfig(lr=1e-3, encoder_lr_factor=0.5, pose_lr_factor=3.0, weight_decay=0.1)
    model = build_model(architecture, INFO)
    optimiser, parameters = build_optimiser(model, config)
    groups = {id(p): group for group in optimiser.param_groups for p in group["params"]}
    assert len(groups) == len(parameters) == len(list(model.parameters()))
    factors = {"encoder": 0.5, "DepthEncoder": 0.5, "PoseEncoder": 0.5, "pose_head": 3.0}
    seen = set()
    for name, parameter in model.named_parameters():
        part, group = name.split(".")[0], groups[id(parameter)]
        seen.add(part)
        assert group["lr"] == group["base_lr"] == pytest.approx(1e-3 * factors.get(part, 1.0)), name
        assert group["weight_decay"] == (0.1 if parameter.ndim > 1 else 0.0), name
    assert len(seen & set(factors)) == 2 and seen - set(factors)


@pytest.mark.slow
@torch.no_grad()
def test_networks_from_random_weights_say_the_same_in_training_and_evaluation() -> None:
    torch.manual_seed(0)
    model = start_model(TrainConfig(model=ModelConfig(initial="none", norm_momentum=0.1)))
    assert isinstance(model, CompactModel)
    images = torch.rand(4, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    images = nn.functional.avg_pool2d(images, 5, 1, 2)
    training_mode(model)
    for _ in range(100):  # statistics settle long before a short run ends
        trained = model.encode(images)
    evaluated = model.eval().encode(images)
    for before, after in zip(trained[:4], evaluated[:4], strict=True):  # at stride 32 the batch holds 24 pixels
        assert float((after - before).norm()) < 0.25 * float(before.norm())
    assert min(float(m.std()) for m in evaluated) > 0.3  # depthwise layers pass on what they are given


def test_axisangle_is_the_inverse_of_rodrigues() -> None:
    vectors = torch.tensor([[0.0, 0.0, 0.0], [0.1, -0.2, 0.3], [1e-5, 0.0, 0.0], [0.0, 1.5, 0.0]], dtype=torch.float64)
    x, y, z = vectors.unbind(1)
    zero = torch.zeros_like(x)
    skew = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], 1).view(-1, 3, 3)
    torch.testing.assert_close(axisangle_of(torch.linalg.matrix_exp(skew)), vectors, atol=1e-9, rtol=1e-7)


def test_depth_and_translation_in_network_units_move_the_pixels_as_metres_do() -> None:
    """With the live camera, depth / r and `motion_target` project a point to where metres project it."""
    batch = _batch(1)
    camera = torch.tensor([[200.0, 210.0, 44.0, 30.0]])
    turn, shift = torch.tensor([[0.02, -0.05, 0.03]]), torch.tensor([[0.2, -0.1, -0.5]])
    motions = pose_matrix(turn, shift)[:, None]
    live = dataclasses.replace(batch, intrinsics=camera, T_next_frame=motions)
    axisangle, translation = motion_target(live, INFO)
    torch.testing.assert_close(axisangle, turn, atol=1e-5, rtol=0)
    ratio = focal_ratio(camera, INFO)
    assert abs(float(ratio) - 1) > 0.2
    rays = torch.tensor([[-0.3, 0.2, 1.0], [0.4, -0.1, 1.0]])
    depth_m = torch.tensor([[4.0], [9.0]])

    def seen(depth: torch.Tensor, T: torch.Tensor) -> torch.Tensor:
        moved = (rays * depth) @ T[0, :3, :3].T + T[0, :3, 3]
        return moved[:, :2] / moved[:, 2:]

    in_units = seen(depth_in_network_units(depth_m[None], ratio, INFO)[0], pose_matrix(axisangle, translation))
    torch.testing.assert_close(in_units, seen(depth_m, motions[:, 0]), atol=1e-5, rtol=1e-4)


def test_each_sample_is_predicted_with_its_own_camera() -> None:
    """Two samples of three frames under two cameras are as one by one, whether the net matches or regresses."""
    torch.manual_seed(1)
    images = torch.rand(2, 3, 3, 64, 96, generator=torch.Generator().manual_seed(2))
    cameras = torch.tensor([[100.0, 100.0, 47.0, 31.0], [300.0, 310.0, 50.0, 33.0]])
    matching, regressing = (build_model(name, INFO).eval() for name in ("compact", "baseline_r18"))
    regressing.info = regressing.info.with_(pose_input_size=(64, 96))
    assert isinstance(matching, CompactModel)
    with torch.no_grad():
        together = predict(matching, images, cameras)
        for sample, camera in enumerate(cameras):
            maps = [matching.encode(image[None]) for image in images[sample]]
            for pair in (0, 1):
                axisangle, translation = matching.pose_from_features(maps[pair], maps[pair + 1], camera=camera[None])
                torch.testing.assert_close(together.axisangle[sample, pair], axisangle[0], atol=1e-4, rtol=1e-3)
                torch.testing.assert_close(together.translation[sample, pair], translation[0], atol=1e-4, rtol=1e-3)
        together = predict(regressing, images, cameras)
        ratio = focal_ratio(cameras, INFO)
        for pair in (0, 1):
            expected = refocused_motion(*regressing.pose(images[:, pair], images[:, pair + 1]), ratio)
            torch.testing.assert_close(together.axisangle[:, pair], expected[0])
            torch.testing.assert_close(together.translation[:, pair], expected[1])


def _batch(count: int = 2, size: tuple[int, int] = (64, 96)) -> FrameBatch:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, 2, 3, *size), generator=generator, dtype=torch.uint8)
    depth = 2 + 10 * torch.rand(count, 2, 1, *size, generator=generator)
    motions = torch.eye(4).repeat(count, 1, 1, 1)
    motions[..., 2, 3] = -0.5
    focal = INFO.focal_px
    assert focal is not None
    camera = torch.tensor([[focal, focal, 47.5, 31.5]]).repeat(count, 1)
    partner = torch.zeros(count, 0, 3, *size, dtype=torch.uint8)
    stereo = torch.full((count, 4, 4), float("nan"))
    rendered, group = torch.ones(count, dtype=torch.bool), torch.zeros(count, dtype=torch.int64)
    height, found = torch.full((count,), float("nan")), torch.full_like(depth, float("nan"))
    return FrameBatch(
        images, depth, camera, motions, partner, stereo, rendered, ~rendered, group, found, height
    ).in_floats()


def _prediction(batch: FrameBatch, factor: float) -> Prediction:
    low, high = 1 / INFO.max_depth, 1 / INFO.min_depth
    depth = factor * batch.depth.flatten(0, 1)
    disparity = (1 / depth - low) / (high - low)
    maps = [disparity] + [disparity[..., 2**k // 2 :: 2**k, 2**k // 2 :: 2**k] for k in (1, 2, 3)]
    return Prediction(maps, (0, 1), torch.zeros(2, 1, 3), batch.T_next_frame[..., :3, 3].clone())


def test_the_truth_costs_nothing_and_a_factor_costs_its_logarithm() -> None:
    batch = _batch()
    exact = supervised_terms(_prediction(batch, 1.0), batch, INFO, SUPERVISED)
    assert all(abs(float(v)) < 1e-4 for v in exact.values())
    twice = supervised_terms(_prediction(batch, 2.0), batch, INFO, SUPERVISED)
    assert float(twice["depth"]) == pytest.approx(math.log(2.0), rel=1e-3)
    assert float(twice["gradient"]) < 1e-4
    assert float(twice["total"]) == pytest.approx(sum(float(v) for k, v in twice.items() if k != "total"))


def test_truth_in_metres_is_compared_in_the_unit_of_the_network() -> None:
    """36 metres in a unit, as the published stereo weights have them: a network that says metres / 36 is right."""
    batch = _batch()
    info = dataclasses.replace(INFO, min_depth=INFO.min_depth / 36, max_depth=INFO.max_depth / 36, scale_factor=36.0)
    prediction = _prediction(batch, 1.0)  # the same share of the depth range
    prediction = dataclasses.replace(prediction, translation=prediction.translation / 36)
    terms = supervised_terms(prediction, batch, info, SUPERVISED)
    assert all(abs(float(v)) < 1e-4 for v in terms.values())


def test_unknown_pixels_do_not_count_and_the_sky_is_far() -> None:
    batch = _batch()
    prediction = _prediction(batch, 1.0)
    batch.depth[:, 0, :, :20] = float("nan")
    assert float(supervised_terms(prediction, batch, INFO, SUPERVISED)["depth"]) < 1e-4
    batch.depth[:, 0, :, 30:40] = float("inf")
    assert float(supervised_terms(prediction, batch, INFO, SUPERVISED)["depth"]) > 0.01


def test_flow_is_not_learnt_from_what_moves_by_itself() -> None:
    batch = _batch()
    still = torch.zeros(2, 1, 2, 8, 12)  # nothing is matched to move, although the camera does
    whole = float(flow_term(still, batch))
    assert whole > 0.1
    moving = torch.zeros(2, 2, 1, 64, 96, dtype=torch.bool)
    assert float(flow_term(still, dataclasses.replace(batch, moving=moving))) == pytest.approx(whole)
    moving[..., :40] = True
    right = batch.depth.clone()
    right[..., :40] = float("nan")
    expected = float(flow_term(still, dataclasses.replace(batch, depth=right)))
    assert float(flow_term(still, dataclasses.replace(batch, moving=moving))) == pytest.approx(expected)
    assert float(flow_term(still, dataclasses.replace(batch, moving=torch.ones_like(moving)))) == 0.0


def test_gradient_term_finds_a_missing_edge() -> None:
    flat = torch.zeros(1, 1, 16, 16)
    edge = flat.clone()
    edge[..., 8:] = 1.0
    weight = torch.ones_like(flat)
    assert float(gradient_term(flat + 3.0, weight)) == 0.0
    assert float(gradient_term(edge, weight)) > 0.05


def test_photometric_is_seeded_stays_in_range_and_off_means_off() -> None:
    batch = _batch()
    one, two, other = (photometric(batch, AugmentConfig(), torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert torch.equal(one, two) and not torch.equal(one, other)
    assert 0.0 <= float(one.min()) and float(one.max()) <= 1.0
    off = AugmentConfig(
        brightness=0, contrast=0, saturation=0, hue=0, gamma=0, grey=0, blur=0, haze=0, noise=0, pair_jitter=0
    )
    unchanged = photometric(batch, off, torch.Generator().manual_seed(1))
    torch.testing.assert_close(unchanged, batch.images, atol=2e-4, rtol=0)


def test_photometric_is_what_its_steps_say() -> None:
    """One matrix an image does what hue, saturation, contrast and exposure do one after the other."""
    batch, config = _batch(), AugmentConfig(grey=0.3, gamma=0.4, blur=0, haze=0, noise=0)
    draws = augment._Draws(len(batch.images), torch.Generator().manual_seed(5))
    exposure, contrast = draws.around_one(config.brightness), draws.around_one(config.contrast)
    saturation = torch.where(draws.chance(config.grey), 0.0, draws.around_one(config.saturation))
    hue, gamma = draws.uniform(-config.hue, config.hue), draws.around_one(config.gamma)
    for low, high in ((0, 1), (0, 1), (0.002, 0.03), (0.4, 0.95), (0, 0)):  # blur, haze, noise
        draws.uniform(low, high)
    frames = batch.frames
    contrast = contrast * draws.around_one_each(config.pair_jitter * config.contrast, frames)
    exposure = exposure * draws.around_one_each(config.pair_jitter * config.brightness, frames)
    seen = photometric(batch, config, torch.Generator().manual_seed(5))
    assert float(saturation.min()) == 0 or len(saturation) < 4
    for k in range(len(seen)):
        turn = augment._turned_hue(hue)[k]
        assert torch.allclose(turn @ turn.T, torch.eye(3), atol=1e-6) and torch.allclose(turn.sum(1), torch.ones(3))
        for f in range(frames):
            x = torch.einsum("ij,jhw->ihw", turn, batch.images[k, f])
            grey = 0.299 * x[0] + 0.587 * x[1] + 0.114 * x[2]
            x = grey + (x - grey) * saturation[k]
            x = x.mean() + (x - x.mean()) * contrast[k, f]
            x = (x * exposure[k, f]).clamp(1e-4, 1) ** gamma[k]
            torch.testing.assert_close(seen[k, f], x, atol=2e-5, rtol=0)


def test_haze_blur_and_noise_do_what_they_say() -> None:
    batch = _batch()
    off = dict.fromkeys(
        ("brightness", "contrast", "saturation", "hue", "gamma", "grey", "blur", "haze", "noise", "pair_jitter"), 0.0
    )

    def change(**values: float) -> torch.Tensor:
        config = AugmentConfig(**{**off, **values})  # type: ignore[arg-type]
        return photometric(batch, config, torch.Generator().manual_seed(3)) - batch.images

    far = torch.nan_to_num(batch.depth, nan=0.0, posinf=200.0)
    hazy, nothing = change(haze=1.0).abs().mean(2, keepdim=True), far == 0
    assert float(hazy[~nothing].max()) > 0.01 and (not nothing.any() or float(hazy[nothing].max()) < 1e-3)
    assert float((change(blur=1.0) + batch.images).diff(dim=-1).abs().mean()) < float(
        batch.images.diff(dim=-1).abs().mean()
    )
    noise = change(noise=0.05)
    spread = noise.flatten(2).std(2)
    assert float(spread.max()) < 0.06 and float(spread.max()) > 0.002 and float(noise.mean().abs()) < 0.01
