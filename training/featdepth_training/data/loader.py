"""Loads the micro-batches of training, in the training process or in loader processes."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import torch
from torch.utils.data import DataLoader, Dataset

from featdepth_ros.errors import FeatDepthError, RecordingError
from featdepth_training.data.batch import FrameBatch, collate
from featdepth_training.data.samples import ClipDataset
from featdepth_training.data.sampling import Plan, StepSampler
from featdepth_training.data.source import SampleKey
from featdepth_training.processes.signals import leave_signals_to_parent


class _Reporting(Dataset[FrameBatch | FeatDepthError]):
    """A dataset that returns errors as values, because exceptions of a loader process lose their type and message."""

    def __init__(self, dataset: ClipDataset) -> None:
        self.dataset = dataset

    def __getitem__(self, key: SampleKey) -> FrameBatch | FeatDepthError:
        try:
            return self.dataset[key]
        except FeatDepthError as error:
            return error
        except OSError as error:
            name = self.dataset.sources[key.source].name
            return RecordingError(f"clip {key.clip} of '{name}' cannot be read: {error}")


def _collate(samples: Sequence[FrameBatch | FeatDepthError]) -> FrameBatch | FeatDepthError:
    batches: list[FrameBatch] = []
    for sample in samples:
        if isinstance(sample, FeatDepthError):
            return sample
        batches.append(sample)
    return collate(batches)


def train_loader(dataset: ClipDataset, plan: Plan, first_step: int) -> DataLoader[FrameBatch | FeatDepthError]:
    """Return a loader of the micro-batches from ``first_step`` on; it yields an error in place of an unreadable one."""
    workers = plan.config.data.workers
    return DataLoader(
        _Reporting(dataset),
        batch_sampler=StepSampler(plan, first_step),
        collate_fn=_collate,
        num_workers=workers,
        worker_init_fn=leave_signals_to_parent,
        # A direct child process notices when its parent is killed; one of a fork server would remain.
        multiprocessing_context="fork" if workers and sys.platform == "linux" else None,
        # With its own generator, the loader does not use torch's global one, which would change a resumed run.
        generator=torch.Generator(),
    )
