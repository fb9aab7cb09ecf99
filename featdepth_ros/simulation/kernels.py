"""The compiled inner loops: rays against primitives, ground and sky, and what colour they see.

Everything lies in one file because numba's cache looks only at the file of the function that was called.

Every primitive is a unit shape under an affine map, ``local = inverse @ (world - centre)``; a ray keeps its parameter
under such a map, and camera rays have z = 1 on the optical axis, so that the parameter of a hit *is* its z-depth.
Light does not depend on the viewer (Lambert sun with a shadow map, hemispheric ambient light), so that a surface point
has one colour in every frame but for texture filtering.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from featdepth_ros.simulation._jit import jit

BOX, ELLIPSOID, CONE = 0, 1, 2
SKY, GROUND = -2, -3
NEAR_M = 0.05
TEXTURE_SIZE = 256
LEVELS = 9


class SceneData(NamedTuple):
    """The arrays of a scene; N primitives, A arcs of the road's centreline, K textures. World axes, metres."""

    kind: Any  # (N,) int32: BOX, ELLIPSOID or CONE (cylinders included)
    centre: Any  # (N, 3) float64
    axes: Any  # (N, 3, 3) float64: row i is the half axis i in world coordinates
    inverse: Any  # (N, 3, 3) float64
    half: Any  # (N, 3) float64: lengths of the half axes
    taper: Any  # (N,) float64: radius at the top of a cone over the radius at its bottom
    texture: Any  # (N, 3) int32: textures of the faces across axis 0, 1, 2
    tile: Any  # (N, 3, 2) float64: metres a texture tile covers, per face axis
    shift: Any  # (N, 2) float64: texture offset in tiles
    tint: Any  # (N, 3, 3) float32: colour factor per face axis
    glow: Any  # (N,) float32: 0 lit by the scene's light, 1 shines by itself
    atlas: Any  # (K, texels, 3) uint8: all mip levels of a texture after each other
    offset: Any  # (LEVELS,) int64: first texel of a level
    ground: Any  # (G,) float64: see GROUND_* below
    waves: Any  # (W, 4) float64: amplitude (m), cycles per metre along x and y, phase (cycles)
    arcs: Any  # (A, 6) float64: x, y, heading (rad), curvature (1/m), length (m), first s (m)
    arc_grid: Any  # (rows, columns) int32: nearest arc of a ground cell
    arc_frame: Any  # (3,) float64: x and y of the grid's corner, cell size (m)
    ground_texture: Any  # (4,) int32: road, pavement, verge left, verge right
    ground_tint: Any  # (4, 3) float32
    light: Any  # (12,) float64: direction to the sun, sun colour, ambient from above, ambient from below
    shadow: Any  # (rows, columns) float32: height towards the sun of the surface it meets first
    shadow_frame: Any  # (9,) float64: two axes across the sun's direction, first cell, cell size
    sky: Any  # (10,) float64: zenith colour, horizon colour, cloud texture, cloud cover, cloud size, cloud brightness


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
) = range(11)


@jit
def wave(x: float) -> tuple[float, float]:
    """Return a parabolic sine of period 1 and its derivative; continuous to the first derivative, and cheap."""
    f = x - math.floor(x)
    if f < 0.5:
        return 16.0 * f * (0.5 - f), 8.0 - 32.0 * f
    return -16.0 * (f - 0.5) * (1.0 - f), -16.0 * (1.5 - 2.0 * f)


@jit
def ground_height(waves: Any, x: float, y: float) -> tuple[float, float, float]:
    """Return height (m) and its slopes along x and y."""
    h, hx, hy = 0.0, 0.0, 0.0
    for i in range(waves.shape[0]):
        value, slope = wave(waves[i, 1] * x + waves[i, 2] * y + waves[i, 3])
        h += waves[i, 0] * value
        hx += waves[i, 0] * slope * waves[i, 1]
        hy += waves[i, 0] * slope * waves[i, 2]
    return h, hx, hy


@jit
def hit_ground(scene: Any, o: Any, dx: float, dy: float, dz: float, limit: float) -> float:
    """Return the parameter of the first ground hit before ``limit``, or infinity.

    Steps that the steepest slope proves safe never jump over a crest; Newton steps finish the root.
    """
    highest = scene.ground[GROUND_HIGHEST]
    t = NEAR_M
    if o[2] + t * dz > highest:
        if dz >= 0.0:
            return np.inf
        t = (highest - o[2]) / dz
    run = math.sqrt(dx * dx + dy * dy)
    closing = scene.ground[GROUND_SLOPE] * run - dz
    if closing <= 0.0:
        return np.inf
    for _ in range(64):
        if t > limit:
            return np.inf
        h, hx, hy = ground_height(scene.waves, o[0] + t * dx, o[1] + t * dy)
        above = o[2] + t * dz - h
        if above < 1e-3 * run * 0.1:
            break
        t += above / closing
    for _ in range(3):
        h, hx, hy = ground_height(scene.waves, o[0] + t * dx, o[1] + t * dy)
        steep = dz - hx * dx - hy * dy
        if steep < -1e-6:
            t -= (o[2] + t * dz - h) / steep
    return t if t < limit else np.inf


