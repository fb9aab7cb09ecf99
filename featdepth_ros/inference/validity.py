"""Which depths to trust: the rule behind `Estimate.valid`.

A pixel is valid when all of these hold:

1. rectification found it inside the delivered image;
2. its depth lies strictly inside the configured range;
3. it does not sit on a depth edge: within 3x3 network pixels depth changes by less than `EDGE_RATIO`. A network's
   half-resolution disparity smears such edges into points that float between object and background;
4. where the previous frame saw the same point (known motion, inside its image), that frame's depth agrees within
   `AGREEMENT`: the geometric consistency test of Bian et al. (SC-SfMLearner, NeurIPS 2019), which catches moving
   objects, holes and flicker.

The share of valid pixels whose depth is within 25 % of rendered truth (precision), beside the share before the rule,
stands in docs/results.md and is held by a test.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - the usual name

#: Largest over smallest depth within 3x3 pixels that still counts as one surface.
EDGE_RATIO = 1.15
#: Relative difference of the two frames' depths of one point that still counts as agreement.
AGREEMENT = 0.20


def off_edges(depth: torch.Tensor) -> torch.Tensor:
    """Rule 3. (1, 1, h, w) depth to a (1, 1, h, w) bool mask."""
    highest = F.max_pool2d(depth, 3, stride=1, padding=1)
    lowest = -F.max_pool2d(-depth, 3, stride=1, padding=1)
    return highest < EDGE_RATIO * lowest


def agrees(predicted: torch.Tensor, seen: torch.Tensor, covered: torch.Tensor) -> torch.Tensor:
    """Rule 4. Depth of the current points in the previous camera (``predicted``) against what that frame measured.

    Args:
        predicted: (1, 1, h, w) depth that the current frame gives its points in the previous camera's frame.
        seen: (1, 1, h, w) depth that the previous frame measured there.
        covered: (1, 1, h, w) bool; where the previous image covers the point at all. Elsewhere nothing is held
            against the pixel.
    """
    apart = (predicted - seen).abs() > AGREEMENT * torch.minimum(predicted, seen)
    return ~(apart & covered)
