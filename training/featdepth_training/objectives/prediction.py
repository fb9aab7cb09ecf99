"""Runs the networks on a batch of sequences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from featdepth_ros.geometry.se3 import refocused_motion
from featdepth_ros.models.base import FeatDepthModel
from featdepth_ros.models.compact import Coarse, CompactModel
from featdepth_training.data.units import focal_ratio


@dataclass(frozen=True)
class Prediction:
    """Predictions of the networks for B samples of F frames.

    Attributes:
        disparities: sigmoid maps (B T, 1, h, w) of the T target frames, sample by sample, finest first.
        targets: numbers of those frames.
        axisangle, translation: (B, F - 1, 3) motions T_next_frame of the live camera between neighbours, radians and
            units of the network's depth.
        flow_px: (B, F - 1, 2, h, w) displacements from each frame to the next, full-size pixels; None: the model has no
            matching.
    """

    disparities: list[Tensor]
    targets: tuple[int, ...]
    axisangle: Tensor
    translation: Tensor
    flow_px: Tensor | None = None

    def select(self, chosen: Tensor) -> Prediction:
        """Return the samples that the mask (B,) names."""
        if bool(chosen.all()):
            return self
        by_sample = [d.unflatten(0, (len(chosen), -1))[chosen].flatten(0, 1) for d in self.disparities]
        flow = None if self.flow_px is None else self.flow_px[chosen]
        return Prediction(by_sample, self.targets, self.axisangle[chosen], self.translation[chosen], flow)

    def first_target(self) -> Prediction:
        """Return the depth of every sample's first target, as of samples of that one frame."""
        first = [d.unflatten(0, (-1, len(self.targets)))[:, 0] for d in self.disparities]
        return Prediction(first, (0,), self.axisangle[:, :0], self.translation[:, :0])


def predict(model: FeatDepthModel, seen: Tensor, camera: Tensor, targets: Sequence[int] | None = None) -> Prediction:
    """Run the depth net on the target frames (None: all) and the pose net on all neighbours.

    Args:
        model: in training or evaluation mode; the compact one encodes each image once.
        seen: images (B, F, 3, H, W); a published architecture's pose net gets them at ``info.pose_input_size``.
        camera: (B, 4) fx, fy, cx, cy, pixels of the images.
        targets: numbers of frames.
    """
    count, frames = seen.shape[:2]
    chosen = tuple(range(frames)) if targets is None else tuple(targets)
    flow: Tensor | None = None
    if isinstance(model, CompactModel):
        maps = model.encode(seen.flatten(0, 1))
        coarse = model.coarse_depth(maps)

        def of(numbers: Sequence[int]) -> tuple[list[Tensor], Coarse]:
            def pick(x: Tensor) -> Tensor:
                picked: Tensor = x.unflatten(0, (count, frames))[:, list(numbers)].flatten(0, 1)
                return picked

            return [pick(m) for m in maps], coarse.select(pick)

        disparities = model.depth_from_features(*(of(chosen) if len(chosen) < frames else (maps, coarse)))
        if frames > 1:
            (earlier, coarse0), (later, coarse1) = of(range(frames - 1)), of(range(1, frames))
            cameras = camera.repeat_interleave(frames - 1, 0)
            matched = model.motion_from_features(earlier, later, coarse0, coarse1, cameras)
            motion = matched.axisangle, matched.translation
            flow = matched.flow_px.unflatten(0, (count, frames - 1))
    else:
        disparities = model.depth(seen[:, list(chosen)].flatten(0, 1))
        if frames > 1:
            small = _pose_input(seen, model.info.pose_input_size)
            # Pair by pair, as in the original, because the batch determines the statistics of BatchNorm.
            pairs = [model.pose(small[:, k], small[:, k + 1]) for k in range(frames - 1)]
            turns, shifts = ([pair[n] for pair in pairs] for n in (0, 1))
            ratio = focal_ratio(camera, model.info).repeat_interleave(frames - 1)
            motion = refocused_motion(torch.stack(turns, 1).flatten(0, 1), torch.stack(shifts, 1).flatten(0, 1), ratio)
    if frames == 1:
        nothing = torch.zeros(count, 0, 3, device=seen.device)
        return Prediction(disparities, chosen, nothing, nothing)
    axisangle, translation = (m.unflatten(0, (count, frames - 1)) for m in motion)
    return Prediction(disparities, chosen, axisangle, translation, flow)


def _pose_input(seen: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(seen.shape[-2:]) == tuple(size):
        return seen
    resized = F.interpolate(seen.flatten(0, 1), size, mode="bilinear", align_corners=False)
    images: Tensor = resized.unflatten(0, seen.shape[:2])
    return images