@jit
def hit_box(ox: float, oy: float, oz: float, dx: float, dy: float, dz: float) -> tuple[float, int]:
    """Return the entry parameter into the unit box and the axis of the face; infinity when it misses."""
    near, far, axis = -np.inf, np.inf, 0
    for i in range(3):
        o, d = (ox, dx) if i == 0 else ((oy, dy) if i == 1 else (oz, dz))
        if abs(d) < 1e-12:
            if abs(o) > 1.0:
                return np.inf, 0
            continue
        inverse = 1.0 / d
        middle, spread = -o * inverse, abs(inverse)
        if middle - spread > near:
            near, axis = middle - spread, i
        far = min(far, middle + spread)
    if near > far or near < NEAR_M:
        return np.inf, 0
    return near, axis


@jit
def hit_ellipsoid(ox: float, oy: float, oz: float, dx: float, dy: float, dz: float) -> tuple[float, int]:
    """Return the entry parameter into the unit sphere and the axis its point is nearest to."""
    a = dx * dx + dy * dy + dz * dz
    b = ox * dx + oy * dy + oz * dz
    c = ox * ox + oy * oy + oz * oz - 1.0
    root = b * b - a * c
    if root < 0.0:
        return np.inf, 0
    t = (-b - math.sqrt(root)) / a
    if t < NEAR_M:
        return np.inf, 0
    x, y, z = abs(ox + t * dx), abs(oy + t * dy), abs(oz + t * dz)
    return t, (2 if z >= x and z >= y else (0 if x >= y else 1))


@jit
def hit_cone(
    ox: float, oy: float, oz: float, dx: float, dy: float, dz: float, taper: float
) -> tuple[float, int]:
    """Return the entry into a frustum about z, radius 1 at z = -1 and ``taper`` at z = 1; face 2 is a cap, 0 the side."""
    best, face = np.inf, 0
    mean, lean = 0.5 * (1.0 + taper), 0.5 * (taper - 1.0)
    r0, dr = mean + lean * oz, lean * dz
    a = dx * dx + dy * dy - dr * dr
    b = ox * dx + oy * dy - r0 * dr
    c = ox * ox + oy * oy - r0 * r0
    root = b * b - a * c
    if root >= 0.0 and abs(a) > 1e-14:
        root = math.sqrt(root)
        for sign in (-1.0, 1.0):
            t = (-b + sign * root) / a
            z = oz + t * dz
            if NEAR_M <= t < best and -1.0 <= z <= 1.0 and r0 + t * dr >= 0.0:
                best, face = t, 0
    if abs(dz) > 1e-12:
        for cap in (-1.0, 1.0):
            t = (cap - oz) / dz
            radius = mean + lean * cap
            x, y = ox + t * dx, oy + t * dy
            if NEAR_M <= t < best and x * x + y * y <= radius * radius:
                best, face = t, 2
    return best, face


@jit
def hit_primitive(
    kind: int, taper: float, m: Any, o: Any, dx: float, dy: float, dz: float
) -> tuple[float, int]:
    """Return the entry parameter and face of one primitive; ``o`` is the ray's origin in local coordinates."""
    lx = m[0, 0] * dx + m[0, 1] * dy + m[0, 2] * dz
    ly = m[1, 0] * dx + m[1, 1] * dy + m[1, 2] * dz
    lz = m[2, 0] * dx + m[2, 1] * dy + m[2, 2] * dz
    if kind == BOX:
        return hit_box(o[0], o[1], o[2], lx, ly, lz)
    if kind == ELLIPSOID:
        return hit_ellipsoid(o[0], o[1], o[2], lx, ly, lz)
    return hit_cone(o[0], o[1], o[2], lx, ly, lz, taper)


@jit
def bilinear(atlas: Any, texture: int, start: int, size: int, u: float, v: float) -> tuple[float, float, float]:
    """Return the colour (0 to 255) at u, v in tiles, in one mip level; textures repeat."""
    x, y = u * size - 0.5, v * size - 0.5
    fx, fy = math.floor(x), math.floor(y)
    ax, ay = x - fx, y - fy
    x0, y0 = int(fx) & (size - 1), int(fy) & (size - 1)
    x1, y1 = (x0 + 1) & (size - 1), (y0 + 1) & (size - 1)
    i00, i01 = start + y0 * size + x0, start + y0 * size + x1
    i10, i11 = start + y1 * size + x0, start + y1 * size + x1
    w00, w01, w10, w11 = (1 - ax) * (1 - ay), ax * (1 - ay), (1 - ax) * ay, ax * ay
    t = atlas[texture]
    return (
        w00 * t[i00, 0] + w01 * t[i01, 0] + w10 * t[i10, 0] + w11 * t[i11, 0],
        w00 * t[i00, 1] + w01 * t[i01, 1] + w10 * t[i10, 1] + w11 * t[i11, 1],
        w00 * t[i00, 2] + w01 * t[i01, 2] + w10 * t[i10, 2] + w11 * t[i11, 2],
    )


