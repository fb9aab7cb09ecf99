"""Child processes of the demo: node, recorder and player on their own DDS domain; none outlives the demo."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

from featdepth_ros.errors import FeatDepthError
from featdepth_ros.progress import ProgressBar

#: Where the player publishes the images.
IMAGES = "/camera/image_raw"
#: Domains whose ports are outside Linux's range of ephemeral ports.
_DOMAINS = 101
#: Seconds between SIGINT and SIGKILL for a child.
_LEAVE_S = 20.0


class _Child:
    """One child process. Its output goes to a log file and is searched for the line that says it is ready."""

    def __init__(self, name: str, command: list[str], log: Path, ready: str) -> None:
        self.name, self.log, self._ready_text = name, log, ready
        self.ready = threading.Event()
        if not ready:
            self.ready.set()
        # With a process group of its own, Ctrl-C reaches only the demo, which then stops the children in order.
        self.process = subprocess.Popen(
            [sys.executable, "-u", *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=_environment(),
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.log.open("wb") as log:
            for line in self.process.stdout:
                log.write(line)
                log.flush()
                if self._ready_text and self._ready_text.encode() in line:
                    self.ready.set()

    def tail(self, lines: int = 12) -> str:
        """Return the last ``lines`` lines of the log."""
        return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])

    def stop(self) -> int:
        """Send SIGINT, kill the process if it does not end, and return its exit code."""
        for number, patience_s in ((signal.SIGINT, _LEAVE_S), (signal.SIGKILL, 5.0)):
            if self.process.poll() is None:
                os.killpg(self.process.pid, number)
                try:
                    self.process.wait(patience_s)
                except subprocess.TimeoutExpired:
                    continue
        self._reader.join(5.0)
        return self.process.returncode if self.process.returncode is not None else -1


def _environment() -> dict[str, str]:
    environment = dict(os.environ)
    # The demo must not see other ROS nodes on this machine or its network, nor they the demo.
    environment["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    environment["ROS_LOCALHOST_ONLY"] = "1"
    environment["ROS_DOMAIN_ID"] = str(1 + os.getpid() % _DOMAINS)
    return environment


class Processes:
    """The child processes of one demo. A context manager that ends all of them.

    Args:
        logs: folder for the log files, one per child.
    """

    def __init__(self, logs: Path) -> None:
        logs.mkdir(parents=True, exist_ok=True)
        self._logs = logs
        self._children: dict[str, _Child] = {}

    def __enter__(self) -> Processes:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for child in self._children.values():
            child.stop()

    def start(self, name: str, command: list[str], *, ready: str = "", within_s: float = 30.0) -> None:
        """Start a child and wait until its output contains ``ready``.

        Raises:
            FeatDepthError: it ended, or was not ready within ``within_s`` seconds; the message ends with its log.
        """
        child = self._children[name] = _Child(name, command, self._logs / f"{name}.log", ready)
        deadline = time.monotonic() + within_s
        while not child.ready.wait(0.1):
            if child.process.poll() is not None:
                raise FeatDepthError(f"the {name} process ended with code {child.process.returncode}:\n{child.tail()}")
            if time.monotonic() > deadline:
                raise FeatDepthError(f"the {name} process was not ready within {within_s:g} s:\n{child.tail()}")

    def wait(self, name: str, within_s: float, *, expected_s: float) -> None:
        """Wait at most ``within_s`` seconds for a child to end; a progress bar shows ``expected_s``.

        Raises:
            FeatDepthError: it failed or did not end in time, or another child ended meanwhile.
        """
        child, start = self._children[name], time.monotonic()
        with ProgressBar(name, round(expected_s), "s") as bar:
            while child.process.poll() is None:
                elapsed = time.monotonic() - start
                if elapsed > within_s:
                    raise FeatDepthError(f"the {name} process did not end within {within_s:g} s:\n{child.tail()}")
                for other in self._children.values():
                    if other is not child and other.process.poll() is not None:
                        raise FeatDepthError(f"the {other.name} process ended early:\n{other.tail()}")
                bar.update(min(round(elapsed), round(expected_s)) - bar.done)
                time.sleep(0.2)
        if child.process.returncode != 0:
            raise FeatDepthError(f"the {name} process failed:\n{child.tail()}")

    def stop(self, name: str) -> None:
        """Stop a child with SIGINT and wait for its end.

        Raises:
            FeatDepthError: its exit code is not 0.
        """
        code = self._children[name].stop()
        if code not in (0, 130, -signal.SIGINT):
            raise FeatDepthError(f"the {name} process ended with code {code}:\n{self._children[name].tail()}")


def play_into_node(
    source: str | Path,
    answers: Path,
    topics: Sequence[str],
    parameters: Sequence[str],
    *,
    topic: str | None = None,
    camera: str | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> int:
    """Play a recording in real time into a node started for it, and record the published topics.

    Args:
        source: the recording.
        answers: bag to create; the folder of the logs is beside it.
        topics: names of the topics to record.
        parameters: ``name:=value`` of the node.
        topic: image topic of a recording that has several.
        camera: calibration, for recordings without one.
        say: called with a sentence about each next step.

    Returns:
        Number of frames played.

    Raises:
        FeatDepthError: a process did not start, failed, or did not end in time.
    """
    from featdepth_ros.recordings import open_recording

    recording = open_recording(source, topic=topic, camera=camera)
    seconds = len(recording) / recording.rate_hz
    # The recording's stamps are old. With its clock as /clock, the ages of messages are meaningful.
    node = ["-m", "featdepth_ros.ros.node", "--ros-args", "-r", f"image_raw:={IMAGES}", "-p", "use_sim_time:=true"]
    node += [part for parameter in parameters for part in ("-p", parameter)]
    play = ["-m", "featdepth_ros.cli.main", "play", str(source), "--image-topic", IMAGES, "--clock"]
    play += ["--start-delay", "3", *(["--topic", topic] if topic else []), *(["--camera", camera] if camera else [])]
    record = ["-m", "featdepth_ros.cli.main", "record", "--output", str(answers), "--topics", *topics]
    with Processes(answers.parent / "logs") as processes:
        say("starting the node")
        processes.start("node", node, ready="listening on", within_s=180.0)  # the first start compiles the solver
        processes.start("record", record, ready="recording")
        say(f"playing {len(recording)} frames, {seconds:.0f} s, in real time")
        processes.start("play", play)
        processes.wait("play", seconds * 1.5 + 60.0, expected_s=seconds)
        processes.stop("record")
        processes.stop("node")
    return len(recording)
