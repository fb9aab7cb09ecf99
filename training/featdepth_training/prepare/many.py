"""Converts many recordings to caches, several at once, and leaves out unusable ones."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from featdepth_ros.errors import FeatDepthError, RecordingError
from featdepth_ros.interrupts import held
from featdepth_ros.recordings.recording import Recording
from featdepth_training.data.shards import DESCRIPTION, SUMMARY
from featdepth_training.data.store import NoSpaceError, Store
from featdepth_training.prepare.inputs import Input, guess_camera, local_copy, named, open_input
from featdepth_training.prepare.prepare import prepare
from featdepth_training.prepare.pseudo_depth import write_pseudo_depth

#: File of a complete cache that names its remote input.
ORIGIN = "origin.json"
#: Period in seconds at which the parent reads the count of frames.
_LOOK_S = 0.2
#: Seconds after which processes that should stop get a second request, and after which they are killed. A process
#: reacts at its next frame, which may take long during the indexing or the download of a recording.
_GRACE_S = 3.0

#: Called with the number of frames done since the last call.
Progress = Callable[[int], None]


class StoppedError(FeatDepthError):
    """The work was stopped from outside; finished parts are kept."""


@dataclass(frozen=True)
class Outcome:
    """Result of an input.

    Attributes:
        given: the input.
        summary: summary of its cache; None if it could not be used.
        reason: why it could not be used.
    """

    given: Input
    summary: dict[str, Any] | None
    reason: str = ""


def survey(given: Input) -> tuple[str, int]:
    """Return the name of a recording and its number of frames; for a remote one the name in its URL and 0.

    With pseudo-depth each frame counts twice, because it is read and matched.

    Raises:
        FeatDepthError: it cannot be opened.
    """
    if given.remote:
        return Path(given.path.rstrip("/")).stem, 0
    with _quiet():  # warnings appear later, when the recording is prepared
        recording = open_input(given, Path(given.path))
    return recording.name, given.config.count_in(recording) * (2 if given.pseudo_depth else 1)


@contextmanager
def _quiet() -> Iterator[None]:
    logger = logging.getLogger(Recording.__module__)
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


def prepare_input(given: Input, progress: Progress) -> dict[str, Any]:
    """Write the cache of one input and return its summary.

    Raises:
        FeatDepthError: it cannot be used; see `prepare`.
    """
    store = Store(given.cache)
    finished = _finished(given, store)
    if finished is not None:
        return finished
    with local_copy(given) as path:
        recording, config = open_input(given, path), given.config
        if given.guess:
            config = replace(config, guess=guess_camera(recording))
        summary = prepare(recording, given.cache, config, progress)
    if given.pseudo_depth:
        share = write_pseudo_depth(given.cache, progress)  # which also asks whether it is to stop
        progress(max(config.count_in(recording) - summary["kept"], 0))
        summary = {**summary, "pseudo_depth_share": round(share, 4)}
    if given.remote:
        store.write(ORIGIN, json.dumps(_origin(given)).encode())
    return summary


def _origin(given: Input) -> dict[str, Any]:
    asked = {**given.config.described(), "pseudo_depth": given.pseudo_depth, "topic": given.topic}
    asked |= {"guess": given.guess, "camera": given.camera, "partner": given.partner, "rate_hz": given.rate_hz}
    plain: dict[str, Any] = json.loads(json.dumps({"input": given.path, **asked}))
    return plain


def _finished(given: Input, store: Store) -> dict[str, Any] | None:
    """Return the summary of a complete cache of the same remote input, so that it need not be downloaded again."""
    if not given.remote:
        return None
    origin, summary = store.read(ORIGIN), store.read(SUMMARY)
    if origin is None or summary is None or json.loads(origin) != _origin(given):
        return None
    known: dict[str, Any] = json.loads(summary)
    whole = store.read(DESCRIPTION) is not None and len(store.names("shard_", ".json")) == known["shards"]
    return known if whole else None


class Preparation:
    """Writes the caches of many inputs, ``jobs`` at a time. A context manager; call `survey` first, then `prepare`.

    Inputs with ``below`` are named by their recordings. Equal names are numbered in the order of all inputs, including
    unusable ones, so that the same command gives the same names.

    Args:
        inputs: the inputs, at least one.
        jobs: number of processes; with 1, this process does the work.
        strict: whether the first unusable input is an error.

    Attributes:
        usable: inputs that could be opened, with their names.
        frames: total number of their frames to read, without remote ones.
    """

    def __init__(self, inputs: list[Input], jobs: int = 1, strict: bool = False) -> None:
        self.inputs, self.strict = inputs, strict
        self.usable: list[Input] = []
        self.frames = 0
        jobs = min(jobs, len(inputs))
        self._workers: _Here | _Pool = _Here() if jobs < 2 else _Pool(jobs)

    def __enter__(self) -> Preparation:
        self._workers.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_error: object) -> None:
        self._workers.__exit__(kind)

    def survey(self) -> list[Outcome]:
        """Open every input, and return the unusable ones.

        Raises:
            FeatDepthError: with ``strict``, the first input that cannot be used.
        """
        results = dict(self._workers.map(survey, self.inputs, _ignored))
        opened = {number: result for number, result in results.items() if isinstance(result, tuple)}
        numbers = range(len(self.inputs))
        names = [opened[k][0] if k in opened else Path(self.inputs[k].path).stem for k in numbers]
        inputs = named(self.inputs, names)
        self.usable = [inputs[k] for k in numbers if k in opened]
        self.frames = sum(count for _, count in opened.values())
        return [self._left_out(inputs[k], results[k]) for k in numbers if k not in opened]

    def prepare(self, progress: Progress) -> Iterator[Outcome]:
        """Write the caches, and yield the result of each input as it ends.

        Args:
            progress: called with the number of frames done since the last call.

        Raises:
            FeatDepthError: with ``strict``, an input cannot be used.
            NoSpaceError: no space is left, so no other input could be written either.
        """
        for number, result in self._workers.map(_prepare, self.usable, progress):
            given = self.usable[number]
            if isinstance(result, dict):
                yield Outcome(given, result)
            elif isinstance(result, NoSpaceError):
                raise result
            else:
                yield self._left_out(given, result)

    def _left_out(self, given: Input, error: FeatDepthError | OSError) -> Outcome:
        if isinstance(error, StoppedError):
            raise KeyboardInterrupt
        if self.strict:
            raise error
        return Outcome(given, None, str(error))


def _ignored(_frames: int) -> None:
    """A progress callback without effect."""


def _prepare(given: Input) -> dict[str, Any]:
    return prepare_input(given, _Shared.count)


class _Shared:
    """State that the processes share: the count of frames, and the request to stop (a byte)."""

    counter: Any = None
    stop: Any = None
    own: Progress | None = None

    @classmethod
    def join(cls, counter: Any, stop: Any, threads: int) -> None:
        """Initialise a process of the pool: the parent handles Ctrl-C, and each process gets a share of the cores."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(1))  # the exit removes downloaded files
        threading.Thread(target=_leave_with_parent, daemon=True).start()
        import cv2
        import torch

        cls.counter, cls.stop = counter, stop
        cv2.setNumThreads(threads)
        torch.set_num_threads(threads)

    @classmethod
    def count(cls, frames: int) -> None:
        """Count frames. Raises `StoppedError` if the parent requests a stop."""
        if cls.own is not None:
            cls.own(frames)
            return
        with cls.counter.get_lock():
            cls.counter.value += frames
        if cls.stop.value:
            raise StoppedError("stopped; finished shards are kept, and the same command continues after them")


