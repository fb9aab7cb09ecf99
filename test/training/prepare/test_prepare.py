"""Recordings into caches, and training on them without truth."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from featdepth_ros.cli.main import main
from featdepth_ros.errors import CalibrationError, ConfigError, RecordingError
from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.recordings.frame import Frame, Partner
from featdepth_ros.recordings.open import open_recording
from featdepth_ros.recordings.recording import Recording
from featdepth_ros.recordings.selection import Selector
from featdepth_training.config.loading import from_dict
from featdepth_training.data.cache import ClipCache, cache_folders
from featdepth_training.engine.open_data import open_data
from featdepth_training.engine.run import train
from featdepth_training.prepare.config import PrepareConfig
from featdepth_training.prepare.prepare import prepare
from featdepth_training.prepare.summary import summary_table

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
    cut_ns = 7 * STEP_NS
    for clip in (cache[i] for i in range(len(cache))):
        assert (clip.stamps_ns < cut_ns).all() or (clip.stamps_ns >= cut_ns).all()
        assert (np.diff(clip.stamps_ns) > 0).all()
        assert clip.depth is None and np.isnan(clip.poses).all()
    np.testing.assert_allclose(cache[0].camera, [72.0, 80.0, 47.5, 31.5])


def test_prepare_goes_on_and_refuses_what_it_cannot_use(tmp_path: Path) -> None:
    config = PrepareConfig(height=64, width=96, shard_frames=4)
    first = prepare(Drawn(moving(0, 8)), tmp_path / "a", config)
    assert prepare(Drawn(moving(0, 8)), tmp_path / "a", config) == first
    with pytest.raises(ConfigError, match=r"another height \(64, now 96\), shard_frames \(4, now 200\); name another"):
        prepare(Drawn(moving(0, 8)), tmp_path / "a", PrepareConfig(height=96, width=96))
    with pytest.raises(ConfigError, match=r"another length \(8, now 9\);"):
        prepare(Drawn(moving(0, 9)), tmp_path / "a", config)
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
    assert summary["clips"] == 6 and summary["kept"] == 8


def test_held_out_clips_share_no_frame_with_training(tmp_path: Path) -> None:
    prepare(Drawn(moving(0, 20)), tmp_path, PrepareConfig(height=64, width=96))
    every = ClipCache([(tmp_path, None)])
    train_set, held_out = every.split(0.2)
    assert (len(every), len(held_out), len(train_set)) == (18, 4, 12)
    last = train_set[len(train_set) - 1].images[-1]
    assert all(not np.array_equal(last, frame) for frame in held_out[0].images)


MIXED = [
    *moving(0, 6),
    (0, 15, 6 * STEP_NS),  # nothing moves
    *moving(1, 5, 8 * STEP_NS),  # a cut
    *moving(1, 9, 60 * STEP_NS),  # a gap
    (2, 0, 70 * STEP_NS),
]


class Stopping(Drawn):
    """Ends in the middle of its frames; counts what is decoded; frame 3 is broken."""

    def __init__(self, stop_at: int | None = None) -> None:
        super().__init__(MIXED)
        self.stop_at, self.decoded = stop_at, list[int]()

    def _frames(self) -> Iterator[Frame]:
        for number, frame in enumerate(super()._frames()):
            if number == self.stop_at:
                raise KeyboardInterrupt
            self.decoded.append(number)
            if number == 3:
                self._skip(frame.name, "broken")
            else:
                yield frame


class Skipping(Stopping):
    """Reads nothing of what it shall leave out."""

    def frames_from(self, start: int) -> Iterator[Frame]:
        self.skipped, rest = [], self.plan[start:]
        for number, (seed, shift, stamp_ns) in enumerate(rest, start):
            self.decoded.append(number)
            yield Frame(view(seed, shift), stamp_ns, f"{number:03d}", self.camera)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "summary.json"}


@pytest.mark.parametrize("keep_static", [False, True])
def test_a_stopped_prepare_goes_on_to_the_very_same_cache(tmp_path: Path, keep_static: bool) -> None:
    config = PrepareConfig(height=64, width=96, shard_frames=4, keep_static=keep_static)
    whole = prepare(Stopping(), tmp_path / "whole", config)
    assert whole["unreadable"] == [{"name": "003", "reason": "broken"}] and whole["shards"] >= 3
    for stop_at in range(2, len(MIXED), 3):
        with pytest.raises(KeyboardInterrupt):
            prepare(Stopping(stop_at), tmp_path / str(stop_at), config)
        kept = {p: p.stat().st_mtime_ns for p in (tmp_path / str(stop_at)).glob("shard_*")}
        assert not list((tmp_path / str(stop_at)).glob(".*"))
        told: list[int] = []
        again = prepare(Stopping(), tmp_path / str(stop_at), config, told.append)
        assert contents(tmp_path / str(stop_at)) == contents(tmp_path / "whole")
        assert all(path.stat().st_mtime_ns == written for path, written in kept.items())
        assert {k: v for k, v in again.items() if k not in ("seconds", "fps")} == {
            k: v for k, v in whole.items() if k not in ("seconds", "fps")
        }
        assert sum(told) in (len(MIXED) - 1, len(MIXED))  # a broken frame before the stop counts as read


def test_finished_frames_are_not_read_again(tmp_path: Path) -> None:
    config = PrepareConfig(height=64, width=96, shard_frames=4)
    prepare(Stopping(), tmp_path / "whole", config)
    with pytest.raises(KeyboardInterrupt):
        prepare(Stopping(18), tmp_path / "a", config)
    rest = Skipping()
    prepare(rest, tmp_path / "a", config)
    assert contents(tmp_path / "a") == contents(tmp_path / "whole")
    assert rest.decoded == list(range(rest.decoded[0], len(MIXED))) and rest.decoded[0] >= 12
    # A shard that was lost is made again, and only that.
    (tmp_path / "a" / "shard_00001.tar").unlink()
    (tmp_path / "a" / "shard_00001.json").unlink()
    prepare(Stopping(), tmp_path / "a", config)
    assert contents(tmp_path / "a") == contents(tmp_path / "whole")


def test_files_are_left_unread_up_to_where_reading_goes_on(tmp_path: Path) -> None:
    for number in range(5):
        cv2.imwrite(str(tmp_path / f"{number}.png"), view(0, number))
    (tmp_path / "1.png").write_bytes(b"broken")
    recording = open_recording(tmp_path, camera=CAMERA)
    frames = iter(recording.frames_from(3))
    (tmp_path / "2.png").unlink()
    assert [frame.name for frame in frames] == ["3", "4"] and recording.skipped == []
    assert [frame.name for frame in recording] == ["0", "3", "4"]
    assert [skipped.name for skipped in recording.skipped] == ["1.png", "2.png"]
    generic = Stopping()
    assert [frame.name for frame in generic.frames_from(5)][:2] == ["005", "006"] and generic.skipped == []


class Pair(Drawn):
    """A far scene seen by two cameras of other lenses; the second is turned and sits beside the first."""

    LENS = CameraModel(128, 100, 95.0, 97.0, 60.0, 52.0, "plumb_bob", (-0.12, 0.03, 0.001, -0.002))
    turn, _ = cv2.Rodrigues(np.array([0.02, -0.03, 0.015]))

    def __init__(self, plan: list[tuple[int, int, int]], without: tuple[int, ...] = ()) -> None:
        super().__init__(plan)
        self.without, self.partner_name = without, "right"
        self.T_partner_camera = np.eye(4)
        self.T_partner_camera[:3, :3], self.T_partner_camera[:3, 3] = self.turn, (-0.1, 0.0, 0.0)

    def _seen(self, camera: CameraModel, seed: int, shift: int, turn: NDArray[np.float64]) -> NDArray[np.uint8]:
        """What a camera turned by ``turn`` sees of a smooth picture at infinity."""
        width, height = camera.delivered_size
        u, v = np.meshgrid(np.arange(width, dtype=float), np.arange(height, dtype=float))
        rays = camera.unproject(np.stack([u, v], -1)) @ turn
        x, y = rays[..., 0] / rays[..., 2] + shift / 120.0, rays[..., 1] / rays[..., 2]
        waves = [np.sin(9 * x + seed) + np.cos(7 * y), np.sin(6 * x * y + 4 * x), np.cos(8 * y - 5 * x + seed)]
        return np.stack([np.clip(128 + 60 * wave, 0, 255) for wave in waves], -1).round().astype(np.uint8)

    def _frames(self) -> Iterator[Frame]:
        for number, (seed, shift, stamp_ns) in enumerate(self.plan):
            image = self._seen(CAMERA, seed, shift, np.eye(3))
            other = self._seen(self.LENS, seed, shift, self.turn)
            partner = Partner(other, stamp_ns, self.LENS, self.T_partner_camera)
            yield Frame(image, stamp_ns, f"{number:03d}", CAMERA, partner=None if number in self.without else partner)


def test_both_images_of_a_pair_have_the_same_intrinsics(tmp_path: Path) -> None:
    """One K and the pair's own turn take what is far from one image to the other, as training will."""
    recording = Pair(moving(0, 4))
    prepare(recording, tmp_path, PrepareConfig(height=64, width=96, stereo=True))
    clip = ClipCache([tmp_path], frames=1)[1]
    assert clip.partner is not None and clip.T_partner_camera is not None
    np.testing.assert_array_equal(clip.T_partner_camera, recording.T_partner_camera)
    fx, fy, cx, cy = clip.camera
    K = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
    homography = K @ clip.T_partner_camera[:3, :3] @ np.linalg.inv(K)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    inner = (slice(16, 48), slice(22, 74))  # what both cameras see
    warped = cv2.warpPerspective(clip.partner[0], homography, (96, 64), flags=flags)
    error = np.abs(warped.astype(float) - clip.images[0])[inner].mean()
    unturned = np.abs(clip.partner[0].astype(float) - clip.images[0])[inner].mean()
    assert error < 1.0 < 5 < unturned


