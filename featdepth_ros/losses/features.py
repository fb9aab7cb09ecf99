"""Feature maps for the feature-metric loss, one per image, with frozen or batch statistics of BatchNorm."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn

BatchNormMode = Literal["running_statistics", "batch_statistics"]


@contextmanager
def batch_norm_mode(net: nn.Module, mode: BatchNormMode) -> Iterator[None]:
    """Run a feature net's BatchNorm layers in the given mode, and restore the net's modes afterwards.

    ``running_statistics``
        This is the evaluation mode. It uses the stored statistics and changes nothing.
    ``batch_statistics``
        This is the mode of the reference's "fixed" extractor (docs/reference.md, D9). It uses statistics of the current
        batch. The stored ones are not changed here; in the reference they drift without use.
    """
    modes = {module: module.training for module in net.modules()}
    norms = [module for module in net.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    tracked = [norm.track_running_stats for norm in norms]
    try:
        net.train(mode == "batch_statistics")
        if mode == "batch_statistics":
            for norm in norms:
                norm.track_running_stats = False
        yield
    finally:
        for norm, track in zip(norms, tracked, strict=True):
            norm.track_running_stats = track
        for module, training in modes.items():
            module.training = training


def feature_maps(
    images: Mapping[int | str, Tensor],
    features: Callable[[Tensor], Tensor],
    net: nn.Module,
    mode: BatchNormMode = "running_statistics",
    gradients: bool = False,
) -> dict[tuple[str, int | str, int], Tensor]:
    """Return the features of all frames, with the keys of `objective`.

    Args:
        images: frame -> (B, 3, H, W) in [0, 1], without colour augmentation.
        features: function for the feature map, usually ``model.features``.
        net: the module with the BatchNorm layers of ``features``.
        mode: see `batch_norm_mode`. With running statistics, all frames are one batch. With batch statistics, each is a
            batch of its own as in the reference, because the batch changes the result.
        gradients: keep the graph, for a jointly trained encoder.

    Returns:
        ("feature", frame, 0) -> (B, C, h, w).
    """
    with batch_norm_mode(net, mode), torch.set_grad_enabled(gradients and torch.is_grad_enabled()):
        if mode == "batch_statistics":
            maps = [features(image) for image in images.values()]
        else:
            batch = next(iter(images.values())).shape[0]
            maps = list(features(torch.cat(list(images.values()))).split(batch))
    return {("feature", frame, 0): values for frame, values in zip(images, maps, strict=True)}
