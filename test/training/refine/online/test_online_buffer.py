"""What of a buffer may teach and judge: complete segments of one camera, with light and motion and without a cut."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from plane_world import CAMERA, STEP_M
from segments import SECOND_NS, darkened, wall, wall_segments, write_segment

from featdepth_ros.errors import RecordingError
from featdepth_ros.recordings.open import open_recording
from featdepth_training.refine.online.buffer import Buffer
from featdepth_training.refine.online.config import OnlineConfig
from featdepth_training.refine.online.segments import read_segment


def looked_at(folder: Path, **settings: float) -> Buffer:
    buffer = Buffer(folder, OnlineConfig(**settings))  # type: ignore[arg-type]
    buffer.refresh()
    return buffer


def test_a_segment_is_read_as_it_was_written(tmp_path: Path) -> None:
    frames = wall(2)
    folder = write_segment(tmp_path, frames, held_out=True)
    segment = read_segment(folder)
    assert segment is not None and segment.held_out and segment.metric and segment.size == (96, 160)
    assert segment.camera == (CAMERA.fx, CAMERA.fy, CAMERA.cx, CAMERA.cy)
    assert segment.stamps_ns == tuple(frame.stamp_ns for frame in frames)
    np.testing.assert_allclose(segment.poses(), [frame.T_world_camera for frame in frames], atol=1e-8)
    # It is a folder of images as well, which every verb reads.
    assert [frame.stamp_ns for frame in open_recording(folder)] == list(segment.stamps_ns)
    (folder / "poses.txt").unlink()
    assert np.isnan(segment.poses()).all()


def test_clips_are_three_neighbours_with_their_poses_and_survive_the_deletion_of_their_files(tmp_path: Path) -> None:
    folders = wall_segments(tmp_path, range(6))
    buffer = looked_at(tmp_path, most_clips=12, least_clips=12)
    assert (buffer.clips(False), buffer.clips(True)) == (24, 12)
    portion = buffer.training(seed=1)
    matched = portion.sources[0].clips[5].pseudo_depth
    assert matched is not None and np.isnan(matched[2].astype(float)).all()  # the middle of no clip
    assert np.nanmean(np.abs(matched[1].astype(float) - 1)) < 0.05  # the wall is flat
    for folder in folders:
        shutil.rmtree(folder)
    clip = portion.sources[-1].clips[0]
    np.testing.assert_array_equal(clip.images[0], wall(4)[0].image)
    np.testing.assert_allclose(clip.poses[1:, 1, 3] - clip.poses[:-1, 1, 3], STEP_M, atol=1e-6)
    assert portion.names[-1] == str(wall(4)[0].stamp_ns) and len(portion.names) == 2
    buffer.refresh()
    assert buffer.clips(False) == 0
    with pytest.raises(RecordingError, match="deleted"):
        looked_at(tmp_path).measured()


def test_half_of_the_clips_are_the_newest_and_the_judged_ones_are_spread(tmp_path: Path) -> None:
    wall_segments(tmp_path, range(12))
    buffer = looked_at(tmp_path, most_clips=24, measured_clips=8, matching=0.0)
    drawn = {seed: buffer.training(seed).names for seed in range(4)}
    newest = [segment.name for segment in buffer.usable(False)][-2:]
    assert all(names[-2:] == newest and len(names) == 4 for names in drawn.values())
    assert len({tuple(names) for names in drawn.values()}) > 1
    measured = buffer.measured()
    assert measured.clips == 8 and len(measured.sources) == 4


def poisoned(buffer: Path) -> dict[str, str]:
    """Write what must not teach; returns words that the refusal holds, by name."""
    other = replace(CAMERA, fx=200.0, fy=200.0)
    cut = wall(21, frames=4) + [
        replace(frame, image=255 - frame.image[::-1, ::-1], stamp_ns=frame.stamp_ns + SECOND_NS)
        for frame in wall(21, frames=4)
    ]
    cut = [replace(frame, stamp_ns=cut[0].stamp_ns + k * 100_000_000) for k, frame in enumerate(cut)]
    turning = [replace(frame, T_world_camera=np.eye(4)) for frame in wall(22)]
    small = [replace(frame, image=frame.image[:80], camera=replace(CAMERA, height=80)) for frame in wall(24)]
    flat = [replace(frame, image=frame.image // 64 + 200) for frame in wall(26)]
    cases = [
        (darkened(wall(20)), "dark (2 of the first 2 frames)"),
        (cut, "the picture cuts at frame 4"),
        (turning, "the camera moves only 0.000 m"),
        (wall(23, step_px=0), "no 3 moving frames in a row"),
        (small, "80x160 pictures, no multiples of 32"),
        ([replace(frame, camera=other) for frame in wall(25)], "another camera (96x160, focal length 200.0)"),
        (flat, "flat"),
    ]
    return {write_segment(buffer, frames).name: words for frames, words in cases}


def test_poison_is_refused_in_words(tmp_path: Path) -> None:
    wall_segments(tmp_path, range(3))
    expected = poisoned(tmp_path)
    broken = write_segment(tmp_path, wall(27))
    next(broken.glob("*.png")).write_bytes(b"no picture")
    write_segment(tmp_path, wall(28), complete=False)
    odd = write_segment(tmp_path, wall(29))
    (odd / "segment.json").write_text(json.dumps({"split": "train"}))
    expected |= {broken.name: "is not an image", odd.name: "segment.json is not as expected"}
    buffer = looked_at(tmp_path)
    assert set(buffer.refused) == set(expected)
    assert not [name for name, words in expected.items() if words not in buffer.refused[name]]
    assert (buffer.clips(False), buffer.clips(True)) == (12, 6)
    assert buffer.refusals().startswith("9 of 12 segments are not used: 1 ")


def test_a_camera_that_was_exchanged_wins_once_it_has_the_most_clips(tmp_path: Path) -> None:
    other = replace(CAMERA, fx=200.0, fy=200.0)
    wall_segments(tmp_path, range(2))
    for number in (4, 5):
        write_segment(tmp_path, [replace(frame, camera=other) for frame in wall(number)])
    buffer = looked_at(tmp_path)
    assert [segment.camera[0] for segment in buffer.usable()] == [200.0, 200.0]  # of equals, the newer one
    assert len(buffer.refused) == 2
