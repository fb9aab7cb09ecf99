"""A batch of short image sequences, and the change of units between a live camera and the canonical one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class FrameBatch:
    """Legend of shapes: B samples, F frames of each in order of time, H and W in pixels.

    Attributes:
        images: (B, F, 3, H, W) RGB; uint8 from the loader, float32 in [0, 1] in training. Never colour-augmented.
        depth: (B, F, 1, H, W) float32 z-depth, metres; inf: nothing there (sky), NaN: unknown.
        intrinsics: (B, 4) float32 fx, fy, cx, cy, pixels of H x W.
        T_next_frame: (B, F - 1, 4, 4) float32, from each frame to the next, metres; NaN: unknown.
        partner: (B, F, 3, H, W) images of the stereo partner, as ``images``; zeros where a sample has none. There are
            no frames at all, (B, 0, 3, H, W), in training without stereo.
        T_partner_camera: (B, 4, 4) float32, metres; NaN: no partner. Both cameras have ``intrinsics``.
        rendered: (B,) bool, samples of rendered scenes, whose truth is exact.
        single: (B,) bool, samples of one frame without neighbours, repeated F times; ``T_next_frame`` is NaN.
        group: (B,) int64, index of the source (for validation by source).
        pseudo_depth: (B, F, 1, H, W) float32, by `pseudo_depth`: metres where ``T_partner_camera`` is known, else up to
            a scale for each frame; NaN: unknown.
        camera_height_m: (B,) float32, of the camera over the ground it drives on, metres; NaN: unknown.
        moving: (B, F, 1, H, W) bool, pixels of moving objects, which the camera's motion does not explain; None: none
            are known.
        lens: (B,) radial coefficients of the projection that are being learned (`LearnedCameras`); None: none.
    """

    images: Tensor
    depth: Tensor
    intrinsics: Tensor
    T_next_frame: Tensor
    partner: Tensor
    T_partner_camera: Tensor
    rendered: Tensor
    single: Tensor
    group: Tensor
    pseudo_depth: Tensor
    camera_height_m: Tensor
    moving: Tensor | None = None
    lens: Tensor | None = None

    @property
    def frames(self) -> int:
        """F."""
        return self.images.shape[1]

    @property
    def image_count(self) -> int:
        """B times F."""
        return self.images.shape[0] * self.images.shape[1]

    @property
    def has_partner(self) -> Tensor:
        """(B,) bool: which samples have a stereo partner."""
        if self.partner.shape[1] == 0:
            return torch.zeros_like(self.rendered)
        return torch.isfinite(self.T_partner_camera).flatten(1).all(1)

    def select(self, chosen: Tensor) -> FrameBatch:
        """Return the samples that the mask (B,) names."""
        return self if bool(chosen.all()) else self._each(lambda tensor: tensor[chosen])

    def first_frame(self) -> FrameBatch:
        """Return the first frame of every sample alone."""
        by_frame = ("images", "depth", "pseudo_depth", "partner", "moving")
        cut = {name: getattr(self, name)[:, :1] for name in by_frame if getattr(self, name) is not None}
        return FrameBatch(**{**vars(self), **cut, "T_next_frame": self.T_next_frame[:, :0]})

    def to(self, device: torch.device) -> FrameBatch:
        """Move every tensor to ``device``."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def _each(self, change: Callable[[Tensor], Tensor]) -> FrameBatch:
        return FrameBatch(**{name: change(value) for name, value in vars(self).items() if value is not None})

    def in_floats(self) -> FrameBatch:
        """Return the same batch with float32 images in [0, 1]."""
        floats = {name: getattr(self, name).float().div_(255.0) for name in ("images", "partner")}
        return FrameBatch(**{**vars(self), **floats})


def collate(samples: Sequence[FrameBatch]) -> FrameBatch:
    """Stack samples whose tensors lack the B dimension."""
    known = [name for name, value in vars(samples[0]).items() if value is not None]
    return FrameBatch(**{name: torch.stack([vars(s)[name] for s in samples]) for name in known})


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
