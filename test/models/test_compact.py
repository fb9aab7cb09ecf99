"""The compact model: shapes, shared features, exact properties of the pose head, ImageNet initialisation."""

from __future__ import annotations

import copy
import importlib.util
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from featdepth_ros.errors import CheckpointError, FeatDepthError, ImageError
from featdepth_ros.geometry.se3 import pose_matrix
from featdepth_ros.models.base import FeatDepthModel
from featdepth_ros.models.build import build_model
from featdepth_ros.models.checkpoints import load_model
from featdepth_ros.models.compact import DEFAULT_FOCAL_PX, CompactModel, load_imagenet_encoder
from featdepth_ros.models.inference_copy import InFloat32, fuse_batch_norms, inference_copy
from featdepth_ros.models.lite0 import IMAGENET_PACKAGE, Lite0Encoder, SameConv2d
from featdepth_ros.models.motion_head import (
    correlation,
    expected_shift,
    fit_motion,
    motion_of_twist,
    sample_at,
    solve_positive,
    use_plain_fit,
)
from featdepth_ros.simulation.simulate import Simulation, SimulationConfig, default_camera


@pytest.fixture(scope="module")
def model() -> CompactModel:
    torch.manual_seed(0)
    built = build_model("compact")
    assert isinstance(built, CompactModel)
    return built.eval()


def _image(seed: int, height: int = 64, width: int = 96, batch: int = 1) -> torch.Tensor:
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(seed))


def _street(seed: int) -> torch.Tensor:
    """A rendered image, (1, 3, 128, 416): it has the far depths, whose small disparities rounding spoils."""
    config = SimulationConfig(scene="street", seed=seed, frames=1, camera=default_camera(416, 128))
    frame = next(iter(Simulation(config, threads=1)))
    return torch.from_numpy(frame.image.copy()).permute(2, 0, 1)[None].float() / 255


@pytest.mark.parametrize(("batch", "height", "width"), [(1, 32, 32), (2, 64, 96), (1, 96, 64)])
def test_disparities_are_four_finest_at_half_resolution(
    model: CompactModel, batch: int, height: int, width: int
) -> None:
    with torch.inference_mode():
        disparities = model.depth(_image(1, height, width, batch))
    assert [tuple(d.shape) for d in disparities] == [(batch, 1, height >> k, width >> k) for k in (1, 2, 3, 4)]
    assert all(d.dtype == torch.float32 and 0 < d.min() and d.max() < 1 for d in disparities)


def test_features_encoded_once_serve_both_nets(model: CompactModel) -> None:
    first, second = _image(2), _image(3)
    with torch.inference_mode():
        maps = [model.encode(image) for image in (first, second)]
        shared = model.pose_from_features(*maps, *(model.coarse_depth(m) for m in maps))
        direct = model.pose(first, second)
        torch.testing.assert_close(shared, direct, atol=2e-4, rtol=1e-3)  # sums in another order, amplified by matching
        torch.testing.assert_close(model.depth_from_features(maps[0]), model.depth(first))
        finest = model.depth_from_features(maps[0], all_scales=False)
        assert len(finest) == 1
        torch.testing.assert_close(finest[0], model.depth(first)[0])
        assert model.features(first).shape == (1, 16, 32, 48)


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_identical_frames_give_exactly_no_motion(model: CompactModel, autocast: bool, training: bool) -> None:
    image = _image(4, batch=2)
    model.pose_head.train(training)
    try:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            maps = model.encode(image)
            moving = model.pose_from_features(maps, model.encode(_image(5, batch=2)))
            still = model.pose_from_features(maps, maps)
    finally:
        model.eval()
    assert all(m.shape == (2, 3) and m.dtype == torch.float32 and m.abs().max() > 1e-4 for m in moving)
    assert all(torch.equal(m, torch.zeros(2, 3)) for m in still)


def _matrix(axisangle: torch.Tensor, translation: torch.Tensor) -> torch.Tensor:
    x, y, z = axisangle[0].double().tolist()
    skew = torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]], dtype=torch.float64)
    matrix = torch.eye(4, dtype=torch.float64)
    matrix[:3, :3] = torch.linalg.matrix_exp(skew)
    matrix[:3, 3] = translation[0].double()
    return matrix


