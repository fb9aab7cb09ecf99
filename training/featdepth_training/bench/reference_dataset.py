"""The original's KITTI data set from a checkout, adapted to present package versions.

The changes are only in memory, so the checkout is not modified:

- a superfluous closing parenthesis in its ``mono_dataset.py`` is skipped;
- ``scipy.misc`` and mmcv, which are not needed to read images, are replaced by empty modules;
- the name that Pillow has removed is defined again.
"""

from __future__ import annotations

import importlib
import itertools
import statistics
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

from featdepth_ros.errors import ConfigError, MissingDependencyError, RecordingError
from featdepth_training.bench.problem import FRAMES, StepProblem
from featdepth_training.bench.sides import check_checkout

SAMPLES = 20


def reference_dataset(checkout: Path, drive: Path, problem: StepProblem) -> Any:
    """Build the original's ``KITTIRAWDataset`` for the frames of one drive. Call it in a separate process.

    Args:
        checkout: checkout of the original.
        drive: ``.../<date>/<date>_drive_NNNN_sync`` with ``image_02/data`` and ``image_03/data``.
        problem: size and seed.

    Raises:
        ConfigError: the folder is not a checkout, or its code cannot be imported.
        RecordingError: the drive is missing or too short.
        MissingDependencyError: torchvision, which the original's data sets need for resizing, is missing.
    """
    root = check_checkout(checkout)
    images = sorted((drive / "image_02" / "data").glob("*"))
    numbers = [int(path.stem) for path in images if (drive / "image_03" / "data" / path.name).is_file()]
    if len(numbers) < len(FRAMES):
        raise RecordingError(
            f"{drive} holds {len(numbers)} stereo pairs; expected more, in a KITTI raw drive with image_02/data and "
            "image_03/data"
        )
    try:
        import torchvision  # type: ignore[import-not-found,import-untyped,unused-ignore]  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(
            f"the original's data set needs torchvision, which cannot be imported here ({error}); "
            "pip install torchvision"
        ) from error
    from PIL import Image

    if not hasattr(Image, "ANTIALIAS"):
        Image.ANTIALIAS = Image.Resampling.LANCZOS  # type: ignore[attr-defined]
    misc = ModuleType("scipy.misc")
    sys.modules["scipy.misc"] = misc
    sys.path.insert(0, str(root))
    for name in ("mono", "mono.datasets"):  # without their __init__, which imports mmcv
        package = ModuleType(name)
        package.__path__ = [str(root.joinpath(*name.split(".")))]
        sys.modules[name] = package
    try:
        _load_repaired("mono.datasets.mono_dataset", root / "mono" / "datasets" / "mono_dataset.py")
        dataset_class = importlib.import_module("mono.datasets.kitti_dataset").KITTIRAWDataset
    except Exception as error:  # the original's code may fail in any way on this Python
        raise ConfigError(f"--reference: the data set in {checkout} cannot be imported here: {error!r}") from error
    lines = [f"{drive.parent.name}/{drive.name} {n} l" for n in numbers[1:-1]]
    return dataset_class(
        str(drive.parent.parent), lines, problem.height, problem.width, list(FRAMES), True, images[0].suffix
    )


def _load_repaired(name: str, path: Path) -> None:
    """Import a module, and remove a closing parenthesis that Python reports as unmatched."""
    source = path.read_text(encoding="utf-8")
    try:
        code = compile(source, str(path), "exec")
    except SyntaxError as error:
        if "unmatched ')'" not in str(error) or error.lineno is None or error.offset is None:
            raise
        lines = source.splitlines(keepends=True)
        line = lines[error.lineno - 1]
        lines[error.lineno - 1] = line[: error.offset - 1] + line[error.offset :]
        code = compile("".join(lines), str(path), "exec")
    module = ModuleType(name)
    module.__package__ = name.rpartition(".")[0]
    module.__file__ = str(path)
    sys.modules[name] = module
    exec(code, module.__dict__)


class ReferenceLoading:
    """Times the original's data set, sample by sample in one process, as in one of its loader workers."""

    def __init__(self, checkout: Path, drive: Path, problem: StepProblem) -> None:
        import random

        import torch

        random.seed(problem.seed)
        torch.manual_seed(problem.seed)
        torch.set_num_threads(problem.threads)
        self._dataset = reference_dataset(checkout, drive, problem)
        self._indices = itertools.cycle(range(len(self._dataset)))

    def images_per_second(self) -> float:
        """Return the median rate over some samples, images per second."""
        rates = []
        for index in itertools.islice(self._indices, SAMPLES):
            start = time.perf_counter()
            self._dataset[index]
            rates.append(len(FRAMES) / (time.perf_counter() - start))
        return statistics.median(rates)
