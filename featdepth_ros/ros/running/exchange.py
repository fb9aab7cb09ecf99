"""Swaps weights while images flow: they are loaded in the background and swapped in between two frames."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from featdepth_ros.errors import FeatDepthError
from featdepth_ros.models.info import ModelInfo
from featdepth_ros.ros.loading import LoadedModel

#: Period in seconds of the check whether there are enough images to compare the scale.
_LOOK_S = 0.1


@dataclass(frozen=True)
class ExchangeReport:
    """The part of diagnostics about the weights.

    Attributes:
        weights: weights in use, as the parameter named them.
        info: description of these weights.
        swapped: number of swaps.
        pending: weights that are being loaded, and what they wait for; empty: none.
        trouble: why the last weights were rejected; empty: they were not.
    """

    weights: str
    info: ModelInfo
    swapped: int = 0
    pending: str = ""
    trouble: str = ""


class _SupersededError(Exception):
    """Other weights were requested meanwhile, or the node ends."""


class WeightsExchange:
    """Swaps the weights of a loaded model. If that fails, the old weights stay in use.

    `rejection_reason`, `request` and `stop` run on the executor's thread, `between_frames` on the worker's.

    Args:
        loaded: the loaded model.
        weights: name or file of its weights.
        say: logs a sentence with a level, ``info`` or ``error``.
    """

    def __init__(self, loaded: LoadedModel, weights: str, say: Callable[[str, str], None]) -> None:
        self._successors = loaded.successors
        self._say = say
        self._lock = threading.Lock()
        self._number = 0  # number of the newest request; older ones are dropped
        self._changed = threading.Event()
        self._ready: tuple[str, Callable[[], ModelInfo]] | None = None
        self._report = ExchangeReport(weights, loaded.info)

    @property
    def report(self) -> ExchangeReport:
        """The current report for diagnostics."""
        return self._report

    def rejection_reason(self, weights: str) -> str:
        """Return, without loading, why the node cannot switch to these weights; empty: it may be able to."""
        if weights == self._report.weights:
            return ""
        if self._successors is None:
            return "the weights of this model cannot be exchanged while it runs"
        reason = self._successors.why_not(weights)
        return f"weights '{weights}' are not taken: {reason}" if reason else ""

    def request(self, weights: str) -> None:
        """Load weights in the background; `between_frames` swaps them in. A new request replaces an older one."""
        with self._lock:
            self._number += 1
            number, self._ready = self._number, None
            self._changed.set()
            if weights == self._report.weights:
                self._tell(pending="")
                return
            self._tell(pending=f"{weights} (loading)", trouble="")
        name = f"weights_{number}"
        threading.Thread(target=self._prepare, args=(number, weights), name=name, daemon=True).start()

    def stop(self) -> None:
        """Abort the loading of weights."""
        with self._lock:
            self._number += 1
            self._ready = None
            self._changed.set()

    def between_frames(self) -> None:
        """Swap in weights that are ready. The worker calls this while it processes no image."""
        if self._ready is None:
            return
        with self._lock:
            ready, self._ready = self._ready, None
            if ready is None:
                return
            weights, exchange = ready
            try:
                info = exchange()
            except Exception as error:  # noqa: BLE001 - the image that waits gets its chance with the old ones
                self._fail(weights, error)
                return
            self._report = ExchangeReport(weights, info, self._report.swapped + 1)
        self._say("info", f"weights '{weights}' ({info.name}) are now in use; pose and scale continue")

    # -- the thread that loads ------------------------------------------------------------------------------------

    def _prepare(self, number: int, weights: str) -> None:
        def wait() -> None:
            with self._lock:
                if number != self._number:
                    raise _SupersededError
                self._tell(pending=f"{weights} (waits for pictures to compare the scale)")
                self._changed.clear()
            self._changed.wait(_LOOK_S)

        assert self._successors is not None, "request comes after rejection_reason"
        try:
            exchange = self._successors.prepare(weights, wait)
        except _SupersededError:
            return
        except Exception as error:  # noqa: BLE001 - whatever a file does, the old weights go on
            with self._lock:
                if number == self._number:
                    self._fail(weights, error)
            return
        with self._lock:
            if number == self._number:
                self._tell(pending=f"{weights} (ready)")
                self._ready = (weights, exchange)

    def _tell(self, pending: str, trouble: str | None = None) -> None:
        old = self._report
        words = old.trouble if trouble is None else trouble
        self._report = ExchangeReport(old.weights, old.info, old.swapped, pending, words)

    def _fail(self, weights: str, error: Exception) -> None:
        words = str(error) if isinstance(error, FeatDepthError) else f"{type(error).__name__}: {error}"
        trouble = f"weights '{weights}' are not taken, and '{self._report.weights}' stay: {words}"
        self._tell(pending="", trouble=trouble)
        self._say("error", trouble)
