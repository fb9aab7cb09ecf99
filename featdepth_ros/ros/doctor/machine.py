"""Findings about the machine: packages, GPU, shared memory, weights."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from featdepth_ros import resources
from featdepth_ros.errors import FeatDepthError
from featdepth_ros.ros.doctor.observation import Finding
from featdepth_ros.ros.middleware import PROFILE_VARIABLES

#: Shared memory in MB for images of several megabytes: two segments of the shipped profile.
_SHARED_MEMORY_MB = 256
#: Free memory in MB that networks and solver need.
_MEMORY_MB = 1000
#: Packages without which the node cannot run.
_PACKAGES = ("torch", "numpy", "cv2", "yaml", "safetensors", "numba")


@dataclass(frozen=True)
class Machine:
    """Properties of the machine.

    Attributes:
        processors: number of processors that this process may use.
        memory_mb: free memory; None if the system does not report it.
        shared_memory_mb: free memory in /dev/shm; None if there is none.
        missing: required packages that are not installed.
        gpu: whether a GPU's device file or driver exists.
        cuda: name of the GPU that PyTorch uses; empty: none.
        environment: environment variables of the middleware.
    """

    processors: int
    memory_mb: float | None
    shared_memory_mb: float | None
    missing: tuple[str, ...]
    gpu: bool
    cuda: str
    environment: Mapping[str, str]


def inspect_machine() -> Machine:
    """Return the properties of this machine. It imports torch, which takes seconds."""
    missing = tuple(name for name in _PACKAGES if importlib.util.find_spec(name) is None)
    cuda = ""
    if "torch" not in missing:
        import torch

        cuda = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    shared = Path("/dev/shm")
    return Machine(
        processors=len(os.sched_getaffinity(0)),
        memory_mb=_free_memory_mb(),
        shared_memory_mb=shutil.disk_usage(shared).free / 2**20 if shared.is_dir() else None,
        missing=missing,
        gpu=any(Path(name).exists() for name in ("/dev/nvidia0", "/dev/nvhost-gpu", "/dev/nvgpu")),
        cuda=cuda,
        environment=dict(os.environ),
    )


def machine_findings(machine: Machine, weights: str) -> Iterator[Finding]:
    """Yield the problems of the machine and of the weights."""
    if machine.missing:
        do = f"pip install {' '.join(machine.missing)}"
        yield Finding("error", "machine.packages", f"not installed: {', '.join(machine.missing)}", do)
    if machine.gpu and not machine.cuda:
        do = "install a PyTorch built for CUDA (on a Jetson: NVIDIA's own), or set device:=cpu"
        yield Finding("warning", "machine.gpu", "there is a GPU, but PyTorch cannot use it: the CPU would be used", do)
    if machine.shared_memory_mb is not None and machine.shared_memory_mb < _SHARED_MEMORY_MB:
        what = (
            f"{machine.shared_memory_mb:.0f} MB are free in /dev/shm; images between processes need {_SHARED_MEMORY_MB}"
        )
        do = "rm /dev/shm/fastdds_* while no ROS runs; in a container use --ipc=host or --shm-size=1g"
        yield Finding("warning", "machine.shared_memory", what, do)
    if machine.memory_mb is not None and machine.memory_mb < _MEMORY_MB:
        what = f"{machine.memory_mb:.0f} MB of memory are free; networks and solver need {_MEMORY_MB}"
        yield Finding("warning", "machine.memory", what, "stop other programs, or take a smaller input_height")
    if machine.processors < 2 and not machine.cuda:
        what = "one processor and no GPU"
        yield Finding("warning", "machine.processors", what, "expect a few frames a second; set max_rate_hz")
    yield from _middleware(machine.environment)
    yield from _weights(weights)


def _middleware(environment: Mapping[str, str]) -> Iterator[Finding]:
    implementation = environment.get("RMW_IMPLEMENTATION", "rmw_fastrtps_cpp")
    own = next((environment[name] for name in PROFILE_VARIABLES if environment.get(name)), "")
    if own and "fastrtps" in implementation and not Path(own).is_file():
        what = f"the Fast DDS profile {own} does not exist: large images are dropped"
        do = f"unset {' and '.join(PROFILE_VARIABLES)} to use the shipped profile, or name an existing file"
        yield Finding("error", "machine.profile", what, do)


def _weights(weights: str) -> Iterator[Finding]:
    try:
        path = resources.weights_file(weights)
        from featdepth_ros.models.weights_io import read_weights

        if path.suffix != ".onnx":
            read_weights(path)
    except FeatDepthError as error:
        do = "name a file or a model that ships (compact); featdepth weights info FILE shows what a file holds"
        yield Finding("error", "weights.unusable", str(error), do)


def _free_memory_mb() -> float | None:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    values = {line.split(":")[0]: line.split()[1] for line in lines if ":" in line}
    return float(values["MemAvailable"]) / 1024 if "MemAvailable" in values else None