def test_sparse_pairs_serve_single_frames(tmp_path: Path) -> None:
    """Pairs seconds apart are no neighbours, but pairs; a frame without partner is left out and counted."""
    plan = [*moving(0, 4), *((n, 0, n * 30 * STEP_NS) for n in range(1, 6))]
    summary = prepare(Pair(plan, without=(1, 6)), tmp_path / "pairs", PrepareConfig(height=64, width=96, stereo=True))
    assert summary["selected"]["without_partner"] == 2 and summary["with_partner"] == summary["kept"] == 7
    assert summary["clips_by_frames"] == {"1": 7, "2": 2, "3": 1} and summary["stretches"] == 5
    assert len(ClipCache([tmp_path / "pairs"], frames=1)) == 7
    triples = ClipCache([tmp_path / "pairs"], frames=3)
    assert len(triples) == 1 and triples.has_partner
    np.testing.assert_array_equal(triples[0].stamps_ns, [0, 2 * STEP_NS, 3 * STEP_NS])
    rows = dict(summary_table(summary))
    assert rows["left out, without a stereo partner"] == "2" and rows["clips, by frames"] == "7 of 1, 2 of 2, 1 of 3"
    with pytest.raises(ConfigError, match="without a stereo partner"):
        prepare(Drawn(plan), tmp_path / "none", PrepareConfig(height=64, width=96, stereo=True))
    temporal = prepare(Pair(plan), tmp_path / "temporal", PrepareConfig(height=64, width=96))
    assert temporal["kept"] == 4 and temporal["selected"]["too_short"] == 5 and temporal["with_partner"] == 0