@jit
def sample(scene: Any, texture: int, u: float, v: float, g: Any) -> tuple[float, float, float]:
    """Return the colour (0 to 1) of a texture over a pixel's footprint.

    ``g`` = (du/dx, dv/dx, du/dy, dv/dy), tiles per pixel. Trilinear, with up to four taps along the longer side.
    """
    a = math.sqrt(g[0] * g[0] + g[1] * g[1]) * TEXTURE_SIZE
    b = math.sqrt(g[2] * g[2] + g[3] * g[3]) * TEXTURE_SIZE
    if a >= b:
        major, minor, su, sv = a, b, g[0], g[1]
    else:
        major, minor, su, sv = b, a, g[2], g[3]
    taps = 1
    if major > 1.5 and major > 1.5 * minor:
        taps = min(4, int(major / max(minor, 1.0)) + 1)
    lod = math.log2(max(minor, major / taps, 1.0))
    lod = min(lod, LEVELS - 1.0)
    level = min(int(lod), LEVELS - 2)
    mix = lod - level
    red, green, blue = 0.0, 0.0, 0.0
    for i in range(taps):
        along = (i + 0.5) / taps - 0.5
        uu, vv = u + along * su, v + along * sv
        r, gr, bl = bilinear(scene.atlas, texture, scene.offset[level], TEXTURE_SIZE >> level, uu, vv)
        if mix > 0.0:
            r2, g2, b2 = bilinear(scene.atlas, texture, scene.offset[level + 1], TEXTURE_SIZE >> (level + 1), uu, vv)
            r, gr, bl = r + mix * (r2 - r), gr + mix * (g2 - gr), bl + mix * (b2 - bl)
        red, green, blue = red + r, green + gr, blue + bl
    scale = 1.0 / (255.0 * taps)
    return red * scale, green * scale, blue * scale


@jit
def shadowed(scene: Any, px: float, py: float, pz: float) -> float:
    """Return how much of the sun reaches a point, 0 to 1: a percentage-closer lookup with smooth edges."""
    f, s = scene.shadow_frame, scene.light
    rows, columns = scene.shadow.shape
    c = px * s[0] + py * s[1] + pz * s[2]
    x = (px * f[0] + py * f[1] + pz * f[2] - f[6]) / f[8]
    y = (px * f[3] + py * f[4] + pz * f[5] - f[7]) / f[8]
    fx, fy = math.floor(x), math.floor(y)
    ix, iy = int(fx), int(fy)
    if ix < 1 or iy < 1 or ix >= columns - 2 or iy >= rows - 2:
        return 1.0
    ax, ay = x - fx, y - fy
    lit = 0.0
    bias = c + 0.6 * f[8]
    for j in range(-1, 3):
        wy = (1.0 - ay) if j == -1 else (ay if j == 2 else 1.0)
        for i in range(-1, 3):
            wx = (1.0 - ax) if i == -1 else (ax if i == 2 else 1.0)
            if scene.shadow[iy + j, ix + i] <= bias:
                lit += wx * wy
    return lit / 9.0


@jit
def lit_colour(
    scene: Any, px: float, py: float, pz: float, nx: float, ny: float, nz: float
) -> tuple[float, float, float]:
    """Return the light (red, green, blue) a surface point with unit normal n receives."""
    s = scene.light
    facing = nx * s[0] + ny * s[1] + nz * s[2]
    if facing > 0.0:
        off = 1.5 * scene.shadow_frame[8]
        facing *= shadowed(scene, px + off * nx, py + off * ny, pz + off * nz)
    else:
        facing = 0.0
    up = 0.5 + 0.5 * nz
    # A little light from one side keeps faces that see no sun apart from each other.
    side = 1.0 + 0.12 * (0.8 * nx - 0.6 * ny)
    return (
        s[3] * facing + side * (s[6] * up + s[9] * (1.0 - up)),
        s[4] * facing + side * (s[7] * up + s[10] * (1.0 - up)),
        s[5] * facing + side * (s[8] * up + s[11] * (1.0 - up)),
    )


