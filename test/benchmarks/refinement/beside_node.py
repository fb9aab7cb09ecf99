"""Measurement of depth_node on a recording in real time, without refine_node and with it.

python test/benchmarks/refinement/beside_node.py INPUT [--topic T] [--camera C] [--rate-hz 10] [--weights compact-open]
    [--minutes 20] [--before 60] [--folder DIR] [--json FILE] [-p name:=value ...] [-r name:=value ...]

``-p`` are parameters of depth_node, ``-r`` those of refine_node. Node, player, refine_node and its learner are separate
processes, as on a robot. No other program should use the machine. The recording is played in a loop. A line is printed
every half minute, and at the end one JSON object with:

- processed frames per second, without and with the learner, and their ratio;
- CPU time of each process, in cores, and its peak memory (RSS);
- generations with their evidence, and the decisions on them (``history.jsonl``);
- for every exchange of weights, the largest speed between neighbouring odometry messages around it, divided by the
  median speed of the seconds before. Without a jump it is close to ``usual``, the 99th percentile at other times.

DIR (default: a temporary folder) holds buffer, generations, history and the logs.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from nav_msgs.msg import Odometry
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import ReliabilityPolicy
from sensor_msgs.msg import Image

from featdepth_ros.files import read_json
from featdepth_ros.ros.compat import keep_last
from featdepth_ros.ros.middleware import use_shared_memory_profile

#: Seconds between two printed lines, and timeout for the node's first depth images, seconds.
EVERY_S, READY_S = 30.0, 180.0
#: Seconds before and after an exchange in which its effect is searched, and seconds before those for comparison.
AROUND_S, EARLIER_S = 2.0, 10.0
#: Largest time between compared messages, seconds; at a longer gap the recording restarted, or frames were dropped.
APART_S = 0.35


class Watch:
    """Subscribes to the node: counts depth images, stores odometry, and notes exchanges of weights."""

    def __init__(self) -> None:
        use_shared_memory_profile()
        rclpy.init()
        self._node = rclpy.create_node("watch")
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self._node)
        self.frames = 0
        self.path: list[tuple[float, float, float, float, float]] = []  # time of receipt, stamp, position
        self.swaps: list[float] = []
        self.said: dict[str, str] = {}
        self.states: Counter[str] = Counter()
        best = ReliabilityPolicy.BEST_EFFORT
        self._node.create_subscription(Image, "/depth_node/depth/image_rect", self._on_depth, keep_last(2, best))
        self._node.create_subscription(Odometry, "/odom", self._on_odometry, keep_last(50, best))
        self._node.create_subscription(DiagnosticArray, "/diagnostics", self._on_reports, keep_last(20, best))

    def _on_depth(self, _msg: Image) -> None:
        self.frames += 1

    def _on_odometry(self, msg: Odometry) -> None:
        stamp, place = msg.header.stamp, msg.pose.pose.position
        self.path.append((time.monotonic(), stamp.sec + 1e-9 * stamp.nanosec, place.x, place.y, place.z))

    def _on_reports(self, msg: DiagnosticArray) -> None:
        for status in msg.status:
            values = {item.key: item.value for item in status.values}
            if "motion_state" not in values:
                continue
            self.states[values["motion_state"]] += 1
            if int(values.get("weights_swapped", 0)) > int(self.said.get("weights_swapped", 0)):
                self.swaps.append(time.monotonic())
            self.said = {key: values[key] for key in ("motion_state", "weights", "weights_swapped") if key in values}

    def rate(self, seconds: float) -> float:
        """Wait for some seconds and return the number of depth images per second."""
        count, began = self.frames, time.monotonic()
        while time.monotonic() < began + seconds:
            self._executor.spin_once(timeout_sec=0.1)
        return (self.frames - count) / (time.monotonic() - began)


def jumps(path: list[tuple[float, float, float, float, float]], swaps: list[float]) -> dict[str, Any]:
    """Return the largest speed between neighbouring poses around each exchange and usually, over the median before.

    Args:
        path: time of receipt, stamp (both seconds) and position of each message, in order.
        swaps: times at which an exchange was reported.
    """
    table = np.array(path, dtype=float).reshape(-1, 5)
    gaps = np.diff(table[:, 1])
    moved = np.linalg.norm(np.diff(table[:, 2:], axis=0), axis=1)
    known = (gaps > 0) & (gaps < APART_S)
    heard, speed = table[1:, 0][known], moved[known] / gaps[known]

    def over_median(now: float, first: float, last: float) -> float | None:
        there = speed[(heard >= now + first) & (heard <= now + last)]
        earlier = speed[(heard >= now + first - EARLIER_S) & (heard < now + first)]
        if len(there) == 0 or len(earlier) == 0 or np.median(earlier) <= 0:
            return None
        return float(there.max() / np.median(earlier))

    at_swaps = [over_median(swap, -AROUND_S, AROUND_S) for swap in swaps]
    far = [t for t in heard[::5] if all(abs(t - swap) > AROUND_S + EARLIER_S for swap in swaps)]
    usual = [ratio for t in far if (ratio := over_median(t, -AROUND_S, AROUND_S)) is not None]
    return {"at_swaps": at_swaps, "usual": float(np.percentile(usual, 99)) if usual else None}


def memory_mb(pid: int) -> float | None:
    """Return the peak memory of a process, megabytes; None: the process has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), None)


