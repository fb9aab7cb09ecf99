"""Validation figures on held-out clips: depth in metres and median scaled, and motion."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from featdepth_ros.metrics.depth import DepthProtocol, evaluate_image
from featdepth_ros.models.base import FeatDepthModel
from featdepth_training.config.schema import TrainConfig
from featdepth_training.data.batch import FrameBatch
from featdepth_training.data.units import focal_ratio
from featdepth_training.objectives.prediction import Prediction, predict
from featdepth_training.objectives.selfsupervised import reconstruction_terms
from featdepth_training.objectives.supervised import log_depth, motion_target
from featdepth_training.objectives.terms import prediction_terms

#: Depth is compared between 0.1 and 80 m, without scaling and with the ratio of medians.
AS_IT_IS = DepthProtocol(min_depth=0.1, max_depth=80.0, skip_invalid=True)
MEDIAN_SCALED = replace(AS_IT_IS, scale="median")


#: Number of sources whose first batch is kept for images.
SHOWN = 8


@dataclass
class _Sums:
    """Collects numbers by name and by source; ``groups`` None: not by source."""

    groups: Sequence[str] | None
    values: dict[str, list[float]] = field(default_factory=dict)

    def add(self, name: str, numbers: Iterable[float], group: int | None = None) -> None:
        """Add numbers; those of a source are also added to its own list."""
        listed = list(numbers)
        self.values.setdefault(name, []).extend(listed)
        if group is not None and self.groups is not None:
            self.values.setdefault(f"{self.groups[group]}/{name}", []).extend(listed)

    def means(self) -> dict[str, float]:
        return {k: sum(v) / len(v) for k, v in self.values.items() if v}


def _depth_figures(guess_m: Tensor, truth_m: Tensor) -> dict[str, float] | None:
    """Return AbsRel, a1 and the median ratio of one image (H, W); None without valid pixels."""
    guess, truth = (depth.detach().cpu().numpy() for depth in (guess_m, truth_m))
    plain = evaluate_image(guess, truth, AS_IT_IS)
    scaled = evaluate_image(guess, truth, MEDIAN_SCALED)
    if plain is None or scaled is None or plain.scale is None:
        return None
    return {
        "abs_rel": plain.abs_rel,
        "a1": plain.a1,
        "abs_rel_median_scaled": scaled.abs_rel,
        "a1_median_scaled": scaled.a1,
        "log_scale_error": abs(math.log(plain.scale)),
    }


@torch.no_grad()
def validation_figures(
    model: FeatDepthModel,
    batches: Iterable[FrameBatch],
    names: Sequence[str],
    config: TrainConfig,
    groups: Sequence[str] | None = None,
) -> tuple[dict[str, float], dict[str, tuple[FrameBatch, Prediction]]]:
    """Return figures, and the first batch of the first sources (`SHOWN`) with its prediction.

    Figures are means over samples, with ``<group>/`` in front for each of the ``groups``. Of terms there are
    ``photometric`` and ``reconstruction``, where the objective has them. With true depth there are those of
    `_depth_figures`. With true motion there are ``rotation_deg`` and ``translation_percent`` (relative to its length)
    of each sample's first pair, fitted as in training (`motion_head.use_plain_fit`).
    """
    was_training = model.training
    model.eval()
    sums = _Sums(groups)
    shown: dict[str, tuple[FrameBatch, Prediction]] = {}
    for batch in batches:
        if config.objective.reconstruction > 0:
            terms = reconstruction_terms(model, batch, config)
            sums.add("reconstruction", [float(terms["reconstruction"])] * batch.images.shape[0])
        if "depth" not in model.nets:
            continue
        prediction = predict(model, batch.images, batch.intrinsics)
        if len(shown) < SHOWN:
            shown.setdefault(names[int(batch.group[0])], (batch, prediction))
        if config.objective.photometric > 0:
            _add_photometric(sums, model, prediction, batch, config)
        _add_truth(sums, model, prediction, batch)
    model.train(was_training)
    return sums.means(), shown


def _add_photometric(
    sums: _Sums, model: FeatDepthModel, prediction: Prediction, batch: FrameBatch, config: TrainConfig
) -> None:
    if config.data.kind == "mixed" and bool(batch.rendered.any()):
        return  # rendered samples are measured against their truth
    if bool(batch.single.all()) and not bool(batch.has_partner.any()):
        return  # nothing explains a single frame
    terms = prediction_terms(model, prediction, batch, config)
    sums.add("photometric", [float(terms["photometric"])] * batch.images.shape[0], int(batch.group[0]))


def _add_truth(sums: _Sums, model: FeatDepthModel, prediction: Prediction, batch: FrameBatch) -> None:
    ratio = focal_ratio(batch.intrinsics, model.info)
    count, size = batch.images.shape[0], batch.images.shape[-2:]
    first = prediction.disparities[0][:: batch.frames].float()
    finest = F.interpolate(first, size, mode="bilinear", align_corners=False)
    guess = log_depth(finest, model.info).exp() * ratio.view(-1, 1, 1, 1)
    motion: list[tuple[float, float]] = []
    if batch.frames > 1:
        axisangle, shift = (v.unflatten(0, (count, -1))[:, 0] for v in motion_target(batch, model.info))
        turn_deg = torch.rad2deg((prediction.axisangle[:, 0] - axisangle).norm(dim=1)).tolist()
        relative = (prediction.translation[:, 0] - shift).norm(dim=1) / shift.norm(dim=1).clamp_min(1e-3)
        motion = list(zip(turn_deg, (100 * relative).tolist(), strict=True))
    for i in range(count):
        figures = _depth_figures(guess[i, 0], batch.depth[i, 0, 0]) or {}
        if motion and math.isfinite(motion[i][1]):
            figures = {**figures, "rotation_deg": motion[i][0], "translation_percent": motion[i][1]}
        for name, value in figures.items():
            sums.add(name, [value], int(batch.group[i]))
