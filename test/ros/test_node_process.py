"""The node as a user starts it: its own process, networks and all."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from nav_msgs.msg import Odometry
from ros_graph import Graph, Probe, wait
from sensor_msgs.msg import Image

pytestmark = pytest.mark.ros

START = 1_700_000_000_000_000_000


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights: numbers without meaning, shapes and types with."""
    import torch

    from featdepth_ros.models.build import build_model
    from featdepth_ros.models.checkpoints import save_model

    torch.manual_seed(0)
    return Path(save_model(tmp_path_factory.mktemp("weights") / "random.safetensors", build_model("compact")))


def start(environment: dict[str, str], *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "featdepth_ros.ros.node", "--ros-args", *arguments]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str], number: int) -> tuple[int, str]:
    process.send_signal(number)
    try:
        out, err = process.communicate(timeout=60.0)
    finally:
        process.kill()
    return process.returncode, out + err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_runs_on_its_own_and_leaves_cleanly(
    ros: Graph, ros_environment: dict[str, str], weights: Path, number: int
) -> None:
    probe = Probe(ros)
    depths, odoms = probe.hear(Image, "/robot/depth_node/depth/image_rect"), probe.hear(Odometry, "/robot/odom")
    reports = probe.hear(DiagnosticArray, "/diagnostics")
    arguments = ("-r", "__ns:=/robot", "-r", "image_raw:=/camera/image_raw", "-p", f"weights:={weights}")
    sizes = ("-p", "input_height:=64", "-p", "input_width:=96", "-p", "extrinsics_timeout_s:=0.0")
    process = start(ros_environment, *arguments, *sizes)
    try:
        wait(lambda: reports or process.poll() is not None, "the node", 120.0)
        probe.send_until(lambda: len(depths) >= 3 and len(odoms) >= 3, "depth and odometry", START, timeout_s=60.0)
    finally:
        code, text = finish(process, number)
    assert code == 0, text
    assert "Traceback" not in text
    assert "licence of the weights" in text and re.search(r"ready after \d+\.\d s", text)
    depth = np.frombuffer(depths[-1].data, "<f4").reshape(depths[-1].height, depths[-1].width)
    assert depth.shape == (64, 96)
    finite = depth[np.isfinite(depth)]
    assert ((finite >= 0.1) & (finite <= 80.0)).all()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("-p", "weights:=/nowhere/w.safetensors"), "no weights at '/nowhere/w.safetensors'"),
        (("-p", "max_depth:=-1.0"), "max_depth"),
        (("-p", "max_depth:=80"), "write it with a decimal point"),
        (("-p", "max_depht:=80.0", "-p", "scale:=metres"), "did you mean 'max_depth'"),
        (("-p", "motion:=aligned"), "'motion' is 'aligned', which was removed: use 'window' instead"),
        (("-p", "depth:=fused", "-p", "motion:=network"), "set motion to 'window'"),
        (("-p", "scale:=metres"), "expected one of auto, relative, factor, camera_height"),
    ],
)
def test_a_node_that_cannot_start_says_why_and_ends(
    ros_environment: dict[str, str], arguments: tuple[str, ...], says: str
) -> None:
    process = start({**ros_environment, "PYTHONUNBUFFERED": "1"}, *arguments)
    try:
        out, err = process.communicate(timeout=120.0)
    finally:
        process.kill()
    assert process.returncode == 1
    assert says in out + err
    assert "Traceback" not in out + err


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "cannot be opened: is the path right?"),
        ("max_depth: 3.0\n", "Parameters stand under '/**:' and 'ros__parameters:'"),
        ("a: [", "cannot be read"),
        ("/**:\n  ros__parameters:\n    odom_frame: base_link\n", "expected two different frames"),
    ],
)
def test_a_params_file_that_is_missing_or_broken_is_named(
    ros_environment: dict[str, str], tmp_path: Path, text: str | None, says: str
) -> None:
    path = tmp_path / "params.yaml"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    process = start({**ros_environment, "PYTHONUNBUFFERED": "1"}, "--params-file", str(path))
    try:
        out, err = process.communicate(timeout=60.0)
    finally:
        process.kill()
    assert process.returncode == 1
    assert says in out + err and (str(path) in out + err or "different frames" in says)
    assert "Traceback" not in out + err


def test_a_signal_while_it_loads_ends_it_at_once(ros_environment: dict[str, str], weights: Path) -> None:
    process = start({**ros_environment, "PYTHONUNBUFFERED": "1"}, "-p", f"weights:={weights}")
    assert process.stderr is not None
    said = ""
    while "loading weights" not in said:
        line = process.stderr.readline()
        assert line, f"the node ended: {said}"
        said += line
    begun = time.monotonic()
    code, text = finish(process, signal.SIGTERM)
    assert code == 0, text
    assert time.monotonic() - begun < 10.0
    assert "Traceback" not in text and "cannot" not in text and "could not" not in text


def test_importing_the_node_loads_nothing_heavy() -> None:
    heavy = ("torch", "matplotlib", "tensorboard", "scipy", "numba", "rosbags", "tqdm")
    code = f"import sys, featdepth_ros.ros.node; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, env=os.environ)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
