"""What works in the background ends before the process does, and a build is broken off."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from featdepth_ros.errors import FeatDepthError
from featdepth_ros.inference.backends import build as build_module
from featdepth_ros.inference.backends import choice as choice_module
from featdepth_ros.inference.backends.cache import Cache, weights_checksum
from featdepth_ros.inference.backends.choice import BackendChoice
from featdepth_ros.inference.backends.pytorch import TorchBackend
from featdepth_ros.models.build import build_model

SCRIPT = """
import sys, threading, time
from pathlib import Path
from types import SimpleNamespace
from featdepth_ros.inference.backends import choice

def write(name):
    (Path(sys.argv[1]) / name).write_text(f"ended: {choice._ending.is_set()}")

def work():
    time.sleep(0.4)
    write("settled")

def exchange():
    choice.BackendChoice.follow(None, SimpleNamespace(_settled={}))
    follows.set()
    time.sleep(0.8)
    write("followed")

follows = threading.Event()
threading.Thread(target=exchange, daemon=True).start()
follows.wait(10)
choice._in_background(work)
"""


def test_the_process_waits_for_what_cannot_be_cut_off(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SCRIPT, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0 and not done.stderr, done.stderr
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == dict.fromkeys(
        ("settled", "followed"), "ended: True"
    )


class Interrupted(threading.Event):
    """Ctrl-C comes while it is looked at."""

    def is_set(self) -> bool:
        raise KeyboardInterrupt


def test_an_interrupt_leaves_no_build_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[str]] = []
    popen = subprocess.Popen

    def noted(*args: Any, **options: Any) -> subprocess.Popen[str]:
        started.append(popen(*args, **options))
        return started[0]

    monkeypatch.setattr(subprocess, "Popen", noted)
    with pytest.raises(KeyboardInterrupt):
        build_module._run([sys.executable, "-c", "import time; time.sleep(60)"], os.environ, Interrupted())
    assert started[0].wait(10) == -signal.SIGKILL


def choice_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> BackendChoice:
    monkeypatch.setattr(choice_module, "usable", lambda *_: ["openvino", "onnxruntime"])
    model, device = build_model("compact").eval(), torch.device("cpu")
    return BackendChoice(model, TorchBackend(model, device, "fp32"), device, "fp32", "auto", Cache(folder))


def test_a_cache_that_cannot_be_read_holds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    choice = choice_in(tmp_path / ("x" * 300), monkeypatch)
    assert choice.for_image(torch.zeros(1, 3, 64, 96)).name == "torch"
    assert not choice._built((64, 96))


def test_only_what_was_found_fastest_must_be_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    choice = choice_in(tmp_path, monkeypatch)
    entry = choice._cache.entry(weights_checksum(choice._model), torch.device("cpu"), (64, 96))
    entry.mkdir()
    (entry / "graph.xml").touch()
    assert not choice._built((64, 96))
    choice._remember(entry, "openvino")
    assert choice._built((64, 96))
    choice._remember(entry, "onnxruntime")
    assert not choice._built((64, 96))


def test_pytorch_that_was_found_fastest_serves_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("built or timed again")

    monkeypatch.setattr(choice_module, "build", refuse)
    monkeypatch.setattr(choice_module, "_seconds", refuse)
    choice = choice_in(tmp_path, monkeypatch)
    entry = choice._cache.entry(weights_checksum(choice._model), torch.device("cpu"), (64, 96))
    entry.mkdir()
    choice._remember(entry, "torch")
    assert not choice._built((64, 96))  # what it was compared with is not there
    for suffix in (".xml", ".onnx"):
        (entry / f"graph{suffix}").touch()
    choice.settle((64, 96), 1)
    assert choice.current is choice._serving and choice._settled == {(64, 96): choice._serving} and not choice.note


def test_weights_are_read_beside_who_computes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    readers: list[threading.Thread] = []

    def checksum(_model: object) -> str:
        readers.append(threading.current_thread())
        return "sum"

    monkeypatch.setattr(choice_module, "weights_checksum", checksum)
    choice = choice_in(tmp_path, monkeypatch)
    for _ in range(2):
        assert choice.for_image(torch.zeros(1, 3, 64, 96)).name == "torch"
        assert choice._at_work is not None
        choice._at_work.join(30)
    assert len(readers) == 1 and readers[0] is not threading.current_thread()
    assert choice._enough == {(64, 96): choice_module._LATER}


def test_one_handler_waits_for_all_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    registered: list[object] = []
    monkeypatch.setattr(choice_module.atexit, "register", registered.append)
    monkeypatch.setattr(choice_module.atexit, "unregister", lambda f: registered.remove(f) if registered else None)
    threads = [choice_module._in_background(lambda: time.sleep(0.05)) for _ in range(3)]
    assert registered == [choice_module._wait_for_all] and set(threads) <= set(choice_module._working)
    monkeypatch.setattr(choice_module, "_ending", threading.Event())
    choice_module._wait_for_all()
    assert choice_module._ending.is_set() and not any(thread.is_alive() for thread in threads)


def test_a_build_is_broken_off_and_leaves_nothing(tmp_path: Path) -> None:
    stop = threading.Event()
    threading.Timer(0.5, stop.set).start()
    start = time.monotonic()
    with pytest.raises(FeatDepthError, match="aborted"):
        build_module.build(build_model("compact"), "sum", (64, 96), [".onnx"], tmp_path / "entry", stop=stop)
    assert time.monotonic() - start < 30
    assert not list(tmp_path.iterdir())
