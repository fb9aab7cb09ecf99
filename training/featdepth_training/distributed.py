"""Several processes, as torchrun starts them: who am I, and sums over all."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from featdepth_ros.errors import ConfigError


@dataclass(frozen=True)
class Processes:
    """Attributes: number of this process (0 writes files), how many there are, its number on this machine."""

    rank: int = 0
    count: int = 1
    local_rank: int = 0

    @property
    def first(self) -> bool:
        """Whether this process writes files and speaks."""
        return self.rank == 0

    def mean_(self, tensors: Sequence[Tensor]) -> None:
        """Put the mean over all processes into each of ``tensors`` (floating point); all in one exchange a type."""
        if self.count == 1 or not tensors:
            return
        for dtype in {t.dtype for t in tensors}:
            same = [t for t in tensors if t.dtype == dtype]
            flat = torch.cat([t.reshape(-1) for t in same])
            dist.all_reduce(flat)
            flat /= self.count
            for tensor, values in zip(same, flat.split([t.numel() for t in same]), strict=True):
                tensor.copy_(values.view_as(tensor))

    def any(self, flag: bool) -> bool:
        """Tell whether ``flag`` is set in any process."""
        if self.count == 1:
            return flag
        found = torch.tensor([float(flag)], device=_exchange_device())
        dist.all_reduce(found)
        return bool(found.item() > 0)

    def wait(self) -> None:
        """Let every process arrive here."""
        if self.count > 1:
            dist.barrier()


def _exchange_device() -> torch.device:
    return torch.device("cuda", torch.cuda.current_device()) if dist.get_backend() == "nccl" else torch.device("cpu")


@contextmanager
def processes(device: torch.device) -> Iterator[Processes]:
    """Join the processes that torchrun started (NCCL on CUDA, gloo elsewhere); alone without torchrun.

    Raises:
        ConfigError: torchrun's variables are incomplete, or the processes did not find each other.
    """
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        yield Processes()
        return
    missing = [name for name in names if name not in os.environ]
    if missing:
        raise ConfigError(f"WORLD_SIZE is set, {', '.join(missing)} not; start several processes with torchrun")
    local = int(os.environ["LOCAL_RANK"])
    if device.type == "cuda":
        torch.cuda.set_device(local)
    try:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    except (RuntimeError, ValueError) as error:
        raise ConfigError(f"the processes did not find each other: {error}") from error
    try:
        yield Processes(dist.get_rank(), dist.get_world_size(), local)
    finally:
        dist.destroy_process_group()
