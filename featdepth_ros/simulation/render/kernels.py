"""The compiled loops over primitives, tiles and pixels."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from featdepth_ros.simulation.render.jit import FINGERPRINT, jit, jit_entry, jit_inline
from featdepth_ros.simulation.render.shading import colour_ground, colour_primitive, colour_sky
from featdepth_ros.simulation.render.shapes import (
    C_BOUNDS,
    C_INDEX,
    C_INVERSE,
    C_KIND,
    C_ORIGIN,
    C_TAPER,
    CENTRE,
    GROUND,
    GROUND_HIGHEST,
    GROUND_ON,
    GROUND_SLOPE,
    HALF,
    INVERSE,
    NEAR_M,
    SHADOW,
    SKY,
    SUN,
    TAPER,
    hit_ground,
    hit_shape,
    trace,
)  # fmt: skip


@jit_inline
def extend(bounds: Any, row: int, x: float, y: float) -> None:
    """Widen bounds (low x, high x, low y, high y) to a point of the normalised plane."""
    bounds[row, 0], bounds[row, 1] = min(bounds[row, 0], x), max(bounds[row, 1], x)
    bounds[row, 2], bounds[row, 3] = min(bounds[row, 2], y), max(bounds[row, 3], y)


@jit
def corner_bounds(corner: Any, bounds: Any, row: int) -> None:
    """Write the bounds of a box's eight corners (camera axes) in the normalised plane, and their nearest depth."""
    bounds[row, 0], bounds[row, 1], bounds[row, 2], bounds[row, 3] = np.inf, -np.inf, np.inf, -np.inf
    nearest = np.inf
    for k in range(8):
        z = corner[k, 2]
        nearest = min(nearest, z)
        if z >= NEAR_M:
            extend(bounds, row, corner[k, 0] / z, corner[k, 1] / z)
    bounds[row, 4] = nearest
    if nearest >= NEAR_M:
        return
    for k in range(8):  # the twelve edges, cut where they pierce the near plane
        for bit in (1, 2, 4):
            p, q = k, k | bit
            if p != q and (corner[p, 2] < NEAR_M) != (corner[q, 2] < NEAR_M):
                a = (NEAR_M - corner[p, 2]) / (corner[q, 2] - corner[p, 2])
                x = corner[p, 0] + a * (corner[q, 0] - corner[p, 0])
                y = corner[p, 1] + a * (corner[q, 1] - corner[p, 1])
                extend(bounds, row, x / NEAR_M, y / NEAR_M)


@jit
def cull_all(shapes: Any, axes: Any, pose: Any, window: Any, far: float, order: Any, bounds: Any, corner: Any) -> int:
    """See `cull`."""
    seen = 0
    for i in range(shapes.shape[0]):
        dx, dy, dz = (
            shapes[i, CENTRE] - pose[0, 3],
            shapes[i, CENTRE + 1] - pose[1, 3],
            shapes[i, CENTRE + 2] - pose[2, 3],
        )
        reach = math.sqrt(shapes[i, HALF] ** 2 + shapes[i, HALF + 1] ** 2 + shapes[i, HALF + 2] ** 2)
        depth = pose[0, 2] * dx + pose[1, 2] * dy + pose[2, 2] * dz
        if depth + reach < NEAR_M or depth - reach > far:
            continue
        for k in range(8):
            s0, s1, s2 = 1.0 if k & 1 else -1.0, 1.0 if k & 2 else -1.0, 1.0 if k & 4 else -1.0
            x = dx + s0 * axes[i, 0, 0] + s1 * axes[i, 1, 0] + s2 * axes[i, 2, 0]
            y = dy + s0 * axes[i, 0, 1] + s1 * axes[i, 1, 1] + s2 * axes[i, 2, 1]
            z = dz + s0 * axes[i, 0, 2] + s1 * axes[i, 1, 2] + s2 * axes[i, 2, 2]
            for r in range(3):
                corner[k, r] = pose[0, r] * x + pose[1, r] * y + pose[2, r] * z
        corner_bounds(corner, bounds, seen)
        if (
            bounds[seen, 0] <= window[1]
            and bounds[seen, 1] >= window[0]
            and bounds[seen, 2] <= window[3]
            and bounds[seen, 3] >= window[2]
        ):
            order[seen] = i
            seen += 1
    return seen