@jit
def footprint(t: float, d: Any, ex: Any, ey: Any, n: Any, gu: Any, gv: Any, g: Any) -> None:
    """Write how far u and v move per pixel step: the neighbours' rays ``d + ex`` and ``d + ey`` meet the tangent plane."""
    dn = d[0] * n[0] + d[1] * n[1] + d[2] * n[2]
    if abs(dn) < 1e-3:
        dn = 1e-3 if dn >= 0 else -1e-3
    for k in range(2):
        e = ex if k == 0 else ey
        slide = (e[0] * n[0] + e[1] * n[1] + e[2] * n[2]) / dn
        x, y, z = t * (e[0] - slide * d[0]), t * (e[1] - slide * d[1]), t * (e[2] - slide * d[2])
        g[2 * k] = gu[0] * x + gu[1] * y + gu[2] * z
        g[2 * k + 1] = gv[0] * x + gv[1] * y + gv[2] * z


@jit
def colour_primitive(scene: Any, i: int, face: int, t: float, o: Any, lo: Any, d: Any, ex: Any, ey: Any, w: Any) -> None:
    """Write the colour of a hit into ``w[0, :]``; rows 1 to 4 of the (5, 4) array ``w`` are room to work in.

    ``o`` is the ray's origin in the world, ``lo`` in the primitive's coordinates.
    """
    m, half, kind = scene.inverse[i], scene.half[i], scene.kind[i]
    lx = lo[0] + t * (m[0, 0] * d[0] + m[0, 1] * d[1] + m[0, 2] * d[2])
    ly = lo[1] + t * (m[1, 0] * d[0] + m[1, 1] * d[1] + m[1, 2] * d[2])
    lz = lo[2] + t * (m[2, 0] * d[0] + m[2, 1] * d[1] + m[2, 2] * d[2])
    n, gu, gv, g = w[1], w[2], w[3], w[4]
    tu, tv = scene.tile[i, face, 0], scene.tile[i, face, 1]
    sx, sy, sz = lx, ly, lz
    if kind == BOX or (kind == CONE and face == 2):
        sx, sy, sz = 0.0, 0.0, 0.0
        if face == 0:
            sx = lx
        elif face == 1:
            sy = ly
        else:
            sz = lz
    if kind == CONE and face == 0:
        turns = max(1.0, math.floor(2.0 * math.pi * half[0] / tu + 0.5)) / (2.0 * math.pi)
        rho = math.sqrt(lx * lx + ly * ly) + 1e-9
        sz = -0.5 * (scene.taper[i] - 1.0) * rho
        u, v = math.atan2(ly, lx) * turns, lz * half[2] / tv
        for k in range(3):
            gu[k] = (lx * m[1, k] - ly * m[0, k]) * turns / (rho * rho)
            gv[k] = m[2, k] * half[2] / tv
    else:
        a, b = (1, 2) if face == 0 else ((0, 2) if face == 1 else (0, 1))
        pa = ly if a == 1 else lx
        pb = lz if b == 2 else ly
        u, v = pa * half[a] / tu, pb * half[b] / tv
        for k in range(3):
            gu[k] = m[a, k] * half[a] / tu
            gv[k] = m[b, k] * half[b] / tv
    norm = 0.0
    for k in range(3):
        n[k] = m[0, k] * sx + m[1, k] * sy + m[2, k] * sz
        norm += n[k] * n[k]
    norm = 1.0 / math.sqrt(norm + 1e-30)
    for k in range(3):
        n[k] *= norm
    footprint(t, d, ex, ey, n, gu, gv, g)
    r, gr, b_ = sample(scene, scene.texture[i, face], u + scene.shift[i, 0], v + scene.shift[i, 1], g)
    lr, lg, lb = lit_colour(scene, o[0] + t * d[0], o[1] + t * d[1], o[2] + t * d[2], n[0], n[1], n[2])
    glow = scene.glow[i]
    tint = scene.tint[i, face]
    w[0, 0] = r * tint[0] * (lr + glow * (1.0 - lr))
    w[0, 1] = gr * tint[1] * (lg + glow * (1.0 - lg))
    w[0, 2] = b_ * tint[2] * (lb + glow * (1.0 - lb))


@jit
def road_coordinates(scene: Any, x: float, y: float) -> tuple[float, float, float]:
    """Return distance along the centreline (m), offset to its left (m) and heading there (rad)."""
    rows, columns = scene.arc_grid.shape
    column = min(max(int((x - scene.arc_frame[0]) / scene.arc_frame[2]), 0), columns - 1)
    row = min(max(int((y - scene.arc_frame[1]) / scene.arc_frame[2]), 0), rows - 1)
    i = scene.arc_grid[row, column]
    s, left, heading = 0.0, 0.0, 0.0
    for _ in range(6):
        arc = scene.arcs[i]
        px, py, k = x - arc[0], y - arc[1], arc[3]
        c, sn = math.cos(arc[2]), math.sin(arc[2])
        ahead, side = c * px + sn * py, c * py - sn * px
        if abs(k) < 1e-6:
            s, left, heading = ahead, side, arc[2]
        else:
            # The circle's centre lies at (0, 1/k) of the arc's own frame.
            ry = side - 1.0 / k
            radius = math.sqrt(ahead * ahead + ry * ry)
            angle = math.atan2(ahead, -ry) if k > 0 else math.atan2(ahead, ry)
            s = angle / abs(k)
            left = (1.0 / k - radius) if k > 0 else (radius + 1.0 / k)
            heading = arc[2] + k * s
        if s < 0.0 and i > 0:
            i -= 1
        elif s > arc[4] and i < scene.arcs.shape[0] - 1:
            i += 1
        else:
            break
    return s + scene.arcs[i, 5], left, heading


