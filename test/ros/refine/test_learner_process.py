"""The learner's process: started, started again after longer and longer waits, given up, ended with nothing left."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from featdepth_ros.ros.refine.learner import FIRST_WAIT_S, LIVED_S, LearnerProcess, learner_command
from featdepth_ros.ros.refine.settings import SCHEMA, RefineSettings

SETTINGS = RefineSettings(**{name: option.default for name, option in SCHEMA.items()})
FAILS = [sys.executable, "-S", "-c", "import sys; sys.exit('ModuleNotFoundError: No module named \\'tqdm\\'')"]
SLEEPS = [sys.executable, "-S", "-c", "import time; time.sleep(60)"]


class Kept:
    """A process under a clock that the test turns."""

    def __init__(self, work: Path, command: list[str], **settings: int) -> None:
        self.now, self.starts = 1000.0, 0
        self.settings = RefineSettings(**{**SETTINGS.__dict__, **settings})

        def start(*_: object) -> list[str]:
            self.starts += 1
            return command

        self.learner = LearnerProcess(work, start, lambda: self.now)

    def update(self, wanted: bool = True, weights: str = "compact") -> None:
        self.learner.update(wanted, weights, self.settings)

    def until_dead(self) -> None:
        end = time.monotonic() + 20.0
        while self.learner.pid is not None and time.monotonic() < end:
            time.sleep(0.01)
        assert self.learner.pid is None


@pytest.fixture
def sleeping(tmp_path: Path) -> Iterator[Kept]:
    kept = Kept(tmp_path, SLEEPS)
    yield kept
    kept.learner.end()
    assert kept.learner.pid is None


def test_what_fails_is_started_again_later_and_later_and_given_up(tmp_path: Path) -> None:
    kept = Kept(tmp_path, FAILS, learner_restarts=2)
    for crash in range(1, 4):
        kept.update()
        assert kept.starts == crash
        kept.until_dead()
        kept.update()
        assert kept.learner.crashes == crash and "'tqdm' is not installed: pip install" in kept.learner.trouble
        kept.now += FIRST_WAIT_S * 2 ** (crash - 1) - 0.1
        kept.update()
        assert kept.starts == crash, "it waits"
        kept.now += 0.2
    assert "is not restarted; ~/start tries again" in kept.learner.trouble
    kept.now += 1e6
    kept.update()
    assert kept.starts == 3
    kept.update(wanted=False)
    assert kept.learner.trouble == "" and kept.learner.crashes == 0
    kept.update()
    assert kept.starts == 4


def test_a_long_life_clears_the_count_and_other_weights_begin_another_learner(sleeping: Kept) -> None:
    sleeping.update(weights="")
    assert sleeping.starts == 0, "nobody knows yet what depth_node was started with"
    sleeping.update()
    sleeping.learner.crashes = 2
    sleeping.now += LIVED_S + 1
    sleeping.update()
    assert sleeping.learner.crashes == 0
    first = sleeping.learner.pid
    sleeping.update(weights="other")
    sleeping.update(weights="other")
    assert sleeping.learner.pid not in (None, first) and sleeping.starts == 2
    sleeping.update(wanted=False)
    assert sleeping.learner.pid is None


def test_silence_is_counted_from_the_last_word_of_this_very_process(sleeping: Kept) -> None:
    assert sleeping.learner.silent_s({}) == 0.0
    sleeping.update()
    sleeping.now += 100.0
    assert sleeping.learner.silent_s({"pid": -1, "time": time.time()}) == 100.0
    said = {"pid": sleeping.learner.pid, "time": time.time() - 30.0}
    assert sleeping.learner.silent_s(said) == pytest.approx(30.0, abs=1.0)


def test_the_command_line_is_the_learners(tmp_path: Path) -> None:
    settings = RefineSettings(**{**SETTINGS.__dict__, "learner_settings": ["steps=3", ""], "budget": 0.25})
    command = learner_command(tmp_path, "compact-open", settings)
    assert command[:4] == [sys.executable, "-m", "featdepth_training.refine.online", str(tmp_path)]
    assert command[command.index("--budget") + 1] == "0.25" and command[-1] == "steps=3"


def test_a_machine_without_the_training_package_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("featdepth_ros.ros.refine.learner._is_installed", lambda: False)
    kept = Kept(tmp_path, SLEEPS)
    kept.update()
    kept.update()
    assert kept.starts == 0 and "pip install 'featdepth_ros[train]'" in kept.learner.trouble
