"""The terms of a micro-batch: applies each term to its samples, and adds them by their share of the batch."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from typing import Any

import torch
from torch import Tensor

from featdepth_ros.models.base import FeatDepthModel
from featdepth_training.config.schema import TrainConfig
from featdepth_training.data.batch import FrameBatch
from featdepth_training.objectives.prediction import Prediction, predict
from featdepth_training.objectives.selfsupervised import reconstruction_terms, selfsupervised_terms, targets_and_sources
from featdepth_training.objectives.supervised import supervised_terms

Predict = Callable[..., Prediction]

#: Names of all terms, in the order of the log.
TERMS = (
    *("depth", "gradient", "rotation", "translation", "flow", "photometric", "features", "smoothness"),
    *("pseudo_depth", "sensor_depth", "recorded_motion", "ground", "reconstruction", "discriminative", "convergent"),
)


def active_terms(config: TrainConfig) -> list[str]:
    """Return the names of the terms with a weight, in the order of the log."""
    return [name for name in TERMS if getattr(config.objective, name) > 0]


def wanted_targets(config: TrainConfig, frames: int) -> tuple[int, ...]:
    """Return the frames whose depth the terms need: the targets of self-supervision, else all frames."""
    if not config.objective.selfsupervised:
        return tuple(range(frames))
    return tuple(target for target, _ in targets_and_sources(frames))


def training_terms(
    model: FeatDepthModel,
    batch: FrameBatch,
    seen: Tensor,
    config: TrainConfig,
    run: Predict = predict,
    pictures: MutableMapping[Any, Tensor] | None = None,
) -> tuple[dict[str, Tensor], Prediction | None]:
    """Run the networks and add up the terms.

    Args:
        model: model in training mode.
        batch: batch with float images.
        seen: (B, F, 3, H, W) input images of the networks (`augment.photometric`).
        config: configuration of the run.
        run: `predict`, or a compiled form of it.
        pictures: filled with images of the self-supervised samples, see `losses.objective`.

    Returns:
        every term of `active_terms` and ``total`` (scalars, float32), and what the networks predicted (None for an
        autoencoder). Each term is the mean over the samples it applies to times their share of the batch.
    """
    names = active_terms(config)
    if model.info.architecture.startswith("autoencoder"):
        return _complete(names, [(1.0, reconstruction_terms(model, batch, config))], seen), None
    low_precision = config.engine.precision == "bf16"
    with torch.autocast(seen.device.type, torch.bfloat16, enabled=low_precision):
        prediction = run(model, seen, batch.intrinsics, wanted_targets(config, batch.frames))
    return prediction_terms(model, prediction, batch, config, pictures), prediction


def prediction_terms(
    model: FeatDepthModel,
    prediction: Prediction,
    batch: FrameBatch,
    config: TrainConfig,
    pictures: MutableMapping[Any, Tensor] | None = None,
) -> dict[str, Tensor]:
    """Return the terms as `training_terms`, for an existing prediction."""
    objective, parts = config.objective, []
    mixed = config.data.kind == "mixed"
    with_truth = batch.rendered if mixed else torch.ones_like(batch.rendered)
    if objective.supervised and bool(with_truth.any()):
        chosen, guess = batch.select(with_truth), prediction.select(with_truth)
        parts.append((_share(with_truth), supervised_terms(guess, chosen, model.info, objective)))
    without = ~batch.rendered if mixed else torch.ones_like(batch.rendered)
    if objective.selfsupervised:
        pairs = batch.has_partner if config.data.sequence.stereo else torch.zeros_like(without)
        without = without & (pairs | ~batch.single)
        for mask, stereo in ((without & pairs & ~batch.single, True), (without & ~pairs, False)):
            if bool(mask.any()) and (stereo or batch.frames > 1):
                chosen, guess = batch.select(mask), prediction.select(mask)
                terms = selfsupervised_terms(model, guess, chosen, config, stereo, pictures)
                parts.append((_share(mask), terms))
        alone = without & batch.single
        if bool(alone.any()):
            chosen, guess = batch.select(alone).first_frame(), prediction.select(alone).first_target()
            parts.append((_share(alone), selfsupervised_terms(model, guess, chosen, config, True)))
    if not parts:  # no term applies to any sample, for instance without partners, which is no error
        parts.append((0.0, {"total": prediction.disparities[0].sum()}))
    return _complete(active_terms(config), parts, batch.images)


def _share(mask: Tensor) -> float:
    return float(mask.float().mean())


def _complete(names: list[str], parts: list[tuple[float, dict[str, Tensor]]], like: Tensor) -> dict[str, Tensor]:
    zero = torch.zeros((), device=like.device)
    terms = {name: sum((share * part.get(name, zero) for share, part in parts), zero) for name in names}
    total = sum((share * part["total"] for share, part in parts), zero)
    return {**terms, "total": total}