@jit
def gather(kinds: Any, shapes: Any, order: Any, bounds: Any, pose: Any, tiles: Any, tile: int, near: Any) -> int:
    """Collect the primitives that may show in a tile, nearest first, and what a ray needs of them, into ``near``."""
    count = 0
    x0, x1, y0, y1 = tiles[tile, 0], tiles[tile, 1], tiles[tile, 2], tiles[tile, 3]
    for k in range(order.shape[0]):
        if bounds[k, 0] > x1 or bounds[k, 1] < x0 or bounds[k, 2] > y1 or bounds[k, 3] < y0:
            continue
        i = order[k]
        for e in range(5):
            near[count, C_BOUNDS + e] = bounds[k, e]
        ox, oy, oz = (
            pose[0, 3] - shapes[i, CENTRE],
            pose[1, 3] - shapes[i, CENTRE + 1],
            pose[2, 3] - shapes[i, CENTRE + 2],
        )
        for r in range(3):
            a, b = shapes[i, INVERSE + 3 * r], shapes[i, INVERSE + 3 * r + 1]
            c = shapes[i, INVERSE + 3 * r + 2]
            near[count, C_INVERSE + 3 * r] = a
            near[count, C_INVERSE + 3 * r + 1] = b
            near[count, C_INVERSE + 3 * r + 2] = c
            near[count, C_ORIGIN + r] = a * ox + b * oy + c * oz
        near[count, C_TAPER], near[count, C_TAPER + 1] = shapes[i, TAPER], shapes[i, TAPER + 1]
        near[count, C_KIND], near[count, C_INDEX] = kinds[i, 0], i
        count += 1
    return count


@jit_inline
def see(
    kinds: Any, shapes: Any, atlas: Any, q: Any, waves: Any, arcs: Any, arc_grid: Any, arc_frame: Any,
    ground_texture: Any, shadow: Any, near: Any, count: int, pose: Any,
    rx: float, ry: float, ax: float, ay: float, bx: float, by: float,
) -> tuple[float, int, float, float, float]:  # fmt: skip
    """Return z-depth, what was hit, and the colour along one camera ray; a and b lead to the neighbours' rays."""
    ox, oy, oz = pose[0, 3], pose[1, 3], pose[2, 3]
    dx = pose[0, 0] * rx + pose[0, 1] * ry + pose[0, 2]
    dy = pose[1, 0] * rx + pose[1, 1] * ry + pose[1, 2]
    dz = pose[2, 0] * rx + pose[2, 1] * ry + pose[2, 2]
    t, hit, face = trace(atlas, kinds, near, count, rx, ry, dx, dy, dz)
    if q[GROUND_ON] > 0.0:
        t_ground = hit_ground(waves, q[GROUND_HIGHEST], q[GROUND_SLOPE], ox, oy, oz, dx, dy, dz, min(t, 2000.0))
        if t_ground < t:
            t, hit = t_ground, GROUND
    ux, uy, uz = pose[0, 0] * ax + pose[0, 1] * ay, pose[1, 0] * ax + pose[1, 1] * ay, pose[2, 0] * ax + pose[2, 1] * ay
    vx, vy, vz = pose[0, 0] * bx + pose[0, 1] * by, pose[1, 0] * bx + pose[1, 1] * by, pose[2, 0] * bx + pose[2, 1] * by
    if hit == SKY:
        r, g, b = colour_sky(q, atlas, dx, dy, dz, abs(ax) + abs(ay))
        return np.nan, hit, r, g, b
    if hit == GROUND:
        r, g, b = colour_ground(
            atlas, q, waves, arcs, arc_grid, arc_frame, ground_texture, shadow, t,
            ox, oy, oz, dx, dy, dz, ux, uy, uz, vx, vy, vz,
        )  # fmt: skip
        return t, hit, r, g, b
    r, g, b = colour_primitive(
        kinds, shapes, atlas, q, shadow, hit, face, t,
        ox, oy, oz, dx, dy, dz, ux, uy, uz, vx, vy, vz,
    )  # fmt: skip
    return t, 4 * hit + face, r, g, b


