"""Many recordings at once, parts of recordings, ways to store them, split files, and the laser's depth."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from stereo_layouts import kitti_raw, line, projection

from featdepth_ros.cli.main import main
from featdepth_ros.errors import ConfigError, RecordingError
from featdepth_training.data.cache import ClipCache
from featdepth_training.data.shards import read_indices
from featdepth_training.data.store import Store
from featdepth_training.prepare import pseudo_depth
from featdepth_training.prepare.many import Preparation
from featdepth_training.prepare.split import read_split

CAMERA = ["--camera", "120,120,79.5,47.5", "--size", "64x96"]


def view(shift: int) -> NDArray[np.uint8]:
    """(96, 160, 3) uint8: a wall of spots, ``shift`` pixels along."""
    coarse = np.random.default_rng(3).integers(0, 256, (24, 64, 3), dtype=np.uint8)
    return cv2.resize(coarse, (512, 192), interpolation=cv2.INTER_CUBIC)[40:136, 20 + shift : 180 + shift]


def folder_of(path: Path, count: int, step: int = 3) -> Path:
    path.mkdir(parents=True)
    for number in range(count):
        assert cv2.imwrite(str(path / f"{number:06d}.png"), view(step * number))
    return path


def prepared(*words: object) -> int:
    return main(["prepare", *map(str, words)])


def test_a_part_of_a_recording(tmp_path: Path) -> None:
    """`--frames A:B` is half open; what is stopped inside goes on there; another part is another cache."""
    whole, part = tmp_path / "whole", tmp_path / "part"
    source = folder_of(tmp_path / "drive", 12)
    assert prepared(source, "--output", whole, *CAMERA) == 0
    assert prepared(source, "--output", part, *CAMERA, "--frames", "4:9") == 0
    names = [entry["name"] for index in read_indices(Store(part)) for entry in index.frames]
    assert names == [f"{k:06d}" for k in range(4, 9)]
    assert json.loads((part / "summary.json").read_text())["frames"] == 5
    both = ClipCache([whole], frames=1), ClipCache([part], frames=1)
    np.testing.assert_array_equal(both[0][6].images, both[1][2].images)
    assert prepared(source, "--output", part, *CAMERA, "--frames", "4:10") == 1
    assert prepared(source, "--output", tmp_path / "none", *CAMERA, "--frames", "12:20") == 1
    assert "part" not in json.loads((whole / "cache.json").read_text())
    with pytest.raises(SystemExit) as usage:
        prepared(source, "--output", part, *CAMERA, "--frames", "9:4")
    assert usage.value.code == 2


def test_pictures_take_less_room_and_png_loses_nothing(tmp_path: Path) -> None:
    source = folder_of(tmp_path / "drive", 6)
    caches = {kind: tmp_path / kind for kind in ("raw", "png", "jpeg")}
    for kind, cache in caches.items():
        assert prepared(source, "--output", cache, *CAMERA, "--store", kind) == 0
    sizes = {kind: json.loads((cache / "summary.json").read_text())["bytes"] for kind, cache in caches.items()}
    assert sizes["jpeg"] < sizes["png"] < sizes["raw"]
    raw, png, jpeg = (ClipCache([cache], frames=3)[1].images for cache in caches.values())
    np.testing.assert_array_equal(raw, png)
    assert 0 < np.abs(raw.astype(int) - jpeg).mean() < 2
    formats = {kind: json.loads((cache / "cache.json").read_text())["format"] for kind, cache in caches.items()}
    assert formats == {"raw": 3, "png": 4, "jpeg": 4}
    shard = caches["jpeg"] / "shard_00000.tar"
    content = bytearray(shard.read_bytes())
    content[int(read_indices(Store(caches["jpeg"]))[0].frames[2]["offset"]["image"]) + 200] ^= 0xFF
    shard.write_bytes(content)
    with pytest.raises(RecordingError, match="damaged at the image of frame 2"):
        ClipCache([caches["jpeg"]], frames=3)[1]


def test_unusable_recordings_are_named_and_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = [folder_of(tmp_path / "a" / "drive", 5), folder_of(tmp_path / "b" / "drive", 6)]
    still, broken = folder_of(tmp_path / "still", 5, step=0), tmp_path / "broken.bag"
    broken.write_bytes(b"no bag")
    figures = tmp_path / "figures.json"
    inputs = [good[0], broken, still, good[1], tmp_path / "nowhere"]
    assert prepared(*inputs, "--output", tmp_path / "out", *CAMERA, "--json", figures) == 0
    told = "".join(capsys.readouterr())
    assert "2 of 5 recordings prepared, 3 left out" in told and "left out: " + str(broken) in told
    summary = json.loads(figures.read_text())
    assert set(summary) == {"drive", "drive_2", "left_out"} and summary["drive_2"]["kept"] == 6
    assert set(summary["left_out"]) == {str(broken), str(still), str(tmp_path / "nowhere")}
    assert "standing still" in summary["left_out"][str(still)]
    assert prepared(*inputs, "--output", tmp_path / "strict", *CAMERA, "--strict") == 1
    assert prepared(broken, still, "--output", tmp_path / "none", *CAMERA) == 1
    assert "none of the 2 recordings" in capsys.readouterr().err


@pytest.mark.slow
def test_several_processes_make_the_same_caches(tmp_path: Path) -> None:
    inputs = [folder_of(tmp_path / name / "drive", 5 + n) for n, name in enumerate("abc")]
    assert prepared(*inputs, tmp_path / "nowhere", "--output", tmp_path / "one", *CAMERA) == 0
    assert prepared(*inputs, tmp_path / "nowhere", "--output", tmp_path / "two", *CAMERA, "--jobs", "2") == 0
    for name in ("drive", "drive_2", "drive_3"):
        one, two = ((tmp_path / run / name / "shard_00000.tar").read_bytes() for run in ("one", "two"))
        assert one == two


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_signal_is_answered_while_processes_match(number: int, tmp_path: Path) -> None:
    """Matching takes a second a frame; nobody waits for a whole recording of it, and no process is left."""
    inputs = [str(folder_of(tmp_path / name, 200, step=1)) for name in "ab"]
    command = [sys.executable, "-m", "featdepth_ros.cli.main", "prepare", *inputs, "--output", str(tmp_path / "out")]
    command += [*CAMERA[:2], "--size", "192x320", "--jobs", "2", "--pseudo-depth"]
    run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)
    end = time.monotonic() + 120
    while not all((tmp_path / "out" / name / "summary.json").is_file() for name in "ab"):
        assert run.poll() is None and time.monotonic() < end
        time.sleep(0.05)
    run.send_signal(number)
    said = run.communicate(timeout=180)[0]  # a busy machine
    assert "Traceback" not in said
    if number == signal.SIGINT:
        assert run.returncode == 130 and "the same command continues after them" in said
    assert not list((tmp_path / "out").glob("*/pseudo_depth_*"))
    end = time.monotonic() + 20
    while alive(run.pid) and time.monotonic() < end:  # the server of the processes ends a moment after its parent
        time.sleep(0.05)
    assert not alive(run.pid)


def alive(group: int) -> bool:
    """Whether any process of a process group is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_inputs_in_an_object_store(tmp_path: Path) -> None:
    import fsspec

    fs, source = fsspec.filesystem("memory"), folder_of(tmp_path / "drive", 5)
    for number in (1, 2):
        fs.put(f"{source}/", f"/many_inputs/drive_{number}/", recursive=True)
    assert prepared("memory://many_inputs/*", "--output", tmp_path / "out", *CAMERA) == 0
    assert len(ClipCache([tmp_path / "out" / "drive_1", tmp_path / "out" / "drive_2"], frames=3)) == 6
    fs.rm("/many_inputs", recursive=True)
    assert (
        prepared("memory://many_inputs/drive_1", "memory://many_inputs/drive_2", "--output", tmp_path / "out", *CAMERA)
        == 0
    )
    assert prepared("memory://many_inputs/drive_1", "--output", tmp_path / "other", *CAMERA) == 1


