"""Processes started by torchrun: rank, means over all processes, and barriers that do not hang."""

from __future__ import annotations

import itertools
import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

from featdepth_ros.errors import ConfigError, FeatDepthError

#: Longest wait of a process for another one within a step, after which the run ends.
PATIENCE = timedelta(minutes=10)
#: Longest pause in seconds between two checks of the other processes while waiting.
_LONGEST_PAUSE_S = 0.5
_FAILED = "featdepth/failed"


@dataclass(frozen=True)
class Processes:
    """Rank of this process (0 writes files), number of processes, and rank on this machine.

    The processes communicate outside of torch's collectives through ``store``.
    """

    rank: int = 0
    count: int = 1
    local_rank: int = 0
    store: dist.Store | None = field(default=None, repr=False, compare=False)  # type: ignore[name-defined]
    _waits: Iterator[int] = field(default_factory=itertools.count, repr=False, compare=False)

    @property
    def first(self) -> bool:
        """Whether this process writes files and reports."""
        return self.rank == 0

    def mean_(self, tensors: Sequence[Tensor]) -> None:
        """Replace each of ``tensors`` (floating point) by its mean over all processes, with one collective per dtype.

        Raises:
            FeatDepthError: another process has ended, or does not answer.
        """
        if self.count == 1 or not tensors:
            return
        for dtype in dict.fromkeys(t.dtype for t in tensors):  # in the same order everywhere
            same = [t for t in tensors if t.dtype == dtype]
            flat = torch.cat([t.reshape(-1) for t in same])
            with _others_may_end():
                dist.all_reduce(flat)
            flat /= self.count
            for tensor, values in zip(same, flat.split([t.numel() for t in same]), strict=True):
                tensor.copy_(values.view_as(tensor))

    def any(self, *flags: bool) -> list[bool]:
        """Return for each flag whether it is set in any process.

        Raises:
            FeatDepthError: another process has ended, or does not answer.
        """
        if self.count == 1:
            return list(flags)
        totals = torch.tensor([float(flag) for flag in flags], device=_exchange_device())
        with _others_may_end():
            dist.all_reduce(totals)
            return [value > 0 for value in totals.tolist()]

    def wait(self) -> None:
        """Wait for all processes, without a time limit, since the first one may render or validate.

        Raises:
            FeatDepthError: another process has ended.
        """
        if self.count == 1:
            return
        assert self.store is not None
        number, pause = next(self._waits), 0.005
        arrived, everyone = f"featdepth/arrived{number}", f"featdepth/everyone{number}"
        with _others_may_end():
            if self.store.add(arrived, 1) == self.count:
                self.store.set(everyone, "1")
            # A barrier of torch would have a time limit.
            while not self.store.check([everyone]):
                if self.store.check([_FAILED]):
                    raise _ended("it reported an error")
                time.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_S)
            dist.barrier()  # the process with the store must not end before the others have read it


@contextmanager
def _others_may_end() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # gloo, NCCL and the store say it in many ways
        lines = str(error).strip().splitlines() or [type(error).__name__]
        reason = re.sub(r"^\[[^]]*\]\s*", "", lines[0])  # less its place in gloo's source
        raise _ended(reason.split(". ")[0]) from error


def _ended(reason: str) -> FeatDepthError:
    return FeatDepthError(
        f"another process of this run has ended, or did not answer for {PATIENCE.seconds // 60} minutes ({reason}); "
        "its own message says why. Continue from the newest checkpoint with --resume."
    )


def _exchange_device() -> torch.device:
    return torch.device("cuda", torch.cuda.current_device()) if dist.get_backend() == "nccl" else torch.device("cpu")


@contextmanager
def processes(device: torch.device) -> Iterator[Processes]:
    """Join the processes of torchrun (NCCL on CUDA, gloo elsewhere); without torchrun there is only this process.

    Raises:
        ConfigError: torchrun's variables are incomplete, or the processes cannot connect.
    """
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
    if _number("WORLD_SIZE", "1") < 2:
        yield Processes()
        return
    missing = [name for name in names if name not in os.environ]
    if missing:
        raise ConfigError(f"WORLD_SIZE is set, {', '.join(missing)} not; start several processes with torchrun")
    local = _number("LOCAL_RANK")
    if device.type == "cuda":
        if local >= torch.cuda.device_count():
            raise ConfigError(
                f"process {local} of this machine has no GPU: torch finds {torch.cuda.device_count()}; start as many "
                "processes as there are GPUs, with torchrun --nproc-per-node"
            )
        torch.cuda.set_device(local)
    # Both are absent where torch was built without exchanges.
    from torch.distributed import PrefixStore  # type: ignore[attr-defined]
    from torch.distributed.rendezvous import rendezvous

    try:
        shared, rank, count = next(iter(rendezvous("env://", timeout=PATIENCE)))
        # torchrun may keep its store over a restart; what the processes before wrote there must not be read again.
        store = PrefixStore(f"attempt_{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", shared)
        backend = "nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(backend, store=store, rank=rank, world_size=count, timeout=PATIENCE)
    except (RuntimeError, ValueError) as error:
        raise ConfigError(f"the processes cannot connect to each other: {error}; check torchrun's address") from error
    try:
        yield Processes(rank, count, local, store)
    except BaseException:
        # Those that wait need not wait for torchrun to end them. If the store has gone with its process, they know.
        with suppress(RuntimeError):
            store.set(_FAILED, "1")
        raise
    finally:
        dist.destroy_process_group()


def _number(name: str, default: str | None = None) -> int:
    text = os.environ.get(name, default) or ""
    if not text.isdecimal():
        raise ConfigError(f"the environment variable {name} is '{text}'; expected a number, as torchrun sets it")
    return int(text)
