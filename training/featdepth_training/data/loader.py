"""Micro-batches of training, in the training process or from loader processes."""

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
    """A data set whose errors come as values, which pass from a loader process to its parent without a traceback."""

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
    """Micro-batches of steps ``first_step`` to the end of the run; in place of one that cannot be read, the reason."""
    workers = plan.config.data.workers
    return DataLoader(
        _Reporting(dataset),
        batch_sampler=StepSampler(plan, first_step),
        collate_fn=_collate,
        num_workers=workers,
        worker_init_fn=leave_signals_to_parent,
        # A loader process that is its very child sees that its parent was killed; one of a fork server would stay.
        multiprocessing_context="fork" if workers and sys.platform == "linux" else None,
        # An own generator: a loader would otherwise draw from torch's global one, and a resumed run would differ.
        generator=torch.Generator(),
    )
