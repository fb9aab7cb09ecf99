"""The choice of the back end: PyTorch serves at once, a faster one takes over when it is built and was found equal."""

from __future__ import annotations

import atexit
import json
import logging
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from featdepth_ros.errors import ConfigError, FeatDepthError
from featdepth_ros.export.parity import DISPARITY_TOLERANCE, MOTION_TOLERANCE, SMALLEST_MOTION
from featdepth_ros.files import atomic_write
from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.inference.backends.base import Backend
from featdepth_ros.inference.backends.build import STEM, build
from featdepth_ros.inference.backends.cache import Cache, weights_checksum
from featdepth_ros.inference.backends.engines import ENGINES, require, usable
from featdepth_ros.inference.backends.files import facts_of_file
from featdepth_ros.inference.backends.pytorch import TorchBackend
from featdepth_ros.models.base import FeatDepthModel

_log = logging.getLogger(__name__)

#: Images of one size before a build begins. The cache holds it already; or it is asked for; or it may be of use.
_AT_ONCE, _SOON, _LATER = 1, 3, 100
#: Images of a recording from which a build that must be waited for pays.
_WORTH_A_BUILD = 300
#: Seconds that the end of the process waits for what cannot be broken off.
_LAST_WAIT_S = 30.0
#: Timed runs of each back end, of which the fastest counts: the machine has other things to do.
_RUNS = 7
#: In half precision a back end may be as far from fp32 as PyTorch's half precision is, times this.
_HALF_SLACK = 1.5
#: In an entry: the name of the fastest back end for each precision.
_FASTEST = "fastest.json"


class FixedBackend:
    """The choice where there is none: the file of another run time. As `BackendChoice`."""

    note = ""

    def __init__(self, backend: Backend) -> None:
        self.current = backend

    def for_image(self, image: Tensor) -> Backend:  # noqa: ARG002
        """See `BackendChoice.for_image`."""
        return self.current

    def settle(self, size: tuple[int, int], frames: int) -> None:
        """See `BackendChoice.settle`."""

    def follow(self, other: BackendChoice | FixedBackend) -> None:
        """See `BackendChoice.follow`."""


