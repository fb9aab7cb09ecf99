"""A batch of image pairs with truth, and the change of units between a live camera and the canonical one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from featdepth_ros.models.info import ModelInfo


@dataclass(frozen=True)
class PairBatch:
    """Legend of shapes: B pairs, H and W in pixels.

    Attributes:
        earlier, later: (B, 3, H, W) RGB; uint8 from the loader, float32 in [0, 1] once augmented.
        depth_earlier, depth_later: (B, 1, H, W) float32 z-depth, metres; inf: nothing there (sky), NaN: unknown.
        camera: (B, 4) float32 fx, fy, cx, cy, pixels of H x W.
        motion: (B, 4, 4) float32 T_later_earlier, metres.
        group: (B,) int64, index of the kind of scene (for validation by kind).
    """

    earlier: Tensor
    later: Tensor
    depth_earlier: Tensor
    depth_later: Tensor
    camera: Tensor
    motion: Tensor
    group: Tensor

    def to(self, device: torch.device) -> PairBatch:
        """Move every tensor to ``device``."""
        return PairBatch(**{k: v.to(device, non_blocking=True) for k, v in vars(self).items()})

    def with_images(self, earlier: Tensor, later: Tensor) -> PairBatch:
        """The same batch with other pictures."""
        return PairBatch(**{**vars(self), "earlier": earlier, "later": later})


def collate(samples: Sequence[PairBatch]) -> PairBatch:
    """Stack samples whose tensors lack the B dimension."""
    return PairBatch(**{k: torch.stack([vars(s)[k] for s in samples]) for k in vars(samples[0])})


def canonical_focal_px(info: ModelInfo) -> float:
    """Focal length of the canonical camera in pixels: the geometric mean of fx and fy at ``info.input_size``."""
    assert info.focal is not None, "training always knows its canonical camera"
    height, width = info.input_size
    return float((info.focal[0] * width * info.focal[1] * height) ** 0.5)


def focal_ratio(camera: Tensor, info: ModelInfo) -> Tensor:
    """Return r = f_live / f_canonical, (B,), from (B, 4) intrinsics in pixels at the networks' size.

    The canonical focal length is meant in pixels whatever the size of the images: what matters to a convolutional
    network is how many pixels a thing of known size covers.
    """
    return (camera[:, 0] * camera[:, 1]).sqrt() / canonical_focal_px(info)


def depth_in_network_units(depth_m: Tensor, ratio: Tensor) -> Tensor:
    """A thing seen at r times the canonical focal length looks r times nearer: network depth = metres / r."""
    return depth_m / ratio.view(-1, *[1] * (depth_m.ndim - 1))


def motion_in_network_units(axisangle: Tensor, translation_m: Tensor, ratio: Tensor) -> tuple[Tensor, Tensor]:
    """Motion of the canonical camera that moves the pixels as this one did, to first order.

    With depth divided by r, the flow f t_x / Z keeps t_x and t_y; f (x t_z / Z) needs t_z / r; f w_y needs r w_y; the
    turn about the optical axis is free of f.

    Args:
        axisangle, translation_m: (B, 3), radians and metres.
        ratio: (B,) r.
    """
    r = ratio[:, None]
    one = torch.ones_like(r)
    return axisangle * torch.cat((r, r, one), 1), translation_m * torch.cat((one, one, 1 / r), 1)


def axisangle_of(rotation: Tensor) -> Tensor:
    """Logarithm of rotation matrices (B, 3, 3) -> (B, 3) radians, for angles well below pi."""
    vector = torch.stack(
        (
            rotation[:, 2, 1] - rotation[:, 1, 2],
            rotation[:, 0, 2] - rotation[:, 2, 0],
            rotation[:, 1, 0] - rotation[:, 0, 1],
        ),
        1,
    )
    sine = 0.5 * vector.norm(dim=1, keepdim=True)
    cosine = 0.5 * (rotation.diagonal(dim1=1, dim2=2).sum(1, keepdim=True) - 1)
    angle = torch.atan2(sine, cosine)
    factor = torch.where(sine > 1e-6, angle / (2 * sine).clamp_min(1e-12), torch.full_like(sine, 0.5))
    return vector * factor
