"""Feature maps for the feature-metric loss: each image once, with a BatchNorm that is really frozen, or not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn

BatchNormMode = Literal["running_statistics", "batch_statistics"]


@contextmanager
def batch_norm_mode(net: nn.Module, mode: BatchNormMode) -> Iterator[None]:
    """Run a feature net's BatchNorm layers in the given mode, and leave the net as it was found.

    ``running_statistics``
        evaluation mode: what is stored is used, nothing changes. A frozen net stays the same net.
    ``batch_statistics``
        what the reference does with its "fixed" extractor (docs/reference.md, D9): statistics of the batch at hand. The
        stored ones are not touched here; in the reference they drift, unused.
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
    """Features of every frame, n + 1 images for n sources, under the keys `objective` reads.

    Args:
        images: frame -> (B, 3, H, W) in [0, 1], without colour augmentation.
        features: the map to compare, usually ``model.features``.
        net: the module whose BatchNorm layers ``features`` runs through.
        mode: see `batch_norm_mode`. With running statistics all frames go through in one batch. With batch statistics
            each goes alone, as in the reference: the batch then changes the result.
        gradients: keep the graph, for an encoder trained along.

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
