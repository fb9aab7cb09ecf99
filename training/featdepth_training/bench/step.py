"""``featdepth bench step``: measurement of a training step, alone or in alternation with the original's."""

from __future__ import annotations

import platform
import statistics
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from featdepth_training.bench.problem import StepProblem
from featdepth_training.bench.process import Process, running
from featdepth_training.bench.sides import check_checkout

#: Number of steps after which memory is read; Adam has its state from the second step on.
MEMORY_STEPS = 3
WARM_UP_STEPS = 1
#: Names of the two sides.
OWN, REFERENCE = "own", "reference"


def bench_step(
    problem: StepProblem,
    reference: Path | None = None,
    steps: int = 5,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Measure time, memory and operations of a training step, and of the original's step if there is a checkout.

    Each side runs in separate processes: one for memory, then one for time. Rounds alternate, so that other load on
    the machine affects both sides.

    Args:
        problem: the training step.
        reference: checkout of the original; None: measure only our step.
        steps: number of timed rounds.
        say: called with progress messages.

    Returns:
        The results by their JSON keys; sides that were not measured are None.

    Raises:
        ConfigError: ``reference`` is not a checkout of the original.
        FeatDepthError: a side failed.
    """
    sides: dict[str, Path | None] = {OWN: None}
    if reference is not None:
        sides[REFERENCE] = check_checkout(reference)
    measured: dict[str, dict[str, Any]] = {name: {} for name in sides}
    for name, checkout in sides.items():
        say(f"{name}: memory")
        with running(problem, checkout) as process:
            for _ in range(MEMORY_STEPS):
                process.do("step")
            measured[name].update(process.do("peak"))
    with ExitStack() as stack, tempfile.TemporaryDirectory() as folder:
        processes = {name: stack.enter_context(running(problem, checkout)) for name, checkout in sides.items()}
        say("losses and gradients")
        for name, process in processes.items():
            measured[name]["loss"] = process.do("gradients", str(Path(folder) / name))["loss"]
        comparison = _compare(measured, Path(folder)) if reference is not None else None
        _time(processes, measured, steps, say)
        say("operations")
        for name, process in processes.items():
            measured[name].update(process.do("operations"))
        machine = processes[OWN].do("machine")
    for side in measured.values():
        _add_floor(side, machine)
    return _report(problem, steps, measured, machine, comparison)


def _time(
    processes: dict[str, Process], measured: dict[str, dict[str, Any]], steps: int, say: Callable[[str], None]
) -> None:
    rounds: dict[str, list[dict[str, Any]]] = {name: [] for name in processes}
    for number in range(WARM_UP_STEPS + steps):
        order = list(processes) if number % 2 == 0 else list(reversed(processes))
        for name in order:
            rounds[name].append(processes[name].do("step"))
        last = ", ".join(f"{name} {rounds[name][-1]['seconds']:.2f} s" for name in processes)
        say(f"round {number + 1} of {WARM_UP_STEPS + steps}: {last}")
    for name, taken in rounds.items():
        timed = taken[WARM_UP_STEPS:]
        measured[name]["step_s"] = statistics.median(r["seconds"] for r in timed)
        measured[name]["step_cpu_s"] = statistics.median(r["cpu_seconds"] for r in timed)
        measured[name]["round_s"] = [r["seconds"] for r in timed]
        measured[name]["losses"] = [r["loss"] for r in taken]


def _compare(measured: dict[str, dict[str, Any]], folder: Path) -> dict[str, Any]:
    import torch

    own, other = (torch.load(folder / name, weights_only=True) for name in (OWN, REFERENCE))
    missing = sorted(own.keys() ^ other.keys())
    shared = sorted(own.keys() & other.keys())
    parts = {
        part: [name for name in shared if name.startswith(part)] for part in sorted({n.split(".")[0] for n in shared})
    }

    def cosine(names: list[str]) -> float:
        a, b = (torch.cat([side[n].double().flatten() for n in names]) for side in (own, other))
        return float(torch.dot(a, b) / (a.norm() * b.norm()).clamp_min(1e-300))

    return {
        "loss_relative_difference": abs(measured[OWN]["loss"] - measured[REFERENCE]["loss"])
        / abs(measured[REFERENCE]["loss"]),
        "gradient_cosine": cosine(shared),
        "gradient_cosine_by_net": {part: cosine(names) for part, names in parts.items()},
        "gradients_of_one_side_only": missing,
    }


def _add_floor(side: dict[str, Any], machine: dict[str, Any]) -> None:
    """Add the least possible time of a step's operations at the machine's measured speed, and its share of the time."""
    peak = max(machine["matmul_gflops"], machine["conv_gflops"])
    side["gflops"] = side["flops"] / side["step_s"] / 1e9
    side["floor_s"] = side["flops"] / peak / 1e9
    side["share_of_floor"] = side["floor_s"] / side["step_s"]
    side["bytes_floor_s"] = side["bytes"] / machine["copy_gb_s"] / 1e9


def _report(
    problem: StepProblem,
    steps: int,
    measured: dict[str, dict[str, Any]],
    machine: dict[str, Any],
    comparison: dict[str, Any] | None,
) -> dict[str, Any]:
    import torch

    result: dict[str, Any] = {
        **asdict(problem),
        "steps": steps,
        "torch": torch.__version__,
        "processor": platform.processor() or platform.machine(),
        OWN: measured[OWN],
        REFERENCE: measured.get(REFERENCE),
        "machine": machine,
        "comparison": None,
    }
    if comparison is not None:
        own, other = measured[OWN], measured[REFERENCE]
        pairs = list(zip(own["round_s"], other["round_s"], strict=True))
        result["comparison"] = {
            **comparison,
            "speed_ratio": other["step_s"] / own["step_s"],
            "speed_ratio_of_rounds": [b / a for a, b in pairs],
            "cpu_ratio": other["step_cpu_s"] / own["step_cpu_s"],
            "memory_ratio": own["peak_mib"] / other["peak_mib"],
            "flops_ratio": other["flops"] / own["flops"],
        }
    return result
