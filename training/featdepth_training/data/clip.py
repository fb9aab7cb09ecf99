"""A clip: consecutive frames of one camera, as arrays."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from featdepth_training.data.shards import (
    CachedFrame,
)

#: Distance of the stamps of clips without stamps, nanoseconds.
_UNSTAMPED_NS = 100_000_000


@dataclass(frozen=True)
class Clip:
    """Consecutive frames of one camera in order of time, without a cut.

    Attributes:
        images: (F, H, W, 3) uint8 RGB.
        depth: (F, H, W) float16 or float32, metres; inf: nothing there, NaN: unknown; None: no truth.
        poses: (F, 4, 4) float64 T_world_camera (optical axes); NaN: unknown.
        camera: (4,) float64 fx, fy, cx, cy, pixels.
        group: index of the kind of scene.
        partner: (F, H, W, 3) uint8 RGB of the stereo partner, seen with the same ``camera``; None: no partner.
        T_partner_camera: (4, 4) float64, metres; None: no partner.
        stamps_ns: (F,) int64, nanoseconds; empty: unknown (never from a `ClipCache`).
        pseudo_depth: (F, H, W) float16, by `pseudo_depth`: metres where there is a partner, else up to a scale for each
            frame. NaN: unknown. None: never computed.
        moving: (F, H, W) bool, pixels of moving objects; None: unknown, or there are none.
    """

    images: NDArray[np.uint8]
    depth: NDArray[np.floating] | None
    poses: NDArray[np.float64]
    camera: NDArray[np.float64]
    group: int = 0
    partner: NDArray[np.uint8] | None = None
    T_partner_camera: NDArray[np.float64] | None = None
    stamps_ns: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    pseudo_depth: NDArray[np.float16] | None = None
    moving: NDArray[np.bool_] | None = None

    def frames(self, stretch: int) -> list[CachedFrame]:
        """Return the frames in their stored form, as one sequence."""
        stamps = self.stamps_ns if len(self.stamps_ns) else np.arange(len(self.images)) * _UNSTAMPED_NS
        return [
            CachedFrame(
                image=image,
                camera=self.camera,
                stretch=stretch,
                stamp_ns=int(stamps[i]),
                name=f"{stretch:06d}_{i:03d}",
                pose=self.poses[i],
                depth=None if self.depth is None else self.depth[i],
                partner=None if self.partner is None else self.partner[i],
                T_partner_camera=self.T_partner_camera,
                moving=None if self.moving is None else self.moving[i],
            )
            for i, image in enumerate(self.images)
        ]
