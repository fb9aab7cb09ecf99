"""Compares the scale of other weights with that of the weights in use, by the depth of recent images."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import torch
from torch import Tensor

#: Number of kept images, and of frames between them, so that they show different scenes.
KEPT, EVERY = 4, 5
#: Number of images that a comparison needs.
ENOUGH = 2
#: Least share of an image's depths inside the published range; other images are not compared.
LEAST_SHARE = 0.05


class SeenPictures:
    """A few recent images of one camera with their depth by the networks in use.

    One thread may add images while another one compares.
    """

    def __init__(self) -> None:
        self._pictures: deque[tuple[Tensor, Tensor, Tensor]] = deque(maxlen=KEPT)
        self._frames = 0

    def __len__(self) -> int:
        return len(self._pictures)

    def clear(self) -> None:
        """Remove all images."""
        self._pictures.clear()
        self._frames = 0

    def add(self, image: Tensor, depth: Tensor, factor: float, depth_range: tuple[float, float]) -> None:
        """Add an image, unless too few frames have passed since the last one.

        Args:
            image: (1, 3, h, w) float32 input of the networks.
            depth: (1, 1, h', w') float32 depth by the networks in use, network units.
            factor: published units per network unit.
            depth_range: smallest and largest published depth, published units.
        """
        self._frames += 1
        if self._frames % EVERY != 1:
            return
        published = depth * factor
        counts = (published > depth_range[0]) & (published < depth_range[1])
        if counts.float().mean() >= LEAST_SHARE:
            self._pictures.append((image, depth, counts))

    def log_ratio(self, depth_of: Callable[[Tensor], Tensor]) -> float | None:
        """Return the median logarithm of the kept depth over the depth of other networks, each in its own unit.

        Args:
            depth_of: the other networks: (1, 3, h, w) to (1, 1, h', w') float32, in their units.

        Returns:
            None with fewer than `ENOUGH` images.
        """
        pictures = list(self._pictures)
        if len(pictures) < ENOUGH:
            return None
        with torch.inference_mode():
            ratios = [torch.log(depth / depth_of(image))[counts] for image, depth, counts in pictures]
            return float(torch.cat(ratios).median())