class BackendChoice:
    """Chooses what computes the images of each size.

    Args:
        model: as `load_model` returns it.
        serving: PyTorch, which serves until another is ready.
        device: of the networks.
        precision: as the user asked for it: ``auto`` leaves a named back end its own.
        asked: ``auto``, ``torch``, or a name of `ENGINES`.
        cache: for built files.

    Attributes:
        current: what computed the last image.
        note: why the back end that was asked for is not used, or an empty string.

    Raises:
        MissingDependencyError: the packages of the back end asked for are not installed.
        ConfigError: it cannot compute in the precision asked for on this device.
    """

    def __init__(
        self,
        model: FeatDepthModel,
        serving: TorchBackend,
        device: torch.device,
        precision: str,
        asked: str,
        cache: Cache,
    ) -> None:
        self._model, self._serving, self._device, self._cache = model, serving, device, cache
        self._asked = asked
        self._precision = serving.precision
        self._candidates = [] if asked == "torch" else self._able(precision)
        self._seen: Counter[tuple[int, int]] = Counter()
        self._enough: dict[tuple[int, int], int] = {}
        self._settled: dict[tuple[int, int], Backend] = {}
        self._at_work: threading.Thread | None = None
        self.current: Backend = serving
        self.note = ""

    def _able(self, precision: str) -> list[str]:
        if self._asked == "auto":
            return usable(self._device, self._precision)
        require(self._asked)
        able = ENGINES[self._asked].precisions(self._device)
        if self._precision not in able and precision == "auto" and able:
            self._precision = able[0]
        if self._precision not in able:
            if not able:
                raise ConfigError(
                    f"backend '{self._asked}' computes nothing on {self._device.type}; choose another backend or device"
                )
            kinds = ", ".join(able)
            raise ConfigError(
                f"backend '{self._asked}' computes in {kinds} on {self._device.type}, not in {self._precision}; "
                "choose another backend, precision or device"
            )
        return [self._asked]

    def for_image(self, image: Tensor) -> Backend:
        """Return what is to compute an image (B, 3, h, w); a build may begin in the background."""
        size = (int(image.shape[-2]), int(image.shape[-1]))
        if size not in self._settled and self._candidates:
            self._seen[size] += 1
            idle = self._at_work is None or not self._at_work.is_alive()
            if idle and self._seen[size] >= self._enough.get(size, 0):
                shown = image[:1].detach().clone()
                self._at_work = _in_background(lambda: self._consider(size, shown))
        self.current = self._settled.get(size, self._serving)
        return self.current

    def _consider(self, size: tuple[int, int], image: Tensor) -> None:
        """Look into the cache, which takes a checksum of the weights; settle where that is due already."""
        if size not in self._enough:
            otherwise = _LATER if self._asked == "auto" else _SOON
            self._enough[size] = _AT_ONCE if self._built(size) else otherwise
        if self._seen[size] >= self._enough[size]:
            self._settle(size, image, True)

    def settle(self, size: tuple[int, int], frames: int) -> None:
        """Choose for images of ``size`` (height, width) now. Building may take a minute.

        ``auto`` builds what is not in the cache only for a recording of so many ``frames`` that it pays.

        Raises:
            FeatDepthError: the back end that was asked for by name cannot be built, or is not equal to PyTorch.
        """
        if size in self._settled or not self._candidates:
            return
        if self._asked == "auto" and frames < _WORTH_A_BUILD and not self._built(size):
            self._settled[size] = self._serving
            return
        self._settle(size, _picture(size).to(self._device))
        self.current = self._settled[size]
        if self.note and self._asked != "auto":
            raise FeatDepthError(self.note)

    def follow(self, other: BackendChoice | FixedBackend) -> None:
        """Build what another choice, for weights of the same architecture, has settled on, beside whoever computes.

        A back end that was the fastest for the one is the fastest for the other, so none is timed.
        """
        if isinstance(other, FixedBackend):
            return
        _wait_at_the_end(threading.current_thread())
        for size, backend in list(other._settled.items()):
            if backend.name == self._serving.name:
                self._settled[size] = self._serving
                continue
            if self._asked == "auto":
                entry = self._cache.entry(weights_checksum(self._model), self._device, size)
                try:
                    entry.mkdir(parents=True, exist_ok=True)
                    self._remember(entry, backend.name)
                except OSError as error:
                    _log.warning("the choice of back end '%s' cannot be kept: %s", backend.name, error)
            self._settle(size, _picture(size).to(self._device), beside_others=True)

    def _built(self, size: tuple[int, int]) -> bool:
        """Whether the cache holds what would be opened. A folder that cannot be read holds nothing."""
        entry = self._cache.entry(weights_checksum(self._model), self._device, size)
        try:
            return _holds(entry, self._known(entry) or self._candidates)
        except OSError:
            return False

    def _settle(self, size: tuple[int, int], image: Tensor, beside_others: bool = False) -> None:
        try:
            self._settled[size] = self._fastest(size, image, beside_others)
        except Exception as error:  # noqa: BLE001 - whatever a run time does, PyTorch goes on
            self.note = f"backend '{self._asked}' is not used: {error}"
            _log.warning("%s", self.note)
            self._settled[size] = self._serving

    def _fastest(self, size: tuple[int, int], image: Tensor, beside_others: bool) -> Backend:
        checksum = weights_checksum(self._model)
        entry = self._cache.entry(checksum, self._device, size)
        candidates = self._known(entry) or self._candidates
        if candidates == [self._serving.name]:
            self._cache.used(entry)
            return self._serving
        if not _holds(entry, candidates):
            suffixes = sorted({ENGINES[name].SUFFIX for name in candidates})
            build(self._model, checksum, size, suffixes, entry, beside_others, _ending)
        self._cache.used(entry)
        refusals: list[str] = []
        times: dict[str, tuple[float, Backend]] = {}
        for name in candidates:
            if _ending.is_set():
                return self._serving
            backend = self._open(name, entry)
            reason = difference(self._model, self._serving, backend, image)
            if reason:
                refusals.append(f"{name}: {reason}")
            else:
                times[name] = (_seconds(backend, image), backend)
        if refusals:
            self.note = f"not equal to PyTorch, and not used: {'; '.join(refusals)}"
            _log.warning("%s", self.note)
        if not times:
            return self._serving
        if self._asked != "auto":
            return times[self._asked][1]
        if len(candidates) == 1 and self._known(entry):
            return times[candidates[0]][1]
        times["torch"] = (_seconds(self._serving, image), self._serving)
        name = min(times, key=lambda n: times[n][0])
        self._remember(entry, name)
        _log.info("networks run on %s: %s", name, {n: f"{1e3 * t:.1f} ms" for n, (t, _) in times.items()})
        return times[name][1]

    def _open(self, name: str, entry: Path) -> Backend:
        engine = ENGINES[name]
        path = entry / f"{STEM}{engine.SUFFIX}"
        opened = engine.open_file(path, facts_of_file(path), self._precision, self._device, torch.get_num_threads())
        _be_first_at_the_end()
        return opened

    def _known(self, entry: Path) -> list[str]:
        """The back end that was found fastest before, where all may be chosen.

        PyTorch was the fastest of those whose files are there; what is installed since then was not compared.
        """
        if self._asked != "auto" or not (entry / _FASTEST).is_file():
            return []
        try:
            known: Any = json.loads((entry / _FASTEST).read_text(encoding="utf-8")).get(self._precision)
        except (OSError, ValueError, AttributeError):
            return []
        if known == self._serving.name and _holds(entry, self._candidates):
            return [self._serving.name]
        return [known] if known in self._candidates else []

    def _remember(self, entry: Path, name: str) -> None:
        try:
            known = json.loads((entry / _FASTEST).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            known = {}
        atomic_write(entry / _FASTEST, json.dumps({**known, self._precision: name}))


def _holds(entry: Path, names: list[str]) -> bool:
    """Whether an entry of the cache holds the files of back ends; PyTorch needs none."""
    return all((entry / f"{STEM}{ENGINES[name].SUFFIX}").is_file() for name in names if name in ENGINES)


#: Set when the process ends.
_ending = threading.Event()
#: Threads in which a run time may be at work.
_working: weakref.WeakSet[threading.Thread] = weakref.WeakSet()


def _in_background(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    _wait_at_the_end(thread)
    return thread


def _wait_at_the_end(thread: threading.Thread) -> None:
    """Let the end of the process wait for a thread in which a run time opens a file: that cannot be cut off.

    Python ends threads by an exception of C that a C++ library may not let through; the process then aborts.
    """
    _working.add(thread)
    _be_first_at_the_end()


def _be_first_at_the_end() -> None:
    """Let `_wait_for_all` run before what run times have registered, which takes away what the threads use.

    Handlers run in the reverse order of their registration. So it is registered anew when a run time was loaded.
    """
    atexit.unregister(_wait_for_all)
    atexit.register(_wait_for_all)


def _wait_for_all() -> None:
    _ending.set()
    latest = time.monotonic() + _LAST_WAIT_S
    for thread in list(_working):
        if thread is not threading.current_thread():
            thread.join(max(latest - time.monotonic(), 0.0))


def _picture(size: tuple[int, int]) -> Tensor:
    """A picture (1, 3, h, w) to compare back ends on, where none is at hand."""
    noise = torch.rand((1, 3, size[0] // 16, size[1] // 16), generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.interpolate(noise, size, mode="bicubic").clamp(0, 1)


def _seconds(backend: Backend, image: Tensor) -> float:
    times = []
    with torch.inference_mode():
        for _ in range(_RUNS):
            start = time.perf_counter()
            backend.depth(backend.observe(image))
            if image.device.type == "cuda":
                torch.cuda.synchronize(image.device)
            times.append(time.perf_counter() - start)
    return min(times)


def difference(model: FeatDepthModel, serving: TorchBackend, backend: Backend, image: Tensor) -> str:
    """Compare a back end with PyTorch in float32 on an image and the same image moved by two pixels.

    Returns:
        Why it is too far off, or an empty string.
    """
    precision = backend.precision
    exact = serving if serving.precision == "fp32" else TorchBackend(model, image.device, "fp32")
    expected = _outputs(exact, image)
    errors = _errors(expected, _outputs(backend, image), precision)
    allowed = _tolerances(precision)
    if precision != "fp32":
        own = _errors(expected, _outputs(serving, image), precision)
        allowed = {name: max(most, _HALF_SLACK * own.get(name, 0.0)) for name, most in allowed.items()}
    for name, error in errors.items():
        if not error <= allowed[name]:
            return f"the relative error of {name} is {error:.2g}, allowed is {allowed[name]:.2g}"
    return ""


def _tolerances(precision: str) -> dict[str, float]:
    motion = MOTION_TOLERANCE[precision]
    return {"depth": DISPARITY_TOLERANCE[precision], "axisangle": motion, "translation": motion}


def _outputs(backend: Backend, image: Tensor) -> dict[str, Tensor]:
    height, width = image.shape[-2:]
    camera = CameraModel(width, height, 0.9 * width, 0.9 * width, (width - 1) / 2, (height - 1) / 2)
    with torch.inference_mode():
        earlier, later = backend.observe(image), backend.observe(torch.roll(image, 2, dims=3))
        outputs = {"depth": backend.depth(earlier).float().cpu()}
        if backend.has_pose:
            outputs["axisangle"], outputs["translation"] = backend.motion(earlier, later, camera, 1.0)
    return outputs


def _errors(expected: dict[str, Tensor], given: dict[str, Tensor], precision: str) -> dict[str, float]:
    relative = (expected["depth"] / given["depth"] - 1.0).abs()
    worst = relative.max() if precision == "fp32" else relative.square().mean().sqrt()
    errors = {"depth": float(worst)}
    for name, smallest in SMALLEST_MOTION.items():
        if name in expected:
            size = max(float(expected[name].norm()), smallest)
            errors[name] = float((given[name] - expected[name]).norm()) / size
    return {name: error if np.isfinite(error) else float("inf") for name, error in errors.items()}