@jit
def stripe(offset: float, half_width: float, width: float) -> float:
    """Return the share of a pixel ``width`` wide that a stripe covers whose middle is ``offset`` away."""
    low, high = max(offset - 0.5 * width, -half_width), min(offset + 0.5 * width, half_width)
    return max(high - low, 0.0) / width


@jit
def periodic(position: float, on: float, period: float, width: float) -> float:
    """Return the share of a pixel that dashes cover which are ``on`` of every ``period`` metres."""
    if width > 0.5 * period:
        return on / period
    p = position - period * math.floor(position / period)
    return max(stripe(p - 0.5 * on, 0.5 * on, width), stripe(p - period - 0.5 * on, 0.5 * on, width))


@jit
def paint(scene: Any, s: float, left: float, ws: float, wl: float) -> float:
    """Return how much of a road pixel is painted; ``ws`` and ``wl`` are its sizes along and across the road."""
    q, road = scene.ground, scene.ground[GROUND_ROAD]
    cover = 0.0
    if q[GROUND_CENTRE_LINE] > 0.0:
        line = stripe(left, 0.06, wl)
        if q[GROUND_DASH] > 0.0:
            line *= periodic(s, 0.4 * q[GROUND_DASH], q[GROUND_DASH], ws)
        cover = q[GROUND_CENTRE_LINE] * line
    if q[GROUND_EDGE_LINE] > 0.0:
        edge = max(stripe(left - road + 0.35, 0.06, wl), stripe(left + road - 0.35, 0.06, wl))
        cover = max(cover, q[GROUND_EDGE_LINE] * edge)
    if q[GROUND_CROSSING] > 0.0:
        zebra = periodic(s + 0.37 * q[GROUND_CROSSING], 3.0, q[GROUND_CROSSING], ws)
        if zebra > 0.0:
            bars = periodic(left, 0.5, 1.0, wl) * stripe(left, road - 0.4, wl)
            cover = max(cover * (1.0 - zebra), 0.9 * zebra * bars)
    return cover


@jit
def colour_ground(scene: Any, t: float, o: Any, d: Any, ex: Any, ey: Any, w: Any) -> None:
    """Write the colour of a ground hit into ``w[0, :]``: road with paint, pavement, and what lies beside."""
    n, gu, gv, g = w[1], w[2], w[3], w[4]
    x, y, z = o[0] + t * d[0], o[1] + t * d[1], o[2] + t * d[2]
    _, hx, hy = ground_height(scene.waves, x, y)
    norm = 1.0 / math.sqrt(1.0 + hx * hx + hy * hy)
    n[0], n[1], n[2] = -hx * norm, -hy * norm, norm
    q = scene.ground
    s, left, heading = road_coordinates(scene, x, y)
    c, sn = math.cos(heading), math.sin(heading)
    gu[0], gu[1], gu[2] = c, sn, 0.0
    gv[0], gv[1], gv[2] = -sn, c, 0.0
    footprint(t, d, ex, ey, n, gu, gv, g)
    ws = max(abs(g[0]) + abs(g[2]), 1e-3)
    wl = max(abs(g[1]) + abs(g[3]), 1e-3)
    road, pavement = q[GROUND_ROAD], q[GROUND_PAVEMENT]
    zone = 0 if abs(left) < road else (1 if abs(left) < road + pavement else (2 if left > 0 else 3))
    tile = q[GROUND_TILE] * (1.0 if zone != 0 else 1.7)
    for k in range(4):
        g[k] /= tile
    # Along the road for what is laid along it, along the world's axes for what grows: the latter has no seam.
    if zone == 1:
        r, gr, b = sample(scene, scene.ground_texture[zone], s / tile, left / tile, g)
    else:
        for k in range(2):
            du, dv = g[2 * k], g[2 * k + 1]
            g[2 * k], g[2 * k + 1] = c * du - sn * dv, sn * du + c * dv
        r, gr, b = sample(scene, scene.ground_texture[zone], x / tile, y / tile, g)
    tint = scene.ground_tint[zone]
    r, gr, b = r * tint[0], gr * tint[1], b * tint[2]
    for k in range(4):
        g[k] *= tile / 23.0
    patch, _, _ = sample(scene, int(q[GROUND_PATCH]), x / 23.0, y / 23.0, g)
    stain = 0.6 + 0.8 * patch
    r, gr, b = r * stain, gr * stain, b * stain
    if zone == 0:
        cover = paint(scene, s, left, ws, wl) * min(1.0, 0.55 + 0.6 * patch)
        r, gr, b = r + cover * (0.85 - r), gr + cover * (0.85 - gr), b + cover * (0.82 - b)
        gutter = stripe(abs(left) - road, 0.25, wl)
        r, gr, b = r * (1 - 0.35 * gutter), gr * (1 - 0.35 * gutter), b * (1 - 0.35 * gutter)
    lr, lg, lb = lit_colour(scene, x, y, z, n[0], n[1], n[2])
    w[0, 0], w[0, 1], w[0, 2] = r * lr, gr * lg, b * lb


