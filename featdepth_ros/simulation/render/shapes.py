"""What a scene is to the compiled loops, and rays against its primitives and its ground.

All is written in plain scalars: views of arrays would cost more here than the arithmetic.

Every primitive is a unit shape under an affine map, ``local = inverse @ (world - centre)``; a ray keeps its parameter
under such a map. Camera rays have z = 1 on the optical axis, so that the parameter of a hit *is* its z-depth.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from featdepth_ros.simulation.render.jit import jit, jit_inline

BOX, ELLIPSOID, CONE, FRUSTUM, LEAVES = 0, 1, 2, 3, 4
SKY, GROUND = -2, -3
NEAR_M = 0.05
TEXTURE_SIZE = 256
LEVELS = 9

# Columns of `SceneData.shapes`.
CENTRE, INVERSE, HALF, TAPER, TILE, SHIFT, TINT, GLOW = 0, 3, 12, 15, 17, 23, 25, 34
SHAPE_COLUMNS = 35
# Columns of `SceneData.numbers`.
SUN, SUN_COLOUR, ABOVE, BELOW, SHADOW, SKY_NUMBERS, GROUND_NUMBERS, GROUND_TINT = 0, 3, 6, 9, 12, 21, 31, 42
NUMBER_COUNT = 54
# Columns of a tile's candidates.
C_BOUNDS, C_ORIGIN, C_INVERSE, C_TAPER, C_KIND, C_INDEX, C_COLUMNS = 0, 5, 8, 17, 19, 20, 21


class SceneData(NamedTuple):
    """The arrays of a scene; N primitives, A arcs of the road's centreline, K textures. World axes, metres.

    ``shapes`` holds per primitive, in this order:

    - centre (3), inverse map (9), lengths of the half axes (3), taper along x and y (2);
    - metres per texture tile as (u, v) of the faces across axis 0, 1, 2 (6), texture offset (2);
    - colour factors of these faces (9), glow (1: shines by itself).

    ``numbers`` holds, in this order:

    - light: towards the sun (3), its colour (3), ambient from above (3) and below (3);
    - the shadow map's frame: two axes (6), first cell (2), cell size (1);
    - the sky: zenith (3), horizon (3), cloud texture, cover, size, brightness;
    - the ground (see `scene.Ground`) and its four tints.
    """

    kind: Any  # (N, 4) int32: BOX, ELLIPSOID, CONE, FRUSTUM or LEAVES; texture of the faces across axis 0, 1, 2
    shapes: Any  # (N, SHAPE_COLUMNS) float64
    axes: Any  # (N, 3, 3) float64: row i is the half axis i in world coordinates
    atlas: Any  # (K, texels, 4) uint8: all mip levels of a texture after each other; colour and opacity
    numbers: Any  # (NUMBER_COUNT,) float64
    waves: Any  # (W, 4) float64: amplitude (m), cycles per metre along x and y, phase (cycles)
    arcs: Any  # (A, 8) float64: x, y, heading (rad), curvature (1/m), length (m), first s (m), cos and sin of heading
    arc_grid: Any  # (rows, columns) int32: nearest arc of a ground cell
    arc_frame: Any  # (3,) float64: x and y of the grid's corner, cell size (m)
    ground_texture: Any  # (4,) int32: road, pavement, verge left, verge right
    shadow: Any  # (rows, columns) float32: height towards the sun of the surface it meets first


(
    GROUND_ON,
    GROUND_HIGHEST,
    GROUND_SLOPE,
    GROUND_ROAD,
    GROUND_PAVEMENT,
    GROUND_TILE,
    GROUND_CENTRE_LINE,
    GROUND_EDGE_LINE,
    GROUND_DASH,
    GROUND_CROSSING,
    GROUND_PATCH,
) = range(GROUND_NUMBERS, GROUND_NUMBERS + 11)


@jit_inline
def wave(x: float) -> tuple[float, float]:
    """Return a parabolic sine of period 1 and its derivative; continuous to the first derivative, and cheap."""
    f = x - math.floor(x)
    if f < 0.5:
        return 16.0 * f * (0.5 - f), 8.0 - 32.0 * f
    return -16.0 * (f - 0.5) * (1.0 - f), -16.0 * (1.5 - 2.0 * f)


@jit_inline
def ground_height(waves: Any, x: float, y: float) -> tuple[float, float, float]:
    """Return height (m) and its slopes along x and y."""
    h, hx, hy = 0.0, 0.0, 0.0
    for i in range(waves.shape[0]):
        value, slope = wave(waves[i, 1] * x + waves[i, 2] * y + waves[i, 3])
        h += waves[i, 0] * value
        hx += waves[i, 0] * slope * waves[i, 1]
        hy += waves[i, 0] * slope * waves[i, 2]
    return h, hx, hy


@jit_inline
def hit_ground(
    waves: Any,
    highest: float,
    steepest: float,
    ox: float,
    oy: float,
    oz: float,
    dx: float,
    dy: float,
    dz: float,
    limit: float,
) -> float:
    """Return the parameter of the first ground hit before ``limit``, or infinity.

    Steps that the steepest slope proves safe never jump over a crest; Newton steps finish the root.
    """
    t = NEAR_M
    if oz + t * dz > highest:
        if dz >= 0.0:
            return np.inf
        t = (highest - oz) / dz
    run = math.sqrt(dx * dx + dy * dy)
    closing = steepest * run - dz
    if closing <= 0.0:
        return np.inf
    near_root = False
    for _ in range(64):
        if t > limit:
            return np.inf
        h, hx, hy = ground_height(waves, ox + t * dx, oy + t * dy)
        above = oz + t * dz - h
        steep = hx * dx + hy * dy - dz
        if above < 0.02 * steep:  # within about two centimetres of depth: Newton's method cannot miss any more
            near_root = True
            break
        t += above / closing
    if not near_root:  # it grazes the ground without end
        return np.inf
    for _ in range(2):
        h, hx, hy = ground_height(waves, ox + t * dx, oy + t * dy)
        steep = dz - hx * dx - hy * dy
        if steep < -1e-6:
            t -= min(max((oz + t * dz - h) / steep, -0.05), 0.05)
    return t if t < limit else np.inf


@jit_inline
def hit_box(ox: float, oy: float, oz: float, dx: float, dy: float, dz: float) -> tuple[float, int]:
    """Return the entry parameter into the unit box and the axis of the face; infinity when it misses."""
    ix, iy, iz = 1.0 / (dx + 1e-30), 1.0 / (dy + 1e-30), 1.0 / (dz + 1e-30)
    mx, my, mz = -ox * ix, -oy * iy, -oz * iz
    ix, iy, iz = abs(ix), abs(iy), abs(iz)
    nx, ny, nz = mx - ix, my - iy, mz - iz
    near = max(nx, max(ny, nz))
    far = min(mx + ix, min(my + iy, mz + iz))
    if near > far or near < NEAR_M:
        return np.inf, 0
    return near, (0 if near == nx else (1 if near == ny else 2))


@jit
def hit_frustum(
    ox: float, oy: float, oz: float, dx: float, dy: float, dz: float, taper_x: float, taper_y: float
) -> tuple[float, int]:
    """Return the entry into a box whose top (z = 1) is ``taper`` times as wide: roofs, cabins, wedges."""
    near, far, face = -np.inf, np.inf, 0
    for plane in range(6):
        if plane < 4:
            along_x = plane < 2
            sign = 1.0 if plane & 1 else -1.0
            taper = taper_x if along_x else taper_y
            mean, lean = 0.5 * (1.0 + taper), 0.5 * (taper - 1.0)
            out = sign * (ox if along_x else oy) - mean - lean * oz
            rate = sign * (dx if along_x else dy) - lean * dz
            axis = 0 if along_x else 1
        else:
            sign = 1.0 if plane & 1 else -1.0
            out, rate, axis = sign * oz - 1.0, sign * dz, 2
        if abs(rate) < 1e-12:
            if out > 0.0:
                return np.inf, 0
            continue
        t = -out / rate
        if rate < 0.0:
            if t > near:
                near, face = t, axis
        else:
            far = min(far, t)
    if near > far or near < NEAR_M:
        return np.inf, 0
    return near, face


@jit_inline
def nearest_axis(x: float, y: float, z: float) -> int:
    """Return the axis a point of the unit sphere is nearest to."""
    x, y, z = abs(x), abs(y), abs(z)
    return 2 if z >= x and z >= y else (0 if x >= y else 1)


@jit_inline
def hit_ellipsoid(ox: float, oy: float, oz: float, dx: float, dy: float, dz: float) -> tuple[float, float]:
    """Return entry and exit of the unit sphere, infinity when it misses."""
    a = dx * dx + dy * dy + dz * dz
    b = ox * dx + oy * dy + oz * dz
    c = ox * ox + oy * oy + oz * oz - 1.0
    root = b * b - a * c
    if root < 0.0:
        return np.inf, np.inf
    root = math.sqrt(root)
    return (-b - root) / a, (-b + root) / a


@jit
def hit_cone(ox: float, oy: float, oz: float, dx: float, dy: float, dz: float, taper: float) -> tuple[float, int]:
    """Return the entry into a cone about z, radius 1 at z = -1 and ``taper`` at z = 1; face 2: a cap, 0: the side."""
    best, face = np.inf, 0
    mean, lean = 0.5 * (1.0 + taper), 0.5 * (taper - 1.0)
    r0, dr = mean + lean * oz, lean * dz
    a = dx * dx + dy * dy - dr * dr
    b = ox * dx + oy * dy - r0 * dr
    c = ox * ox + oy * oy - r0 * r0
    root = b * b - a * c
    if root >= 0.0 and abs(a) > 1e-14:
        root = math.sqrt(root)
        for k in range(2):
            t = (-b - root) / a if k == 0 else (-b + root) / a
            z = oz + t * dz
            if NEAR_M <= t < best and -1.0 <= z <= 1.0 and r0 + t * dr >= 0.0:
                best, face = t, 0
    if abs(dz) > 1e-12:
        for k in range(2):
            cap = -1.0 if k == 0 else 1.0
            t = (cap - oz) / dz
            radius = mean + lean * cap
            x, y = ox + t * dx, oy + t * dy
            if NEAR_M <= t < best and x * x + y * y <= radius * radius:
                best, face = t, 2
    return best, face


@jit_inline
def is_leaf(atlas: Any, texture: int, x: float, y: float, z: float, density: float, t: float) -> bool:
    """Return whether a crown is opaque at a point of the unit sphere, ``t`` metres away.

    From afar a coarser mip level is asked: gaps much smaller than a pixel close instead of flickering.
    """
    axis = nearest_axis(x, y, z)
    u, v = (y, z) if axis == 0 else ((x, z) if axis == 1 else (x, y))
    level = 1 + int(min(math.log2(max(t / 5.0, 1.0)), 5.0))
    size = TEXTURE_SIZE >> level
    start = (4 * TEXTURE_SIZE * TEXTURE_SIZE - 4 * size * size) // 3
    i, j = math.floor(u * density * size) & (size - 1), math.floor(v * density * size) & (size - 1)
    return bool(atlas[texture, start + j * size + i, 3] > 127)


@jit_inline
def hit_leaves(
    atlas: Any, texture: int, density: float, ox: float, oy: float, oz: float, dx: float, dy: float, dz: float
) -> tuple[float, int]:
    """Return the first opaque point of a crown: its near surface, or its far one seen through a gap."""
    near, far = hit_ellipsoid(ox, oy, oz, dx, dy, dz)
    for k in range(2):
        t = near if k == 0 else far
        if NEAR_M <= t < np.inf:
            x, y, z = ox + t * dx, oy + t * dy, oz + t * dz
            if is_leaf(atlas, texture, x, y, z, density, t):
                return t, nearest_axis(x, y, z)
    return np.inf, 0


@jit_inline
def hit_shape(
    atlas: Any,
    kind: int,
    texture: int,
    density: float,
    taper_x: float,
    taper_y: float,
    ox: float,
    oy: float,
    oz: float,
    dx: float,
    dy: float,
    dz: float,
) -> tuple[float, int]:
    """Return the entry parameter and face of one unit shape; origin and direction in its own coordinates."""
    if kind == BOX:
        return hit_box(ox, oy, oz, dx, dy, dz)
    if kind == CONE:
        return hit_cone(ox, oy, oz, dx, dy, dz, taper_x)
    if kind == FRUSTUM:
        return hit_frustum(ox, oy, oz, dx, dy, dz, taper_x, taper_y)
    if kind == LEAVES:
        return hit_leaves(atlas, texture, density, ox, oy, oz, dx, dy, dz)
    t, _ = hit_ellipsoid(ox, oy, oz, dx, dy, dz)
    if t < NEAR_M or t == np.inf:
        return np.inf, 0
    return t, nearest_axis(ox + t * dx, oy + t * dy, oz + t * dz)


@jit_inline
def trace(
    atlas: Any, kinds: Any, near: Any, count: int, rx: float, ry: float, dx: float, dy: float, dz: float
) -> tuple[float, int, int]:
    """Return parameter, primitive (or SKY) and face of the first hit among a tile's candidates, nearest first."""
    best, hit, face = np.inf, SKY, 0
    for j in range(count):
        if near[j, 4] > best:
            break
        if rx < near[j, 0] or rx > near[j, 1] or ry < near[j, 2] or ry > near[j, 3]:
            continue
        lx = near[j, C_INVERSE] * dx + near[j, C_INVERSE + 1] * dy + near[j, C_INVERSE + 2] * dz
        ly = near[j, C_INVERSE + 3] * dx + near[j, C_INVERSE + 4] * dy + near[j, C_INVERSE + 5] * dz
        lz = near[j, C_INVERSE + 6] * dx + near[j, C_INVERSE + 7] * dy + near[j, C_INVERSE + 8] * dz
        i = int(near[j, C_INDEX])
        t, f = hit_shape(
            atlas,
            int(near[j, C_KIND]),
            kinds[i, 1],
            near[j, C_TAPER],
            near[j, C_TAPER],
            near[j, C_TAPER + 1],
            near[j, C_ORIGIN],
            near[j, C_ORIGIN + 1],
            near[j, C_ORIGIN + 2],
            lx,
            ly,
            lz,
        )
        if t < best:
            best, hit, face = t, i, f
    return best, hit, face
