"""Choice of the back end: PyTorch runs at once, a faster one replaces it when it is built and its results match."""

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

#: Number of images of one size before a build begins: if the cache has the files, if the user named the back end, and
#: otherwise.
_AT_ONCE, _SOON, _LATER = 1, 3, 100
#: Number of images of a recording from which it pays to wait for a build.
_WORTH_A_BUILD = 300
#: Longest time in seconds that the exit of the process waits for work that cannot be aborted.
_LAST_WAIT_S = 30.0
#: Number of timed runs of each back end. The fastest counts, because other processes disturb the others.
_RUNS = 7
#: Shifts (rows, columns) in pixels of the copies of an image on which back ends are compared.
_SHIFTS = ((0, 2), (0, -2), (1, 0))
#: In half precision, the error of a back end may be this factor times that of PyTorch's half precision.
_HALF_SLACK = 1.5
#: File of a cache entry with the name of the fastest back end for each precision.
_FASTEST = "fastest.json"


class FixedBackend:
    """Has the interface of `BackendChoice` for a single back end, that of an exported file."""

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
    """Chooses the back end for images of each size.

    Args:
        model: model of `load_model`.
        serving: the PyTorch back end, which runs until another one is ready.
        device: device of the networks.
        precision: precision that the user requested; with ``auto``, a named back end uses its own.
        asked: requested back end: ``auto``, ``torch``, or a name of `ENGINES`.
        cache: cache of built files.

    Attributes:
        current: back end that computed the last image.
        note: why the requested back end is not used; empty: it is.

    Raises:
        MissingDependencyError: the packages of the requested back end are not installed.
        ConfigError: the requested back end does not support the precision on this device.
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
                    f"backend '{self._asked}' does not support {self._device.type}; choose another backend or device"
                )
            kinds = ", ".join(able)
            raise ConfigError(
                f"backend '{self._asked}' supports {kinds} on {self._device.type}, not {self._precision}; "
                "choose another backend, precision or device"
            )
        return [self._asked]

    def for_image(self, image: Tensor) -> Backend:
        """Return the back end for an image (B, 3, h, w). It may start a build in the background."""
        size = (int(image.shape[-2]), int(image.shape[-1]))
        if size not in self._settled and self._candidates:
            self._seen[size] += 1
            idle = self._at_work is None or not self._at_work.is_alive()
            if idle and self._seen[size] >= self._enough.get(size, 0):
                self._at_work = _in_background(lambda: self._consider(size))
        self.current = self._settled.get(size, self._serving)
        return self.current

    def _consider(self, size: tuple[int, int]) -> None:
        """Check the cache, which needs a checksum of the weights, and choose at once if that is already due."""
        if size not in self._enough:
            otherwise = _LATER if self._asked == "auto" else _SOON
            self._enough[size] = _AT_ONCE if self._built(size) else otherwise
        if self._seen[size] >= self._enough[size]:
            self._settle(size, beside_others=True)

    def settle(self, size: tuple[int, int], frames: int) -> None:
        """Choose the back end for images of ``size`` (height, width) now. Building may take a minute.

        ``auto`` builds files that are not in the cache only if the recording has enough ``frames``.

        Raises:
            FeatDepthError: the requested back end cannot be built, or its results differ from PyTorch's.
        """
        if size in self._settled or not self._candidates:
            return
        if self._asked == "auto" and frames < _WORTH_A_BUILD and not self._built(size):
            self._settled[size] = self._serving
            return
        self._settle(size)
        self.current = self._settled[size]
        if self.note and self._asked != "auto":
            raise FeatDepthError(self.note)

    def follow(self, other: BackendChoice | FixedBackend) -> None:
        """Build the back ends that another choice uses, for weights of the same architecture, with low priority.

        The fastest back end is the same for both, so none is timed.
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
                    _log.warning("back end '%s' cannot be used for the new weights: %s", backend.name, error)
            self._settle(size, beside_others=True)

    def _built(self, size: tuple[int, int]) -> bool:
        """Return whether the cache has the required files. A folder that cannot be read has none."""
        entry = self._cache.entry(weights_checksum(self._model), self._device, size)
        try:
            return _holds(entry, self._known(entry) or self._candidates)
        except OSError:
            return False

    def _settle(self, size: tuple[int, int], beside_others: bool = False) -> None:
        try:
            self._settled[size] = self._fastest(size, beside_others)
        except Exception as error:  # noqa: BLE001 - whatever a run time does, PyTorch goes on
            self.note = f"backend '{self._asked}' is not used: {error}"
            if not _ending.is_set():  # a build that the end of the process breaks off is no fault
                _log.warning("%s", self.note)
            self._settled[size] = self._serving

    def _fastest(self, size: tuple[int, int], beside_others: bool) -> Backend:
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
        image = _picture(size).to(self._device)
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
            self.note = f"not used, because the results differ from PyTorch's: {'; '.join(refusals)}"
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
        """Return the back end that was the fastest in an earlier run, if ``auto`` may choose any.

        If that was PyTorch, back ends installed since then must still be compared.
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
    """Return whether a cache entry has the files of these back ends; PyTorch needs none."""
    return all((entry / f"{STEM}{ENGINES[name].SUFFIX}").is_file() for name in names if name in ENGINES)


#: Set when the process ends.
_ending = threading.Event()
#: Threads in which a runtime may be working.
_working: weakref.WeakSet[threading.Thread] = weakref.WeakSet()


def _in_background(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    _wait_at_the_end(thread)
    return thread


def _wait_at_the_end(thread: threading.Thread) -> None:
    """Make the exit of the process wait for a thread in which a runtime opens a file, which cannot be aborted.

    Python ends daemon threads by unwinding the C stack. A C++ library may not allow that, and the process then aborts.
    """
    _working.add(thread)
    _be_first_at_the_end()


def _be_first_at_the_end() -> None:
    """Make `_wait_for_all` run before the exit handlers of runtimes, which free what the threads use.

    Handlers run in reverse order of registration, so it is registered again after a runtime was loaded.
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
    """Return the image (1, 3, h, w), float32 in [0, 1], on which back ends are compared.

    It is always the same: a dark or periodic camera image would make rounding look like a fault.
    """
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
    """Compare a back end with PyTorch in float32 on an image and on shifted copies of it, one pair for each shift.

    Several pairs are compared because the rounding of half precision is random: one pair may be unlucky.

    Returns:
        Which result differs too much; empty: all match.
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
            return f"the relative error of {name} is {error:.2g}, and at most {allowed[name]:.2g} is allowed"
    return ""


def _tolerances(precision: str) -> dict[str, float]:
    motion = MOTION_TOLERANCE[precision]
    return {"depth": DISPARITY_TOLERANCE[precision], "axisangle": motion, "translation": motion}


def _outputs(backend: Backend, image: Tensor) -> dict[str, Tensor]:
    """Return the depth (1, 1, H, W) of an image, and motions (n, 3) to its shifted copies where there is a pose net."""
    height, width = image.shape[-2:]
    camera = CameraModel(width, height, 0.9 * width, 0.9 * width, (width - 1) / 2, (height - 1) / 2)
    with torch.inference_mode():
        earlier = backend.observe(image)
        outputs = {"depth": backend.depth(earlier).float().cpu()}
        if backend.has_pose:
            shifted = [backend.observe(torch.roll(image, shift, dims=(2, 3))) for shift in _SHIFTS]
            motions = [backend.motion(earlier, later, camera, 1.0) for later in shifted]
            outputs["axisangle"], outputs["translation"] = (torch.cat(parts) for parts in zip(*motions, strict=True))
    return outputs


def _errors(expected: dict[str, Tensor], given: dict[str, Tensor], precision: str) -> dict[str, float]:
    relative = (expected["depth"] / given["depth"] - 1.0).abs()
    worst = relative.max() if precision == "fp32" else relative.square().mean().sqrt()
    errors = {"depth": float(worst)}
    for name, smallest in SMALLEST_MOTION.items():
        if name in expected:
            size = max(float(expected[name].norm()), smallest * len(expected[name]) ** 0.5)
            errors[name] = float((given[name] - expected[name]).norm()) / size
    return {name: error if np.isfinite(error) else float("inf") for name, error in errors.items()}
