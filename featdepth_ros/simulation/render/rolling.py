"""Rendering with a rolling shutter: the rows of an image are exposed one after the other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.simulation.render import kernels
from featdepth_ros.simulation.render.renderer import Renderer
from featdepth_ros.simulation.render.shapes import C_COLUMNS

#: Number of pixels of a row that share one list of candidate primitives.
PIECE = 32

Tail = tuple[NDArray[np.float64], NDArray[np.float64]]


@dataclass(frozen=True)
class RowView:
    """The view of the camera while it exposes one row: visible primitives, nearest first, and their bounds."""

    order: NDArray[np.int64]
    bounds: NDArray[np.float64]


class RollingRenderer(Renderer):
    """Renders each row of an image from a separate pose; the arguments are those of `Renderer`."""

    def render_rows(
        self, poses: NDArray[np.float64], moved: tuple[Tail, Tail] | None = None
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.int32]]:
        """Render one image.

        Args:
            poses: (H, 4, 4) ``T_world_camera`` of each row.
            moved: the last entries of the scene's ``shapes`` and ``axes``, which describe moving bodies. They are given
                at the exposure of the image's first and last row, and interpolated linearly in between. None: nothing
                moves.

        Returns:
            As `Renderer.render_surfaces`. The depth of a pixel is measured along the optical axis of its row's pose.
        """
        height, width = self._rays.shape[:2]
        colour = np.empty((height, width, 3), np.float32)
        depth, hits = np.empty((height, width), np.float32), np.empty((height, width), np.int32)
        poses = np.ascontiguousarray(poses, np.float64)
        starts = np.arange(0, width, PIECE)
        views: list[RowView | None] = [None] * height

        def pass_over(outlines: bool, first: int, last: int) -> None:
            data = self.scene.data
            if moved is not None:
                data = data._replace(shapes=data.shapes.copy(), axes=data.axes.copy())
            for row in range(first, last):
                if moved is not None:
                    share = row / max(height - 1, 1)
                    for array, early, late in zip((data.shapes, data.axes), *moved, strict=True):
                        array[len(array) - len(early) :] = early + share * (late - early)
                tiles = self._pieces(row, starts)
                view = views[row] or self._row_view(data.shapes, data.axes, poses[row], tiles)
                views[row] = view
                areas = np.stack([np.full_like(starts, row), np.full_like(starts, row + 1), starts, starts + PIECE], 1)
                areas[-1, 3] = width
                kernels.render_tiles(
                    data, view.order, view.bounds, poses[row], self._rays, self._steps, areas, tiles,
                    0, len(starts), outlines, colour, depth, hits, np.empty((len(view.order) + 1, C_COLUMNS)),
                )  # fmt: skip

        for outlines in (False, True) if self.smooth else (False,):
            self._spread(pass_over, outlines, height)
        image = np.empty((height, width, 3), np.uint8)
        kernels.quantise(colour, image)
        return image, depth, hits

    def _pieces(self, row: int, starts: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return (T, 4) ranges of the rays' x and y in each piece of a row."""
        rays, margin = self._rays[row], 0.5 * np.abs(self._steps[row]).max(0).reshape(2, 2).sum(0)
        low = np.minimum.reduceat(rays, starts, axis=0) - margin
        high = np.maximum.reduceat(rays, starts, axis=0) + margin
        return np.stack([low[:, 0], high[:, 0], low[:, 1], high[:, 1]], axis=1)

    def _row_view(
        self, shapes: NDArray[np.float64], axes: NDArray[np.float64], pose: NDArray[np.float64],
        tiles: NDArray[np.float64],
    ) -> RowView:  # fmt: skip
        """Return the primitives that are visible in a row."""
        order, bounds = np.empty(len(shapes), np.int64), np.empty((len(shapes), 5))
        window = np.array([tiles[:, 0].min(), tiles[:, 1].max(), tiles[:, 2].min(), tiles[:, 3].max()])
        seen = kernels.cull(shapes, axes, pose, window, self.scene.far_m, order, bounds, np.empty((8, 3)))
        ranks = np.argsort(bounds[:seen, 4], kind="stable")
        return RowView(order[:seen][ranks], bounds[:seen][ranks])
