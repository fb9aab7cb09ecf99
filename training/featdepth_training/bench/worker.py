"""A process that runs training steps on request: ``python -m featdepth_training.bench.worker``.

Commands are JSON lines on standard input. Answers are JSON lines on the original standard output. All prints of the
measured code are redirected to standard error.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import torch

from featdepth_ros.errors import FeatDepthError
from featdepth_training.bench.measure import machine_speed, operations, peak_mib, resident_mib
from featdepth_training.bench.problem import StepProblem
from featdepth_training.bench.reference_dataset import ReferenceLoading
from featdepth_training.bench.sides import OwnStep, ReferenceStep, Side, gradients


class LoadingWorker:
    """Measures the original's data set, with the settings of the first command."""

    def __init__(self, problem: StepProblem, reference: str, drive: str) -> None:
        self._loading = ReferenceLoading(Path(reference), Path(drive), problem)

    def load(self) -> dict[str, Any]:
        """Return the rate of samples."""
        return {"images_per_s": self._loading.images_per_second()}


class Worker:
    """Measures one side, with the settings of the first command."""

    def __init__(self, problem: StepProblem, reference: str | None) -> None:
        torch.set_num_threads(problem.threads)
        self.problem = problem
        importlib.import_module("torch._dynamo")  # the first optimiser imports it, and its memory belongs to no side
        self.baseline = resident_mib()
        self.side: Side = OwnStep(problem) if reference is None else ReferenceStep(problem, Path(reference))

    def step(self) -> dict[str, Any]:
        """Run and time one optimiser step."""
        wall, cpu = time.perf_counter(), time.process_time()
        loss = self.side.step()
        if self.problem.device == "cuda":
            torch.cuda.synchronize()
        return {"loss": loss, "seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - cpu}

    def peak(self) -> dict[str, Any]:
        """Return the peak memory so far, minus the memory before anything was built, MiB."""
        if self.problem.device == "cuda":
            return {"peak_mib": torch.cuda.max_memory_allocated() / 2**20, "baseline_mib": 0.0}
        return {"peak_mib": peak_mib() - self.baseline, "baseline_mib": self.baseline}

    def gradients(self, file: str) -> dict[str, Any]:
        """Return the loss at the present weights, and write the gradients to ``file``."""
        loss, by_name = gradients(self.side)
        torch.save({name: g.detach().cpu().contiguous() for name, g in by_name.items()}, file)
        return {"loss": loss}

    def operations(self) -> dict[str, Any]:
        """Return the operations and moved bytes of one step."""
        flops, moved = operations(self.side.step)
        return {"flops": flops, "bytes": moved}

    def machine(self) -> dict[str, Any]:
        """Return the speed of this machine with the same number of threads."""
        return machine_speed(self.problem.device)


def main() -> int:
    """Answer commands until the end of the input."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    warnings.simplefilter("ignore")
    worker: Worker | LoadingWorker | None = None
    for line in sys.stdin:
        command = json.loads(line)
        try:
            if worker is None:
                problem, reference, drive = StepProblem(**command["problem"]), command["reference"], command["drive"]
                worker = Worker(problem, reference) if drive is None else LoadingWorker(problem, reference, drive)
                answer: dict[str, Any] = {"ready": True}
            else:
                answer = getattr(worker, command["do"])(*command.get("arguments", []))
        except FeatDepthError as error:
            answer = {"error": str(error)}
        except Exception as error:  # noqa: BLE001 - the original's code may fail in any way; the caller reports it
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers)
    return 0


if __name__ == "__main__":
    sys.exit(main())
