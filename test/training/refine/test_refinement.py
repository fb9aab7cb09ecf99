"""Refinement on a recording: it improves, or it is refused; what is held out is never trained on."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from plane_world import CAMERA, DEPTH_M, INFO, SIZE, STEP_M, PlaneModel, Wall
from torch import Tensor

from featdepth_ros.errors import CalibrationError, CheckpointError, ConfigError, FeatDepthError, RecordingError
from featdepth_ros.models.build import build_model
from featdepth_ros.models.compact import CompactModel
from featdepth_ros.models.weights_io import read_weights
from featdepth_ros.recordings.frame import Frame, Partner
from featdepth_training.data.cache import ClipCache
from featdepth_training.refine import steps as refinement
from featdepth_training.refine.config import RefineConfig
from featdepth_training.refine.gate import GateLimits
from featdepth_training.refine.refine import refine
from featdepth_training.refine.steps import freeze_feature_net, log_scale_change

pytestmark = pytest.mark.slow

CONFIG = RefineConfig(size=SIZE, steps=16, lr=5e-3, device="cpu")


def too_slow() -> PlaneModel:
    """The right depth, and six tenths of the motion."""
    return PlaneModel(DEPTH_M, 0.6 * STEP_M)


def test_refinement_learns_the_motion_and_is_accepted(tmp_path: Path) -> None:
    model, output = too_slow(), tmp_path / "refined.safetensors"
    start = model.translation.detach().clone()
    report = refine(model, Wall(), output, CONFIG)
    assert report.verdict.accepted and report.complete and report.output == output
    assert report.after.photometric < 0.8 * report.before.photometric
    assert report.before.rpe_m == pytest.approx(0.4 * STEP_M, rel=1e-3)
    assert report.after.rpe_m is not None and report.after.rpe_m < 0.5 * 0.4 * STEP_M
    assert report.after.abs_rel == pytest.approx(abs(report.scale_ratio_held_out - 1), abs=1e-3)
    assert report.scale_ratio == pytest.approx(report.scale_ratio_held_out, rel=1e-4)
    assert (report.frames, report.train_clips, report.held_out_clips) == (22, 14, 4)
    torch.testing.assert_close(model.translation.detach(), start)  # the caller's model stays as it was
    written = read_weights(output)
    assert written.info is not None
    assert "refined from plane on drawn recording 'wall'" in written.info.training
    assert written.info.licence == "MIT + data terms" and written.info.scale_kind == "metric"
    assert written.state["translation"][1] < start[1]


def test_refinement_fits_motion_as_training_does_and_leaves_a_given_model_alone() -> None:
    given = build_model("compact")
    assert isinstance(given, CompactModel)
    for model in (refinement.start_model(given), refinement.start_model("compact")):
        assert isinstance(model, CompactModel) and not model.pose_head.noisy_depth
    assert given.pose_head.noisy_depth


def test_the_averaged_weights_are_written_and_measured(tmp_path: Path) -> None:
    """Of the same steps, the average has come less far than the weights themselves, which a decay of 0 gives."""
    start = too_slow().translation.detach()
    moved, rpe_m = [], []
    for decay in (0.0, 0.99):
        output = tmp_path / f"{decay}.safetensors"
        report = refine(too_slow(), Wall(), output, replace(CONFIG, steps=5, ema_decay=decay))
        moved.append(float((read_weights(output).state["translation"] - start).norm()))
        rpe_m.append(report.after.rpe_m)
    assert 0 < moved[1] < 0.98 * moved[0]
    assert rpe_m[1] is not None and rpe_m[0] is not None and rpe_m[1] > rpe_m[0]


class Sensitive(PlaneModel):
    """A translation whose gradient is far longer than what a step may have."""

    FACTOR = 1e5

    def __init__(self) -> None:
        super().__init__(DEPTH_M, 0.6 * STEP_M / self.FACTOR)

    def pose(self, earlier: Tensor, later: Tensor) -> tuple[Tensor, Tensor]:
        axisangle, translation = super().pose(earlier, later)
        return axisangle, self.FACTOR * translation


def test_steps_are_clipped_and_their_rate_halves_in_the_last_third(monkeypatch: pytest.MonkeyPatch) -> None:
    rates, norms = [], []
    step = torch.optim.Adam.step

    def spy(self: torch.optim.Adam, *rest: Any) -> Any:
        gradients = [p.grad.flatten() for group in self.param_groups for p in group["params"] if p.grad is not None]
        norms.append(float(torch.cat(gradients).norm()))
        rates.append(self.param_groups[0]["lr"])
        return step(self, *rest)

    monkeypatch.setattr(torch.optim.Adam, "step", spy)
    refine(Sensitive(), Wall(), None, replace(CONFIG, steps=6, lr=1e-9))
    assert rates == [1e-9] * 4 + [0.5e-9] * 2
    assert norms == pytest.approx([35.0] * 6, rel=1e-3)


def test_epochs_are_times_that_every_clip_comes() -> None:
    report = refine(too_slow(), Wall(), None, replace(CONFIG, steps=None, epochs=3, batch_size=4))
    assert report.steps == report.planned_steps == 11  # 14 clips, of which 4 make a step


def test_a_destructive_rate_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    output = tmp_path / "refined.safetensors"
    destructive = replace(CONFIG, lr=1.0, steps=6)
    report = refine(too_slow(), Wall(), output, destructive)
    assert not report.verdict.accepted and report.output is None and not output.exists()
    assert any("photometric" in reason for reason in report.verdict.reasons)
    told = refine(too_slow(), Wall(), output, replace(destructive, accept_worse=True))
    assert told.output == output and output.is_file() and not told.verdict.accepted
    info = read_weights(output).info
    assert info is not None and "although held-out figures got worse" in info.training


def spied(monkeypatch: pytest.MonkeyPatch, action: Callable[[Any], None]) -> None:
    """Call ``action`` with the batch of every step."""
    original = refinement.training_terms

    def spy(model: Any, batch: Any, *rest: Any) -> Any:
        action(batch)
        return original(model, batch, *rest)

    monkeypatch.setattr(refinement, "training_terms", spy)


def test_held_out_frames_are_never_trained_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: set[bytes] = set()

    def keep(batch: Any) -> None:
        for image in (batch.images * 255).round().byte().flatten(0, 1):
            seen.update((image.numpy().tobytes(), image.flip(2).numpy().tobytes()))

    spied(monkeypatch, keep)
    report = refine(too_slow(), Wall(), None, replace(CONFIG, steps=21), work=tmp_path)
    cache = ClipCache([tmp_path / "cache_64x96"], frames=1)
    trained = [torch.from_numpy(cache[i].images[0]).permute(2, 0, 1).numpy().tobytes() in seen for i in range(22)]
    # 20 clips, the last 4 held out; training ends before the first frame of those.
    assert trained == [True] * 16 + [False] * 6
    assert report.output is None and report.verdict.accepted
    reused = refine(too_slow(), Wall(), None, replace(CONFIG, steps=1), work=tmp_path)
    assert reused.before == report.before


def test_an_interrupt_ends_the_training_and_the_rest_is_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    count = 0

    def interrupt(_batch: Any) -> None:
        nonlocal count
        count += 1
        if count == 5:
            os.kill(os.getpid(), signal.SIGINT)

    spied(monkeypatch, interrupt)
    report = refine(too_slow(), Wall(), tmp_path / "w.safetensors", CONFIG)
    assert (report.steps, report.planned_steps, report.complete) == (5, 16, False)
    assert report.verdict.accepted and report.output is not None
    assert report.to_dict()["complete"] is False


def test_a_cache_that_cannot_be_read_any_more_ends_it_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def damage(_batch: Any) -> None:
        for shard in (tmp_path / "cache_64x96").glob("shard_*.tar"):
            shard.write_bytes(b"")

    spied(monkeypatch, damage)
    with pytest.raises(RecordingError, match=r"shard_00000\.tar"):
        refine(too_slow(), Wall(), tmp_path / "w.safetensors", CONFIG, work=tmp_path)
    assert not (tmp_path / "w.safetensors").exists()


def test_the_scale_is_held_by_the_anchor_and_watched_by_the_gate() -> None:
    def wrong_motion() -> PlaneModel:
        model = PlaneModel(DEPTH_M, 0.6 * STEP_M)
        model.translation.requires_grad_(False)  # so that depth alone can explain the pictures
        return model

    config = replace(CONFIG, lr=0.1)
    free = refine(wrong_motion(), Wall(), None, replace(config, anchor=0.0))
    held = refine(wrong_motion(), Wall(), None, replace(config, anchor=10.0))
    assert free.scale_ratio < 0.8
    assert any("scale moved" in reason for reason in free.verdict.reasons)
    assert abs(held.scale_ratio - 1) < 0.05


class StretchedTruth(Wall):
    """The wall, with a truth that grows by a hundredth from frame to frame: every frame has figures of its own."""

    def _frames(self) -> Iterator[Frame]:
        y = 0.0
        for index, frame in enumerate(super()._frames()):
            pose = np.eye(4)
            pose[1, 3] = y
            y += STEP_M * (1 + 0.01 * index)
            assert frame.depth is not None
            yield replace(frame, depth=frame.depth * np.float32(1 + 0.01 * index), T_world_camera=pose)


def test_figures_are_those_of_the_held_out_clips_target_and_first_pair() -> None:
    """The last 4 of 20 clips begin at frames 16 to 19; the target is the frame after."""
    figures = refine(PlaneModel(DEPTH_M, STEP_M), StretchedTruth(), None, replace(CONFIG, steps=1)).before
    assert figures.abs_rel == pytest.approx(np.mean([1 - 1 / (1 + 0.01 * i) for i in (17, 18, 19, 20)]), rel=1e-3)
    assert figures.rpe_m == pytest.approx(STEP_M * 0.01 * np.mean([16, 17, 18, 19]), rel=1e-3)


def test_the_limits_of_the_gate_are_the_callers() -> None:
    limits = GateLimits(photometric=1e9, abs_rel=1e9, scale=1e9)
    assert refine(too_slow(), Wall(), None, replace(CONFIG, lr=1.0, steps=6, limits=limits)).verdict.accepted


class PairedWall(Wall):
    """The wall, seen by a second camera as well, which sits two steps further down."""

    def __init__(self) -> None:
        super().__init__()
        self.partner_name = "lower"

    def _frames(self) -> Iterator[Frame]:
        T_lower_camera = np.eye(4)
        T_lower_camera[1, 3] = -2 * STEP_M
        for index, frame in enumerate(super()._frames()):
            partner = Partner(self.image(index + 2), frame.stamp_ns, CAMERA, T_lower_camera)
            yield replace(frame, partner=partner)


def test_a_stereo_partner_tells_metres_and_nothing_holds_the_scale() -> None:
    """Depth is 10 % too large, and a partner may bring it back, whatever the weight of the anchor."""
    model = PlaneModel(1.1 * DEPTH_M, STEP_M)
    config = replace(CONFIG, lr=0.02, steps=10)
    free, anchored = (refine(model, PairedWall(), None, replace(config, anchor=weight)) for weight in (0.0, 100.0))
    assert anchored.stereo and anchored.scale_ratio == free.scale_ratio < 0.97


def test_scale_change_is_that_of_the_middle_half_of_the_pixels() -> None:
    model = PlaneModel(DEPTH_M, STEP_M)
    low, high = 1 / INFO.max_depth, 1 / INFO.min_depth

    def disparity(depth: Tensor) -> Tensor:
        return (1 / depth - low) / (high - low)

    depth = torch.linspace(2.0, 10.0, 200).view(2, 1, 10, 10)
    assert float(log_scale_change(disparity(depth * 1.2), disparity(depth), model)) == pytest.approx(0.1823, abs=1e-3)
    receded = depth.clone()
    receded[:, :, :2] *= 5  # a fifth of each picture: sky
    assert float(log_scale_change(disparity(receded), disparity(depth), model)) == pytest.approx(0.0, abs=1e-4)


def test_figures_know_units_focal_lengths_and_scale() -> None:
    """Weights of a camera of twice the focal length, in units of half a metre: all as it should be in metres."""
    focal = tuple(2 * value for value in INFO.focal or ())
    odd = replace(INFO, focal=focal, scale_factor=0.5)
    right = PlaneModel(DEPTH_M / 0.5 / 0.5, STEP_M / 0.5, odd)
    config = replace(CONFIG, steps=1, lr=1e-9)
    figures = refine(right, Wall(), None, config).before
    assert figures.abs_rel == pytest.approx(0, abs=1e-3) and figures.rpe_m == pytest.approx(0, abs=1e-4)
    assert figures.rpe_deg == pytest.approx(0, abs=1e-3)
    double = refine(PlaneModel(2 * DEPTH_M, 2 * STEP_M), Wall(), None, config).before
    assert double.abs_rel == pytest.approx(1, abs=1e-3) and double.rpe_m == pytest.approx(STEP_M, rel=1e-3)
    assert double.abs_rel_median_scaled == pytest.approx(0, abs=1e-3)
    assert double.rpe_m_scaled == pytest.approx(0, abs=1e-4)
    assert double.photometric == pytest.approx(figures.photometric, rel=0.02)  # which is blind to scale
    relative = refine(PlaneModel(DEPTH_M, STEP_M, replace(INFO, scale_kind="relative")), Wall(), None, config).before
    assert relative.abs_rel is None and relative.rpe_m is None and relative.abs_rel_median_scaled is not None


def test_weights_without_a_focal_length_are_compensated_for_none() -> None:
    model = PlaneModel(DEPTH_M, STEP_M, replace(INFO, focal=None, input_size=(192, 640)))
    figures = refine(model, Wall(), None, replace(CONFIG, steps=1)).before
    assert figures.abs_rel == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("architecture", ["compact", "mono_fm_r18", "mono_fm_joint_r18", "baseline_r18"])
def test_what_the_features_come_from_is_frozen(architecture: str) -> None:
    model = build_model(architecture)
    freeze_feature_net(model)
    frozen = {name.split(".")[0] for name, p in model.named_parameters() if not p.requires_grad}
    expected = {"compact": {"encoder"}, "mono_fm_r18": {"extractor"}, "mono_fm_joint_r18": {"Encoder"}}
    assert frozen == expected.get(architecture, set())
    trained = {name.split(".")[0] for name, p in model.named_parameters() if p.requires_grad}
    assert trained >= ({"encoder", "decoder", "pose_head"} if architecture == "compact" else {"DepthEncoder"})


class Blind(PlaneModel):
    nets = ("depth",)


def test_what_cannot_be_refined_is_refused_in_words(tmp_path: Path) -> None:
    output = tmp_path / "w.safetensors"
    existing = tmp_path / "there.safetensors"
    existing.write_bytes(b"old")
    partnered = Wall()
    partnered.partner_name = "right"
    relative = PlaneModel(DEPTH_M, STEP_M, replace(INFO, scale_kind="relative"))
    cases: list[tuple[Any, Wall, Path, type[FeatDepthError], str]] = [
        (too_slow(), Wall(camera=None), output, CalibrationError, "--camera"),
        (too_slow(), Wall(frames=9), output, RecordingError, "gives 7 clips.*at least 6"),
        (too_slow(), Wall(step_px=0), output, RecordingError, "nothing to refine on.*static"),
        ("nowhere", Wall(), output, FeatDepthError, "no weights at 'nowhere'"),
        (Blind(DEPTH_M, STEP_M), Wall(), output, CheckpointError, "hold no pose net"),
        (too_slow(), Wall(), existing, CheckpointError, "exists already"),
        (too_slow(), Wall(), tmp_path / "no" / "w.safetensors", CheckpointError, "no folder"),
        (relative, partnered, output, ConfigError, "relative scale"),
    ]
    for weights, recording, target, error, words in cases:
        with pytest.raises(error, match=words):
            refine(weights, recording, target, CONFIG)
    assert not output.exists() and existing.read_bytes() == b"old"
    for wrong in ({"size": (60, 96)}, {"held_out": 1.0}, {"lr": 0.0}, {"steps": 0}):
        with pytest.raises(ConfigError):
            RefineConfig(**wrong)  # type: ignore[arg-type]


def test_frozen_statistics_stay_and_adapted_ones_move(tmp_path: Path) -> None:
    """On a published architecture, whose feature net and, by default, statistics stay bit for bit."""
    torch.manual_seed(0)
    info = replace(INFO, architecture="mono_fm_r18")
    model = build_model("mono_fm_r18", info).eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for mode in ("frozen", "adapt"):
        output = tmp_path / f"{mode}.safetensors"
        config = replace(CONFIG, steps=1, batch_norm=mode, accept_worse=True, measured_clips=1)
        refine(model, Wall(), output, config)  # type: ignore[arg-type]
        after = read_weights(output).state
        for name, value in after.items():
            if name.startswith("extractor."):
                assert torch.equal(value, before[name]), name
        moved = [n for n in after if "running_mean" in n and not torch.equal(after[n], before[n])]
        assert bool(moved) == (mode == "adapt")
        assert not torch.equal(after["DepthDecoder.disp1.0.conv.weight"], before["DepthDecoder.disp1.0.conv.weight"])
