"""Ctrl-C comes through, whenever it comes: within imports, destructors, and blocks that must not be broken off."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

from featdepth_ros.interrupts import held


def ended(program: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """What comes of a program that sends itself SIGINT."""
    head = "import os, signal, sys, time\nfrom featdepth_ros.interrupts import held, interruptible\n"
    command = [sys.executable, "-c", head + textwrap.dedent(program)]
    # A background job of a shell ignores SIGINT, and so would its children.
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=60, check=False,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip


SWALLOWED = """
class Closing:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0)
try:
    {before}
        Closing()
        time.sleep({patience})
        print("lost")
except KeyboardInterrupt:
    print("interrupted")
"""


def test_what_a_destructor_swallows_is_raised_again(tmp_path: Path) -> None:
    lost = ended(SWALLOWED.format(before="if True:", patience=0.5), tmp_path)
    assert lost.stdout == "lost\n" and "ignored" in lost.stderr  # what Python does by itself
    answered = ended(SWALLOWED.format(before="with interruptible():", patience=20), tmp_path)
    assert (answered.stdout, answered.stderr) == ("interrupted\n", "")


def test_an_import_is_finished_first(tmp_path: Path) -> None:
    """C code that imports turns the interrupt into another error, and a bare except into none."""
    (tmp_path / "careless.py").write_text(
        "import os, signal, time\ntry:\n    os.kill(os.getpid(), signal.SIGINT)\n    time.sleep(0.3)\n"
        "except BaseException:\n    pass\n"
    )
    program = """
    try:
        with interruptible():
            import careless
            time.sleep(20)
            print("lost")
    except KeyboardInterrupt:
        print("interrupted", hasattr(sys.modules["careless"], "__file__"))
    """
    answered = ended(program, tmp_path)
    assert (answered.stdout, answered.stderr) == ("interrupted True\n", "")


def test_a_block_is_held_together(tmp_path: Path) -> None:
    program = """
    done = []
    try:
        with interruptible(), held():
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.2)
            done.append("whole")
        print("lost")
    except KeyboardInterrupt:
        print("interrupted", *done)
    print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)
    """
    assert ended(program, tmp_path).stdout == "interrupted whole\nTrue\n"


def test_the_third_signal_waits_no_longer(tmp_path: Path) -> None:
    program = """
    done = []
    try:
        with interruptible(), held():
            for k in range(4):
                signal.raise_signal(signal.SIGINT)
                done.append(k)
    except KeyboardInterrupt:
        print("interrupted", *done)
    """
    assert ended(program, tmp_path).stdout == "interrupted 0 1\n"


def test_whoever_leaves_undisturbed_stays_so(tmp_path: Path) -> None:
    program = """
    with interruptible():
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a node does while it leaves
    signal.raise_signal(signal.SIGINT)
    print("left")
    """
    assert ended(program, tmp_path).stdout == "left\n"


def test_other_threads_and_ignored_signals_are_left_alone() -> None:
    def elsewhere() -> None:
        with held():
            seen.append(signal.getsignal(signal.SIGINT))

    seen: list[object] = []
    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert seen == [signal.default_int_handler]
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with held():
            signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
