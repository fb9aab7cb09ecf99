"""Batch norms fused into the convolutions before them: the same function with fewer passes over memory."""

from __future__ import annotations

import copy
from typing import TypeVar

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from featdepth_ros.errors import FeatDepthError

ModelT = TypeVar("ModelT", bound=nn.Module)

#: Names of a convolution and of the batch norm that follows it, within one module.
_PAIRS = (
    ("_conv_stem", "_bn0"),
    ("_expand_conv", "_bn0"),
    ("_depthwise_conv", "_bn1"),
    ("_project_conv", "_bn2"),
    ("conv1", "bn1"),
    ("conv2", "bn2"),
    ("conv3", "bn3"),
    ("0", "1"),  # nn.Sequential(conv, norm, ...)
)


def fuse_batch_norms(model: ModelT) -> ModelT:
    """Return a copy for inference whose batch norms are part of the convolutions; ``model`` stays as it is.

    The outputs agree to float32 rounding. The copy can neither be trained nor saved as weights.

    Raises:
        FeatDepthError: the model is in training mode, where batch norms depend on the batch.
    """
    if model.training:
        raise FeatDepthError("batch norms can be fused in eval mode only; call model.eval() first")
    fused = copy.deepcopy(model).requires_grad_(False)
    for module in fused.modules():
        for conv_name, norm_name in _PAIRS:
            conv, norm = module._modules.get(conv_name), module._modules.get(norm_name)
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                module._modules[conv_name] = fuse_conv_bn_eval(conv, norm)
                module._modules[norm_name] = nn.Identity()
    return fused
