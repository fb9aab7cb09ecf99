"""The buffer: what is stored, what is left out, what goes first, and what a kill leaves behind."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from featdepth_ros.errors import RecordingError
from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.recordings.buffer.segments import DESCRIPTION, StoredSegment, read_stored
from featdepth_ros.recordings.buffer.writer import HELD_OUT_EVERY, LEAST_FRAMES, SEGMENT_FRAMES, BufferWriter
from featdepth_ros.recordings.datasets.pose_files import read_pose_file
from featdepth_ros.recordings.open import open_recording

CAMERA = CameraModel(160, 96, 90.0, 91.0, 79.5, 47.5)
START, STEP_NS = 1_700_000_000_000_000_000, 100_000_000
_TEXTURE = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (96, 4000, 3), dtype=np.uint8), (0, 0), 1.5)
TEXTURE = cv2.normalize(_TEXTURE, None, 0, 255, cv2.NORM_MINMAX)


def picture(place: float) -> np.ndarray:
    """What a camera sees that has moved sideways by so many pixels."""
    left = round(place) % 3800
    return np.ascontiguousarray(TEXTURE[:, left : left + 160])


def pose(metres: float) -> np.ndarray:
    return se3.make(np.eye(3), np.array([metres, 0.0, 0.0]))


class Drive:
    """Frames of a camera that moves by three pixels each, into a buffer."""

    def __init__(self, writer: BufferWriter) -> None:
        self.writer, self.index, self.place = writer, 0, 0.0

    def go(self, frames: int, pixels: float = 3.0, blur: float = 0.0) -> list[str]:
        verdicts = []
        for _ in range(frames):
            self.place += pixels
            image = picture(self.place)
            if blur:
                image = cv2.GaussianBlur(image, (0, 0), blur)
            stamp = START + self.index * STEP_NS
            verdicts.append(self.writer.add(image, CAMERA, stamp, pose(0.01 * self.place), True))
            self.index += 1
        return verdicts


def stored(folder: Path) -> list[StoredSegment]:
    return [found for path in sorted(folder.iterdir()) if (found := read_stored(path)) is not None]


def test_a_segment_is_a_recording_with_camera_stamps_and_poses(tmp_path: Path) -> None:
    drive = Drive(BufferWriter(tmp_path, 100.0))
    assert drive.go(SEGMENT_FRAMES) == ["kept"] * SEGMENT_FRAMES
    (segment,) = stored(tmp_path)
    facts = json.loads((segment.folder / DESCRIPTION).read_text())
    assert facts["split"] == "train" and facts["frames"] == SEGMENT_FRAMES and facts["size"] == [96, 160]
    assert facts["camera"] == [90.0, 91.0, 79.5, 47.5] and facts["metric"] is True
    assert facts["first_ns"] == START and facts["last_ns"] == START + (SEGMENT_FRAMES - 1) * STEP_NS
    assert facts["bytes"] == sum(f.stat().st_size for f in segment.folder.iterdir() if f.name != DESCRIPTION)
    frames = list(open_recording(segment.folder, camera=str(segment.folder / "camera.yaml")))
    assert [f.stamp_ns for f in frames] == [START + i * STEP_NS for i in range(SEGMENT_FRAMES)]
    np.testing.assert_array_equal(frames[5].image, picture(18.0))
    assert frames[0].camera is not None and (frames[0].camera.fx, frames[0].camera.cy) == (90.0, 47.5)
    poses = read_pose_file(segment.folder / "poses.txt", "tum")
    np.testing.assert_allclose(poses.poses[:, 0, 3], 0.03 * np.arange(1, SEGMENT_FRAMES + 1), atol=1e-8)


SHORT = 6


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments of six frames: the test is faster, and nothing else changes."""
    monkeypatch.setattr("featdepth_ros.recordings.buffer.writer.SEGMENT_FRAMES", SHORT)


@pytest.mark.usefixtures("short")
def test_one_segment_in_five_is_held_out_and_the_second_is_the_first_of_them(tmp_path: Path) -> None:
    drive = Drive(BufferWriter(tmp_path, 1000.0))
    drive.go(SHORT * 2 * HELD_OUT_EVERY)
    splits = [s.split for s in stored(tmp_path)]
    assert splits == ["train", "held_out", "train", "train", "train"] * 2
    assert drive.writer.figures.segments == {"train": 8, "held_out": 2}


