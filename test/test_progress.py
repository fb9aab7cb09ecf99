"""The progress bar: a bar on a terminal, a line a minute elsewhere, and never a reason to fail."""

from __future__ import annotations

import io
import sys
from types import SimpleNamespace

import pytest

from featdepth_ros import progress as module
from featdepth_ros.progress import ProgressBar, progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    stream = Terminal()  # pytest puts its own sys.stderr back before a test begins
    monkeypatch.setattr(module, "sys", SimpleNamespace(stderr=stream))
    return stream


@pytest.fixture
def minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every look at the clock be a minute later."""
    clock = iter(range(0, 10**6, 60))
    monkeypatch.setattr(module.time, "monotonic", lambda: float(next(clock)))


def test_a_terminal_gets_a_bar(terminal: Terminal) -> None:
    pytest.importorskip("tqdm")
    with ProgressBar("rendering", 4, done=1) as bar:
        bar.update()
        bar.update(2)
        bar.status("loss 0.5")
    assert bar.done == 4
    shown = terminal.getvalue()
    assert "rendering: 100%" in shown and "4/4" in shown and "loss 0.5" in shown and shown.endswith("\n")


def test_elsewhere_a_line_a_minute_tells_how_far_it_is(capsys: pytest.CaptureFixture[str], minutes: None) -> None:
    with ProgressBar("training", 10, "step") as bar:
        bar.status("loss 0.5")
        bar.update(3)
    assert capsys.readouterr().err == "training: 3/10 step, loss 0.5\n"


def test_a_short_run_is_silent_off_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(progress([1, 2, 3], "short")) == [1, 2, 3]
    assert capsys.readouterr() == ("", "")


def test_a_terminal_without_tqdm_does_without(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, minutes: None
) -> None:
    monkeypatch.setitem(sys.modules, "tqdm", None)
    assert list(progress(iter("ab"), "infer", 2)) == ["a", "b"]
    assert terminal.getvalue() == "infer: 1/2 frame\ninfer: 2/2 frame\n"


def test_nothing_is_shown_when_told_so(terminal: Terminal, capsys: pytest.CaptureFixture[str], minutes: None) -> None:
    with ProgressBar("quiet", 2, shown=False) as bar:
        bar.update()
        bar.write("a word")
    assert terminal.getvalue() == "" and capsys.readouterr().out == "" and bar.done == 1


def test_a_line_goes_to_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressBar("training", 2) as bar:
        bar.write("saved")
    assert capsys.readouterr().out == "saved\n"


def test_the_bar_ends_with_the_generator(terminal: Terminal) -> None:
    pytest.importorskip("tqdm")
    items = progress(range(5), "rendering")
    next(items)
    items.close()
    assert terminal.getvalue().endswith("\n") and "0/5" in terminal.getvalue()