def processor_s(pid: int) -> float | None:
    """Return the CPU time of a process, seconds; None: the process has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Children:
    """The processes of this measurement, as a context manager that ends all of them."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self.pids: dict[str, int] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Children:
        return self

    def __exit__(self, *_error: object) -> None:
        self._stack.close()

    def start(self, name: str, module: str, *words: str) -> subprocess.Popen[bytes]:
        """Start ``python -m module words`` with its output in a log file."""
        log = self._stack.enter_context((self._logs / f"{name}.log").open("wb"))
        child = subprocess.Popen([sys.executable, "-m", module, *words], stdout=log, stderr=log, start_new_session=True)
        self.pids[name] = child.pid
        self._stack.callback(_end, child)
        return child


def _end(child: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGINT, signal.SIGKILL):
        if child.poll() is None:
            os.killpg(child.pid, number)
            try:
                child.wait(20.0)
            except subprocess.TimeoutExpired:
                continue


class Meter:
    """Measures the memory and CPU time of processes over a period."""

    def __init__(self) -> None:
        self._first: dict[tuple[str, int], tuple[float, float]] = {}
        self._last: dict[tuple[str, int], tuple[float, float]] = {}
        self.memory_mb: dict[str, float] = {}

    def read(self, pids: dict[str, int]) -> None:
        """Read memory and CPU time of the processes once."""
        for name, pid in pids.items():
            memory, used = memory_mb(pid), processor_s(pid)
            if memory is None or used is None:
                continue
            self._first.setdefault((name, pid), (time.monotonic(), used))
            self._last[name, pid] = (time.monotonic(), used)
            self.memory_mb[name] = max(memory, self.memory_mb.get(name, 0.0))

    def cores(self) -> dict[str, float]:
        """Return CPU time divided by wall time, by name."""
        shares = {}
        for (name, pid), (began, used) in self._first.items():
            now, then = self._last[name, pid]
            if now > began:
                shares[name] = (then - used) / (now - began)
        return shares


def generations(work: Path) -> list[dict[str, Any]]:
    """Return the evidence of every generation, on which its acceptance depends."""
    found = []
    for path in sorted((work / "generations").glob("*/evidence.json"), key=lambda path: int(path.parent.name)):
        facts = read_json(path) or {}
        kept = {key: facts.get(key) for key in ("generation", "accepted", "reasons", "scale_ratio_start", "steps")}
        for key in ("photometric", "shape_error"):
            kept[key] = [(facts.get(when) or {}).get(key) for when in ("before", "after")]
        found.append(kept)
    return found


