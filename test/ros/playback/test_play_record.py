"""`featdepth play` and `featdepth record` between two processes, over real DDS."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.recordings import Frame, open_recording, write_ros2_bag
from featdepth_ros.recordings.bags.source import BagSource

pytestmark = pytest.mark.ros

START_NS = 1_700_000_000_000_000_000
STEP_NS = 33_333_333
CAMERA = CameraModel(640, 480, 500.0, 500.0, 320.0, 240.0)
COMMAND = [sys.executable, "-m", "featdepth_ros.cli.main"]


def _image(index: int) -> np.ndarray:
    noise = np.random.default_rng(7).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    return np.roll(noise, index, axis=0)


def _frames(count: int) -> Iterator[Frame]:
    for index in range(count):
        pose = np.eye(4)
        pose[2, 3] = 0.1 * index
        depth = np.full((480, 640), 5.0, np.float32) if index % 10 == 0 else None
        yield Frame(_image(index), START_NS + index * STEP_NS, f"{index:06d}", CAMERA, depth, pose)


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a bag of 30 frames of 640x480 at 30 Hz."""
    path = tmp_path_factory.mktemp("played") / "bag"
    write_ros2_bag(path, _frames(30))
    return path


#: `record --all` would also hear the nodes of other tests, killed ones for as long as DDS remembers them.
OWN_DOMAIN = str(1 + (int(os.environ["ROS_DOMAIN_ID"]) + 50) % 101)


@contextmanager
def _running(*arguments: str | Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "ROS_DOMAIN_ID": OWN_DOMAIN},
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=10)


def _finish(process: subprocess.Popen[str], number: int | None = None, times: int = 1) -> str:
    for _ in range(times if number is not None else 0):
        process.send_signal(number)  # type: ignore[arg-type]
        time.sleep(0.02)
    output, _ = process.communicate(timeout=60)
    return output


def _play(*arguments: str | Path) -> str:
    with _running("play", *arguments, "--wait-for-subscriber", "30") as player:
        output = _finish(player)
    assert player.returncode == 0, output
    assert "no subscriber" not in output
    return output


@pytest.mark.parametrize(("reliability", "storage"), [("--reliable", "sqlite3"), ("--best-effort", "mcap")])
def test_every_frame_arrives(bag: Path, tmp_path: Path, reliability: str, storage: str) -> None:
    with _running("record", "--output", tmp_path / "out", "--all", "--storage", storage) as recorder:
        played = _play(bag, reliability, "--json", tmp_path / "play.json")
        recorded = _finish(recorder, signal.SIGTERM)
    assert recorder.returncode == 0, recorded
    report = json.loads((tmp_path / "play.json").read_text())
    assert report["frames"] == 30 and "30 frames" in played
    source = BagSource(tmp_path / "out")
    assert {name: topic.count for name, topic in source.topics.items()} == report["messages"], recorded
    assert not source.notes
    assert source.topics["/camera/image_raw"].reliable is (reliability == "--reliable")
    assert source.topics["/tf_static"].transient_local
    read = list(open_recording(tmp_path / "out"))
    assert [f.stamp_ns for f in read] == [START_NS + i * STEP_NS for i in range(30)]
    np.testing.assert_array_equal(read[17].image, _image(17))
    assert read[0].camera == CAMERA
    log_times = [message.log_ns for message in source.messages(["/camera/image_raw"])]
    assert (log_times[-1] - log_times[0]) * 1e-9 == pytest.approx(29 * STEP_NS * 1e-9, rel=0.25)


