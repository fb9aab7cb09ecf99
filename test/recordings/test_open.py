"""Every kind of INPUT, and what happens to broken ones."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from known_frames import CAMERA, frame, frames

from featdepth_ros import recordings
from featdepth_ros.errors import CalibrationError, RecordingError
from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.recordings import open_recording, write_kitti_odometry, write_ros2_bag


def _folder(path: Path, count: int = 12) -> Path:
    path.mkdir()
    for index in range(count):
        cv2.imwrite(str(path / f"shot{index}.png"), frame(index).image[..., ::-1])
    return path


def test_folder_in_natural_order_at_the_told_rate(tmp_path: Path) -> None:
    recording = open_recording(_folder(tmp_path / "shots"), rate_hz=4.0, camera="50,51,31.5,23.5")
    read = list(recording)
    assert [f.name for f in read] == [f"shot{i}" for i in range(12)]  # shot2 before shot10
    assert [f.stamp_ns for f in read[:3]] == [0, 250_000_000, 500_000_000]
    assert (recording.kind, recording.rate_hz, recording.camera, len(recording)) == ("images", 4.0, CAMERA, 12)
    np.testing.assert_array_equal(read[10].image, frame(10).image)


def test_single_image_and_grey(tmp_path: Path) -> None:
    grey = frame(0).image[..., 0]
    cv2.imwrite(str(tmp_path / "one.png"), grey)
    recording = open_recording(tmp_path / "one.png")
    (only,) = recording
    assert (recording.kind, only.name, recording.camera) == ("image", "one", None)
    np.testing.assert_array_equal(only.image, np.repeat(grey[..., None], 3, axis=2))


def test_broken_images_are_counted_and_named(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "shots", 5)
    (folder / "shot1.png").write_bytes(b"no image")
    data = (folder / "shot3.png").read_bytes()
    (folder / "shot3.png").write_bytes(data[: len(data) // 2])
    recording = open_recording(folder)
    assert [f.name for f in recording] == ["shot0", "shot2", "shot4"]
    assert [s.name for s in recording.skipped] == ["shot1.png", "shot3.png"] and len(recording) == 5
    assert "ends early" in recording.skipped[1].reason
    assert len(list(recording)) == 3 and len(recording.skipped) == 2  # counted once an iteration


def test_truncated_jpeg_is_no_image(tmp_path: Path) -> None:
    folder = tmp_path / "shots"
    folder.mkdir()
    for name in ("a", "b"):
        cv2.imwrite(str(folder / f"{name}.jpg"), frame(0).image)
    data = (folder / "b.jpg").read_bytes()
    (folder / "b.jpg").write_bytes(data[: len(data) * 2 // 3])
    recording = open_recording(folder)
    assert len(list(recording)) == 1 and recording.skipped[0].name == "b.jpg"


def test_video_stamps_come_from_the_container(tmp_path: Path) -> None:
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 20.0, (64, 48))
    if not writer.isOpened():
        pytest.skip("this OpenCV writes no MJPG video")
    for index in range(8):
        writer.write(np.full((48, 64, 3), (0, 0, 25 * index), np.uint8))
    writer.release()
    recording = open_recording(path)
    read = list(recording)
    assert (recording.kind, len(recording), len(read), recording.rate_hz) == ("video", 8, 8, 20.0)
    assert [f.stamp_ns for f in read] == pytest.approx([i * 50_000_000 for i in range(8)], abs=1_000_000)
    assert read[7].image[..., 0].mean() == pytest.approx(175, abs=12) and read[7].image[..., 2].mean() < 12  # RGB


@pytest.mark.parametrize("storage", ["sqlite3", "mcap"])
def test_truncated_bag_is_read_as_far_as_it_goes(tmp_path: Path, storage: str) -> None:
    bag = tmp_path / "bag"
    write_ros2_bag(bag, frames(60), storage)
    file = next(p for p in bag.iterdir() if p.suffix in (".db3", ".mcap"))
    data = file.read_bytes()
    file.write_bytes(data[: len(data) * 3 // 4])
    recording = open_recording(bag)
    read = list(recording)
    assert 35 <= len(read) <= 46 and len(recording) == len(read)
    assert "damaged" in recording.notes[0] and recording.camera == CAMERA
    np.testing.assert_array_equal(read[-1].image, frame(len(read) - 1).image)


def test_bag_of_a_killed_recorder_and_single_files(tmp_path: Path) -> None:
    bag = tmp_path / "bag"
    write_ros2_bag(bag, frames())
    assert len(list(open_recording(bag / "bag.db3"))) == 6
    (bag / "metadata.yaml").unlink()
    recording = open_recording(bag)
    assert len(list(recording)) == 6 and "metadata.yaml" in recording.notes[0]


def test_topics_are_listed_when_wrong_or_ambiguous(tmp_path: Path) -> None:
    write_ros2_bag(tmp_path / "bag", frames(), image_topic="/front/image_raw")
    with pytest.raises(RecordingError, match=r"did you mean '/front/image_raw'"):
        open_recording(tmp_path / "bag", topic="/front/image_rw")
    with pytest.raises(RecordingError, match=r"CameraInfo, not images; image topics: /front/image_raw \(6 Image\)"):
        open_recording(tmp_path / "bag", topic="/front/camera_info")
    assert len(open_recording(tmp_path / "bag", topic="front/image_raw")) == 6


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda p: p / "nowhere", "no recording at"),
        (lambda p: (p / "empty").mkdir() or p / "empty", "it holds: nothing"),
        (lambda p: (p / "x.txt").write_text("x") and p / "x.txt", "not a known kind of recording"),
        (lambda p: (p / "x.bag").write_bytes(b"#ROSBAG V2.0\n") and p / "x.bag", "cannot be read"),
        (lambda p: (p / "x.mcap").write_bytes(b"junk") and p / "x.mcap", "cannot be read"),
        (lambda p: (p / "x.db3").write_bytes(b"junk" * 99) and p / "x.db3", "cannot be read"),
        (lambda p: (p / "x.mp4").write_bytes(b"junk") and p / "x.mp4", "cannot be opened"),
        (lambda p: (p / "x.png").write_bytes(b"junk") and p / "x.png", "can be read"),
    ],
)
def test_what_is_no_recording_is_said_in_words(tmp_path: Path, make: Callable[[Path], Path], words: str) -> None:
    with pytest.raises(RecordingError, match=words):
        open_recording(make(tmp_path))


def test_calibration_of_another_size_is_refused(tmp_path: Path) -> None:
    calibration = tmp_path / "camera.yaml"
    calibration.write_text("width: 640\nheight: 480\nfx: 500\nfy: 500\ncx: 320\ncy: 240\n")
    with pytest.raises(CalibrationError, match="64x48 pixels, the calibration is for 640x480"):
        open_recording(_folder(tmp_path / "shots", 2), camera=str(calibration))
    write_ros2_bag(tmp_path / "bag", frames())
    with pytest.raises(CalibrationError, match="64x48"):
        open_recording(tmp_path / "bag", camera=str(calibration))


def test_kitti_with_too_few_lines(tmp_path: Path) -> None:
    from featdepth_ros.recordings import write_kitti_odometry

    write_kitti_odometry(tmp_path, frames())
    times = tmp_path / "sequences" / "00" / "times.txt"
    times.write_text("0.0\n0.1\n")
    with pytest.raises(RecordingError, match=r"image 000005 has no line in times.txt \(2 lines\)"):
        open_recording(tmp_path)
    times.write_text("0.0\nnoon\n")
    with pytest.raises(RecordingError, match=r"times.txt, line 2: 'noon'"):
        open_recording(tmp_path)
    shutil.rmtree(tmp_path / "sequences" / "00" / "image_2")
    with pytest.raises(RecordingError, match="no images"):
        open_recording(tmp_path / "sequences" / "00")


def test_nyu_scene(tmp_path: Path) -> None:
    scene = tmp_path / "sync" / "basement_0001a"
    scene.mkdir(parents=True)
    for index in (0, 1, 3):
        cv2.imwrite(str(scene / f"rgb_{index:05d}.jpg"), np.full((480, 640, 3), (10, 20, 30 * index), np.uint8))
        depth = np.full((480, 640), 2750, np.uint16)
        depth[0, 0], depth[1, 1] = 0, 10_000
        if index != 1:
            cv2.imwrite(str(scene / f"sync_depth_{index:05d}.png"), depth)
    recording = open_recording(tmp_path)
    assert (recording.kind, recording.name, recording.rate_hz, len(recording)) == ("nyu", "basement_0001a", 30.0, 3)
    assert recording.camera == CameraModel(640, 480, 518.857901, 519.469611, 325.582449, 253.736166)
    first, second, third = recording
    assert [f.name for f in (first, second, third)] == ["rgb_00000", "rgb_00001", "rgb_00003"]
    assert [f.stamp_ns for f in (first, second, third)] == [0, 33_333_333, 100_000_000]
    assert first.depth is not None and second.depth is None
    assert np.isnan(first.depth[0, 0]) and first.depth[1, 1] == 10.0 and first.depth[2, 2] == np.float32(2.75)
    assert third.image[..., 0].mean() == pytest.approx(90, abs=3)
    with pytest.raises(RecordingError, match="of one camera"):
        open_recording(scene, partner="auto")
    cv2.imwrite(str(scene / "rgb_00000.jpg"), np.zeros((240, 320, 3), np.uint8))
    with pytest.raises(CalibrationError, match="320x240 pixels, the calibration is for 640x480"):
        open_recording(scene)


def test_every_public_name_is_what_it_says() -> None:
    for name in recordings.__all__:
        assert getattr(recordings, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        recordings.nothing  # noqa: B018


def test_numbered_poses_of_a_kitti_sequence_are_of_their_frames(tmp_path: Path) -> None:
    write_kitti_odometry(tmp_path, frames(3))
    poses = tmp_path / "poses" / "00.txt"
    whole = [frame.T_world_camera for frame in open_recording(tmp_path)]
    lines = poses.read_text().splitlines()
    poses.write_text(f"2 {lines[2]}\n0 {lines[0]}\n")
    recording = open_recording(tmp_path)
    first, second, third = recording
    np.testing.assert_array_equal(first.T_world_camera, whole[0])
    np.testing.assert_array_equal(third.T_world_camera, whole[2])
    assert second.T_world_camera is None and "1 of the 3 frames" in recording.notes[0]
