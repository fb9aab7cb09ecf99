"""The trainer's own path, from a batch of frames to weighted terms, against the objective on the original's inputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from featdepth_ros.geometry.se3 import pose_matrix
from featdepth_ros.losses import ObjectiveConfig, feature_maps, objective
from featdepth_ros.models import reference, resnet
from featdepth_ros.models.reference import ReferenceModel
from featdepth_training.config.loading import from_dict, to_dict
from featdepth_training.config.schema import AugmentConfig, SequenceConfig, TrainConfig
from featdepth_training.data.batch import FrameBatch, collate
from featdepth_training.data.clip import Clip
from featdepth_training.data.samples import ClipDataset
from featdepth_training.data.source import SampleKey, Source
from featdepth_training.engine.model_setup import start_model, training_mode
from featdepth_training.objectives.prediction import Prediction, predict
from featdepth_training.objectives.selfsupervised import selfsupervised_terms
from featdepth_training.objectives.terms import training_terms

HEIGHT, WIDTH = 96, 128
BASELINE_M, METRES_PER_UNIT = 0.54, 36.0
PLAIN = AugmentConfig(
    **{name: 0.0 for name in AugmentConfig.__dataclass_fields__ if name not in ("zoom", "flip")},  # type: ignore[arg-type]
    zoom=(1.0, 1.0),
    flip=0.0,
)
WEIGHTS = {
    "mono_fm": {"photometric": 1.0, "features": 1e-3, "smoothness": 1e-3},
    "baseline": {"photometric": 1.0, "smoothness": 1e-3},
    "autoencoder": {"reconstruction": 1.0, "discriminative": 1e-3, "convergent": 1e-3},
}
WEIGHTS["mono_fm_joint"] = WEIGHTS["mono_fm"] | WEIGHTS["autoencoder"]


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks of a few channels."""
    monkeypatch.setattr(resnet, "PLANES", (16, 16, 16, 16))
    monkeypatch.setattr(reference, "_WIDTH", 16)
    monkeypatch.setattr(reference.ImageDecoder, "widths", (8, 8, 8, 8, 8))


def config(kind: str, stereo: bool, **model: Any) -> TrainConfig:
    return from_dict(
        {
            "model": {
                "architecture": f"{kind}_r18",
                "initial": "none",
                "feature_statistics": "batch_statistics",
                "dropout": False,
                "input_size": [HEIGHT, WIDTH],
                "metres_per_unit": METRES_PER_UNIT,
                **model,
            },
            "data": {
                "kind": "prepared",
                "prepared": {"caches": ["unused"]},
                "sequence": {"frames": 1 if kind == "autoencoder" else 3, "stereo": stereo},
                "augment": {"haze": 0.0},
            },
            "stages": [{"steps": 1, "sizes": [[HEIGHT, WIDTH]], "batch_size": 2}],
            "objective": {**WEIGHTS[kind], "reference": True},
        }
    )


def smooth(*shape: int, seed: int) -> Tensor:
    noise = torch.rand(*shape, generator=torch.Generator().manual_seed(seed))
    return F.avg_pool2d(noise.flatten(0, -4), 3, 1, 1).unflatten(0, shape[:-3])


def frames_batch(frames: int) -> FrameBatch:
    """Two samples as the original's loader gives KITTI: its one matrix K, and a baseline of 0.015 units."""
    camera = torch.tensor([[0.58 * WIDTH, 1.92 * HEIGHT, 0.5 * WIDTH, 0.5 * HEIGHT]]).repeat(2, 1)
    stereo = torch.eye(4).repeat(2, 1, 1)
    stereo[:, 0, 3] = torch.tensor([-BASELINE_M, BASELINE_M])  # the second sample is mirrored
    return FrameBatch(
        images=smooth(2, frames, 3, HEIGHT, WIDTH, seed=1),
        depth=torch.full((2, frames, 1, HEIGHT, WIDTH), float("nan")),
        intrinsics=camera,
        T_next_frame=torch.full((2, frames - 1, 4, 4), float("nan")),
        partner=smooth(2, frames, 3, HEIGHT, WIDTH, seed=2),
        T_partner_camera=stereo,
        rendered=torch.zeros(2, dtype=torch.bool),
        single=torch.zeros(2, dtype=torch.bool),
        group=torch.zeros(2, dtype=torch.int64),
        pseudo_depth=torch.full((2, frames, 1, HEIGHT, WIDTH), float("nan")),
        camera_height_m=torch.full((2,), float("nan")),
    )


def started(settings: TrainConfig) -> ReferenceModel:
    """Networks of random weights, in training mode; the feature net of ``mono_fm`` as well."""
    torch.manual_seed(3)
    model = start_model(settings, resumed=True)
    assert isinstance(model, ReferenceModel)
    training_mode(model, settings.model)
    return model


