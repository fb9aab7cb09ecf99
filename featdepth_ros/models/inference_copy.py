"""Faster copies of models with the same results, for inference in PyTorch and for export.

Batch norms are fused into the preceding convolutions. Convolutions of upsampled maps become transposed convolutions of
the small maps. In half precision, some layers stay in float32; see `keep_precise`.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from featdepth_ros.errors import FeatDepthError
from featdepth_ros.models.base import FeatDepthModel
from featdepth_ros.models.compact import PRECISE_LAYERS, CompactModel, Merge, SplitMerge

ModelT = TypeVar("ModelT", bound=nn.Module)

#: Names of a convolution and of the batch norm after it, within one module.
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
    """Return a copy for inference with batch norms fused into the convolutions; ``model`` is not changed.

    The outputs agree up to float32 rounding. The copy can neither be trained nor saved as weights.

    Raises:
        FeatDepthError: the model is in training mode, in which batch norms depend on the batch.
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


def inference_copy(model: FeatDepthModel, half: torch.dtype | None = None) -> FeatDepthModel:
    """Return a copy for inference; ``model`` is not changed.

    Args:
        model: a model in eval mode.
        half: bfloat16 or float16, dtype of the convolutions' weights. The layers of `keep_precise` stay float32. None:
            all weights are float32, and outputs agree with the model's up to rounding.

    Raises:
        FeatDepthError: the model is in training mode.
    """
    fused = fuse_batch_norms(model)
    if isinstance(fused, CompactModel):
        merges = fused.decoder.merge
        for level, merge in enumerate(merges):
            assert isinstance(merge, Merge)
            merges[level] = SplitMerge.of(merge)
    if half is not None:
        keep_precise(fused)
        exact = {part for module in fused.modules() if isinstance(module, InFloat32) for part in module.modules()}
        exact |= set(_added_up(fused))
        for module in fused.modules():
            if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)) and module not in exact:
                module.to(half)
    return fused


def keep_precise(model: FeatDepthModel) -> None:
    """Keep those layers of a compact model in float32, in place, that cause most of the error of half precision.

    These are `PRECISE_LAYERS` and the heads. A disparity of a hundredth of the range is a logit of minus five, for
    which bfloat16 has a resolution of 1/32. With these in float32, the error of bfloat16 is a fifth (docs/results.md).
    """
    if not isinstance(model, CompactModel):
        return
    encoder: nn.Module = model.encoder
    for layer in PRECISE_LAYERS:
        path, _, name = layer.rpartition(".")
        encoder.get_submodule(path).register_module(name, InFloat32(encoder.get_submodule(layer), as_given=True))
    for level, head in enumerate(model.decoder.head):
        model.decoder.head[level] = InFloat32(head)
    for name in ("shift16", "shift8", "trust"):
        model.pose_head.register_module(name, InFloat32(model.pose_head.get_submodule(name)))


def _added_up(model: FeatDepthModel) -> Iterator[nn.Module]:
    """Yield the convolutions whose taps `conv3x3_of_upsampled` adds, which must be done before rounding."""
    for name, module in model.named_modules():
        added_up = name.startswith(("DepthDecoder.iconv", "DepthDecoder.disp")) and "iconv4" not in name
        if isinstance(module, nn.Conv2d) and added_up:
            yield module


class InFloat32(nn.Module):
    """Runs a layer in float32, independent of the dtype of its input and of autocast.

    Args:
        layer: the layer.
        as_given: return the result in the dtype of the input; else it stays float32.
    """

    def __init__(self, layer: nn.Module, as_given: bool = False) -> None:
        super().__init__()
        self.layer = layer
        self._as_given = as_given

    def forward(self, x: Tensor) -> Tensor:
        """See the layer's forward method."""
        with torch.autocast(x.device.type, enabled=False):
            result: Tensor = self.layer(x.float())
        return result.to(x.dtype) if self._as_given else result
