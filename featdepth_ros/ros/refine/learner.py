"""The learner: a process of its own, of the lowest priority, started again when it ends by itself."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from featdepth_ros.ros.refine.settings import RefineSettings

MODULE = "featdepth_training.refine.online"
LOG = "learner.log"
#: Waits before another start, seconds: doubled each time, up to the longest. A life of so long clears the count.
FIRST_WAIT_S, LONGEST_WAIT_S, LIVED_S = 2.0, 60.0, 120.0
#: How long SIGTERM may take, and the size above which the log begins anew, bytes.
_PATIENCE_S, _LOG_BYTES = 3.0, 1_000_000
_NICENESS = 19

#: Makes the command line: folder, weights that depth_node was started with, settings.
Command = Callable[[Path, str, RefineSettings], Sequence[str]]


def learner_command(work: Path, weights: str, settings: RefineSettings) -> list[str]:
    """Return the command line of the learner that ships."""
    words = ["--weights", weights, "--device", settings.device, "--threads", str(settings.threads)]
    words += ["--budget", str(settings.budget), "--parent", str(os.getpid())]
    more = [setting for setting in settings.learner_settings if setting]
    return [sys.executable, "-m", MODULE, str(work), *words, *more]


class LearnerProcess:
    """Keeps the learner running while it is wanted.

    Args:
        work: the folder.
        command: makes the command line; tests bring their own.
        clock: seconds that never go back.

    Attributes:
        trouble: why it does not run although it is wanted, in words; empty: it runs, or is not wanted.
        crashes: how often in a row it ended by itself.
    """

    def __init__(
        self, work: Path, command: Command = learner_command, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._work, self._command, self._clock = work, command, clock
        self._process: subprocess.Popen[bytes] | None = None
        self._weights = ""
        self._started_s = self._again_s = 0.0
        self.trouble = ""
        self.crashes = 0

    @property
    def pid(self) -> int | None:
        """Of the process; None: none runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def silent_s(self, said: dict[str, Any]) -> float:
        """Seconds since a learner that runs has said something, or since its start; 0 where none runs.

        Args:
            said: what it wrote last, ``learner.json``.
        """
        if self.pid is None:
            return 0.0
        alive_s = self._clock() - self._started_s
        if said.get("pid") != self.pid:
            return alive_s
        return max(min(alive_s, time.time() - float(said.get("time") or 0.0)), 0.0)

    def look(self, wanted: bool, weights: str, settings: RefineSettings) -> None:
        """Start, start again, or end the learner, as is due. Never waits for it.

        Args:
            wanted: whether it shall run.
            weights: what depth_node was started with; empty: not known yet. Others begin another learner.
            settings: the parameters.
        """
        if not wanted or (self._process is not None and weights != self._weights):
            self.end(wait=False)
            if not wanted:
                self.trouble, self.crashes, self._again_s = "", 0, 0.0
                return
        if not weights:
            return
        process = self._process
        if process is not None:
            code = process.poll()
            if code is None:
                if self._clock() - self._started_s > LIVED_S:
                    self.crashes = 0
                return
            self._process = None
            self._ended(code, settings)
        if self.crashes <= settings.learner_restarts and self._clock() >= self._again_s:
            self._start(weights, settings)

    def end(self, wait: bool = True) -> None:
        """End the learner; it loses nothing. ``wait``: until it is gone, by force after some seconds."""
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        process.terminate()
        if not wait:
            return
        try:
            process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(_PATIENCE_S)

    def _start(self, weights: str, settings: RefineSettings) -> None:
        if not _is_installed():
            self.trouble = (
                "the training package is not installed, without which nothing is learnt: install it with "
                "pip install 'featdepth_ros[train]'"
            )
            self.crashes = settings.learner_restarts + 1
            return
        log = self._work / LOG
        mode = "ab" if log.is_file() and log.stat().st_size < _LOG_BYTES else "wb"
        try:
            with log.open(mode) as file:
                self._process = subprocess.Popen(
                    list(self._command(self._work, weights, settings)),
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=file,
                    start_new_session=True,  # a Ctrl-C is for the node, which ends it in order
                )
        except OSError as error:
            self._again_s = self._clock() + LONGEST_WAIT_S
            self.trouble = f"the learner cannot be started: {error}"
            return
        _lower(self._process.pid)
        self._weights, self._started_s, self.trouble = weights, self._clock(), ""

    def _ended(self, code: int, settings: RefineSettings) -> None:
        if self._clock() - self._started_s > LIVED_S:
            self.crashes = 0
        self.crashes += 1
        wait_s = min(FIRST_WAIT_S * 2 ** (self.crashes - 1), LONGEST_WAIT_S)
        self._again_s = self._clock() + wait_s
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        words = f"the learner ended ({how}): {_last_words(self._work / LOG)}"
        if self.crashes > settings.learner_restarts:
            self.trouble = f"{words}. It ended {self.crashes} times and is given up; ~/start tries again"
        else:
            self.trouble = f"{words}. It is started again in {wait_s:.0f} s"


def _lower(pid: int) -> None:
    """Give a process that has its own session the lowest priority.

    Linux divides the processor among sessions first, where autogroups are on. There a nice process in a session of its
    own gets as much as the node, unless the session is nice too.
    """
    with contextlib.suppress(OSError):  # gone already, or not allowed: it lowers its own
        os.setpriority(os.PRIO_PROCESS, pid, _NICENESS)
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/autogroup").write_text(str(_NICENESS), encoding="ascii")


def _is_installed() -> bool:
    return importlib.util.find_spec(MODULE.split(".", 1)[0]) is not None


def _last_words(log: Path) -> str:
    """Return the last line of the log; of a missing package, what to install."""
    try:
        lines = log.read_bytes()[-4000:].decode(errors="replace").strip().splitlines()
    except OSError:
        lines = []
    last = lines[-1].strip() if lines else "without a word"
    missing = re.search(r"No module named '([\w.]+)'", last)
    if missing:
        return f"'{missing[1]}' is not installed: pip install 'featdepth_ros[train]'"
    return last
