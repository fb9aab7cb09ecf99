"""Layers that stay in fp32 when the networks run in bf16."""

from __future__ import annotations

import torch
from torch import Tensor

from featdepth_ros.models.base import FeatDepthModel
from featdepth_ros.models.lite0 import SameConv2d


class FullPrecisionConv2d(SameConv2d):
    """A depthwise convolution that stays in fp32 under autocast."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H / stride, W / stride)."""
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.float())


def keep_depthwise_in_fp32(model: FeatDepthModel) -> None:
    """Exclude depthwise convolutions from autocast on a CPU, where their bf16 gradients are 4 times slower than fp32.

    This was measured with oneDNN in torch 2.13; all other convolutions gain from bf16. Weights and keys do not change.
    """
    for module in model.modules():
        if type(module) is SameConv2d and module.groups > 1:
            module.__class__ = FullPrecisionConv2d