@jit
def colour_sky(scene: Any, d: Any, ex: Any, ey: Any, w: Any) -> None:
    """Write the colour of the sky along a ray into ``w[0, :]``: a gradient under a flat layer of clouds."""
    q, g = scene.sky, w[4]
    length = math.sqrt(d[0] * d[0] + d[1] * d[1] + d[2] * d[2])
    up = max(d[2] / length, 0.0)
    rise = 1.0 - (1.0 - up) * (1.0 - up) * (1.0 - up)
    flat = up + 0.12
    u, v = q[8] * d[0] / (length * flat), q[8] * d[1] / (length * flat)
    step = q[8] * (abs(ex[0]) + abs(ex[1]) + abs(ex[2])) / (length * flat)
    g[0], g[1], g[2], g[3] = step, 0.0, 0.0, step
    cloud, _, _ = sample(scene, int(q[6]), u, v, g)
    cover = min(max((cloud - 1.0 + q[7]) * 3.0, 0.0), 1.0) * min(1.0, up * 8.0 + 0.25)
    for k in range(3):
        clear = q[3 + k] + (q[k] - q[3 + k]) * rise
        w[0, k] = clear + cover * (q[9] * (0.75 + 0.35 * cloud) - clear)


@jit
def trace(scene: Any, order: Any, bounds: Any, local: Any, tile_list: Any, rx: float, ry: float, o: Any, d: Any) -> tuple[
    float, int, int
]:
    """Return parameter, primitive (times 4, plus face; or SKY, GROUND) and face of the first hit of the ray ``d`` from ``o``.

    Candidates come nearest first; rx, ry is the ray in the camera's normalised plane, where ``bounds`` lie.
    """
    best, hit, face = np.inf, SKY, 0
    for j in range(tile_list.shape[0]):
        k = tile_list[j]
        b = bounds[k]
        if b[4] > best:
            break
        if rx < b[0] or rx > b[1] or ry < b[2] or ry > b[3]:
            continue
        i = order[k]
        t, f = hit_primitive(scene.kind[i], scene.taper[i], scene.inverse[i], local[k], d[0], d[1], d[2])
        if t < best:
            best, hit, face = t, i * 4 + f, f
    if scene.ground[GROUND_ON] > 0.0:
        t = hit_ground(scene, o, d[0], d[1], d[2], min(best, 2000.0))
        if t < best:
            return t, GROUND, 0
    return best, hit, face


@jit
def cull(scene: Any, pose: Any, window: Any, far: float) -> tuple[Any, Any]:
    """Return the primitives that can be seen, nearest first, and where.

    Args:
        pose: (4, 4) camera to world.
        window: (4,) lowest and highest x, then y, of the camera's rays in its normalised plane.
        far: metres beyond which primitives are left out.

    Returns:
        order (V,) int64, and bounds (V, 5): x and y range in the normalised plane, nearest depth.
    """
    count = scene.kind.shape[0]
    order, bounds = np.empty(count, np.int64), np.empty((count, 5))
    corner, seen = np.empty((8, 3)), 0
    for i in range(count):
        dx, dy, dz = scene.centre[i, 0] - pose[0, 3], scene.centre[i, 1] - pose[1, 3], scene.centre[i, 2] - pose[2, 3]
        h = scene.half[i]
        reach = math.sqrt(h[0] * h[0] + h[1] * h[1] + h[2] * h[2])
        depth = pose[0, 2] * dx + pose[1, 2] * dy + pose[2, 2] * dz
        if depth + reach < NEAR_M or depth - reach > far:
            continue
        b, a = bounds[seen], scene.axes[i]
        b[0], b[1], b[2], b[3], b[4] = np.inf, -np.inf, np.inf, -np.inf, np.inf
        for k in range(8):
            s0, s1, s2 = 1.0 if k & 1 else -1.0, 1.0 if k & 2 else -1.0, 1.0 if k & 4 else -1.0
            x = dx + s0 * a[0, 0] + s1 * a[1, 0] + s2 * a[2, 0]
            y = dy + s0 * a[0, 1] + s1 * a[1, 1] + s2 * a[2, 1]
            z = dz + s0 * a[0, 2] + s1 * a[1, 2] + s2 * a[2, 2]
            for r in range(3):
                corner[k, r] = pose[0, r] * x + pose[1, r] * y + pose[2, r] * z
            b[4] = min(b[4], corner[k, 2])
            extend(b, corner[k])
        if b[4] < NEAR_M:
            for k in range(8):
                for bit in (1, 2, 4):
                    if not k & bit:
                        clip_edge(b, corner[k], corner[k | bit])
        if b[0] <= window[1] and b[1] >= window[0] and b[2] <= window[3] and b[3] >= window[2]:
            order[seen] = i
            seen += 1
    ranks = np.argsort(bounds[:seen, 4], kind="mergesort")
    return order[:seen][ranks], bounds[:seen][ranks]