def test_folder_loops_with_clock_until_interrupted(tmp_path: Path) -> None:
    folder = tmp_path / "shots"
    folder.mkdir()
    for index in range(4):
        cv2.imwrite(str(folder / f"{index}.png"), _image(index))
    before_ns = time.time_ns()
    topics = ["/front/image_raw/compressed", "/front/camera_info", "/clock", "/absent"]
    with _running("record", "--output", tmp_path / "out", "--topics", *topics) as recorder:
        options = ["--loop", "--clock", "--compressed", "--image-topic", "/front/image_raw", "--rate-hz", "20"]
        with _running("play", folder, *options, "--camera", "500,500,320,240", "--wait-for-subscriber", "30") as player:
            time.sleep(0.2)
            _wait_for_frames(tmp_path / "out", "/front/image_raw/compressed", 10)
            played = _finish(player, signal.SIGINT, times=3)
        recorded = _finish(recorder, signal.SIGINT, times=3)
    assert (player.returncode, recorder.returncode) == (0, 0), played + recorded
    assert "(interrupted)" in played and "Traceback" not in played + recorded
    assert "/absent was not recorded: nobody published it" in recorded
    recording = open_recording(tmp_path / "out")
    stamps = [f.stamp_ns for f in recording]
    assert recording.camera == CAMERA and min(stamps) >= before_ns  # a folder is stamped from now on
    jumps = [b - a for a, b in pairwise(stamps)]
    assert set(jumps) == {50_000_000, -150_000_000}  # and jumps back where the loop starts again
    source = BagSource(tmp_path / "out")
    clock = [source.decode(m).clock for m in source.messages(["/clock"])]
    nanoseconds = [c.sec * 10**9 + c.nanosec for c in clock]
    assert len(clock) > 10 and min(b - a for a, b in pairwise(nanoseconds)) < 0


def _wait_for_frames(bag: Path, topic: str, count: int) -> None:
    """Wait until a bag that is being written holds that many messages; the recorder commits as it goes."""
    deadline = time.monotonic() + 40
    while time.monotonic() < deadline:
        try:
            if BagSource(bag).topics[topic].count >= count:
                return
        except Exception:  # noqa: BLE001 - not created yet, or in the middle of a write
            pass
        time.sleep(0.2)
    pytest.fail(f"{topic} did not reach {count} messages")


def test_calibration_beside_a_bag_without(tmp_path: Path) -> None:
    from dataclasses import replace

    write_ros2_bag(tmp_path / "bare", (replace(f, camera=None, T_world_camera=None) for f in _frames(5)))
    with _running("record", "--output", tmp_path / "out", "--all") as recorder:
        _play(tmp_path / "bare", "--camera", "500,500,320,240", "--image-topic", "/front/image_raw")
        recorded = _finish(recorder, signal.SIGTERM)
    assert recorder.returncode == 0, recorded
    recording = open_recording(tmp_path / "out", "/front/image_raw")
    assert recording.camera == CAMERA and len(recording) == 5
    source = BagSource(tmp_path / "out")
    infos = [source.decode(m).header for m in source.messages(["/front/camera_info"])]
    assert [h.stamp.sec * 10**9 + h.stamp.nanosec for h in infos] == [START_NS + i * STEP_NS for i in range(5)]


def test_a_filling_disk_ends_the_recording_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    from featdepth_ros.recordings.bags.writer import BagWriter
    from featdepth_ros.ros.playback import recorder
    from featdepth_ros.ros.playback.command_node import command_node

    monkeypatch.setattr(recorder, "MIN_FREE_BYTES", 1 << 60)
    with command_node("filling_disk") as (node, _), BagWriter(tmp_path / "out") as bag:
        report = recorder.Recorder(node, bag, None).record(threading.Event(), duration_s=20)
    assert "the disk is full" in report.ended and report.elapsed_s < 10
    assert not BagSource(tmp_path / "out").notes  # finished and readable


def test_record_for_a_time_with_nobody_there(tmp_path: Path) -> None:
    with _running("record", "--output", tmp_path / "out", "--topics", "/nobody", "--duration", "0.5") as recorder:
        output = _finish(recorder)
    assert recorder.returncode == 0 and re.search(r"recorded 0 messages in 0\.\d s", output), output
    assert "/nobody was not recorded: nobody published it" in output
    assert not BagSource(tmp_path / "out").topics


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["play", "/nowhere"], 1, "no recording at '/nowhere'"),
        (["play", "{bag}", "--topic", "/camera/image"], 1, "did you mean '/camera/image_raw'"),
        (["play", "{bag}", "--compressed"], 1, "--compressed is for recordings other than bags"),
        (["play", "{bag}", "--rate", "0"], 2, "not a finite number above 0"),
        (["record", "--output", "{bag}", "--all"], 1, "exists already"),
        (["record", "--output", "x"], 2, "--topics --all is required"),
    ],
)
def test_mistakes_are_told_without_a_traceback(bag: Path, arguments: list[str], code: int, words: str) -> None:
    filled = [argument.format(bag=bag) for argument in arguments]
    done = subprocess.run([*COMMAND, *filled], capture_output=True, text=True, timeout=60, env=dict(os.environ))
    assert done.returncode == code and words in done.stderr and "Traceback" not in done.stderr, done.stderr
