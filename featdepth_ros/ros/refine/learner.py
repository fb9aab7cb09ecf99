"""The learner: a separate process of the lowest priority, which is restarted when it crashes."""

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
#: Seconds before a restart: the first wait, which is doubled each time, and the longest. A longer run than the third
#: resets the count.
FIRST_WAIT_S, LONGEST_WAIT_S, LIVED_S = 2.0, 60.0, 120.0
#: Seconds between SIGTERM and SIGKILL, and the size in bytes above which the log starts anew.
_PATIENCE_S, _LOG_BYTES = 3.0, 1_000_000
_NICENESS = 19

#: Returns the command line for: folder, weights that depth_node was started with, settings.
Command = Callable[[Path, str, RefineSettings], Sequence[str]]


def learner_command(work: Path, weights: str, settings: RefineSettings) -> list[str]:
    """Return the command line of the shipped learner."""
    words = ["--weights", weights, "--device", settings.device, "--threads", str(settings.threads)]
    words += ["--budget", str(settings.budget), "--parent", str(os.getpid())]
    more = [setting for setting in settings.learner_settings if setting]
    return [sys.executable, "-m", MODULE, str(work), *words, *more]


class LearnerProcess:
    """Keeps the learner running while learning is enabled.

    Args:
        work: folder shared with the learner.
        command: returns the command line; tests pass their own.
        clock: returns monotonic seconds.

    Attributes:
        trouble: why it does not run although it should; empty: it runs, or should not run.
        crashes: number of consecutive crashes.
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
        """Process id of the learner; None if it does not run."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def silent_s(self, said: dict[str, Any]) -> float:
        """Return the seconds since the last status of a running learner, or since its start; 0 if none runs.

        Args:
            said: its last status, the content of ``learner.json``.
        """
        if self.pid is None:
            return 0.0
        alive_s = self._clock() - self._started_s
        if said.get("pid") != self.pid:
            return alive_s
        return max(min(alive_s, time.time() - float(said.get("time") or 0.0)), 0.0)

    def update(self, wanted: bool, weights: str, settings: RefineSettings) -> None:
        """Start, restart or end the learner as needed, without waiting for it.

        Args:
            wanted: whether it should run.
            weights: weights that depth_node was started with; empty: not known yet. A change restarts the learner.
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
        """End the learner, which saves its state. With ``wait``, wait for its end and kill it after some seconds."""
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
                "learning needs the training package, which is not installed; install it with: "
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
                    start_new_session=True,  # Ctrl-C must reach only the node, which then ends the learner
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
            self.trouble = f"{words}. It ended {self.crashes} times and is not restarted; ~/start tries again"
        else:
            self.trouble = f"{words}. It is restarted in {wait_s:.0f} s"


def _lower(pid: int) -> None:
    """Give a process with its own session the lowest priority.

    With autogroups, Linux first divides the processor among sessions. A nice process in its own session then gets as
    much time as the node, unless the nice value of the session is raised too.
    """
    with contextlib.suppress(OSError):  # the process has ended, or this is not allowed; it lowers its own priority too
        os.setpriority(os.PRIO_PROCESS, pid, _NICENESS)
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/autogroup").write_text(str(_NICENESS), encoding="ascii")


def _is_installed() -> bool:
    return importlib.util.find_spec(MODULE.split(".", 1)[0]) is not None


def _last_words(log: Path) -> str:
    """Return the last line of the log; for a missing package, what to install."""
    try:
        lines = log.read_bytes()[-4000:].decode(errors="replace").strip().splitlines()
    except OSError:
        lines = []
    last = lines[-1].strip() if lines else "without a word"
    missing = re.search(r"No module named '([\w.]+)'", last)
    if missing:
        return f"'{missing[1]}' is not installed: pip install 'featdepth_ros[train]'"
    return last