def test_exchanged_frames_give_the_inverse_motion(model: CompactModel) -> None:
    first, second = _image(6), _image(7)
    with torch.inference_mode():
        there, back = _matrix(*model.pose(first, second)), _matrix(*model.pose(second, first))
    assert (there - torch.eye(4)).abs().max() > 1e-3
    torch.testing.assert_close(there @ back, torch.eye(4, dtype=torch.float64), atol=1e-6, rtol=0)


def test_twist_is_the_matrix_exponential() -> None:
    twist = torch.tensor([[0.3, -0.5, 0.7, 1.0, -2.0, 0.5]])
    x, y, z, *velocity = twist[0].double().tolist()
    generator = torch.zeros(4, 4, dtype=torch.float64)
    generator[:3, :3] = torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    generator[:3, 3] = torch.tensor(velocity)
    expected = torch.linalg.matrix_exp(generator)
    torch.testing.assert_close(_matrix(*motion_of_twist(twist)), expected, atol=2e-6, rtol=0)


#: fx, fy, cx, cy of 128x416: wide, its pixels not square, its centre beside the image's.
CAMERA = torch.tensor([[240.0, 250.0, 199.0, 66.0]])


def _flow(depth: torch.Tensor, twist: torch.Tensor) -> torch.Tensor:
    """The flow (B, 2, 16, 52) of every eighth pixel of `CAMERA`, full-size pixels."""
    T = pose_matrix(*motion_of_twist(twist))
    fx, fy, cx, cy = CAMERA[0]
    x, y = (torch.arange(52) * 8 + 3.5 - cx) / fx, (torch.arange(16) * 8 + 3.5 - cy) / fy
    rays = torch.stack((x.expand(16, 52), y[:, None].expand(16, 52), torch.ones(16, 52))).flatten(1)
    moved = T[:, :3, :3] @ (rays * depth.flatten(2)) + T[:, :3, 3:]
    return ((moved[:, :2] / moved[:, 2:] - rays[:2]) * torch.stack((fx, fy))[:, None]).unflatten(2, (16, 52))


@pytest.mark.parametrize("noisy", [False, True])
def test_rigid_motion_is_recovered_from_its_flow(noisy: bool) -> None:
    """Depth and motion drawn at random, a third of the flow spoilt: robust weights and six numbers bring it back."""
    generator = torch.Generator().manual_seed(3)
    depth = 2 + 20 * torch.rand(3, 1, 16, 52, generator=generator)
    twist = torch.tensor([[0.01, -0.02, 0.005, 0.1, 0.02, -0.8], [0.0] * 6, [0.0, 0.05, 0.0, 0.3, 0.0, 0.1]])
    flow, weight = _flow(depth, twist), torch.ones_like(depth)
    torch.testing.assert_close(fit_motion(flow, depth, weight, CAMERA, noisy_depth=noisy), twist, atol=2e-3, rtol=0)
    spoilt = flow.clone()
    spoilt[:, :, :, ::3] += 40.0
    torch.testing.assert_close(fit_motion(spoilt, depth, weight, CAMERA, noisy_depth=noisy), twist, atol=2e-2, rtol=0)
    weight[:, :, :, ::3] = 0.0
    torch.testing.assert_close(fit_motion(spoilt, depth, weight, CAMERA, noisy_depth=noisy), twist, atol=2e-3, rtol=0)


def test_near_points_of_wrong_depth_do_not_decide_the_length() -> None:
    """A drive past bushes whose depth is 1.2 times too small: training's fit gives in, the one in use does not."""
    rows = torch.arange(9, 16)
    depth = torch.full((1, 1, 16, 52), 25.0)
    depth[:, :, 9:] = (1.5 * CAMERA[0, 1] / (rows * 8 + 3.5 - CAMERA[0, 3])).clamp(max=25)[:, None]
    depth[:, :, 2:9, :14] = 5.0
    twist = torch.tensor([[0.0, 0.004, 0.0, 0.02, 0.0, -0.8]])
    flow, weight, wrong = _flow(depth, twist), torch.ones_like(depth), depth.clone()
    wrong[:, :, 2:9, :14] /= 1.2
    plain, used = (fit_motion(flow, wrong, weight, CAMERA, noisy_depth=noisy)[0] for noisy in (False, True))
    length = twist[0, 3:].norm()
    assert (plain[3:].norm() / length) < 0.955 and abs(used[3:].norm() / length - 1) < 0.012
    assert abs(used[1] - 0.004) < 0.5 * abs(plain[1] - 0.004)
    # The whole background three times too near: the length goes to a third, and with the ground it stays.
    depth[:, :, 2:9] = 15.0
    flow, wrong = _flow(depth, twist), depth.clone()
    wrong[:, :, 2:9] /= 3
    plain, used = (fit_motion(flow, wrong, weight, CAMERA, noisy_depth=noisy)[0] for noisy in (False, True))
    assert (plain[3:].norm() / length) < 0.4 and (used[3:].norm() / length) > 0.9


