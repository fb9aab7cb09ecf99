"""Figures of validation: those of `featdepth_ros.metrics`, and weights that give no number are never the best."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from featdepth_ros.metrics.depth import depth_errors
from featdepth_training.data.batch import FrameBatch
from featdepth_training.data.samples import validation_batches
from featdepth_training.engine.trainer import Trainer
from featdepth_training.engine.validation import SHOWN, _depth_figures, validation_figures
from featdepth_training.monitoring.monitor import Monitor


def test_depth_figures_are_those_of_the_metrics() -> None:
    rng = np.random.default_rng(3)
    truth = rng.uniform(1.0, 60.0, (12, 16)).astype(np.float32)
    guess = (truth * rng.uniform(0.7, 1.5, truth.shape)).astype(np.float32)
    truth[0], truth[1, :8], truth[1, 8:] = np.nan, np.inf, 95.0  # unknown, sky, too far
    figures = _depth_figures(torch.from_numpy(guess), torch.from_numpy(truth))
    assert figures is not None
    counted, given = truth[2:].ravel().astype(float), guess[2:].ravel().astype(float)
    scale = float(np.median(counted) / np.median(given))
    plain, scaled = depth_errors(counted, given.clip(0.1, 80.0)), depth_errors(counted, (given * scale).clip(0.1, 80.0))
    assert (figures["abs_rel"], figures["a1"]) == pytest.approx((plain["abs_rel"], plain["a1"]), rel=1e-6)
    expected = (scaled["abs_rel"], scaled["a1"])
    assert (figures["abs_rel_median_scaled"], figures["a1_median_scaled"]) == pytest.approx(expected, rel=1e-6)
    assert figures["log_scale_error"] == pytest.approx(abs(math.log(scale)), rel=1e-6)


def test_an_image_without_truth_or_numbers_has_no_figures() -> None:
    known, nothing = torch.full((4, 4), 5.0), torch.full((4, 4), float("nan"))
    assert _depth_figures(known, nothing) is None
    assert _depth_figures(nothing, known) is None


def test_weights_that_are_no_numbers_are_not_the_best(make_trainer: Callable[..., Trainer]) -> None:
    torch.set_num_threads(1)
    trainer = make_trainer("nan")
    with torch.no_grad():
        next(p for name, p in trainer.model.named_parameters() if name.startswith("decoder")).fill_(float("nan"))
    monitor = Monitor(trainer.output, 0, 1, tensorboard=False, silent=True)
    assert not trainer.validator.validate(trainer.model, 1, monitor)
    monitor.close()
    assert math.isinf(trainer.validator.best) and "abs_rel" not in trainer.validator.figures


def test_memory_does_not_grow_with_the_clips_that_are_measured(make_trainer: Callable[..., Trainer]) -> None:
    """Of all that was measured only the first batches of a few sources are kept, for pictures."""
    torch.set_num_threads(1)
    trainer, sources = make_trainer("memory"), 3 * SHOWN
    stage = trainer.config.stages[-1]
    one = next(validation_batches(trainer.validator.held_out, stage.sizes, stage.batch_size)).in_floats()
    given: list[weakref.ref[torch.Tensor]] = []
    kept: list[int] = []

    def batches() -> Iterator[FrameBatch]:
        for number in range(2 * sources):
            kept.append(sum(reference() is not None for reference in given))
            images = one.images.clone()
            given.append(weakref.ref(images))
            yield replace(one, images=images, group=torch.full_like(one.group, number % sources))
            del images

    names = [f"recording {number}" for number in range(sources)]
    _, shown = validation_figures(trainer.model, batches(), names, trainer.config, names)
    assert list(shown) == names[:SHOWN] and all(batch.images.shape == one.images.shape for batch, _ in shown.values())
    assert kept[SHOWN] >= SHOWN and max(kept) <= SHOWN + 1  # and the one at hand
