"""Properties of the objective: what it must not depend on, what it refuses, what precision it keeps."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from featdepth_ros.errors import ConfigError
from featdepth_ros.geometry.se3 import pose_matrix
from featdepth_ros.losses import ObjectiveConfig, objective

HEIGHT, WIDTH = 64, 96


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def scene(frames: tuple[int | str, ...] = (0, -1, 1), batch: int = 2) -> tuple[dict[Any, Tensor], dict[Any, Tensor]]:
    K = torch.eye(4).repeat(batch, 1, 1)
    K[:, 0, 0], K[:, 1, 1], K[:, 0, 2], K[:, 1, 2] = 60.0, 60.0, 47.5, 31.5
    stereo = torch.eye(4).repeat(batch, 1, 1)
    stereo[:, 0, 3] = -0.1
    inputs: dict[Any, Tensor] = {"K": K, "stereo_T": stereo}
    outputs: dict[Any, Tensor] = {}
    for i, f in enumerate(frames):
        inputs["color", f, 0] = noise(batch, 3, HEIGHT, WIDTH, seed=i)
        outputs["feature", f, 0] = noise(batch, 8, HEIGHT // 2, WIDTH // 2, seed=10 + i)
        if f not in (0, "s"):
            v, t = 0.02 * noise(batch, 3, seed=20 + i) - 0.01, 0.2 * noise(batch, 3, seed=30 + i) - 0.1
            outputs["cam_T_cam", 0, f] = pose_matrix(v, t, invert=int(f) < 0)
    for s in range(4):
        outputs["disp", 0, s] = 0.05 + 0.3 * noise(batch, 1, HEIGHT >> (s + 1), WIDTH >> (s + 1), seed=40 + s)
    return inputs, outputs


def test_total_is_the_sum_and_the_terms_are_named() -> None:
    terms = objective(*scene(), ObjectiveConfig())
    names = {f"{kind}/{s}" for kind in ("photometric", "smoothness") for s in range(4)} | {"feature", "total"}
    assert set(terms) == names
    assert float(terms["total"]) == pytest.approx(sum(float(v) for k, v in terms.items() if k != "total"), rel=1e-6)
    assert all(v.shape == () and v.dtype == torch.float32 for v in terms.values())


def test_weights_are_already_in_the_terms() -> None:
    one = objective(*scene(), ObjectiveConfig(), tie_break_noise=torch.zeros(()))
    other = objective(
        *scene(),
        ObjectiveConfig(photometric_weight=2.0, feature_weight=3e-3, smoothness_weight=5e-3),
        tie_break_noise=torch.zeros(()),
    )
    for name, factor in (("photometric/1", 2), ("feature", 3), ("smoothness/2", 5)):
        assert float(other[name]) == pytest.approx(factor * float(one[name]), rel=1e-6)


def test_the_order_of_sources_does_not_matter() -> None:
    inputs, outputs = scene((0, -1, 1, "s"))
    config = ObjectiveConfig(frame_ids=(0, -1, 1, "s"), automask=True)
    turned = replace(config, frame_ids=(0, "s", 1, -1))
    zero = torch.zeros(())
    assert float(objective(inputs, outputs, config, zero)["total"]) == pytest.approx(
        float(objective(inputs, outputs, turned, zero)["total"]), rel=1e-6
    )


def test_true_motion_and_depth_explain_the_sources() -> None:
    """Sources that are the target shifted by a plane's disparity: the warp undoes it, the inverse motion does not."""
    inputs, outputs = scene((0, 1))
    disparity, shift = 0.2, 4
    depth = 1 / (0.01 + 9.99 * disparity)
    for s in range(4):
        outputs["disp", 0, s] = torch.full_like(outputs["disp", 0, s], disparity)
    T = torch.eye(4).repeat(2, 1, 1)
    T[:, 0, 3] = shift * depth / 60.0
    outputs["cam_T_cam", 0, 1] = T
    inputs["color", 1, 0] = inputs["color", 0, 0].roll(shift, -1)
    config = ObjectiveConfig(frame_ids=(0, 1), automask=False, feature_weight=0.0)
    pictures: dict[Any, Tensor] = {}
    explained = objective(inputs, outputs, config, pictures=pictures)
    inner = (pictures["warped", 1, 0] - inputs["color", 0, 0])[..., :-shift]
    assert float(inner.abs().max()) < 1e-3
    torch.testing.assert_close(pictures["depth", 0], torch.full((2, 1, HEIGHT, WIDTH), depth))
    outputs["cam_T_cam", 0, 1] = torch.linalg.inv(T)
    assert float(objective(inputs, outputs, config)["photometric/0"]) > 5 * float(explained["photometric/0"])