@jit
def extend(b: Any, p: Any) -> None:
    """Widen the bounds ``b`` to the projection of a point in front of the camera."""
    if p[2] >= NEAR_M:
        x, y = p[0] / p[2], p[1] / p[2]
        b[0], b[1], b[2], b[3] = min(b[0], x), max(b[1], x), min(b[2], y), max(b[3], y)


@jit
def clip_edge(b: Any, p: Any, q: Any) -> None:
    """Widen the bounds ``b`` to where the edge from p to q pierces the near plane, if it does."""
    if (p[2] < NEAR_M) == (q[2] < NEAR_M):
        return
    a = (NEAR_M - p[2]) / (q[2] - p[2])
    x, y = (p[0] + a * (q[0] - p[0])) / NEAR_M, (p[1] + a * (q[1] - p[1])) / NEAR_M
    b[0], b[1], b[2], b[3] = min(b[0], x), max(b[1], x), min(b[2], y), max(b[3], y)


@jit
def bin_tiles(bounds: Any, tiles: Any) -> tuple[Any, Any]:
    """Return which of the seen primitives may show in each tile, as (start (T+1,), list), order kept.

    ``tiles`` is (T, 4): lowest and highest x, then y, of a tile's rays.
    """
    start = np.zeros(tiles.shape[0] + 1, np.int64)
    for fill in range(2):
        if fill == 1:
            entries = np.empty(start[-1], np.int64)
        total = 0
        for t in range(tiles.shape[0]):
            for k in range(bounds.shape[0]):
                b = bounds[k]
                if b[0] <= tiles[t, 1] and b[1] >= tiles[t, 0] and b[2] <= tiles[t, 3] and b[3] >= tiles[t, 2]:
                    if fill == 1:
                        entries[total] = k
                    total += 1
            start[t + 1] = total
    return start, entries


@jit
def local_origins(scene: Any, order: Any, origin: Any) -> Any:
    """Return the camera's position in the coordinates of each seen primitive, (V, 3)."""
    out = np.empty((order.shape[0], 3))
    for k in range(order.shape[0]):
        i = order[k]
        for r in range(3):
            out[k, r] = 0.0
            for c in range(3):
                out[k, r] += scene.inverse[i, r, c] * (origin[c] - scene.centre[i, c])
    return out


@jit
def rotate(pose: Any, x: float, y: float, z: float, out: Any) -> None:
    """Turn a direction from the camera to the world."""
    for r in range(3):
        out[r] = pose[r, 0] * x + pose[r, 1] * y + pose[r, 2] * z


@jit
def see(
    scene: Any, order: Any, bounds: Any, local: Any, entries: Any, pose: Any, rx: float, ry: float, jac: Any, w: Any
) -> tuple[float, int]:
    """Write the colour along one camera ray into ``w[0, :]`` and return its z-depth and what it hit."""
    o, d, ex, ey = w[5], w[6], w[7], w[8]
    o[0], o[1], o[2] = pose[0, 3], pose[1, 3], pose[2, 3]
    rotate(pose, rx, ry, 1.0, d)
    rotate(pose, jac[0], jac[1], 0.0, ex)
    rotate(pose, jac[2], jac[3], 0.0, ey)
    t, hit, face = trace(scene, order, bounds, local, entries, rx, ry, o, d)
    if hit == SKY:
        colour_sky(scene, d, ex, ey, w)
        return np.inf, hit
    if hit == GROUND:
        colour_ground(scene, t, o, d, ex, ey, w)
        return t, hit
    i = hit // 4
    lo = w[9]
    for r in range(3):
        lo[r] = 0.0
        for c in range(3):
            lo[r] += scene.inverse[i, r, c] * (o[c] - scene.centre[i, c])
    colour_primitive(scene, i, face, t, o, lo, d, ex, ey, w)
    return t, hit