def of_the_original(
    model: ReferenceModel, batch: FrameBatch, seen: Tensor, kind: str, stereo: bool
) -> dict[str, Tensor]:
    """What the original would add up: its dictionaries, its pose net's 192x640 images, its order of frames."""
    inputs: dict[Any, Tensor] = {}
    outputs: dict[Any, Tensor] = {}
    if kind == "autoencoder":
        inputs["color", 0, 0] = batch.images[:, 0]
        pyramid = model.feature_pyramid(batch.images[:, 0])
        outputs.update({("feature", 0, i): values for i, values in enumerate(pyramid)})
        outputs.update({("disp", 0, s): image for s, image in enumerate(model.reconstruct(pyramid))})
        return objective(inputs, outputs, ObjectiveConfig.reference("autoencoder"))
    place = {0: 1, -1: 0, 1: 2}
    sources: tuple[int | str, ...] = (-1, 1, "s") if stereo else (-1, 1)
    colours: dict[int | str, Tensor] = {f: batch.images[:, k] for f, k in place.items()}
    colours["s"] = batch.partner[:, 1]
    inputs.update({("color", f, 0): colours[f] for f in (0, *sources)})
    K = torch.eye(4).repeat(2, 1, 1)
    K[:, 0, 0], K[:, 1, 1], K[:, 0, 2], K[:, 1, 2] = 0.58 * WIDTH, 1.92 * HEIGHT, 0.5 * WIDTH, 0.5 * HEIGHT
    # The original's pseudo-inverse without its rounding, which alone turns a few ties of pixels.
    inputs["K"], inputs["inv_K"] = K, torch.linalg.inv(K.double()).float()
    inputs["stereo_T"] = torch.eye(4).repeat(2, 1, 1)
    inputs["stereo_T"][:, 0, 3] = torch.tensor([-0.015, 0.015])
    outputs.update({("disp", 0, s): d for s, d in enumerate(model.depth(seen[:, 1]))})
    for f in (-1, 1):
        pair = [seen[:, place[k]] for k in ((f, 0) if f < 0 else (0, f))]
        small = [F.interpolate(image, (192, 640), mode="bilinear", align_corners=False) for image in pair]
        outputs["cam_T_cam", 0, f] = pose_matrix(*model.pose(*small), invert=f < 0)
    if kind == "mono_fm_joint":
        pyramid = model.feature_pyramid(colours[0])
        outputs.update({("feature", 0, i): values for i, values in enumerate(pyramid)})
        outputs.update({("res_img", 0, s): image for s, image in enumerate(model.reconstruct(pyramid))})
        outputs.update({("feature", f, 0): model.features(colours[f]) for f in sources})
    elif kind == "mono_fm":
        some = {f: colours[f] for f in (0, *sources)}
        outputs.update(feature_maps(some, model.features, model, "batch_statistics"))
    name = {"mono_fm": "fm", "mono_fm_joint": "joint"}.get(kind, kind)
    return objective(inputs, outputs, ObjectiveConfig.reference(name, frame_ids=(0, *sources)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "stereo"),
    [("mono_fm", False), ("mono_fm", True), ("mono_fm_joint", True), ("baseline", False), ("autoencoder", False)],
)
def test_terms_and_gradients_are_the_originals(kind: str, stereo: bool) -> None:
    settings = config(kind, stereo)
    batch = frames_batch(settings.data.sequence.frames)
    seen = (0.8 * batch.images + 0.1).clamp(0, 1)  # colour-augmented: what the networks see, never what is compared
    model = started(settings)
    trained = [(n, p) for n, p in model.named_parameters() if p.requires_grad and ".fc." not in n]
    torch.manual_seed(5)  # the noise that breaks ties
    found, _ = training_terms(model, batch, seen, settings)
    gradients = torch.autograd.grad(found["total"], [p for _, p in trained], allow_unused=True)
    torch.manual_seed(5)
    expected = of_the_original(model, batch, seen, kind, stereo)
    wanted = torch.autograd.grad(expected["total"], [p for _, p in trained], allow_unused=True)
    summed: dict[str, float] = {}
    for key, value in expected.items():
        name = {"feature": "features"}.get(key, key.split("/")[0])
        summed[name] = summed.get(name, 0.0) + value.item()
    assert {name: value.item() for name, value in found.items()} == pytest.approx(summed, rel=1e-6)
    assert all(summed[name] != 0 for name in WEIGHTS[kind])
    for (name, _), ours, theirs in zip(trained, gradients, wanted, strict=True):
        assert (ours is None) == (theirs is None), name
        if ours is not None and theirs is not None:
            # Rounding decides which of two equal sources wins a pixel.
            cosine = torch.cosine_similarity(ours.double().flatten(), theirs.double().flatten(), 0)
            assert float(cosine) > 0.9999 or float(theirs.norm()) < 1e-7, name
            assert float(ours.norm()) == pytest.approx(float(theirs.norm()), rel=5e-3, abs=1e-7), name


