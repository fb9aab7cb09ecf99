"""Processes of the benchmarks: each compared side has separate memory, torch and imports."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from featdepth_ros.errors import FeatDepthError
from featdepth_training.bench.problem import StepProblem


class Process:
    """A `worker` in a separate process."""

    def __init__(self, problem: StepProblem, reference: Path | None, drive: Path | None = None) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": str(problem.threads)}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "featdepth_training.bench.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self._who = "our step" if reference is None else f"the code of {reference}"
        paths = {"reference": reference, "drive": drive}
        self._ask({"problem": asdict(problem), **{k: None if v is None else str(v) for k, v in paths.items()}})

    def do(self, name: str, *arguments: Any) -> dict[str, Any]:
        """Call the worker's method ``name`` and return its answer.

        Raises:
            FeatDepthError: the method failed in the worker.
        """
        return self._ask({"do": name, "arguments": arguments})

    def _ask(self, command: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(command) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise FeatDepthError(f"{self._who} ended with code {self._process.wait()}; it may have run out of memory")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise FeatDepthError(f"{self._who} failed: {answer['error']}")
        return answer

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()


@contextmanager
def running(problem: StepProblem, reference: Path | None = None, drive: Path | None = None) -> Iterator[Process]:
    """Yield the process of one side, and end it afterwards."""
    process = Process(problem, reference, drive)
    try:
        yield process
    finally:
        process.close()