@jit_inline
def on_outline(hits: Any, y: int, x: int) -> bool:
    """Return whether a pixel sees another surface than one of its four neighbours."""
    rows, columns = hits.shape
    here = hits[y, x]
    return bool(
        hits[max(y - 1, 0), x] != here
        or hits[min(y + 1, rows - 1), x] != here
        or hits[y, max(x - 1, 0)] != here
        or hits[y, min(x + 1, columns - 1)] != here
    )


@jit
def render_range(
    scene: Any, order: Any, bounds: Any, pose: Any, rays: Any, steps: Any, areas: Any, tiles: Any,
    first: int, last: int, outlines: bool, image: Any, depth: Any, hits: Any, near: Any,
) -> None:  # fmt: skip
    """See `render_tiles`."""
    kinds, shapes, atlas, q, waves = scene.kind, scene.shapes, scene.atlas, scene.numbers, scene.waves
    arcs, arc_grid, arc_frame = scene.arcs, scene.arc_grid, scene.arc_frame
    ground_texture, shadow = scene.ground_texture, scene.shadow
    for tile in range(first, last):
        count = gather(kinds, shapes, order, bounds, pose, tiles, tile, near)
        for y in range(areas[tile, 0], areas[tile, 1]):
            for x in range(areas[tile, 2], areas[tile, 3]):
                ax, ay, bx, by = steps[y, x, 0], steps[y, x, 1], steps[y, x, 2], steps[y, x, 3]
                if outlines and not on_outline(hits, y, x):
                    continue
                red, green, blue, t, hit = 0.0, 0.0, 0.0, 0.0, 0
                if outlines:  # the centre's ray, seen before, is the third
                    red, green, blue = image[y, x, 0], image[y, x, 1], image[y, x, 2]
                for k in range(2 if outlines else 1):
                    # The three lie in three different rows and three different columns of the pixel.
                    sx = (2 * k - 1) / 3.0 if outlines else 0.0
                    sy = -sx
                    t, hit, r, g, b = see(
                        kinds, shapes, atlas, q, waves, arcs, arc_grid, arc_frame, ground_texture, shadow, near, count,
                        pose, rays[y, x, 0] + sx * ax + sy * bx, rays[y, x, 1] + sx * ay + sy * by, ax, ay, bx, by,
                    )  # fmt: skip
                    red, green, blue = red + r, green + g, blue + b
                share = 1.0 / 3.0 if outlines else 1.0
                image[y, x, 0], image[y, x, 1], image[y, x, 2] = share * red, share * green, share * blue
                if not outlines:
                    depth[y, x], hits[y, x] = t, hit


@jit
def cast_one(scene: Any, i: int, top: float, shadow: Any, o: Any, d: Any) -> None:
    """Raise the shadow map to where one primitive meets the sun first."""
    q, shapes, axes = scene.numbers, scene.shapes, scene.axes
    rows, columns = shadow.shape
    a, b, ra, rb, cell = 0.0, 0.0, 0.0, 0.0, q[SHADOW + 8]
    for k in range(3):
        a += shapes[i, CENTRE + k] * q[SHADOW + k]
        b += shapes[i, CENTRE + k] * q[SHADOW + 3 + k]
    for r in range(3):
        pa, pb = 0.0, 0.0
        for k in range(3):
            pa += axes[i, r, k] * q[SHADOW + k]
            pb += axes[i, r, k] * q[SHADOW + 3 + k]
        ra, rb = ra + abs(pa), rb + abs(pb)
    x0, x1 = max(int((a - ra - q[SHADOW + 6]) / cell), 0), min(int((a + ra - q[SHADOW + 6]) / cell) + 2, columns)
    y0, y1 = max(int((b - rb - q[SHADOW + 7]) / cell), 0), min(int((b + rb - q[SHADOW + 7]) / cell) + 2, rows)
    for r in range(3):
        d[r] = 0.0
        for c in range(3):
            d[r] -= shapes[i, INVERSE + 3 * r + c] * q[SUN + c]
    for y in range(y0, y1):
        for x in range(x0, x1):
            u, v = q[SHADOW + 6] + x * cell, q[SHADOW + 7] + y * cell
            for r in range(3):
                o[r] = 0.0
                for c in range(3):
                    p = u * q[SHADOW + c] + v * q[SHADOW + 3 + c] + top * q[SUN + c] - shapes[i, CENTRE + c]
                    o[r] += shapes[i, INVERSE + 3 * r + c] * p
            t, _ = hit_shape(
                scene.atlas, scene.kind[i, 0], scene.kind[i, 1],
                shapes[i, TAPER], shapes[i, TAPER], shapes[i, TAPER + 1], o[0], o[1], o[2], d[0], d[1], d[2],
            )  # fmt: skip
            if t < np.inf and top - t > shadow[y, x]:
                shadow[y, x] = top - t