def shifted_clip(step_px: int, disparity_px: int, baseline_m: float) -> Clip:
    """A textured plane before a camera that travels right, and its partner to the right; 1 m away at fx = 60."""
    rng = np.random.default_rng(0)
    wide = rng.integers(0, 256, (HEIGHT, WIDTH + 40, 3), dtype=np.uint8)
    T = np.eye(4)
    T[0, 3] = -baseline_m
    frames = [wide[:, step_px * k : step_px * k + WIDTH] for k in range(3)]
    partner = [wide[:, step_px * k + disparity_px : step_px * k + disparity_px + WIDTH] for k in range(3)]
    camera = np.array([60.0, 60.0, 60.0, 40.0])  # the principal point off the middle
    return Clip(np.stack(frames), None, np.full((3, 4, 4), np.nan), camera, 0, np.stack(partner), T)


def sampled(clip: Clip, mirrored: bool) -> FrameBatch:
    augment = AugmentConfig(**{**vars(PLAIN), "flip": 1.0 if mirrored else 0.0})
    source = Source("plane", [clip], 1.0, False, (HEIGHT, WIDTH))
    dataset = ClipDataset([source], SequenceConfig(frames=3, stereo=True, reverse=0.0, standing=0.0), augment, 0)
    return collate([dataset[SampleKey(0, 0, 0, HEIGHT, WIDTH)]]).in_floats()


def said(depth_m: float, translation_x: float) -> Prediction:
    """What networks would say of a plane, and of a camera that travels along x between frames (T_next_frame)."""
    disparity = torch.full((1, 1, HEIGHT // 2, WIDTH // 2), (1 / depth_m - 0.01) / 9.99)
    translation = torch.tensor([[[translation_x, 0.0, 0.0]] * 2])
    return Prediction([disparity] * 4, (1,), torch.zeros(1, 2, 3), translation)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("stereo", [False, True])
def test_mirrored_samples_keep_every_sign(mirrored: bool, stereo: bool) -> None:
    """The truth explains neighbours and partner of a mirrored sample too, where everything travels the other way."""
    step_px, disparity_px, depth_m, fx = 4, 6, 1.5, 60.0
    batch = sampled(shifted_clip(step_px, disparity_px, disparity_px * depth_m / fx), mirrored)
    assert float(batch.intrinsics[0, 2]) == pytest.approx(WIDTH - 1 - 60.0 if mirrored else 60.0)
    assert float(batch.T_partner_camera[0, 0, 3]) == pytest.approx(0.15 if mirrored else -0.15)
    raw = to_dict(config("baseline", stereo, metres_per_unit=1.0, focal=[60 / WIDTH, 60 / HEIGHT]))
    raw["objective"] |= {"smoothness": 0.0, "automask": False, "reference": False}
    if stereo:
        raw["data"]["sequence"]["frames"] = 1
        batch = FrameBatch(**{**vars(batch), "images": batch.images[:, 1:2], "partner": batch.partner[:, 1:2]})
    settings = from_dict(raw)
    model = started(settings)

    def total(translation_x: float, depth: float = depth_m) -> float:
        guess = said(depth, translation_x)
        if stereo:
            guess = Prediction(guess.disparities, (0,), guess.axisangle[:, :0], guess.translation[:, :0])
        return float(selfsupervised_terms(model, guess, batch, settings, stereo)["total"])

    true_x = (1 if mirrored else -1) * step_px * depth_m / fx
    best = total(true_x)
    others = [total(true_x, 2 * depth_m), total(true_x, 0.5 * depth_m)]
    if not stereo:
        others += [total(-true_x), total(0.0)]
    assert all(best < 0.3 * other for other in others)


def test_the_partner_of_the_target_is_compared_and_scaled_by_the_unit() -> None:
    """The same plane in units of 36 m: network depth and baseline shrink together."""
    batch = sampled(shifted_clip(4, 6, 0.54), False)
    found = []
    for unit in (1.0, 36.0):
        depth = 0.54 * 60 / 6
        raw = to_dict(config("baseline", True, metres_per_unit=unit, focal=[60 / WIDTH, 60 / HEIGHT]))
        raw["objective"] |= {"smoothness": 0.0, "reference": False}
        settings = from_dict(raw)
        guess = said(depth / unit, -4 * depth / 60 / unit)
        found.append(float(selfsupervised_terms(started(settings), guess, batch, settings, True)["total"]))
    assert found[0] == pytest.approx(found[1], rel=1e-3)
    assert found[0] < 0.05


def test_colours_are_compared_as_they_are_and_the_pose_net_sees_its_own_size(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = config("baseline", False)
    batch = frames_batch(3)
    model = started(settings)
    sizes: list[tuple[int, ...]] = []
    pose: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] = model.pose

    def watched(earlier: Tensor, later: Tensor) -> tuple[Tensor, Tensor]:
        sizes.extend(tuple(image.shape) for image in (earlier, later))
        return pose(earlier, later)

    monkeypatch.setattr(model, "pose", watched)
    prediction = predict(model, batch.images, batch.intrinsics, (1,))
    assert set(sizes) == {(2, 3, 192, 640)} and len(sizes) == 4

    def totals(seen: Tensor) -> float:
        torch.manual_seed(0)
        return training_terms(model, batch, seen, settings, lambda *_: prediction)[0]["total"].item()

    assert totals(batch.images) == totals(torch.zeros_like(batch.images))