def test_what_stands_is_blurred_or_lost_is_not_stored(tmp_path: Path) -> None:
    drive = Drive(BufferWriter(tmp_path, 100.0))
    drive.go(8)
    # While it stands, a frame a second is looked at anew.
    assert drive.go(20, pixels=0.0).count("static") == 19
    assert set(drive.go(2, blur=6.0)) == {"blurred"}
    assert len(list(tmp_path.rglob("*.png"))) == 9
    drive.go(7)
    drive.writer.interrupt()
    drive.go(LEAST_FRAMES - 1)  # too few to be of use
    drive.writer.interrupt()
    drive.writer.close()
    # The stop took two seconds: what lies on both sides of it is not one stretch.
    assert [s.frames for s in stored(tmp_path)] == [8, 7]
    seen = drive.writer.figures.seen
    assert (seen["static"], seen["blurred"], seen["lost"]) == (19, 2, 2)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["000001", "000002"]


def test_another_camera_or_a_cut_begins_another_segment(tmp_path: Path) -> None:
    writer = BufferWriter(tmp_path, 100.0)
    drive = Drive(writer)
    drive.go(6)
    other = CameraModel(160, 96, 80.0, 80.0, 79.5, 47.5)
    for index in range(6):
        writer.add(picture(18.0 + 3 * (index + 1)), other, START + (6 + index) * STEP_NS, None, True)
    drive.index, drive.place = 12, 2000.0
    drive.go(6)
    small = CameraModel(80, 48, 40.0, 40.0, 39.5, 23.5)
    for index in range(5):
        half = np.ascontiguousarray(picture(2018.0 + 6 * (index + 1))[::2, ::2])
        writer.add(half, small, START + (18 + index) * STEP_NS, None, True)
    writer.close()
    assert [s.frames for s in stored(tmp_path)] == [6, 6, 6, 5]
    assert (stored(tmp_path)[1].folder / "poses.txt").read_text().count("\n") == 1, "unknown poses are left out"


@pytest.mark.usefixtures("short")
def test_the_limit_holds_and_held_out_segments_keep_their_share(tmp_path: Path) -> None:
    drive = Drive(BufferWriter(tmp_path, 1000.0))
    drive.go(SHORT)
    limit = 10.5 * stored(tmp_path)[0].bytes
    drive.writer = BufferWriter(tmp_path, limit * 1e-6)
    for _ in range(30):
        drive.go(SHORT)
        assert sum(f.stat().st_size for f in tmp_path.rglob("*.*") if f.name != DESCRIPTION) <= limit
    kept = stored(tmp_path)
    held_out = [int(s.folder.name) for s in kept if s.split == "held_out"]
    training = [int(s.folder.name) for s in kept if s.split == "train"]
    assert held_out == [22, 27], "a fifth of the room"
    assert training == [n for n in range(min(training), 32) if n % HELD_OUT_EVERY != 2] and len(training) >= 7
    assert drive.writer.figures.bytes <= limit


def test_after_a_kill_the_writer_goes_on_behind_what_is_complete(tmp_path: Path) -> None:
    drive = Drive(BufferWriter(tmp_path, 100.0))
    drive.go(SEGMENT_FRAMES + 5)  # and nobody closes it
    again = Drive(BufferWriter(tmp_path, 100.0))
    assert [s.folder.name for s in stored(tmp_path)] == ["000001"] and len(list(tmp_path.iterdir())) == 1
    again.index = SEGMENT_FRAMES + 5
    again.go(SEGMENT_FRAMES)
    assert [s.folder.name for s in stored(tmp_path)] == ["000001", "000002"]
    assert again.writer.figures.segments == {"train": 1, "held_out": 1}


def test_stamps_in_the_buffer_never_go_back(tmp_path: Path) -> None:
    """A bag that loops, and a simulator whose time begins at 0."""
    writer = BufferWriter(tmp_path, 100.0, now_ns=lambda: START + 10**12)
    drive = Drive(writer)
    for _ in range(3):
        drive.index = 0
        drive.go(6)
    for index in range(6):
        writer.add(picture(3000.0 + 3 * index), CAMERA, index * STEP_NS, None, False)
    writer.close()
    found = stored(tmp_path)
    assert [s.frames for s in found] == [6, 6, 6, 6]
    stamps = [int(p.stem) for s in found for p in sorted(s.folder.glob("*.png"))]
    assert stamps == sorted(stamps) and len(set(stamps)) == 24
    assert stamps[-1] == START + 10**12 + 5 * STEP_NS == writer.newest_ns
    assert BufferWriter(tmp_path, 100.0).newest_ns == writer.newest_ns


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordingError, match="file"):
        BufferWriter(tmp_path / "file", 10.0)
    writer = BufferWriter(tmp_path / "buffer", 10.0)
    shutil.rmtree(tmp_path / "buffer")
    (tmp_path / "buffer").write_text("")
    with pytest.raises(RecordingError, match="cannot be created"):
        Drive(writer).go(1)