def _entry_points(
    fingerprint: str,
) -> tuple[Callable[..., int], Callable[..., None], Callable[..., None], Callable[..., None]]:
    """Make the cached entry points; naming ``fingerprint`` in each makes it part of its cache's key."""

    @jit_entry
    def cull(shapes: Any, axes: Any, pose: Any, window: Any, far: float, order: Any, bounds: Any, corner: Any) -> int:
        """Find the primitives that can be seen, and where; returns how many.

        Args:
            shapes: of the scene.
            axes: of the scene.
            pose: (4, 4) camera to world.
            window: (4,) lowest and highest x, then y, of the camera's rays in its normalised plane.
            far: metres beyond which primitives are left out.
            order: written: (N,) int64, the primitives.
            bounds: written: (N, 5) x and y range in the normalised plane, nearest depth.
            corner: (8, 3) float64, room to work in.
        """
        _ = fingerprint
        return int(cull_all(shapes, axes, pose, window, far, order, bounds, corner))

    @jit_entry
    def render_tiles(
        scene: Any, order: Any, bounds: Any, pose: Any, rays: Any, steps: Any, areas: Any, tiles: Any,
        first: int, last: int, outlines: bool, image: Any, depth: Any, hits: Any, near: Any,
    ) -> None:  # fmt: skip
        """Render tiles ``first`` to ``last`` (exclusive), or smooth the outlines in them.

        Args:
            scene: what to render.
            order: from `cull`.
            bounds: from `cull`.
            pose: (4, 4) camera to world.
            rays: (H, W, 2) x/z and y/z of each pixel's ray.
            steps: (H, W, 4): to the next pixel's ray in x, then y.
            areas: (T, 4) int64 rows and columns of each tile.
            tiles: (T, 4): range of its rays in x, then y.
            first: first tile.
            last: the one after the last tile.
            outlines: replace the colour of pixels on an outline by the mean of three rays; depth stays.
            image: written: float32 colour 0 to 1.
            depth: written: float32 z-depth (NaN: sky).
            hits: written: int32, number of the surface.
            near: (V, C_COLUMNS) float64, room to work in.
        """
        _ = fingerprint
        render_range(
            scene, order, bounds, pose, rays, steps, areas, tiles, first, last, outlines, image, depth, hits, near
        )

    @jit_entry
    def cast_shadows(scene: Any, casts: Any, top: float, shadow: Any, o: Any, d: Any) -> None:
        """Fill the shadow map: for each cell the greatest height towards the sun that a casting primitive reaches.

        ``o`` and ``d`` are (3,) float64, room to work in.
        """
        _ = fingerprint
        for i in range(casts.shape[0]):
            if casts[i]:
                cast_one(scene, i, top, shadow, o, d)

    @jit_entry
    def quantise(image: Any, out: Any) -> None:
        """Round a 0 to 1 image to uint8."""
        _ = fingerprint
        for y in range(image.shape[0]):
            for x in range(image.shape[1]):
                for c in range(3):
                    out[y, x, c] = np.uint8(min(max(image[y, x, c] * 255.0 + 0.5, 0.0), 255.0))

    return cull, render_tiles, cast_shadows, quantise


cull, render_tiles, cast_shadows, quantise = _entry_points(FINGERPRINT)