def history(work: Path) -> list[dict[str, Any]]:
    """Return the decisions of refine_node as event and generation."""
    try:
        lines = (work / "history.jsonl").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    events = [json.loads(line) for line in lines]
    return [{key: event.get(key) for key in ("event", "generation")} for event in events]


def measure(args: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Run the measurement and return its results."""
    watch = Watch()
    given = [f"weights:={args.weights}", *args.parameter]
    words = ["--ros-args", "-r", "image_raw:=/camera/image_raw", *(w for p in given for w in ("-p", p))]
    play = ["play", args.input, "--loop", "--rate-hz", str(args.rate_hz)]
    for name in ("topic", "camera"):
        if getattr(args, name):
            play += [f"--{name}", getattr(args, name)]
    with Children(work) as children:
        node = children.start("node", "featdepth_ros.ros.node", *words)
        player = children.start("player", "featdepth_ros.cli.main", *play)
        until = time.monotonic() + READY_S
        while watch.frames < 20:
            watch.rate(1.0)
            if time.monotonic() > until or node.poll() is not None or player.poll() is not None:
                raise RuntimeError(f"depth_node gave {watch.frames} frames; see {work}/node.log and player.log")
        watch.rate(min(20.0, args.before))
        base = watch.rate(args.before)
        print(f"without the learner: {base:.2f} frames/s", flush=True)
        settings = [f"folder:={work}", *args.refine]
        children.start("refine_node", "featdepth_ros.ros.refine.node",
                       "--ros-args", *(w for p in settings for w in ("-p", p)))  # fmt: skip
        meter, rates, until = Meter(), [], time.monotonic() + 60 * args.minutes
        while time.monotonic() < until:
            rates.append(watch.rate(min(EVERY_S, max(until - time.monotonic(), 1.0))))
            said = read_json(work / "learner.json") or {}
            learner = {"learner": int(said["pid"])} if said.get("pid") else {}
            meter.read({**children.pids, **learner})
            told = f"learner {said.get('state')} {said.get('step', '')}, {said.get('message', 'not there yet')}"
            print(f"{time.strftime('%H:%M:%S')} {rates[-1]:.2f} frames/s, {watch.said}, {told}", flush=True)
    mean = sum(rates) / len(rates)
    return {
        "without_hz": base, "with_hz": mean, "kept": mean / base, "lowest_half_minute_hz": min(rates),
        "cores": meter.cores(), "memory_mb": meter.memory_mb, "motion_states": dict(watch.states),
        "swaps": len(watch.swaps), "odometry": jumps(watch.path, watch.swaps),
        "generations": generations(work), "history": history(work),
    }  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("input", metavar="INPUT")
    parser.add_argument("--topic")
    parser.add_argument("--camera")
    parser.add_argument("--rate-hz", type=float, default=10.0, help="rate of a recording without stamps")
    parser.add_argument("--weights", default="compact-open")
    parser.add_argument("--minutes", type=float, default=20.0, help="duration with the learner")
    parser.add_argument("--before", type=float, default=60.0, help="seconds without the learner")
    parser.add_argument("--folder", type=Path, help="new or empty folder for buffer, generations and logs")
    parser.add_argument("--json", type=Path)
    parser.add_argument("-p", "--parameter", action="append", default=[], metavar="name:=value")
    parser.add_argument("-r", "--refine", action="append", default=[], metavar="name:=value")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work: Path = (args.folder or Path(temporary)).resolve()
        work.mkdir(parents=True, exist_ok=True)
        if any(work.iterdir()):
            parser.error(f"'{work}' is not empty, and an earlier run would change the results; give a new folder")
        figures = measure(args, work)
    print(json.dumps(figures, indent=2))
    if args.json:
        args.json.write_text(json.dumps(figures, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
