"""Depth by matching: right where it says something, silent where it cannot know, and part of what a run learns from."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from featdepth_ros.cli.main import main
from featdepth_ros.errors import ConfigError, RecordingError
from featdepth_ros.models.info import ModelInfo
from featdepth_training.config.schema import RenderedConfig, TermsConfig
from featdepth_training.data.batch import FrameBatch
from featdepth_training.data.cache import ClipCache, write_cache
from featdepth_training.data.clip import Clip
from featdepth_training.data.shards import describe, pseudo_depth_name, write_shard
from featdepth_training.data.store import Store
from featdepth_training.engine.run import train
from featdepth_training.objectives.measured_depth_terms import pseudo_depth_term
from featdepth_training.objectives.prediction import Prediction
from featdepth_training.prepare.pseudo_depth import (
    _fuse,
    _View,
    grey,
    moving_depth,
    stereo_depth,
    write_pseudo_depth,
)
from featdepth_training.rendering.rendered import ClipRenderer

INFO = ModelInfo(name="test", architecture="compact", focal=(0.58, 1.92))
BASELINE_M = 0.3


@pytest.fixture(scope="module")
def clip() -> Clip:
    """Six frames of a rendered street with a partner 0.3 m to the right."""
    config = RenderedConfig(frames=6, height=160, width=320, scenes=("street",), seed=5, baseline_m=BASELINE_M)
    return ClipRenderer(config, "street", 0, 0)(2)


def without_truth(clip: Clip, stereo: bool) -> Clip:
    partner = {} if stereo else {"partner": None, "T_partner_camera": None}
    return dataclasses.replace(clip, depth=None, **partner)


def relative_errors(found: NDArray[np.floating], truth: NDArray[np.floating], scaled: bool) -> NDArray[np.floating]:
    known = np.isfinite(found) & np.isfinite(truth) & (truth < 80)
    guess, goal = found[known].astype(np.float64), truth[known].astype(np.float64)
    guess = guess * np.median(goal) / np.median(guess) if scaled else guess
    return np.abs(guess - goal) / goal


def test_a_stereo_pair_is_matched_in_metres_on_either_side(clip: Clip) -> None:
    assert clip.depth is not None and clip.partner is not None and clip.T_partner_camera is not None
    left, right = grey(clip.images[0]), grey(clip.partner[0])
    found = stereo_depth(left, right, clip.camera, clip.T_partner_camera)
    assert found is not None and np.isfinite(found).mean() > 0.4
    assert np.median(relative_errors(found, clip.depth[0], scaled=False)) < 0.06
    # Both pictures mirrored, the partner is on the left.
    other = clip.T_partner_camera.copy()
    other[0, 3] *= -1
    camera = clip.camera.copy()
    camera[2] = left.shape[1] - 1 - camera[2]
    mirrored = stereo_depth(left[:, ::-1].copy(), right[:, ::-1].copy(), camera, other)
    assert mirrored is not None
    np.testing.assert_allclose(mirrored[:, ::-1], found, rtol=1e-4)


def test_a_partner_that_looks_elsewhere_is_turned_and_one_ahead_refused(clip: Clip) -> None:
    import cv2

    assert clip.depth is not None and clip.partner is not None and clip.T_partner_camera is not None
    turned = np.eye(4)
    turned[:3, :3] = cv2.Rodrigues(np.array([0.01, 0.03, 0.02]))[0]
    K = np.array([[clip.camera[0], 0, clip.camera[2]], [0, clip.camera[1], clip.camera[3]], [0, 0, 1]])
    seen = cv2.warpPerspective(grey(clip.partner[0]), K @ turned[:3, :3] @ np.linalg.inv(K), (320, 160))
    found = stereo_depth(grey(clip.images[0]), seen, clip.camera, turned @ clip.T_partner_camera)
    assert found is not None and np.median(relative_errors(found, clip.depth[0], scaled=False)) < 0.06
    ahead = np.eye(4)
    ahead[2, 3] = -0.3
    assert stereo_depth(grey(clip.images[0]), seen, clip.camera, ahead) is None


def test_a_moving_camera_sees_shape_and_a_standing_one_nothing(clip: Clip) -> None:
    assert clip.depth is not None
    frames = [grey(image) for image in clip.images]
    found = moving_depth(frames[5], frames[4::-1], clip.camera)
    assert found is not None and np.isfinite(found).mean() > 0.3
    assert np.nanmedian(found) == pytest.approx(1.0, rel=1e-3)
    assert np.median(relative_errors(found, clip.depth[5], scaled=True)) < 0.08
    assert moving_depth(frames[5], [frames[5]] * 5, clip.camera) is None
    assert moving_depth(frames[5], [], clip.camera) is None


def test_the_near_road_of_a_fast_camera_is_near() -> None:
    """Flow to frames far back fails there, alike in both directions, and would put the road several times too far."""
    config = RenderedConfig(frames=12, height=96, width=320, scenes=("street",), seed=5, baseline_m=BASELINE_M)
    drive = ClipRenderer(config, "street", 0, 0)(1)
    assert drive.depth is not None
    frames = [grey(image) for image in drive.images]
    found, truth = moving_depth(frames[-1], frames[-2::-1], drive.camera), drive.depth[-1]
    assert found is not None and np.isfinite(found).mean() > 0.4
    assert np.percentile(relative_errors(found, truth, scaled=True), 95) < 0.3
    known = np.isfinite(found) & (truth < 80)
    error = np.log(found[known] / truth[known])
    near = truth[known] < np.percentile(truth, 25)
    assert near.sum() > 500 and abs(error[near].mean() - np.median(error)) < 0.08


def test_a_view_that_overlaps_no_other_takes_nothing_away() -> None:
    """Two must agree where both say something of the same pixels; else the larger one stands alone."""
    depth, seen = np.full((20, 40), 2.0, dtype=np.float32), np.zeros((20, 40), dtype=np.float32)
    left, right = seen.copy(), seen.copy()
    left[:, :24], right[:, 24:] = 8.0, 8.0
    found = _fuse([_View(depth, left), _View(depth, right)])
    assert found is not None
    np.testing.assert_array_equal(np.isfinite(found), left > 0)
    both = _fuse([_View(depth, left), _View(depth, left)])
    np.testing.assert_array_equal(both, found)
    assert (
        _fuse([_View(depth, left), _View(np.where(right + left > 0, depth * 3 ** (np.arange(40) % 2), 1), left)])
        is None
    )


@pytest.mark.slow
@pytest.mark.parametrize("stereo", [True, False])
def test_a_cache_gets_it_once_and_again_only_where_it_is_lost(clip: Clip, stereo: bool, tmp_path: Path) -> None:
    bare = without_truth(clip, stereo)
    write_cache(tmp_path, {"made": "rendered", "frames": 6}, 3, 2, lambda _: bare)
    assert ClipCache([tmp_path])[0].pseudo_depth is None
    done: list[int] = []
    share = write_pseudo_depth(tmp_path, done.append)
    assert sum(done) == 18 and 0.2 < share < 1.0
    assert ClipCache([tmp_path])[0].pseudo_depth is None  # not asked for
    cache = ClipCache([tmp_path], frames=3, pseudo_depth=True)
    assert cache.has_pseudo_depth_of(0)
    first, middle = cache[0].pseudo_depth, cache[4].pseudo_depth
    assert first is not None and first.shape == (3, 160, 320) and first.dtype == np.float16
    assert middle is not None
    assert np.isnan(first[0]).all() != stereo  # the first frame of a moving camera has nothing to look back at
    np.testing.assert_array_equal(middle[:2], first[:2])  # the second clip begins anew, in the same shard
    lost = tmp_path / pseudo_depth_name(1)
    before = lost.read_bytes()
    kept = (tmp_path / pseudo_depth_name(0)).stat().st_mtime_ns
    lost.with_suffix(".json").unlink()
    lost.write_bytes(b"")
    assert not ClipCache([tmp_path], pseudo_depth=True).has_pseudo_depth_of(0)
    assert write_pseudo_depth(tmp_path) == share
    assert lost.read_bytes() == before and (tmp_path / pseudo_depth_name(0)).stat().st_mtime_ns == kept


def test_damage_is_named_and_another_shard_is_matched_anew(clip: Clip, tmp_path: Path) -> None:
    bare = without_truth(clip, stereo=True)
    write_cache(tmp_path, {"made": "rendered", "frames": 6}, 1, 1, lambda _: bare)
    write_pseudo_depth(tmp_path)
    path = tmp_path / pseudo_depth_name(0)
    good = path.read_bytes()
    path.write_bytes(good[:-7] + b"damaged")
    with pytest.raises(RecordingError, match=r"is damaged at frame 5; delete it and its \.json, and run featdepth"):
        ClipCache([tmp_path], frames=6, pseudo_depth=True)[0]
    path.write_bytes(good[:-7])
    with pytest.raises(RecordingError, match=r"bytes; its index says \d+; delete its \.json too and run featdepth"):
        ClipCache([tmp_path], frames=6, pseudo_depth=True)[0]
    shard = tmp_path / "shard_00000.json"
    shard.write_bytes(shard.read_bytes() + b" ")  # as of another shard of the same name
    assert not ClipCache([tmp_path], pseudo_depth=True).has_pseudo_depth_of(0)
    write_pseudo_depth(tmp_path)
    assert path.read_bytes() == good


@pytest.mark.slow
def test_frames_in_between_in_which_nothing_moves_cost_nothing(clip: Clip, tmp_path: Path) -> None:
    frames = without_truth(clip, stereo=False).frames(0)
    standing = [dataclasses.replace(frames[2], stretch=1 + k) for k in range(25)]
    for name, some in (("whole", frames), ("broken", [*frames[:3], *standing, *frames[3:]])):
        store = Store(tmp_path / name)
        describe(store, {"made": name})
        write_shard(store, 0, 0, some)
        write_pseudo_depth(tmp_path / name)
    whole, broken = (ClipCache([tmp_path / n], frames=6, pseudo_depth=True)[0] for n in ("whole", "broken"))
    assert whole.pseudo_depth is not None and np.isfinite(whole.pseudo_depth[5]).mean() > 0.3
    np.testing.assert_array_equal(broken.pseudo_depth, whole.pseudo_depth)


def test_a_partner_above_is_refused(clip: Clip, tmp_path: Path) -> None:
    above = np.eye(4)
    above[1, 3] = 0.3
    upright = dataclasses.replace(without_truth(clip, stereo=True), T_partner_camera=above)
    write_cache(tmp_path, {"made": "rendered", "frames": 6}, 1, 1, lambda _: upright)
    with pytest.raises(RecordingError, match=r"not beside the camera .*leave out --pseudo-depth"):
        write_pseudo_depth(tmp_path)


def guessed(depth: Tensor, factor: float) -> Prediction:
    low, high = 1 / INFO.max_depth, 1 / INFO.min_depth
    disparity = ((1 / (factor * depth.flatten(0, 1)) - low) / (high - low)).requires_grad_()
    maps = [disparity] + [disparity[..., 2**k // 2 :: 2**k, 2**k // 2 :: 2**k] for k in (1, 2, 3)]
    return Prediction(maps, (0, 1), torch.zeros(2, 1, 3), torch.zeros(2, 1, 3))


def seen_batch(depth: Tensor, metric: bool) -> FrameBatch:
    count, frames, _, height, width = depth.shape
    focal = INFO.focal_px
    assert focal is not None
    no = torch.zeros(count, dtype=torch.bool)
    return FrameBatch(
        images=torch.zeros(count, frames, 3, height, width),
        depth=torch.full_like(depth, float("nan")),
        intrinsics=torch.tensor([[focal, focal, 47.5, 31.5]]).repeat(count, 1),
        T_next_frame=torch.full((count, frames - 1, 4, 4), float("nan")),
        partner=torch.zeros(count, 0, 3, height, width),
        T_partner_camera=torch.eye(4).repeat(count, 1, 1) if metric else torch.full((count, 4, 4), float("nan")),
        rendered=no,
        single=no,
        group=torch.zeros(count, dtype=torch.int64),
        pseudo_depth=depth,
        camera_height_m=torch.full((count,), float("nan")),
    )


def test_the_term_compares_metres_of_pairs_and_shape_of_the_rest() -> None:
    depth = 2 + 10 * torch.rand(2, 2, 1, 64, 96, generator=torch.Generator().manual_seed(0))
    config = TermsConfig(photometric=1.0, pseudo_depth=1.0)

    def term(factor: float, metric: bool, found: Tensor = depth) -> Tensor:
        return pseudo_depth_term(guessed(depth, factor), seen_batch(found, metric), INFO, config)

    assert term(1.0, True).item() < 1e-4 and term(1.0, False).item() < 1e-4
    assert term(2.0, True).item() == pytest.approx(math.log(2), rel=1e-3)
    assert float(term(2.0, False)) < 1e-4
    assert float(term(1.0, False, depth.flip(4))) > 0.3  # another shape
    nothing = guessed(depth, 1.0)
    unknown = seen_batch(torch.full_like(depth, float("nan")), False)
    value = pseudo_depth_term(nothing, unknown, INFO, config)
    (gradient,) = torch.autograd.grad(value, nothing.disparities[0])
    assert float(value) == 0.0 and bool((gradient == 0).all())


def test_depth_without_metres_does_not_pull_at_the_scale() -> None:
    """Else the scale of a recording that nothing else holds drifts without end, step by step."""
    random = torch.Generator().manual_seed(0)
    depth = 2 + 10 * torch.rand(2, 2, 1, 64, 96, generator=random)
    skewed = depth * torch.rand(depth.shape, generator=random).square().add(0.3)
    config = TermsConfig(photometric=1.0, pseudo_depth=1.0)

    def pull(metric: bool) -> float:
        factor = torch.ones((), requires_grad=True)
        value = pseudo_depth_term(guessed(factor * skewed, 1.0), seen_batch(depth, metric), INFO, config)
        (gradient,) = torch.autograd.grad(value, factor)
        return float(gradient)

    assert abs(pull(False)) < 0.01 and abs(pull(True)) > 0.3


@pytest.mark.slow
def test_a_run_learns_from_it_and_says_which_cache_lacks_it(clip: Clip, tmp_path: Path) -> None:
    for name, stereo in (("pairs", True), ("mono", False)):
        write_cache(tmp_path / name, {"made": name, "frames": 6}, 2, 2, lambda _, s=stereo: without_truth(clip, s))  # type: ignore[misc]
    overrides = [
        f"data.prepared.caches=[{tmp_path / 'pairs'}, {tmp_path / 'mono'}]",
        "objective.pseudo_depth=1",
        "stages=[{steps: 1, sizes: [[64, 128]], batch_size: 4}]",
        "engine={threads: 1, validate_every: 0, log_every: 1, tensorboard: false}",
    ]
    write_pseudo_depth(tmp_path / "pairs")
    with pytest.raises(ConfigError, match="and mono holds none; run the same featdepth prepare"):
        train("mono_stereo", tmp_path / "refused", overrides, finetune="compact", device="cpu")
    write_pseudo_depth(tmp_path / "mono")
    outcome = train("mono_stereo", tmp_path / "run", overrides, finetune="compact", device="cpu")
    assert outcome.complete
    first = json.loads((tmp_path / "run" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()[0])
    assert first["kind"] == "train" and 0 < first["pseudo_depth"] < 10


def test_prepare_finds_it_when_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import cv2

    wide = cv2.resize(np.random.default_rng(3).integers(0, 256, (30, 120, 3), dtype=np.uint8), (480, 128))
    (tmp_path / "images").mkdir()
    for k in range(4):
        cv2.imwrite(str(tmp_path / f"images/{k:03d}.png"), wide[:, 8 * k : 8 * k + 256])
    command = ["prepare", str(tmp_path / "images"), "--camera", "200,200,127.5,63.5", "--size", "96x192"]
    command += ["--output", str(tmp_path / "cache")]
    assert main(command) == 0 and not list((tmp_path / "cache").glob("pseudo_depth_*"))
    assert main([*command, "--pseudo-depth", "--json", str(tmp_path / "summary.json")]) == 0
    assert "pseudo-depth" in capsys.readouterr().out
    assert (tmp_path / "cache" / pseudo_depth_name(0)).is_file()
    assert '"pseudo_depth_share": 0.' in (tmp_path / "summary.json").read_text(encoding="utf-8")