@pytest.mark.parametrize("noisy", [False, True])
def test_false_matches_lose_their_weight(noisy: bool) -> None:
    """A third of the flow is wrong by 40 pixels in 50 motions; errors across the parallax tell it from wrong depth."""
    generator = torch.Generator().manual_seed(1)
    depth = 2 + 20 * torch.rand(50, 1, 16, 52, generator=generator)
    twist = torch.randn(50, 6, generator=generator) * torch.tensor([0.01] * 3 + [0.4] * 3)
    flow = _flow(depth, twist)
    flow[:, :, :, ::3] += 40.0
    error = fit_motion(flow, depth, torch.ones_like(depth), CAMERA, noisy_depth=noisy) - twist
    assert (error[:, 3:].norm(dim=1) / twist[:, 3:].norm(dim=1)).median() < 0.01


@pytest.mark.parametrize("scale", [0.0, 5.0, 600.0])
def test_flow_that_fits_no_motion_gives_a_finite_one(scale: float) -> None:
    """Flow, depth and weights of nothing; some weights are zero."""
    generator = torch.Generator().manual_seed(7)
    depth = 0.1 + 80 * torch.rand(20, 1, 16, 52, generator=generator) ** 2
    flow = scale * (1 + torch.randn(20, 2, 16, 52, generator=generator))
    weight = torch.rand(20, 1, 16, 52, generator=generator).round(decimals=1)
    for given in (weight, torch.zeros_like(weight)):
        plain, used = (fit_motion(flow, depth, given, CAMERA, noisy_depth=noisy) for noisy in (False, True))
        assert plain.isfinite().all() and used.isfinite().all()


def test_training_alone_fits_motion_without_allowance(model: CompactModel) -> None:
    """What `load_model` gives, and its copies for inference, allow for errors of depth; `use_plain_fit` ends that."""
    trained = copy.deepcopy(model)
    use_plain_fit(trained)
    assert model.pose_head.noisy_depth and inference_copy(model).pose_head.noisy_depth
    assert not trained.pose_head.noisy_depth and not copy.deepcopy(trained).pose_head.noisy_depth
    first, second = _image(6), _image(7)
    with torch.inference_mode():
        difference = model.pose(first, second)[1] - trained.pose(first, second)[1]
    assert difference.abs().max() > 1e-3


@pytest.mark.parametrize("noisy", [False, True])
def test_a_turn_is_exact_with_the_camera_that_saw_it_and_not_with_another(noisy: bool) -> None:
    """A car in a bend, 60 mrad a frame: with the focal length of another camera, turn and way come out wrong."""
    depth = 3 + 20 * torch.rand(1, 1, 16, 52, generator=torch.Generator().manual_seed(5))
    twist = torch.tensor([[0.0, 0.06, 0.0, 0.0, 0.0, -0.4]])
    flow, weight = _flow(depth, twist), torch.ones_like(depth)
    torch.testing.assert_close(fit_motion(flow, depth, weight, CAMERA, noisy_depth=noisy), twist, atol=1e-3, rtol=0)
    other = torch.tensor([[370.0, 370.0, 207.5, 63.5]])
    guess = fit_motion(flow, depth, weight, other, noisy_depth=noisy)
    assert abs(float(guess[0, 1]) * 370 / 240 - 0.06) > 0.003
    assert float((guess[0, 3:] - twist[0, 3:]).norm()) > 0.02


