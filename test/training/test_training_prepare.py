"""Recordings into caches, and training on them without truth."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from featdepth_ros.errors import CalibrationError, ConfigError, RecordingError
from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.recordings.frame import Frame
from featdepth_ros.recordings.recording import Recording
from featdepth_training.cache import ClipCache, cache_folders
from featdepth_training.loading import from_dict
from featdepth_training.prepare import PrepareConfig, prepare
from featdepth_training.selection import Selector
from featdepth_training.session import open_data, train

CAMERA = CameraModel(width=160, height=96, fx=120.0, fy=120.0, cx=79.5, cy=47.5)
STEP_NS = 100_000_000


def texture(seed: int) -> NDArray[np.uint8]:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (24, 64, 3), dtype=np.uint8)
    return cv2.resize(coarse, (512, 192), interpolation=cv2.INTER_CUBIC)


def view(seed: int, shift: int) -> NDArray[np.uint8]:
    return np.ascontiguousarray(texture(seed)[40:136, 20 + shift : 180 + shift])


class Drawn(Recording):
    """Frames made of (seed of the scene, shift in pixels, stamp)."""

    kind = "drawn"

    def __init__(self, plan: list[tuple[int, int, int]], camera: CameraModel | None = CAMERA) -> None:
        super().__init__("drawn", camera, 10.0)
        self.plan = plan

    def __len__(self) -> int:
        return len(self.plan)

    def _frames(self) -> Iterator[Frame]:
        for number, (seed, shift, stamp_ns) in enumerate(self.plan):
            yield Frame(view(seed, shift), stamp_ns, f"{number:03d}", self.camera)


def moving(seed: int, count: int, first_ns: int = 0, step: int = 3) -> list[tuple[int, int, int]]:
    return [(seed, step * k, first_ns + k * STEP_NS) for k in range(count)]


def test_selector_tells_standing_blur_gaps_jumps_and_cuts() -> None:
    selector = Selector()
    assert [selector.judge(view(0, s), i * STEP_NS) for i, s in enumerate((0, 3, 3, 6))] == [
        "kept",
        "kept",
        "static",
        "kept",
    ]
    blurred = cv2.GaussianBlur(view(0, 9), (0, 0), 6)
    assert selector.judge(blurred, 4 * STEP_NS) == "blurred"
    assert selector.judge(view(0, 9), 5 * STEP_NS) == "kept"
    assert selector.judge(view(0, 12), 30 * STEP_NS) == "gap"
    assert selector.judge(view(0, 15), 29 * STEP_NS) == "gap"  # a clock that jumps back
    assert selector.judge(view(0, 60), 30 * STEP_NS) in ("too_far", "cut")
    assert selector.judge(view(7, 60), 31 * STEP_NS) == "cut"
    assert selector.counts["static"] == 1 and selector.counts["gap"] == 2


def test_no_clip_reaches_across_a_cut(tmp_path: Path) -> None:
    plan = moving(0, 6) + moving(1, 5, 7 * STEP_NS) + [(2, 0, 13 * STEP_NS)]
    summary = prepare(Drawn(plan), tmp_path, PrepareConfig(height=64, width=96, shard_frames=4))
    assert summary["selected"]["cut"] == 2 and summary["frames"] == 12
    cache = ClipCache([(tmp_path, None)])
    assert len(cache) == summary["clips"]
    scenes = [cv2.resize(view(seed, 0), (96, 64), interpolation=cv2.INTER_AREA).astype(float) for seed in (0, 1)]
    for clip in (cache[i] for i in range(len(cache))):
        nearest = [
            min(range(2), key=lambda s, f=f: float(np.abs(f - scenes[s]).mean())) for f in clip.images.astype(float)
        ]
        assert len(set(nearest)) == 1
        assert clip.depth is None and np.isnan(clip.poses).all()
    np.testing.assert_allclose(cache[0].camera, [72.0, 80.0, 47.5, 31.5])


def test_prepare_goes_on_and_refuses_what_it_cannot_use(tmp_path: Path) -> None:
    config = PrepareConfig(height=64, width=96, shard_frames=4)
    first = prepare(Drawn(moving(0, 8)), tmp_path / "a", config)
    assert prepare(Drawn(moving(0, 8)), tmp_path / "a", config) == first
    with pytest.raises(ConfigError, match="another"):
        prepare(Drawn(moving(0, 8)), tmp_path / "a", PrepareConfig(height=96, width=96))
    with pytest.raises(CalibrationError, match="--camera"):
        prepare(Drawn(moving(0, 8), None), tmp_path / "b", config)
    with pytest.raises(RecordingError, match=r"no clip.*static.*standing still"):
        prepare(Drawn([(0, 0, k * STEP_NS) for k in range(5)]), tmp_path / "c", config)
    with pytest.raises(RecordingError, match="featdepth prepare"):
        cache_folders(tmp_path / "nowhere")


class OddSize(Drawn):
    """One frame in the middle has another size."""

    def _frames(self) -> Iterator[Frame]:
        for number, frame in enumerate(super()._frames()):
            odd = number == 4
            yield replace(frame, image=np.ascontiguousarray(frame.image[:80])) if odd else frame


def test_a_frame_of_another_size_is_counted_and_left_out(tmp_path: Path) -> None:
    summary = prepare(OddSize(moving(0, 9)), tmp_path, PrepareConfig(height=64, width=96))
    assert summary["selected"] == {"kept": 8, "other_size": 1}
    assert summary["clips"] == 6


def test_held_out_clips_share_no_frame_with_training(tmp_path: Path) -> None:
    prepare(Drawn(moving(0, 20)), tmp_path, PrepareConfig(height=64, width=96))
    every = ClipCache([(tmp_path, None)])
    train_set, held_out = every.split(0.2)
    assert (len(every), len(held_out), len(train_set)) == (18, 4, 12)
    last = train_set[len(train_set) - 1].images[-1]
    assert all(not np.array_equal(last, frame) for frame in held_out[0].images)


@pytest.mark.slow
def test_training_without_truth_on_a_prepared_recording(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    prepare(Drawn(moving(0, 12)), tmp_path / "caches" / "one", PrepareConfig(height=64, width=96))
    config = from_dict(
        {
            "model": {"initial": "none", "focal": None, "input_size": [64, 96]},
            "data": {
                "kind": "prepared",
                "prepared": {"caches": [str(tmp_path / "caches")], "held_out": 0.1},
                "sequence": {"frames": 3, "standing": 0.0, "reverse": 0.0},
                "augment": {"haze": 0.0},
            },
            "stages": [{"steps": 3, "sizes": [[64, 96]], "batch_size": 2}],
            "objective": {"photometric": 1.0, "smoothness": 1e-3},
            "engine": {"tensorboard": False, "log_every": 1, "validate_every": 3, "threads": 1},
        }
    )
    outcome = train(config, tmp_path / "run")
    assert outcome.complete and 0 < outcome.validation["photometric"] < 2
    resolved, *_ = open_data(config, tmp_path / "run")
    assert resolved.model.focal == pytest.approx((0.75, 1.25))
    records = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert {"photometric", "smoothness"} <= set(records[0])

    from featdepth_ros import load_model

    info = load_model(str(outcome.weights)).info
    assert info.scale_kind == "relative" and info.focal == pytest.approx((0.75, 1.25))