@jit
def render_tile(
    scene: Any, order: Any, bounds: Any, local: Any, entries: Any, pose: Any, rays: Any, jacobian: Any, area: Any,
    image: Any, depth: Any, hits: Any,
) -> None:
    """Render the pixels of one tile, one ray each, into image (float32, 0 to 1), depth (NaN: sky) and hits (int32)."""
    w = np.zeros((10, 4))
    for y in range(area[0], area[1]):
        for x in range(area[2], area[3]):
            t, hit = see(
                scene, order, bounds, local, entries, pose, rays[y, x, 0], rays[y, x, 1], jacobian[y, x], w
            )
            depth[y, x] = np.nan if hit == SKY else t
            hits[y, x] = hit
            for c in range(3):
                image[y, x, c] = w[0, c]


@jit
def smooth_tile(
    scene: Any, order: Any, bounds: Any, local: Any, entries: Any, pose: Any, rays: Any, jacobian: Any, area: Any,
    image: Any, hits: Any,
) -> None:
    """Replace the colour of pixels on an outline by the mean of four rays spread over the pixel. Depth stays."""
    w = np.zeros((10, 4))
    rows, columns = hits.shape
    for y in range(area[0], area[1]):
        for x in range(area[2], area[3]):
            here = hits[y, x]
            if (
                hits[max(y - 1, 0), x] == here
                and hits[min(y + 1, rows - 1), x] == here
                and hits[y, max(x - 1, 0)] == here
                and hits[y, min(x + 1, columns - 1)] == here
            ):
                continue
            red, green, blue = 0.0, 0.0, 0.0
            jac = jacobian[y, x]
            for k in range(4):
                ax = (-0.125, 0.375, -0.375, 0.125)[k]
                ay = (-0.375, -0.125, 0.125, 0.375)[k]
                rx = rays[y, x, 0] + ax * jac[0] + ay * jac[2]
                ry = rays[y, x, 1] + ax * jac[1] + ay * jac[3]
                see(scene, order, bounds, local, entries, pose, rx, ry, jac, w)
                red, green, blue = red + w[0, 0], green + w[0, 1], blue + w[0, 2]
            image[y, x, 0], image[y, x, 1], image[y, x, 2] = 0.25 * red, 0.25 * green, 0.25 * blue


@jit
def render_tiles(
    scene: Any, order: Any, bounds: Any, local: Any, starts: Any, entries: Any, pose: Any, rays: Any, jacobian: Any,
    areas: Any, first: int, last: int, outlines: bool, image: Any, depth: Any, hits: Any,
) -> None:
    """Render tiles ``first`` to ``last`` (exclusive), or smooth the outlines in them."""
    for t in range(first, last):
        mine = entries[starts[t] : starts[t + 1]]
        if outlines:
            smooth_tile(scene, order, bounds, local, mine, pose, rays, jacobian, areas[t], image, hits)
        else:
            render_tile(scene, order, bounds, local, mine, pose, rays, jacobian, areas[t], image, depth, hits)


@jit
def quantise(image: Any, first: int, last: int, out: Any) -> None:
    """Round rows ``first`` to ``last`` of a 0 to 1 image to uint8."""
    for y in range(first, last):
        for x in range(image.shape[1]):
            for c in range(3):
                out[y, x, c] = np.uint8(min(max(image[y, x, c] * 255.0 + 0.5, 0.0), 255.0))


@jit
def cast_shadows(scene: Any, casts: Any, top: float, shadow: Any) -> None:
    """Fill the shadow map: for each cell the greatest height towards the sun that a casting primitive reaches."""
    f, sun = scene.shadow_frame, scene.light
    rows, columns = shadow.shape
    o, lo = np.empty(3), np.empty(3)
    for i in range(scene.kind.shape[0]):
        if not casts[i]:
            continue
        a, b, ra, rb = 0.0, 0.0, 0.0, 0.0
        for k in range(3):
            a += scene.centre[i, k] * f[k]
            b += scene.centre[i, k] * f[3 + k]
        for r in range(3):
            pa, pb = 0.0, 0.0
            for k in range(3):
                pa += scene.axes[i, r, k] * f[k]
                pb += scene.axes[i, r, k] * f[3 + k]
            ra, rb = ra + abs(pa), rb + abs(pb)
        x0, x1 = max(int((a - ra - f[6]) / f[8]), 0), min(int((a + ra - f[6]) / f[8]) + 2, columns)
        y0, y1 = max(int((b - rb - f[7]) / f[8]), 0), min(int((b + rb - f[7]) / f[8]) + 2, rows)
        for y in range(y0, y1):
            for x in range(x0, x1):
                for k in range(3):
                    o[k] = (f[6] + x * f[8]) * f[k] + (f[7] + y * f[8]) * f[3 + k] + top * sun[k]
                for r in range(3):
                    lo[r] = 0.0
                    for c in range(3):
                        lo[r] += scene.inverse[i, r, c] * (o[c] - scene.centre[i, c])
                t, _ = hit_primitive(
                    scene.kind[i], scene.taper[i], scene.inverse[i], lo, -sun[0], -sun[1], -sun[2]
                )
                if t < np.inf and top - t > shadow[y, x]:
                    shadow[y, x] = top - t