def test_a_standing_camera_is_kept_when_asked(tmp_path: Path) -> None:
    plan = [(0, 0, 0), (0, 0, STEP_NS), (0, 3, 2 * STEP_NS), (0, 6, 3 * STEP_NS), (0, 6, 4 * STEP_NS)]
    config = PrepareConfig(height=64, width=96, keep_static=True)
    assert prepare(Drawn(plan), tmp_path / "a", config)["kept"] == 5
    assert len(ClipCache([tmp_path / "a"], frames=1)) == 5
    moved = ClipCache([tmp_path / "a"], frames=3)
    assert len(moved) == 1
    np.testing.assert_array_equal(moved[0].stamps_ns, [0, 2 * STEP_NS, 3 * STEP_NS])
    standing = [(0, 0, k * STEP_NS) for k in range(5)]
    with pytest.raises(RecordingError, match="--keep-static"):
        prepare(Drawn(standing), tmp_path / "b", PrepareConfig(height=64, width=96))
    assert prepare(Drawn(standing), tmp_path / "c", config)["clips_by_frames"] == {"1": 5, "2": 0, "3": 0}


def test_a_cache_of_a_recording_in_an_object_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEATDEPTH_SHARDS", str(tmp_path / "copies"))
    url = f"memory://{tmp_path.name}/drive"
    config = PrepareConfig(height=64, width=96, shard_frames=4)
    with pytest.raises(KeyboardInterrupt):
        prepare(Stopping(12), url, config)
    prepare(Stopping(), url, config)
    prepare(Stopping(), tmp_path / "here", config)
    there, here = ClipCache([url]), ClipCache([tmp_path / "here"])
    assert len(there) == len(here) > 3
    for index in range(len(here)):
        np.testing.assert_array_equal(there[index].images, here[index].images)


def test_the_verb_takes_several_inputs_and_names_what_it_could_not_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        for number in range(6):
            cv2.imwrite(str(tmp_path / name / f"{number}.png"), view(0, 3 * number))
    (tmp_path / "two" / "2.png").write_bytes(b"no image")
    shutil.copytree(tmp_path / "one", tmp_path / "again" / "one")
    inputs = [str(tmp_path / name) for name in ("one", "two", "again/one")]
    options = ["--camera", "120,120,79.5,47.5", "--size", "64x96", "--json", str(tmp_path / "out.json")]
    assert main(["prepare", *inputs, "--output", str(tmp_path / "caches"), *options]) == 0
    assert [Path(f).name for f in cache_folders(tmp_path / "caches")] == ["one", "one_2", "two"]
    assert json.loads((tmp_path / "out.json").read_text())["two"]["unreadable"][0]["name"] == "2.png"
    printed = capsys.readouterr().out
    assert "left out, unreadable  1 (2.png)" in printed and "clips, by frames" in printed
    assert main(["prepare", inputs[0], "--output", str(tmp_path / "single"), *options]) == 0
    assert json.loads((tmp_path / "out.json").read_text())["kept"] == 6
    assert main(["prepare", inputs[0], "--output", str(tmp_path / "x"), "--partner-camera", "f.yaml"]) == 1
    assert "--stereo" in capsys.readouterr().err


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
    outcome = train(config, tmp_path / "run", device="cpu")
    assert outcome.complete and 0 < outcome.validation["photometric"] < 2
    resolved, *_ = open_data(config, tmp_path / "run")
    assert resolved.model.focal == pytest.approx((0.75, 1.25))
    records = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert {"photometric", "smoothness"} <= set(records[0])

    from featdepth_ros import load_model

    info = load_model(str(outcome.weights)).info
    assert info.scale_kind == "relative" and info.focal == pytest.approx((0.75, 1.25))