def _leave_with_parent() -> None:
    """End this process when its parent was killed, which could not end it any more."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_GRACE_S)
    os._exit(1)


def _called(function: Callable[[Input], Any], given: Input) -> Any:
    """Return the result, or the error as a value, which can be sent between processes."""
    try:
        return function(given)
    except (FeatDepthError, OSError) as error:
        return error


class _Here:
    """Does the work in this process."""

    def __enter__(self) -> _Here:
        return self

    def __exit__(self, *_error: object) -> None:
        _Shared.own = None

    def map(
        self, function: Callable[[Input], Any], inputs: list[Input], progress: Progress
    ) -> Iterator[tuple[int, Any]]:
        """Yield number and result of each input."""
        _Shared.own = progress
        for number, given in enumerate(inputs):
            yield number, _called(function, given)


class _Pool:
    """Does the work in separate processes, forked from a server process that has only loaded the modules.

    A fork of this process would copy the locks of its threads. Ctrl-C is blocked (`held`) while processes are started,
    awaited and ended, because it could leave locks of the executor in a locked state.
    """

    def __init__(self, jobs: int) -> None:
        kind = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
        context = multiprocessing.get_context(kind)
        context.set_forkserver_preload([__name__])
        self._seen = 0
        # The byte has no lock, because a killed process might keep it locked.
        self._counter, self._stop = context.Value("q", 0), context.RawValue("b", 0)
        threads = max(1, (os.cpu_count() or 1) // jobs)
        given = (self._counter, self._stop, threads)
        self._others = set(multiprocessing.active_children())
        self._executor = ProcessPoolExecutor(jobs, mp_context=context, initializer=_Shared.join, initargs=given)

    def __enter__(self) -> _Pool:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_error: object) -> None:
        with held():
            if kind is not None:
                self._stop.value = 1
                self._executor.shutdown(wait=False, cancel_futures=True)
                self._end()
            self._executor.shutdown(wait=True, cancel_futures=True)

    def _end(self) -> None:
        """Stop the processes: request it, then terminate, then kill."""
        ours = [process for process in multiprocessing.active_children() if process not in self._others]
        for end in (None, BaseProcess.terminate, BaseProcess.kill):
            latest = time.monotonic() + _GRACE_S
            for process in ours:
                if end is not None and process.is_alive():
                    end(process)
            for process in ours:
                process.join(max(0.0, latest - time.monotonic()))

    def map(
        self, function: Callable[[Input], Any], inputs: list[Input], progress: Progress
    ) -> Iterator[tuple[int, Any]]:
        """Yield number and result of each input, as they end."""
        called = partial(_called, function)
        waiting: dict[Future[Any], int] = {}
        with held(), _deaf():
            waiting |= {self._executor.submit(called, given): k for k, given in enumerate(inputs)}
        while waiting:
            with held():
                done, _ = wait(waiting, _LOOK_S, "FIRST_COMPLETED")
            count = self._counter.get_obj().value  # an atomic read; only additions need the lock
            progress(count - self._seen)
            self._seen = count
            for future in done:
                number = waiting.pop(future)
                try:
                    with held():
                        result = future.result()
                except BrokenProcessPool as error:
                    raise RecordingError(
                        "a process was killed (if memory ran out, use fewer --jobs); finished shards are kept, "
                        "and the same command continues after them"
                    ) from error
                yield number, result


@contextmanager
def _deaf() -> Iterator[None]:
    """Make processes that are started inside ignore Ctrl-C, which a terminal sends to all of them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
