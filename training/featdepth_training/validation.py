"""Figures on clips that no weight was trained on: depth as it is (metres) and median scaled, motion."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from featdepth_ros.models.base import FeatDepthModel
from featdepth_training.batch import FrameBatch, focal_ratio
from featdepth_training.config import ObjectiveConfig
from featdepth_training.prediction import Prediction, predict
from featdepth_training.selfsupervised import selfsupervised_terms
from featdepth_training.supervised import log_depth, motion_target

#: Metres between which depth is compared.
NEAR_M, FAR_M = 0.1, 80.0


@dataclass
class _Sums:
    values: dict[str, list[float]] = field(default_factory=dict)

    def add(self, name: str, numbers: Iterable[float]) -> None:
        self.values.setdefault(name, []).extend(numbers)

    def means(self) -> dict[str, float]:
        return {k: sum(v) / len(v) for k, v in self.values.items() if v}


def _depth_figures(guess_m: Tensor, truth_m: Tensor) -> dict[str, float] | None:
    """AbsRel, share within a factor of 1.25 and the median ratio of one image; None without valid pixels."""
    mask = (truth_m > NEAR_M) & (truth_m < FAR_M)
    guess, truth = guess_m[mask], truth_m[mask]
    if truth.numel() == 0:
        return None
    median = truth.median() / guess.median()

    def figures(g: Tensor) -> tuple[float, float]:
        worse = torch.maximum(g / truth, truth / g)
        return ((g - truth).abs() / truth).mean().item(), (worse < 1.25).float().mean().item()

    plain, scaled = figures(guess.clamp(NEAR_M, FAR_M)), figures((guess * median).clamp(NEAR_M, FAR_M))
    return {
        "abs_rel": plain[0],
        "a1": plain[1],
        "abs_rel_median_scaled": scaled[0],
        "a1_median_scaled": scaled[1],
        "log_scale_error": abs(median.log().item()),
    }


@torch.no_grad()
def validate(
    model: FeatDepthModel, batches: Iterable[FrameBatch], groups: Sequence[str], objective: ObjectiveConfig
) -> tuple[dict[str, float], tuple[FrameBatch, Prediction] | None]:
    """Return figures and one batch with its prediction.

    Figures are means over samples, with ``<group>/`` in front for each kind of scene. Without truth there is
    ``photometric`` only (when the objective has that term), with true depth those of `_depth_figures`, with true motion
    ``rotation_deg`` and ``translation_percent`` (relative to its length) of each sample's first pair.
    """
    was_training = model.training
    model.eval()
    sums, shown = _Sums(), None
    for batch in batches:
        prediction = predict(model, batch.images)
        shown = shown or (batch, prediction)
        ratio = focal_ratio(batch.camera, model.info)
        count, size = batch.images.shape[0], batch.images.shape[-2:]
        first = prediction.disparities[0][:: batch.frames].float()
        finest = F.interpolate(first, size, mode="bilinear", align_corners=False)
        guess = log_depth(finest, model.info).exp() * ratio.view(-1, 1, 1, 1)
        axisangle, shift = (v.unflatten(0, (count, -1))[:, 0] for v in motion_target(batch, model.info))
        turn_deg = torch.rad2deg((prediction.axisangle[:, 0] - axisangle).norm(dim=1)).tolist()
        relative = (prediction.translation[:, 0] - shift).norm(dim=1) / shift.norm(dim=1).clamp_min(1e-3)
        percent = (100 * relative).tolist()
        if objective.selfsupervised:
            without_truth = selfsupervised_terms(model, prediction, batch, objective)
            sums.add("photometric", [float(without_truth["photometric"])] * count)
        for i in range(count):
            group = groups[int(batch.group[i])]
            figures = _depth_figures(guess[i, 0], batch.depth[i, 0, 0]) or {}
            if math.isfinite(percent[i]):
                figures = {**figures, "rotation_deg": turn_deg[i], "translation_percent": percent[i]}
            for name, value in figures.items():
                sums.add(name, [value])
                sums.add(f"{group}/{name}", [value])
    model.train(was_training)
    return sums.means(), shown
