"""``featdepth bench loader``: the loader's rate of images from a cache, against the rate of the training step."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from featdepth_ros.errors import RecordingError
from featdepth_training.bench.problem import FRAMES, StepProblem
from featdepth_training.bench.process import running
from featdepth_training.bench.sides import check_checkout
from featdepth_training.bench.step import OWN

#: Number of frames of a target and its temporal sources.
TEMPORAL = 3
#: Number of batches in a timed chunk.
CHUNK_BATCHES = 20


def bench_loader(
    problem: StepProblem,
    cache: Path,
    rounds: int = 5,
    workers: int = 0,
    reference: Path | None = None,
    drive: Path | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Measure images/s from a cache, with and without augmentation, and images/s of our training step.

    Loading and training steps alternate, so that other load on the machine affects both. Without loader processes, it
    also measures images per second of CPU time, on which other programs have little effect.

    Args:
        problem: size, batch and networks of the step; its frames are a target, two neighbours and the partner.
        cache: cache of `featdepth prepare`; stereo partners are loaded if all its frames have one.
        rounds: number of timed rounds.
        workers: number of loader processes.
        reference: checkout of the original. Its KITTI data set then also loads ``drive``, in one process.
        drive: KITTI raw drive, preferably the one from which ``cache`` was made.
        say: called with progress messages.

    Returns:
        The results by their JSON keys.

    Raises:
        RecordingError: the cache or the drive is missing or too short.
        ConfigError: ``reference`` is not a checkout of the original.
        MissingDependencyError: torchvision, which the original's data set needs, is missing.
    """
    checkout = None if reference is None else check_checkout(reference)
    batches, clips, stereo = _batches(problem, cache, workers)
    images = TEMPORAL + 1 if stereo else TEMPORAL
    per_batch = images * problem.batch
    per_chunk = CHUNK_BATCHES * per_batch
    loaded: list[_Spent] = []
    augmented: list[_Spent] = []
    stepped: list[float] = []
    say("loading")
    _spent(batches, False)  # opens the shards and starts the workers
    originals: list[float] = []
    with ExitStack() as stack:
        process = stack.enter_context(running(problem))
        original = None
        if checkout is not None and drive is not None:
            original = stack.enter_context(running(problem, checkout, drive))
        process.do("step")
        for number in range(rounds):
            loaded.append(_spent(batches, False))
            augmented.append(_spent(batches, True))
            stepped.append(len(FRAMES) * problem.batch / process.do("step")["seconds"])
            if original is not None:
                originals.append(original.do("load")["images_per_s"])
            delivered = per_chunk / loaded[-1].wall_s
            say(f"round {number + 1} of {rounds}: loader {delivered:.0f}, step {stepped[-1]:.1f} images/s")
    (delivered, delivered_core), (ready, ready_core) = (_rates(spent, per_chunk) for spent in (loaded, augmented))
    eaten = statistics.median(stepped)
    return {
        **asdict(problem),
        "rounds": rounds,
        "workers": workers,
        "clips": clips,
        "images_per_sample": images,
        "loader_images_per_s": delivered,
        "augmented_images_per_s": ready,
        "loader_images_per_core_s": None if workers else delivered_core,
        "augmented_images_per_core_s": None if workers else ready_core,
        "step_images_per_s": eaten,
        "ratio": delivered / eaten,
        "augmented_ratio": ready / eaten,
        "reference_images_per_s": statistics.median(originals) if originals else None,
        OWN: {"step_s": len(FRAMES) * problem.batch / eaten},
    }


def _batches(problem: StepProblem, cache: Path, workers: int) -> tuple[Iterator[Any], int, bool]:
    """Return endless batches of the training loader, the number of clips, and whether they have partners."""
    from featdepth_training.config.loading import load_config
    from featdepth_training.data.cache import ClipCache, cache_folders
    from featdepth_training.data.loader import train_loader
    from featdepth_training.data.samples import ClipDataset
    from featdepth_training.data.sampling import Plan
    from featdepth_training.data.source import sources_of
    from featdepth_training.processes.distributed import Processes

    clips = ClipCache(cache_folders(cache), frames=TEMPORAL)
    stereo = clips.has_partner
    size = f"[[{problem.height}, {problem.width}]]"
    config = load_config(
        "kitti_fm",
        [
            f"data.prepared.caches=[{str(cache)!r}]",
            f"data.sequence.stereo={str(stereo).lower()}",
            f"data.workers={workers}",
            f"stages=[{{steps: 100000, sizes: {size}, batch_size: {problem.batch}}}]",
            f"seed={problem.seed}",
        ],
    )
    dataset = ClipDataset(sources_of(clips, rendered=False), config.data.sequence, config.data.augment, config.seed)
    loader = train_loader(dataset, Plan(config, dataset.sources, Processes()), 0)
    return iter(loader), len(clips), stereo


class _Spent(NamedTuple):
    """Wall time and CPU time of this process, seconds."""

    wall_s: float
    cpu_s: float


def _rates(spent: Sequence[_Spent], images: int) -> tuple[float, float]:
    """Return images per second of wall time and per second of CPU time, for chunks of ``images`` images."""
    wall_s, cpu_s = (statistics.median(times) for times in zip(*spent, strict=True))
    return images / wall_s, images / cpu_s


def _spent(batches: Iterator[Any], augment: bool) -> _Spent:
    """Time a chunk of batches; with ``augment``, includes conversion to floats and the recipe's colour augmentation."""
    import torch

    from featdepth_training.config.loading import load_config
    from featdepth_training.data.augment import photometric

    config = load_config("kitti_fm", ["data.prepared.caches=[none]"]).data.augment
    generator = torch.Generator().manual_seed(0)
    wall, cpu = time.perf_counter(), time.process_time()
    for batch in itertools.islice(batches, CHUNK_BATCHES):
        if isinstance(batch, Exception):
            raise RecordingError(f"the cache cannot be read: {batch}; prepare it again with featdepth prepare")
        if augment:
            photometric(batch.in_floats(), config, generator)
    return _Spent(time.perf_counter() - wall, time.process_time() - cpu)
