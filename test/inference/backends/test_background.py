"""What works in the background ends before the process does, and a build is broken off."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from featdepth_ros.errors import FeatDepthError
from featdepth_ros.inference.backends.build import build
from featdepth_ros.models.build import build_model

SCRIPT = """
import sys, time
from pathlib import Path
from featdepth_ros.inference.backends import choice

def work():
    time.sleep(0.5)
    Path(sys.argv[1]).write_text(f"ended: {choice._ending.is_set()}")

choice._in_background(work)
"""


def test_the_process_waits_for_what_cannot_be_cut_off(tmp_path: Path) -> None:
    written = tmp_path / "written"
    command = [sys.executable, "-c", SCRIPT, str(written)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert written.read_text() == "ended: True"


def test_a_build_is_broken_off_and_leaves_nothing(tmp_path: Path) -> None:
    stop = threading.Event()
    threading.Timer(0.5, stop.set).start()
    start = time.monotonic()
    with pytest.raises(FeatDepthError, match="broken off"):
        build(build_model("compact"), "sum", (64, 96), [".onnx"], tmp_path / "entry", stop=stop)
    assert time.monotonic() - start < 30
    assert not list(tmp_path.iterdir())