def test_automask_leaves_out_what_does_not_move() -> None:
    """A still camera in front of a still scene: the unwarped source wins everywhere and no gradient flows."""
    inputs, outputs = scene((0, 1))
    inputs["color", 1, 0] = inputs["color", 0, 0].clone()
    disparity = outputs["disp", 0, 0].requires_grad_()
    pictures: dict[Any, Tensor] = {}
    config = ObjectiveConfig(frame_ids=(0, 1), feature_weight=0.0, smoothness_weight=0.0)
    terms = objective(inputs, outputs, config, pictures=pictures)
    assert config.uses_automask and (pictures["winner", 0] == 0).all()
    (gradient,) = torch.autograd.grad(terms["total"], disparity)
    assert not gradient.any()
    assert not ObjectiveConfig(frame_ids=(0, 1, "s")).uses_automask


def test_what_no_source_sees_is_left_out_when_asked() -> None:
    """A source shifted by 24 pixels: the strip beyond its border differs and is not counted."""
    inputs, outputs = scene((0, 1))
    disparity, shift = 0.2, 24
    for s in range(4):
        outputs["disp", 0, s] = torch.full_like(outputs["disp", 0, s], disparity)
    T = torch.eye(4).repeat(2, 1, 1)
    T[:, 0, 3] = shift / (0.01 + 9.99 * disparity) / 60.0
    outputs["cam_T_cam", 0, 1] = T
    inputs["color", 1, 0] = inputs["color", 0, 0].roll(shift, -1)
    outputs["feature", 1, 0] = outputs["feature", 0, 0].roll(shift // 2, -1)
    plain = ObjectiveConfig(frame_ids=(0, 1), automask=False, smoothness_weight=0.0)
    compared = objective(inputs, outputs, plain)
    masked = objective(inputs, outputs, replace(plain, mask_outside=True))
    for name in ("photometric/0", "photometric/3", "feature"):
        assert float(masked[name]) < 0.1 * float(compared[name])
    T[:, 0, 3] *= 100.0  # nothing is seen any more
    assert float(objective(inputs, outputs, replace(plain, mask_outside=True))["total"]) == 0.0


def plain_maps(frames: tuple[int, ...], values: tuple[float, ...]) -> tuple[dict[Any, Tensor], dict[Any, Tensor]]:
    """A scene of one depth, identity motions, and images and features of one value a frame."""
    inputs, outputs = scene(frames)
    for f, value in zip(frames, values, strict=True):
        inputs["color", f, 0] = torch.full((2, 3, HEIGHT, WIDTH), value)
        outputs["feature", f, 0] = torch.full((2, 8, HEIGHT // 2, WIDTH // 2), value)
        if f:
            outputs["cam_T_cam", 0, f] = torch.eye(4).repeat(2, 1, 1)
    for s in range(4):
        outputs["disp", 0, s] = torch.full_like(outputs["disp", 0, s], 0.2)
    return inputs, outputs


MASKED = ObjectiveConfig(frame_ids=(0, -1, 1), automask=False, mask_outside=True, smoothness_weight=0.0)


def test_a_source_that_does_not_see_a_pixel_cannot_explain_it() -> None:
    """Source 1 looks exactly like the target, and elsewhere; source -1 sees everything and differs."""
    inputs, outputs = plain_maps((0, -1, 1), (0.25, 0.75, 0.25))
    with_both = objective(inputs, outputs, MASKED)
    assert float(with_both["feature"]) < 0.02 * 1e-3  # source 1 explains all
    outputs["cam_T_cam", 0, 1][:, 0, 3] = 1e4
    found = objective(inputs, outputs, MASKED)
    alone = objective(inputs, outputs, replace(MASKED, frame_ids=(0, -1)))
    for name in ("photometric/0", "feature"):
        assert float(found[name]) == pytest.approx(float(alone[name]), rel=1e-5) and float(found[name]) > 1e-4
    assert float(found["feature"]) == pytest.approx(0.5e-3, rel=1e-3)


def test_the_mean_is_over_what_is_seen() -> None:
    """One difference everywhere: the figure does not depend on how much of the picture the source sees."""
    inputs, outputs = plain_maps((0, 1), (0.25, 0.75))
    config = replace(MASKED, frame_ids=(0, 1))
    whole = objective(inputs, outputs, config)
    outputs["cam_T_cam", 0, 1][:, 0, 3] = 40.0 / (0.01 + 9.99 * 0.2) / 60.0  # 40 of 96 columns leave the picture
    part = objective(inputs, outputs, config)
    for name in ("photometric/0", "feature"):
        assert float(part[name]) == pytest.approx(float(whole[name]), rel=1e-4)


@pytest.mark.parametrize("outside", [True, False])
def test_what_moves_is_not_compared(outside: bool) -> None:
    """The right half of the source differs; marked as moving it costs nothing, and the rest counts as it did."""
    inputs, outputs = plain_maps((0, 1), (0.25, 0.25))
    config = replace(MASKED, frame_ids=(0, 1), mask_outside=outside)
    inputs["color", 1, 0][..., WIDTH // 2 :] = 0.75
    outputs["feature", 1, 0][..., WIDTH // 4 :] = 0.75
    plain = objective(inputs, outputs, config)
    inputs["moving", 0] = torch.zeros(2, 1, HEIGHT, WIDTH, dtype=torch.bool)
    still = objective(inputs, outputs, config)
    for name in ("photometric/0", "photometric/3", "feature"):
        assert float(still[name]) == pytest.approx(float(plain[name]), rel=1e-5) and float(plain[name]) > 1e-5
    inputs["moving", 0][..., WIDTH // 2 - 4 :] = True
    masked = objective(inputs, outputs, config)
    for name in ("photometric/0", "photometric/3", "feature"):
        assert float(masked[name]) < 0.02 * float(plain[name])


def test_features_of_another_aspect_are_sampled_where_they_are() -> None:
    """Maps of half the height and a quarter of the width: a shift of 8 pixels is one of 2."""
    inputs, outputs = scene((0, 1))
    for s in range(4):
        outputs["disp", 0, s] = torch.full_like(outputs["disp", 0, s], 0.2)
    outputs["cam_T_cam", 0, 1] = torch.eye(4).repeat(2, 1, 1)
    outputs["cam_T_cam", 0, 1][:, 0, 3] = 8.0 / (0.01 + 9.99 * 0.2) / 60.0
    outputs["feature", 0, 0] = noise(2, 8, HEIGHT // 2, WIDTH // 4, seed=7)
    outputs["feature", 1, 0] = outputs["feature", 0, 0].roll(2, -1)
    config = replace(MASKED, frame_ids=(0, 1), photometric_weight=0.0)
    assert float(objective(inputs, outputs, config)["feature"]) < 0.02 * 1e-3
    outputs["feature", 1, 0] = outputs["feature", 0, 0].roll(4, -1)
    assert float(objective(inputs, outputs, config)["feature"]) > 0.2 * 1e-3


def test_tie_break_noise_is_used_as_given() -> None:
    inputs, outputs = scene()
    config = ObjectiveConfig(feature_weight=0.0, smoothness_weight=0.0)
    far = torch.full((2, 2, HEIGHT, WIDTH), 10.0)
    without = objective(inputs, outputs, replace(config, automask=False))
    for noise_ in (far, dict.fromkeys(range(4), far)):
        assert torch.equal(objective(inputs, outputs, config, noise_)["total"], without["total"])
    torch.manual_seed(1)
    shared = objective(inputs, outputs, config)
    torch.manual_seed(1)
    again = objective(inputs, outputs, config)
    torch.manual_seed(1)
    fresh = objective(inputs, outputs, replace(config, noise_per_scale=True))
    assert torch.equal(shared["total"], again["total"])
    assert torch.equal(shared["photometric/0"], fresh["photometric/0"])


def test_half_precision_networks_keep_fp32_losses() -> None:
    inputs, outputs = scene((0, -1, 1, "s"))
    rounded = {k: v.bfloat16() if k[0] in ("disp", "feature") else v for k, v in outputs.items()}
    again = {k: v.float() for k, v in rounded.items()}
    config = ObjectiveConfig(frame_ids=(0, -1, 1, "s"))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = objective(inputs, rounded, config)
    plain = objective(inputs, again, config)
    assert all(torch.equal(cast[name], plain[name]) and cast[name].dtype == torch.float32 for name in plain)


def test_the_feature_net_is_trained_by_the_feature_term_only_when_asked() -> None:
    inputs, outputs = scene()
    feature = outputs["feature", 0, 0].requires_grad_()
    disparity = outputs["disp", 0, 0].requires_grad_()
    for detach in (True, False):
        config = ObjectiveConfig(photometric_weight=0.0, smoothness_weight=0.0, detach_features=detach)
        total = objective(inputs, outputs, config)["total"]
        to_feature, to_depth = torch.autograd.grad(total, (feature, disparity), allow_unused=True)
        assert (to_feature is None) == detach
        assert to_depth.any()


def test_reconstruction_targets_differ_as_named() -> None:
    image = noise(1, 3, 64, 96)
    inputs: dict[Any, Tensor] = {("color", 0, 0): image}
    quarter = torch.nn.functional.avg_pool2d(image, 4)
    outputs: dict[Any, Tensor] = {("res_img", 0, 2): quarter}
    config = ObjectiveConfig(
        frame_ids=(0,),
        scales=(2,),
        photometric_weight=0.0,
        feature_weight=0.0,
        smoothness_weight=0.0,
        reconstruction_weight=1.0,
    )
    perfect = 0.15e-3
    assert float(objective(inputs, outputs, config)["total"]) == pytest.approx(perfect, rel=1e-2)
    direct = objective(inputs, outputs, replace(config, reconstruction_target="direct"))["total"]
    assert float(direct) > 100 * perfect
    outputs = {("res_img", 0, s): torch.nn.functional.avg_pool2d(image, 2**s) for s in range(3)}
    cascade = replace(config, scales=(0, 1, 2), reconstruction_target="cascade")
    assert float(objective(inputs, outputs, cascade)["total"]) == pytest.approx(perfect, rel=1e-2)


@pytest.mark.parametrize(
    "missing", ["K", ("color", 1, 0), ("disp", 0, 2), ("cam_T_cam", 0, -1), ("feature", 0, 0), "stereo_T"]
)
def test_a_missing_tensor_is_named(missing: Any) -> None:
    inputs, outputs = scene((0, -1, 1, "s"))
    inputs.pop(missing, None)
    outputs.pop(missing, None)
    with pytest.raises(ConfigError) as error:
        objective(inputs, outputs, ObjectiveConfig(frame_ids=(0, -1, 1, "s")))
    assert repr(missing) in str(error.value)


def test_a_disparity_is_no_reconstruction() -> None:
    inputs, outputs = scene()
    with pytest.raises(ConfigError, match="is no image"):
        objective(inputs, outputs, ObjectiveConfig(reconstruction_weight=1.0))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"convention": "exakt"}, "did you mean 'exact'"),
        ({"reconstruction_target": "casc"}, "did you mean 'cascade'"),
        ({"tiny_maps": "zero"}, "known: nan, skip"),
        ({"frame_ids": (1, 0)}, "expected 0 first"),
        ({"frame_ids": (0, 1, 1)}, "without repetition"),
        ({"frame_ids": (0, "left")}, "'left'"),
        ({"frame_ids": (0,)}, "no source"),
        ({"scales": ()}, "one or more"),
        ({"min_depth": 5.0, "max_depth": 1.0}, "0 < min < max"),
        ({"smoothness_weight": -1.0}, "smoothness_weight is -1.0"),
    ],
)
def test_contradictions_are_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as error:
        ObjectiveConfig(**change)
    assert words in str(error.value)


def test_presets_are_the_references_and_lists_are_taken() -> None:
    joint = ObjectiveConfig.reference("joint", frame_ids=[0, -1, 1, "s"])
    assert joint.frame_ids == (0, -1, 1, "s") and hash(joint) is not None
    assert (joint.reconstruction_target, joint.detach_features, joint.uses_disp_norm) == ("direct", False, False)
    assert ObjectiveConfig.reference("autoencoder").warps is False
    with pytest.raises(ConfigError, match="did you mean 'baseline'"):
        ObjectiveConfig.reference("base_line")  # type: ignore[arg-type]
