"""``featdepth simulate`` writes what the readers read, and refuses to overwrite."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("numba")

from featdepth_ros.cli.main import main
from featdepth_ros.recordings.open import open_recording

SMALL = ["--frames", "3", "--size", "48x160", "--seed", "2"]


@pytest.mark.parametrize("layout", ["bag", "mcap", "kitti", "euroc"])
def test_written_recordings_are_read_back(layout: str, tmp_path: Path) -> None:
    output, figures = tmp_path / "made", tmp_path / "made.json"
    stereo = ["--stereo"] if layout in ("kitti", "euroc") else []
    assert main(["simulate", "--format", layout, "--output", str(output), "--json", str(figures), *SMALL, *stereo]) == 0
    assert json.loads(figures.read_text())["frames"] == 3
    frames = list(open_recording(output))
    assert len(frames) == 3
    assert frames[0].image.shape == (48, 160, 3)
    assert frames[0].camera is not None and frames[0].camera.fx == pytest.approx(0.58 * 160)
    assert np.diff([f.stamp_ns for f in frames]) == pytest.approx([1e8, 1e8], abs=2)


def test_nothing_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "there").mkdir()
    assert main(["simulate", "--output", str(tmp_path / "there"), *SMALL]) == 1
    assert "exists already" in capsys.readouterr().err


def test_mistakes_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "--scene", "strete", "--output", str(tmp_path / "a"), *SMALL]) == 1
    assert "did you mean 'street'" in capsys.readouterr().err
    assert main(["simulate", "--stereo", "--output", str(tmp_path / "b"), *SMALL]) == 1
    assert "--format kitti" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["bag", "kitti"])
def test_a_full_disk_is_said_in_one_line(layout: str, tmp_path: Path) -> None:
    output = tmp_path / "made"
    # A limit on the size of files stands for a full disk: it holds for root too.
    code = (
        "import resource, sys\n"
        "from featdepth_ros.cli.main import main\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    verb = ["simulate", "--format", layout, "--output", str(output), *SMALL]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, "-c", code, *verb], env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert str(output) in done.stderr.strip().splitlines()[-1]


def test_an_output_that_cannot_be_made_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("no folder")
    assert main(["simulate", "--output", str(tmp_path / "file" / "bag"), *SMALL]) == 1
    assert str(tmp_path / "file") in capsys.readouterr().err


@pytest.mark.slow
def test_sensors_traffic_and_faults_go_into_the_recording(tmp_path: Path) -> None:
    pytest.importorskip("rosbags")
    from rosbags.highlevel import AnyReader

    output, masks = tmp_path / "bag", tmp_path / "masks"
    world = ["--scene", "highway", "--traffic", "jam", "--moving", str(masks), "--rolling-shutter", "0.02"]
    wrong = ["--fault", "dark:2-2", "--stand", "0.1-5", "--imu-bias", "0.5,0,0", "--imu-mounting", "0,0,1.5"]
    sensors = ["--twist", "stamped", "--twist-noise", "0.1", "--imu", "--imu-rate", "100"]
    assert main(["simulate", "--output", str(output), *SMALL, *world, *wrong, *sensors]) == 0
    with AnyReader([output]) as bag:
        assert {c.topic: c.msgcount for c in bag.connections}["/imu/data"] == 21
        readings = {c.topic: bag.deserialize(raw, c.msgtype) for c, _, raw in bag.messages()}
    assert readings["/imu/data"].angular_velocity.x == pytest.approx(0.5, abs=1e-6), "it stands: bias is all it reads"
    assert 0.0 < abs(readings["/wheel/twist"].twist.linear.x) < 0.5
    frames = list(open_recording(output))
    assert frames[2].image.mean() < 4.0, "black with noise"
    mask = cv2.imread(str(masks / "000000.png"), cv2.IMREAD_UNCHANGED)
    assert mask is not None and mask.shape == (48, 160) and set(np.unique(mask)) == {0, 255}


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--traffic", "jamm"], "did you mean 'jam'"),
        (["--moving", "masks"], "add --traffic"),
        (["--format", "kitti", "--imu"], "cannot hold"),
        (["--motion", "stop-and-go", "--stand", "1-2"], "leave out --stand"),
        (["--fault", "dark:1-2", "--fault", "dark:2-2"], "twice"),
        (["--imu", "--fault", "cut:1:2"], "cut"),
        (["--rolling-shutter", "0.5"], "time between two frames"),
    ],
)
def test_wishes_that_cannot_be_met_are_told(
    flags: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["simulate", "--output", str(tmp_path / "made"), *SMALL, *flags]) == 1
    assert said in capsys.readouterr().err
