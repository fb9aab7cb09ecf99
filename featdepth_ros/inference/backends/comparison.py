"""The scale of other weights beside those in force: both say how deep the last pictures are."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import torch
from torch import Tensor

#: Pictures that are kept, and how many frames lie from one to the next: they shall not all show the same thing.
KEPT, EVERY = 4, 5
#: Pictures from which a comparison is to be had.
ENOUGH = 2
#: Least share of a picture's depths that lie in the range that is published. Others say nothing of the scale.
LEAST_SHARE = 0.05


class SeenPictures:
    """A few of the last pictures of one camera, with the depth that the networks in force gave of them.

    One thread adds, another may compare.
    """

    def __init__(self) -> None:
        self._pictures: deque[tuple[Tensor, Tensor, Tensor]] = deque(maxlen=KEPT)
        self._frames = 0

    def __len__(self) -> int:
        return len(self._pictures)

    def clear(self) -> None:
        """Forget all of them."""
        self._pictures.clear()
        self._frames = 0

    def add(self, image: Tensor, depth: Tensor, factor: float, depth_range: tuple[float, float]) -> None:
        """Take a picture, or pass over it while the last one is young.

        Args:
            image: (1, 3, h, w) float32, as the networks take it.
            depth: (1, 1, h', w') float32 by the networks in force, network units.
            factor: published units per network unit.
            depth_range: least and most depth that is published.
        """
        self._frames += 1
        if self._frames % EVERY != 1:
            return
        published = depth * factor
        counts = (published > depth_range[0]) & (published < depth_range[1])
        if counts.float().mean() >= LEAST_SHARE:
            self._pictures.append((image, depth, counts))

    def log_ratio(self, depth_of: Callable[[Tensor], Tensor]) -> float | None:
        """Return the logarithm of this depth over that of other networks, each in its own unit; the median.

        Args:
            depth_of: the other networks: (1, 3, h, w) to (1, 1, h', w') float32, their units.

        Returns:
            None with fewer than `ENOUGH` pictures.
        """
        pictures = list(self._pictures)
        if len(pictures) < ENOUGH:
            return None
        with torch.inference_mode():
            ratios = [torch.log(depth / depth_of(image))[counts] for image, depth, counts in pictures]
            return float(torch.cat(ratios).median())