def test_the_motion_of_features_follows_the_camera(model: CompactModel) -> None:
    """None is the canonical camera; another one sees another motion in the same flow, and none where there is none."""
    with torch.inference_mode():
        maps = [model.encode(_image(seed)) for seed in (21, 22)]
        focal = model.info.focal_px or DEFAULT_FOCAL_PX
        height, width = _image(21).shape[-2:]
        own = torch.tensor([[focal, focal, (width - 1) / 2, (height - 1) / 2]])
        default = model.pose_from_features(*maps)
        torch.testing.assert_close(model.pose_from_features(*maps, camera=own), default)
        wide = own * torch.tensor([[0.3, 0.3, 1.1, 0.9]])
        turn, _ = model.pose_from_features(*maps, camera=wide)
        assert float((turn - default[0]).norm()) > 0.2 * float(default[0].norm())
        still = model.pose_from_features(maps[0], maps[0], camera=wide)
    assert all(float(x.abs().max()) == 0.0 for x in still)


def test_unrolled_elimination_solves() -> None:
    root = torch.randn(4, 6, 6, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    A, b = root @ root.mT + 0.1 * torch.eye(6), torch.ones(4, 6, dtype=torch.float64)
    torch.testing.assert_close(solve_positive(A, b), torch.linalg.solve(A, b))


def test_matching_finds_a_shift() -> None:
    maps = torch.randn(1, 64, 12, 20, generator=torch.Generator().manual_seed(5))
    later = torch.roll(maps, (2, -3), (2, 3))
    shift = expected_shift(correlation(maps, later), torch.tensor(20.0))[:, :, 3:-3, 4:-4]
    torch.testing.assert_close(shift[:, 0], torch.full_like(shift[:, 0], -3.0), atol=0.05, rtol=0)
    torch.testing.assert_close(shift[:, 1], torch.full_like(shift[:, 1], 2.0), atol=0.05, rtol=0)
    flow = torch.tensor([-3.0, 2.0]).view(1, 2, 1, 1).expand(1, 2, 12, 20)
    torch.testing.assert_close(sample_at(later, flow)[:, :, :-2, 3:], maps[:, :, :-2, 3:], atol=1e-4, rtol=0)


@pytest.mark.parametrize("width", [7, 16, 37])
def test_correlation_finds_the_shifted_partner(width: int) -> None:
    maps = torch.randn(2, 5, 6, width, generator=torch.Generator().manual_seed(8))
    other = torch.randn(2, 5, 6, width, generator=torch.Generator().manual_seed(9))
    volume = correlation(maps, other, radius=2)
    assert volume.shape == (2, 25, 6, width)
    for dy in range(-2, 3):
        for dx in range(-2, 3):
            for y, x in ((0, 0), (2, 3), (5, width - 1), (1, width // 2)):
                inside = 0 <= y + dy < 6 and 0 <= x + dx < width
                expected = (maps[:, :, y, x] * other[:, :, y + dy, x + dx]).mean(1) if inside else torch.zeros(2)
                torch.testing.assert_close(volume[:, (dy + 2) * 5 + dx + 2, y, x], expected)


def test_same_padding_pads_the_odd_pixel_at_the_end() -> None:
    image = torch.zeros(1, 1, 4, 4)
    image[0, 0, 0, 0] = 1.0
    conv = SameConv2d(1, 1, 3, stride=2)
    torch.nn.init.constant_(conv.weight, 0.0)
    conv.weight.data[0, 0, 0, 0] = 1.0  # sees the first pixel only when nothing is padded before it
    assert conv(image)[0, 0].tolist() == [[1.0, 0.0], [0.0, 0.0]]


def test_size_is_within_the_budget(model: CompactModel) -> None:
    counts = model.parameter_counts()
    assert counts["encoder"] + counts["decoder"] <= 6_000_000
    assert sum(counts.values()) <= 8_000_000


def test_precisions_and_memory_formats_agree(model: CompactModel) -> None:
    image = _image(10, 64, 128)
    with torch.inference_mode():
        plain = model.depth(image)[0]
        last = model.depth(image.contiguous(memory_format=torch.channels_last))[0]
        with torch.autocast("cpu", torch.bfloat16):
            low = model.depth(image)[0]
    torch.testing.assert_close(plain, last, atol=1e-5, rtol=0)
    assert low.dtype == torch.float32
    torch.testing.assert_close(plain, low, atol=0.03, rtol=0)


def test_every_parameter_receives_a_gradient() -> None:
    torch.manual_seed(1)
    built = build_model("compact")
    axisangle, translation = built.pose(_image(11, batch=2), _image(12, batch=2))
    loss = sum(d.mean() for d in built.depth(_image(11, batch=2))) + 1e3 * (axisangle.sum() + translation.sum())
    assert isinstance(loss, torch.Tensor)
    loss.backward()
    without = [n for n, p in built.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert not without


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (torch.rand(3, 64, 64), "expected \\(B, 3, H, W\\)"),
        (torch.rand(1, 1, 64, 64), "expected \\(B, 3, H, W\\)"),
        (torch.zeros(1, 3, 64, 64, dtype=torch.uint8), "divide bytes by 255"),
        (torch.rand(1, 3, 60, 64), "multiples of 32"),
    ],
)
def test_wrong_images_are_refused_with_words(model: FeatDepthModel, image: torch.Tensor, words: str) -> None:
    with pytest.raises(ImageError, match=words):
        model.depth(image)
    with pytest.raises(ImageError, match=words):
        model.pose(image, image)


def test_pair_of_two_sizes_is_refused(model: CompactModel) -> None:
    with pytest.raises(ImageError, match="expected one shape"):
        model.pose(_image(1, 64, 64), _image(1, 64, 96))


def test_unknown_architecture_names_the_nearest() -> None:
    with pytest.raises(FeatDepthError, match="did you mean 'compact'"):
        build_model("compakt")


def test_folded_batch_norms_change_nothing_but_the_time(model: CompactModel) -> None:
    folded = fuse_batch_norms(model)
    assert not any(isinstance(part, torch.nn.BatchNorm2d) for part in folded.modules())
    assert any(isinstance(part, torch.nn.BatchNorm2d) for part in model.modules())
    first, second = _image(13), _image(14)
    with torch.inference_mode():
        torch.testing.assert_close(folded.depth(first), model.depth(first), atol=1e-4, rtol=0)
        torch.testing.assert_close(folded.pose(first, second), model.pose(first, second), atol=1e-4, rtol=1e-3)
    with pytest.raises(FeatDepthError, match="eval mode only"):
        fuse_batch_norms(build_model("compact"))


def test_the_copy_for_inference_gives_the_same(model: CompactModel) -> None:
    lean = inference_copy(model)
    assert any(isinstance(part, torch.nn.ConvTranspose2d) for part in lean.modules())
    assert not any(isinstance(part, torch.nn.ConvTranspose2d) for part in model.modules())
    first, second = _image(16), _image(17)
    with torch.inference_mode():
        torch.testing.assert_close(lean.depth(first), model.depth(first), atol=1e-4, rtol=0)
        torch.testing.assert_close(lean.pose(first, second), model.pose(first, second), atol=1e-4, rtol=1e-3)


def test_bfloat16_keeps_in_float32_what_its_rounding_would_spoil() -> None:
    """Beside weights merely rounded; with those that ship, as drawn ones have no disparity of a hundredth.

    Depth is compared, not the logit of the disparity. The sky's is below -30, where rounding changes nothing.
    """
    shipped = load_model("compact")
    image = torch.cat([_street(seed) for seed in (1, 2, 3)])
    errors = {}
    with torch.inference_mode():
        expected = shipped.info.depth_of(shipped.depth(image)[0]).log()
        for name, half in (("plain", None), ("kept", torch.bfloat16)):
            with torch.autocast("cpu", torch.bfloat16):
                disparity = inference_copy(shipped, half).depth(image)[0].float()
            errors[name] = float((shipped.info.depth_of(disparity).log() - expected).square().mean().sqrt())
    assert errors["kept"] < 0.4 * errors["plain"] and errors["kept"] < 4e-3, errors
    kept = inference_copy(shipped, torch.bfloat16)
    widths = {part.weight.dtype for part in kept.decoder.refine.modules() if isinstance(part, torch.nn.Conv2d)}
    assert widths == {torch.bfloat16}
    inside = [part for part in kept.modules() if isinstance(part, InFloat32)]
    assert len(inside) == 11 and all(p.dtype == torch.float32 for part in inside for p in part.parameters())


def test_folding_covers_the_reference_networks() -> None:
    reference = build_model("baseline_r18").eval()
    for module in reference.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean = torch.randn(module.num_features) * 0.1
            module.running_var = torch.rand(module.num_features) + 0.5
    folded = fuse_batch_norms(reference)
    assert not any(isinstance(part, torch.nn.BatchNorm2d) for part in folded.modules())
    image = _image(15)
    with torch.inference_mode():
        torch.testing.assert_close(folded.depth(image), reference.depth(image), atol=1e-5, rtol=0)


@pytest.mark.slow
def test_all_methods_can_be_exported(model: CompactModel) -> None:
    class Whole(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, earlier: torch.Tensor, later: torch.Tensor) -> tuple[torch.Tensor, ...]:
            maps = [self.model.encode(earlier), self.model.encode(later)]
            return (self.model.depth_from_features(maps[1])[0], *self.model.pose_from_features(*maps))

    pair = (_image(16), _image(17))
    exported = torch.export.export(Whole().eval(), pair).module()
    with torch.inference_mode():
        torch.testing.assert_close(exported(*pair), Whole()(*pair), atol=1e-5, rtol=1e-4)


#: Shape, mean, standard deviation and six samples of each map. They were recorded from the package
#: efficientnet-lite-pytorch in eval mode, with the formula weights below and the image as (255 x - 127) / 128.
LITE0_GOLDEN = (
    ((1, 16, 32, 48), -0.074244, 0.800988, (0.207378, -0.545911, -0.258878, 0.26668, 0.871263, -1.18596)),
    ((1, 24, 16, 24), -0.151314, 2.971519, (-3.82466, -0.446566, 2.375146, 1.508872, -0.519702, -0.121634)),
    ((1, 40, 8, 12), 0.457313, 3.541898, (3.553865, 1.210187, -3.974219, -3.530464, 4.147456, 3.637343)),
    ((1, 112, 4, 6), 0.202511, 4.55485, (-0.159585, -6.900025, -1.317731, -4.247507, 3.111676, 1.572832)),
    ((1, 320, 2, 3), 0.008353, 3.009675, (2.420608, 0.171704, 2.771286, 1.09066, -7.775319, 0.027203)),
)


def _generator(name: str) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(zlib.crc32(name.encode())))


def _formula_tensor(key: str, shape: tuple[int, ...]) -> torch.Tensor:
    random = _generator(key)
    if key.endswith("num_batches_tracked"):
        return torch.zeros((), dtype=torch.int64)
    if key.endswith("running_var") or (len(shape) == 1 and key.endswith("weight")):
        values = random.uniform(0.5, 1.5, shape)
    elif len(shape) > 1:
        values = random.uniform(-1, 1, shape) * np.sqrt(6 / np.prod(shape[1:]))
    else:
        values = random.uniform(-0.1, 0.1, shape)
    return torch.from_numpy(np.asarray(values, dtype=np.float32))


def test_encoder_equals_the_package_its_weights_come_from() -> None:
    encoder = Lite0Encoder().eval()
    encoder.load_state_dict({key: _formula_tensor(key, tuple(v.shape)) for key, v in encoder.state_dict().items()})
    image = torch.from_numpy(_generator("earlier").uniform(0, 1, (1, 3, 64, 96)).astype(np.float32))
    with torch.inference_mode():
        maps = encoder(image)
    for found, (shape, mean, deviation, samples) in zip(maps, LITE0_GOLDEN, strict=True):
        flat = found.double().flatten()
        assert tuple(found.shape) == shape
        at = torch.stack([flat[(i * 2654435761) % flat.numel()] for i in range(len(samples))])
        torch.testing.assert_close(at, torch.tensor(samples, dtype=torch.float64), atol=5e-5, rtol=0)
        assert flat.mean().item() == pytest.approx(mean, abs=1e-5)
        assert flat.std().item() == pytest.approx(deviation, abs=1e-5)


@pytest.mark.skipif(importlib.util.find_spec(IMAGENET_PACKAGE) is None, reason="optional ImageNet package missing")
def test_imagenet_weights_load_strictly() -> None:
    built = build_model("compact")
    assert isinstance(built, CompactModel)
    before = built.encoder._conv_stem.weight.clone()
    file = load_imagenet_encoder(built)
    assert file.is_file() and not torch.equal(before, built.encoder._conv_stem.weight)
    assert built.encoder._blocks[15]._bn2.running_var.min() > 0


def test_other_files_are_no_imagenet_weights(tmp_path: Path) -> None:
    file = tmp_path / "other.pth"
    torch.save({"weight": torch.zeros(1)}, file)
    with pytest.raises(CheckpointError, match="does not hold EfficientNet-Lite0"):
        load_imagenet_encoder(build_model("compact"), file)
    with pytest.raises(CheckpointError, match="no ImageNet weights at"):
        load_imagenet_encoder(build_model("compact"), tmp_path / "absent.pth")
