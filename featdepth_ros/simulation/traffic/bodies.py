"""Rigid bodies that move through a scene; their primitives are stored after those of the static scene."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.simulation.render import kernels
from featdepth_ros.simulation.render.scene import Scene, SceneBuilder, Vector
from featdepth_ros.simulation.render.shapes import CENTRE, HALF, INVERSE, SHADOW, SUN, SceneData

#: Position of the primitives of a hidden body: far below the ground, where no camera looks.
BURIED_M = -1e6


class MovingBodies:
    """The moving bodies of a scene.

    `place` moves their primitives and their shadows; static primitives are neither copied nor processed.

    Args:
        scene: the scene without the bodies.
        bodies: one builder per body, with its primitives in the body's own axes (x forward, y left, z up, origin on
            the ground). They share the scene's atlas.

    Attributes:
        scene: the scene with the bodies; `place` changes its arrays.
        first: number of the bodies' first primitive.
        owner: (M,) int64 number of the body to which each of their primitives belongs.
    """

    def __init__(self, scene: Scene, bodies: list[SceneBuilder]) -> None:
        packed = [body.pack() for body in bodies]
        kind, shapes, axes, casts = (np.concatenate(column) for column in zip(*packed, strict=True))
        data = scene.data
        self.first, self.count = len(data.kind), len(bodies)
        self.owner = np.repeat(np.arange(len(bodies)), [len(entry[0]) for entry in packed])
        self._shapes, self._axes, self._casts = shapes, axes, casts
        self.scene = dataclasses.replace(
            scene,
            data=data._replace(
                kind=np.concatenate([data.kind, kind]),
                shapes=np.concatenate([data.shapes, shapes]),
                axes=np.concatenate([data.axes, axes]),
                shadow=data.shadow.copy(),
            ),
        )
        self._covered: list[tuple[tuple[slice, slice], NDArray[np.float32]]] = []

    def place(self, poses: Vector, seen: NDArray[np.bool_]) -> None:
        """Move the bodies and their shadows.

        Args:
            poses: (B, 4, 4) ``T_world_body``.
            seen: (B,) bool, whether each body is in the world.
        """
        data = self.scene.data
        data.shapes[self.first :], data.axes[self.first :] = self.placed(poses, seen)
        self._move_shadows(data, seen)

    def placed(self, poses: Vector, seen: NDArray[np.bool_]) -> tuple[Vector, Vector]:
        """Return the bodies' rows of `SceneData.shapes` and `SceneData.axes` at given poses; see `place`."""
        rotation, shift = poses[self.owner, :3, :3], poses[self.owner, :3, 3]
        shapes = self._shapes.copy()
        centre, inverse = self._shapes[:, CENTRE : CENTRE + 3], self._shapes[:, INVERSE : INVERSE + 9]
        shapes[:, CENTRE : CENTRE + 3] = np.einsum("nij,nj->ni", rotation, centre) + shift
        turned = np.einsum("nij,nkj->nik", inverse.reshape(-1, 3, 3), rotation)
        shapes[:, INVERSE : INVERSE + 9] = turned.reshape(-1, 9)
        shapes[~seen[self.owner], CENTRE + 2] = BURIED_M
        return shapes, np.einsum("nij,nkj->nik", self._axes, rotation)

    def body_of(self, surfaces: NDArray[np.int32]) -> NDArray[np.int64]:
        """Return (H, W) int64 number of the body in each pixel, -1 for none; ``surfaces`` come from the renderer."""
        number = (surfaces >> 2).astype(np.int64) - self.first
        return np.where(number >= 0, self.owner[np.maximum(number, 0)], -1)

    def _move_shadows(self, data: SceneData, seen: NDArray[np.bool_]) -> None:
        """Remove the bodies' old shadows from the shadow map, and cast new ones at their present poses."""
        for window, before in self._covered:
            data.shadow[window] = before
        self._covered.clear()
        casts = np.zeros(len(data.kind), np.bool_)
        casts[self.first :] = self._casts & seen[self.owner]
        if not casts.any():
            return
        moved = data.shapes[self.first :]
        radius = np.linalg.norm(moved[:, HALF : HALF + 3], axis=1)
        frame, cell = data.numbers[SHADOW : SHADOW + 9], data.numbers[SHADOW + 8]
        place = moved[:, CENTRE : CENTRE + 3] @ frame[:6].reshape(2, 3).T - frame[6:8]
        for body in np.flatnonzero(seen):
            own = self.owner == body
            low = np.floor((place[own] - radius[own, None]).min(0) / cell).astype(int) - 1
            high = np.ceil((place[own] + radius[own, None]).max(0) / cell).astype(int) + 3
            low, high = np.maximum(low, 0), np.maximum(high, 0)
            window = (slice(low[1], high[1]), slice(low[0], high[0]))
            self._covered.append((window, data.shadow[window].copy()))
        # All windows are saved before any shadow is cast, so that overlapping ones hold the static scene's map.
        heights = moved[:, CENTRE : CENTRE + 3] @ data.numbers[SUN : SUN + 3] + radius
        top = float(heights[casts[self.first :]].max()) + 1.0
        kernels.cast_shadows(data, casts, top, data.shadow, np.empty(3), np.empty(3))
