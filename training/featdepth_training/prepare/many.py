"""Many recordings into caches: several at once, past those that cannot be used."""

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

#: File of a cache that says which remote input it was made from, once it is complete.
ORIGIN = "origin.json"
#: How often the parent looks at the count of frames, seconds.
_LOOK_S = 0.2
#: How long processes that are to stop may go on before they are asked again, and then killed, seconds. Asked is each at
#: its next frame; within a recording's index or a download there is none.
_GRACE_S = 3.0

#: Called with the number of frames done since the last call.
Progress = Callable[[int], None]


class StoppedError(FeatDepthError):
    """The work was stopped from outside; what is finished stays."""


@dataclass(frozen=True)
class Outcome:
    """What became of an input.

    Attributes:
        given: the input.
        summary: of its cache; None when it could not be used.
        reason: in words, why not.
    """

    given: Input
    summary: dict[str, Any] | None
    reason: str = ""


def survey(given: Input) -> tuple[str, int]:
    """Return the name of a recording and how many frames there are to work on; of a remote one by its URL, 0 frames.

    With pseudo-depth each frame counts twice: it is read, and it is matched.

    Raises:
        FeatDepthError: it cannot be opened.
    """
    if given.remote:
        return Path(given.path.rstrip("/")).stem, 0
    with _quiet():  # what is to be said is said when it is prepared
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
    """Make the cache of one input and return its summary.

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
    """The summary of a cache that this very remote input has given before, so that it need not be fetched again."""
    if not given.remote:
        return None
    origin, summary = store.read(ORIGIN), store.read(SUMMARY)
    if origin is None or summary is None or json.loads(origin) != _origin(given):
        return None
    known: dict[str, Any] = json.loads(summary)
    whole = store.read(DESCRIPTION) is not None and len(store.names("shard_", ".json")) == known["shards"]
    return known if whole else None


class Preparation:
    """Makes the caches of many inputs, ``jobs`` at a time. A context manager; `survey` comes first, then `prepare`.

    Inputs that lie below their output are named by their recordings, equal names in the order of the inputs, usable or
    not: the same command gives the same names.

    Args:
        inputs: at least one.
        jobs: processes; with 1 all is done in this one.
        strict: the first that cannot be used is an error.

    Attributes:
        usable: inputs that could be opened, named.
        frames: of these, to be read in all (remote ones not counted).
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
        """Open every input, and return those that cannot be used.

        Raises:
            FeatDepthError: with ``strict``, why the first of them cannot.
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
        """Make the caches, and yield what became of each input as it ends.

        Args:
            progress: called with the number of frames done since the last call.

        Raises:
            FeatDepthError: with ``strict``, why an input cannot be used.
            NoSpaceError: no space is left; nothing else could be written either.
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
    """A progress that nobody sees."""


def _prepare(given: Input) -> dict[str, Any]:
    return prepare_input(given, _Shared.count)


class _Shared:
    """What the processes share: the count of frames, and the wish to stop, a byte."""

    counter: Any = None
    stop: Any = None
    own: Progress | None = None

    @classmethod
    def join(cls, counter: Any, stop: Any, threads: int) -> None:
        """Begin in a process of a pool: the parent answers Ctrl-C, and the cores are shared out."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(1))  # what was fetched is removed on the way
        threading.Thread(target=_leave_with_parent, daemon=True).start()
        import cv2
        import torch

        cls.counter, cls.stop = counter, stop
        cv2.setNumThreads(threads)
        torch.set_num_threads(threads)

    @classmethod
    def count(cls, frames: int) -> None:
        """Count frames; raises `StoppedError` when the parent wants that."""
        if cls.own is not None:
            cls.own(frames)
            return
        with cls.counter.get_lock():
            cls.counter.value += frames
        if cls.stop.value:
            raise StoppedError("stopped; finished shards stay, and the same command goes on after them")


def _leave_with_parent() -> None:
    """End this process when its parent was killed; without it no work comes, and no word to end."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_GRACE_S)
    os._exit(1)


def _called(function: Callable[[Input], Any], given: Input) -> Any:
    """The result, or the error as a value: it passes between processes without a traceback."""
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
    """Does the work in processes of their own, forked from one that has loaded what they need and done nothing else.

    A fork of this process would copy the locks of its threads. Processes are started, waited for and ended where no
    Ctrl-C comes between (`held`): the executor would be left with locks that nobody gives back.
    """

    def __init__(self, jobs: int) -> None:
        kind = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
        context = multiprocessing.get_context(kind)
        context.set_forkserver_preload([__name__])
        self._seen = 0
        # The byte has no lock, which a process that is killed might keep.
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
        """See to it that processes which are to stop do."""
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
            count = self._counter.get_obj().value  # read whole; the lock is for those who add
            progress(count - self._seen)
            self._seen = count
            for future in done:
                number = waiting.pop(future)
                try:
                    with held():
                        result = future.result()
                except BrokenProcessPool as error:
                    raise RecordingError(
                        "a process was ended from outside (when memory ran out: fewer --jobs); finished shards stay, "
                        "and the same command goes on after them"
                    ) from error
                yield number, result


@contextmanager
def _deaf() -> Iterator[None]:
    """Let processes that this one starts never hear of Ctrl-C, which a terminal sends to all of them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