RAW_LINES = [
    line("S_rect_02", [48, 32]), line("R_rect_00", np.eye(3)),
    line("P_rect_02", projection(30.0, 23.5, 15.5, 0.0)), line("P_rect_03", projection(30.0, 23.5, 15.5, 0.5)),
]  # fmt: skip
#: From the laser (x forward, y left, z up) to the optical axes.
AXES = np.array([[0.0, -1.0, 0.0], [0.0, 0.0, -1.0], [1.0, 0.0, 0.0]])


@pytest.fixture
def data_set(tmp_path: Path) -> Path:
    """A KITTI raw day of one drive of 9 frames, with the laser's points of frame 4: one, 7.5 m ahead."""
    day = tmp_path / "2011_09_26"
    day.mkdir()
    drive = kitti_raw(day, 1, RAW_LINES, count=9)
    (day / "calib_velo_to_cam.txt").write_text(line("R", AXES) + line("T", np.zeros(3)))
    cloud = drive / "velodyne_points" / "data"
    cloud.mkdir(parents=True)
    np.array([[7.5, 0.0, 0.0, 0.3]], np.float32).tofile(cloud / "0000000004.bin")
    return tmp_path


def test_a_split_file_trains_as_published(data_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Targets are the lines and nothing else; their neighbours come along; both sides are caches of their own."""
    drive = "2011_09_26/2011_09_26_drive_0001_sync"
    split = tmp_path / "train_files.txt"
    lines = f"{drive} 2 l\n{drive} 0000000004 l\n\n{drive} 7 r\n{drive} 2 l\nelsewhere/x_sync 3 l\n"
    split.write_text(f"\ufeff{lines}", encoding="utf-8")  # an editor's byte order mark
    assert read_split(split)[drive, "l"] == (2, 4)
    out = tmp_path / "out"
    assert prepared(data_set, "--split", split, "--stereo", "--size", "64x96", "--output", out) == 0
    assert "elsewhere/x_sync" in capsys.readouterr().err
    left, right = out / "2011_09_26_drive_0001_sync_02", out / "2011_09_26_drive_0001_sync_03"
    names = [entry["name"][-1] for entry in read_indices(Store(left))[0].frames]
    assert names == ["1", "2", "3", "4", "5"]
    triples = ClipCache([left, right], frames=3)
    middles = [int(triples[k].stamps_ns[1] // 100_000_000) % 10 for k in range(3)]
    first = int(ClipCache([left], frames=1)[0].stamps_ns[0] // 100_000_000) % 10  # the first target is frame 2
    assert len(triples) == 3 and [(m - first) % 10 for m in middles] == [0, 2, 5]
    assert len(ClipCache([left], frames=1)) == 2 and triples.has_partner
    assert triples[0].T_partner_camera is not None and triples[2].T_partner_camera is not None
    assert triples[0].T_partner_camera[0, 3] == pytest.approx(-0.5) and triples[2].T_partner_camera[
        0, 3
    ] == pytest.approx(0.5)
    summary = json.loads((left / "summary.json").read_text())
    assert (summary["listed"], summary["listed_kept"], summary["selected"]["not_listed"]) == (2, 2, 4)
    split.write_text("a 1 m\n")
    with pytest.raises(ConfigError, match="line 1"):
        read_split(split)


def test_the_lasers_depth_is_in_the_cache(data_set: Path, tmp_path: Path) -> None:
    drive = data_set / "2011_09_26" / "2011_09_26_drive_0001_sync"
    options = ["--size", "64x96", "--keep-static"]
    assert prepared(drive, "--output", tmp_path / "with", *options) == 0
    frames = ClipCache([tmp_path / "with"], frames=1)
    known = [
        np.isfinite(depth) for clip in (frames[k] for k in range(len(frames))) if (depth := clip.depth) is not None
    ]
    assert sum(map(np.sum, known)) > 0
    depth = next(d for k in range(len(frames)) if (d := frames[k].depth) is not None and np.isfinite(d).any())
    rows, columns = np.nonzero(np.isfinite(depth[0]))
    assert (depth[0][rows, columns] == 7.5).all()
    # The point lies on the optical axis, at (23.5, 15.5) of 48x32 pixels, less the development kit's one pixel.
    assert abs(rows.mean() - 2 * 14.75) < 1.6 and abs(columns.mean() - 2 * 22.75) < 1.6
    assert prepared(drive, "--output", tmp_path / "without", *options, "--no-laser") == 0
    assert not ClipCache([tmp_path / "without"], frames=1).has_depth


def test_a_given_calibration_never_replaces_the_recordings_own_in_silence(
    data_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drive = data_set / "2011_09_26" / "2011_09_26_drive_0001_sync"
    options = ["--camera", "40,40,23.5,15.5", "--size", "64x96", "--keep-static", "--output", tmp_path / "given"]
    assert prepared(drive, *options) == 0
    assert "takes the place of the recording's own calibration (30,30,23.5,15.5" in "".join(capsys.readouterr())
    shutil.rmtree(tmp_path / "given")
    assert prepared(drive, "--camera", "0.58,1.92,0.5,0.5", *options[2:]) == 1
    assert "fractions of the image" in capsys.readouterr().err


@pytest.mark.slow
def test_few_voters_give_the_same_depth(monkeypatch: pytest.MonkeyPatch) -> None:
    from featdepth_training.config.schema import RenderedConfig
    from featdepth_training.rendering.rendered import ClipRenderer

    config = RenderedConfig(frames=6, height=128, width=256, scenes=("street",), seed=5)
    clip = ClipRenderer(config, "street", 0, 0)(2)
    greys = [pseudo_depth.grey(image) for image in clip.images]
    few = pseudo_depth.moving_depth(greys[5], greys[4::-1], clip.camera)
    monkeypatch.setattr(pseudo_depth, "VOTERS", 10**9)
    all_of_them = pseudo_depth.moving_depth(greys[5], greys[4::-1], clip.camera)
    assert few is not None and np.isfinite(few).any()
    np.testing.assert_array_equal(few, all_of_them)


def test_survey_comes_before_work(tmp_path: Path) -> None:
    """Frames are counted, and names given, before the first is read."""
    from featdepth_training.prepare.config import PrepareConfig
    from featdepth_training.prepare.inputs import Input

    config = PrepareConfig(height=64, width=96)
    paths = [folder_of(tmp_path / "a", 4), tmp_path / "b", folder_of(tmp_path / "c" / "a", 3)]
    inputs = [Input(str(p), str(tmp_path / "out"), config, camera=CAMERA[1], below=True) for p in paths]
    with Preparation(inputs) as work:
        assert [outcome.given.name for outcome in work.survey()] == ["b"]
        assert [given.name for given in work.usable] == ["a", "a_2"] and work.frames == 7
