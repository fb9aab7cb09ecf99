"""Runs of ``featdepth train`` in separate processes, which can be killed; a server with torch loaded forks them."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml

#: Slow imports of a run; the server that forks the runs loads them once.
PRELOADED = ["featdepth_ros.cli.train", "featdepth_training.engine.run", "featdepth_ros.models.checkpoints"]
#: Time after which a run counts as hanging, seconds.
PATIENCE_S = 120.0

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(PRELOADED)


class Run:
    """A run of ``featdepth train``; standard output and error go to ``<output>.log``."""

    def __init__(
        self,
        output: Path,
        arguments: Sequence[str],
        before: Callable[..., None] | None = None,
        given: Sequence[Any] = (),
        environment: dict[str, str] | None = None,
    ) -> None:
        rank = (environment or {}).get("RANK", "")
        self.output, self.log = output, output.with_name(f"{output.name}{rank}.log")
        whole = ["train", "--device", "cpu", "--output", str(output), *arguments]
        self.process = _context.Process(target=_main, args=(whole, self.log, before, given, environment or {}))
        self.process.start()

    def finish(self) -> int:
        """Wait for the end and return the exit code (the negative number of the signal that killed it)."""
        self.process.join(PATIENCE_S)
        if self.process.exitcode is None:
            self.kill()
            raise AssertionError(f"the run hangs:\n{self.text()}")
        return self.process.exitcode

    def kill(self) -> None:
        """Send SIGKILL and wait for the end."""
        assert self.process.pid is not None
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.join()

    def children(self) -> list[int]:
        """Return the process ids of the run's loader processes."""
        pid = self.process.pid
        return [int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]

    def wait_for_step(self, step: int) -> None:
        """Wait until ``metrics.jsonl`` holds ``step`` or a later step, or the run has ended."""
        end = time.monotonic() + PATIENCE_S
        while self.process.is_alive() and max([0, *(r["step"] for r in records(self.output))]) < step:
            assert time.monotonic() < end, self.text()
            time.sleep(0.005)

    def text(self) -> str:
        """Return the output of the run so far."""
        return self.log.read_text(encoding="utf-8")


def _main(
    arguments: list[str],
    log: Path,
    before: Callable[..., None] | None,
    given: Sequence[Any],
    environment: dict[str, str],
) -> None:
    from featdepth_ros.cli.main import main

    os.environ.update(environment)
    with log.open("w", encoding="utf-8") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    torch.set_num_threads(1)
    if before is not None:
        before(*given)
    code = main(arguments)
    sys.stdout.flush()
    sys.stderr.flush()
    sys.exit(code)


def records(output: Path) -> list[dict[str, Any]]:
    """Return the complete records of ``metrics.jsonl``, without the values that depend on time."""
    path = output / "metrics.jsonl"
    found: list[dict[str, Any]] = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        try:
            found.append({key: value for key, value in json.loads(line).items() if key != "images_per_s"})
        except ValueError:
            continue
    return found


def write_config(path: Path, raw: dict[str, Any]) -> Path:
    """Write a recipe."""
    path.write_text(yaml.safe_dump(raw), encoding="utf-8")
    return path


def same(a: Any, b: Any) -> bool:
    """Return whether two states are bit-identical."""
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return bool(a == b)
