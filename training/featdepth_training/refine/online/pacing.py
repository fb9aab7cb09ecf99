"""Limits the learner's use of the machine: low priority, and sleep after every piece of work."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable

import torch

#: Longest sleep between two checks for changes, seconds.
SLICE_S = 0.2
#: The lowest priority.
NICE = 19


def lowest_priority() -> None:
    """Set the lowest priority, as far as the system allows."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, NICE)


class Pacer:
    """Limits the use of processor cores and of the GPU by sleeping.

    Work that has taken p seconds of processor time (of all threads) within w seconds is followed by p / share - w
    seconds of sleep. No credit is kept: a learner that had to wait for the processor does not catch up. The GPU counts
    as busy for as long as the work took.

    Args:
        device: device of the networks.
        gpu_share: share of the time that a GPU may be busy.
        clock, used, sleep: for tests.
    """

    def __init__(
        self,
        device: torch.device,
        gpu_share: float,
        clock: Callable[[], float] = time.monotonic,
        used: Callable[[], float] = time.process_time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._device, self._gpu_share = device, gpu_share
        self._clock, self._used, self._sleep = clock, used, sleep
        self._begin()

    def _begin(self) -> None:
        self._began, self._used_before = self._clock(), self._used()

    def rest(self, share: float, between: Callable[[], None] = lambda: None) -> None:
        """Sleep for the work since the last call.

        Args:
            share: processor cores to use; as many as there are threads, or more, is no limit.
            between: called once before, and at least every `SLICE_S` seconds while asleep.
        """
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        worked = self._clock() - self._began
        until = self._began + (self._used() - self._used_before) / share
        if self._device.type == "cuda":
            until = max(until, self._began + worked / self._gpu_share)
        between()
        while (left := until - self._clock()) > 0:
            self._sleep(min(left, SLICE_S))
            between()
        self._begin()

    def pause(self, seconds: float) -> None:
        """Sleep without counting work."""
        self._sleep(seconds)
        self._begin()
