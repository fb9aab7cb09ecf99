"""What colour a ray's hit has: textures, paint, light and sky.

Light does not depend on the viewer: a Lambert sun with a shadow map and hemispheric ambient light. So a surface point
has one colour in every frame but for texture filtering.
"""

from __future__ import annotations

import math
from typing import Any

from featdepth_ros.simulation.render.jit import jit_inline
from featdepth_ros.simulation.render.sampling import bilinear, sample
from featdepth_ros.simulation.render.shapes import (
    ABOVE,
    BELOW,
    CENTRE,
    CONE,
    ELLIPSOID,
    FRUSTUM,
    GLOW,
    GROUND_CENTRE_LINE,
    GROUND_CROSSING,
    GROUND_DASH,
    GROUND_EDGE_LINE,
    GROUND_PATCH,
    GROUND_PAVEMENT,
    GROUND_ROAD,
    GROUND_TILE,
    GROUND_TINT,
    HALF,
    INVERSE,
    LEAVES,
    SHADOW,
    SHIFT,
    SKY_NUMBERS,
    SUN,
    SUN_COLOUR,
    TAPER,
    TILE,
    TINT,
    ground_height,
)  # fmt: skip


@jit_inline
def shadowed(q: Any, shadow: Any, px: float, py: float, pz: float) -> float:
    """Return how much of the sun reaches a point, 0 to 1: a percentage-closer lookup with smooth edges."""
    rows, columns = shadow.shape
    cell = q[SHADOW + 8]
    bias = px * q[SUN] + py * q[SUN + 1] + pz * q[SUN + 2] + 0.6 * cell
    x = (px * q[SHADOW] + py * q[SHADOW + 1] + pz * q[SHADOW + 2] - q[SHADOW + 6]) / cell
    y = (px * q[SHADOW + 3] + py * q[SHADOW + 4] + pz * q[SHADOW + 5] - q[SHADOW + 7]) / cell
    fx, fy = math.floor(x), math.floor(y)
    ix, iy = int(fx), int(fy)
    if ix < 1 or iy < 1 or ix >= columns - 2 or iy >= rows - 2:
        return 1.0
    ax, ay = x - fx, y - fy
    lit = 0.0
    for j in range(-1, 3):
        wy = (1.0 - ay) if j == -1 else (ay if j == 2 else 1.0)
        line = 0.0
        line += (1.0 - ax) if shadow[iy + j, ix - 1] <= bias else 0.0
        line += 1.0 if shadow[iy + j, ix] <= bias else 0.0
        line += 1.0 if shadow[iy + j, ix + 1] <= bias else 0.0
        line += ax if shadow[iy + j, ix + 2] <= bias else 0.0
        lit += wy * line
    return lit / 9.0


@jit_inline
def lit_colour(
    q: Any, shadow: Any, px: float, py: float, pz: float, nx: float, ny: float, nz: float
) -> tuple[float, float, float]:
    """Return the light (red, green, blue) a surface point with unit normal n receives."""
    facing = nx * q[SUN] + ny * q[SUN + 1] + nz * q[SUN + 2]
    if facing > 0.0:
        off = 1.5 * q[SHADOW + 8]
        facing *= shadowed(q, shadow, px + off * nx, py + off * ny, pz + off * nz)
    else:
        facing = 0.0
    up = 0.5 + 0.5 * nz
    # A little light from one side keeps faces that see no sun apart from each other.
    side = 1.0 + 0.12 * (0.8 * nx - 0.6 * ny)
    return (
        q[SUN_COLOUR] * facing + side * (q[ABOVE] * up + q[BELOW] * (1.0 - up)),
        q[SUN_COLOUR + 1] * facing + side * (q[ABOVE + 1] * up + q[BELOW + 1] * (1.0 - up)),
        q[SUN_COLOUR + 2] * facing + side * (q[ABOVE + 2] * up + q[BELOW + 2] * (1.0 - up)),
    )


@jit_inline
def slide(
    t: float, dx: float, dy: float, dz: float, ex: float, ey: float, ez: float, nx: float, ny: float, nz: float
) -> tuple[float, float, float]:
    """Return how far the hit moves on its tangent plane when the ray ``d`` becomes ``d + e``."""
    dn = dx * nx + dy * ny + dz * nz
    if abs(dn) < 1e-3:
        dn = 1e-3 if dn >= 0 else -1e-3
    s = (ex * nx + ey * ny + ez * nz) / dn
    return t * (ex - s * dx), t * (ey - s * dy), t * (ez - s * dz)


@jit_inline
def local_gradient(
    kind: int, face: int, lx: float, ly: float, lz: float, taper_x: float, taper_y: float
) -> tuple[float, float, float]:
    """Return the outward gradient of a shape's surface at a local point."""
    if kind in (ELLIPSOID, LEAVES):
        return lx, ly, lz
    if kind == CONE and face == 0:
        rho = math.sqrt(lx * lx + ly * ly)
        return lx, ly, -0.5 * (taper_x - 1.0) * rho
    if face == 0:
        return (1.0 if lx > 0 else -1.0), 0.0, (-0.5 * (taper_x - 1.0) if kind == FRUSTUM else 0.0)
    if face == 1:
        return 0.0, (1.0 if ly > 0 else -1.0), (-0.5 * (taper_y - 1.0) if kind == FRUSTUM else 0.0)
    return 0.0, 0.0, (1.0 if lz > 0 else -1.0)


@jit_inline
def colour_primitive(
    kinds: Any,
    shapes: Any,
    atlas: Any,
    q: Any,
    shadow: Any,
    i: int,
    face: int,
    t: float,
    ox: float,
    oy: float,
    oz: float,
    dx: float,
    dy: float,
    dz: float,
    ax: float,
    ay: float,
    az: float,
    bx: float,
    by: float,
    bz: float,
) -> tuple[float, float, float]:
    """Return the colour of a hit. Ray ``o + t d`` in world axes; a and b are the steps to the neighbours' rays."""
    kind = kinds[i, 0]
    px, py, pz = ox + t * dx, oy + t * dy, oz + t * dz
    m00, m01, m02 = shapes[i, INVERSE], shapes[i, INVERSE + 1], shapes[i, INVERSE + 2]
    m10, m11, m12 = shapes[i, INVERSE + 3], shapes[i, INVERSE + 4], shapes[i, INVERSE + 5]
    m20, m21, m22 = shapes[i, INVERSE + 6], shapes[i, INVERSE + 7], shapes[i, INVERSE + 8]
    rx, ry, rz = px - shapes[i, CENTRE], py - shapes[i, CENTRE + 1], pz - shapes[i, CENTRE + 2]
    lx = m00 * rx + m01 * ry + m02 * rz
    ly = m10 * rx + m11 * ry + m12 * rz
    lz = m20 * rx + m21 * ry + m22 * rz
    hx, hy, hz = shapes[i, HALF], shapes[i, HALF + 1], shapes[i, HALF + 2]
    sx, sy, sz = local_gradient(kind, face, lx, ly, lz, shapes[i, TAPER], shapes[i, TAPER + 1])
    nx, ny, nz = m00 * sx + m10 * sy + m20 * sz, m01 * sx + m11 * sy + m21 * sz, m02 * sx + m12 * sy + m22 * sz
    norm = 1.0 / math.sqrt(nx * nx + ny * ny + nz * nz + 1e-30)
    if kind == LEAVES and nx * dx + ny * dy + nz * dz > 0.0:
        norm = -norm  # the far side of a crown, seen from within
    nx, ny, nz = nx * norm, ny * norm, nz * norm
    ax, ay, az = slide(t, dx, dy, dz, ax, ay, az, nx, ny, nz)
    bx, by, bz = slide(t, dx, dy, dz, bx, by, bz, nx, ny, nz)
    ax, ay, az = m00 * ax + m01 * ay + m02 * az, m10 * ax + m11 * ay + m12 * az, m20 * ax + m21 * ay + m22 * az
    bx, by, bz = m00 * bx + m01 * by + m02 * bz, m10 * bx + m11 * by + m12 * bz, m20 * bx + m21 * by + m22 * bz
    tu, tv = 1.0 / shapes[i, TILE + 2 * face], 1.0 / shapes[i, TILE + 2 * face + 1]
    if kind == CONE and face == 0:
        turns = max(1.0, math.floor(2.0 * math.pi * hx * tu + 0.5)) / (2.0 * math.pi)
        rho = turns / (lx * lx + ly * ly + 1e-12)
        u, v = math.atan2(ly, lx) * turns, lz * hz * tv
        ux, uy = rho * (lx * ay - ly * ax), rho * (lx * by - ly * bx)
        vx, vy = az * hz * tv, bz * hz * tv
    elif face == 0:
        tu = -tu if lx < 0.0 and kind != LEAVES else tu  # u runs to the right as seen from outside
        u, v, ux, vx, uy, vy = ly * hy * tu, lz * hz * tv, ay * hy * tu, az * hz * tv, by * hy * tu, bz * hz * tv
    elif face == 1:
        tu = -tu if ly > 0.0 and kind != LEAVES else tu
        u, v, ux, vx, uy, vy = lx * hx * tu, lz * hz * tv, ax * hx * tu, az * hz * tv, bx * hx * tu, bz * hz * tv
    else:
        u, v, ux, vx, uy, vy = lx * hx * tu, ly * hy * tv, ax * hx * tu, ay * hy * tv, bx * hx * tu, by * hy * tv
    r, g, b = sample(atlas, kinds[i, 1 + face], u + shapes[i, SHIFT], v + shapes[i, SHIFT + 1], ux, vx, uy, vy)
    lr, lg, lb = lit_colour(q, shadow, px, py, pz, nx, ny, nz)
    glow, k = shapes[i, GLOW], TINT + 3 * face
    return (
        r * shapes[i, k] * (lr + glow * (1.0 - lr)),
        g * shapes[i, k + 1] * (lg + glow * (1.0 - lg)),
        b * shapes[i, k + 2] * (lb + glow * (1.0 - lb)),
    )


@jit_inline
def road_coordinates(arcs: Any, arc_grid: Any, arc_frame: Any, x: float, y: float) -> tuple[float, float, float, float]:
    """Return distance along the centreline (m), offset to its left (m), cosine and sine of its heading there."""
    rows, columns = arc_grid.shape
    column = min(max(int((x - arc_frame[0]) / arc_frame[2]), 0), columns - 1)
    row = min(max(int((y - arc_frame[1]) / arc_frame[2]), 0), rows - 1)
    i = arc_grid[row, column]
    s, left, c, sn = 0.0, 0.0, 1.0, 0.0
    for _ in range(6):
        px, py, k = x - arcs[i, 0], y - arcs[i, 1], arcs[i, 3]
        c, sn = arcs[i, 6], arcs[i, 7]
        ahead, side = c * px + sn * py, c * py - sn * px
        if abs(k) < 1e-6:
            s, left = ahead, side
        else:
            # The circle's centre lies at (0, 1/k) of the arc's own frame.
            ry = side - 1.0 / k
            radius = math.sqrt(ahead * ahead + ry * ry)
            s = math.atan2(ahead, -ry if k > 0 else ry) / abs(k)
            left = (1.0 / k - radius) if k > 0 else (radius + 1.0 / k)
            cosine, sine = (-ry / radius, ahead / radius) if k > 0 else (ry / radius, -ahead / radius)
            c, sn = c * cosine - sn * sine, sn * cosine + c * sine
        if s < 0.0 and i > 0:
            i -= 1
        elif s > arcs[i, 4] and i < arcs.shape[0] - 1:
            i += 1
        else:
            break
    return s + arcs[i, 5], left, c, sn


@jit_inline
def stripe(offset: float, half_width: float, width: float) -> float:
    """Return the share of a pixel ``width`` wide that a stripe covers whose middle is ``offset`` away."""
    low, high = max(offset - 0.5 * width, -half_width), min(offset + 0.5 * width, half_width)
    return max(high - low, 0.0) / width


@jit_inline
def periodic(position: float, on: float, period: float, width: float) -> float:
    """Return the share of a pixel that dashes cover which are ``on`` of every ``period`` metres."""
    if width > 0.5 * period:
        return on / period
    p = position - period * math.floor(position / period)
    return max(stripe(p - 0.5 * on, 0.5 * on, width), stripe(p - period - 0.5 * on, 0.5 * on, width))


@jit_inline
def paint(q: Any, s: float, left: float, ws: float, wl: float) -> float:
    """Return how much of a road pixel is painted; ``ws`` and ``wl`` are its sizes along and across the road."""
    road = q[GROUND_ROAD]
    cover = 0.0
    if q[GROUND_CENTRE_LINE] > 0.0:
        line = stripe(left, 0.06, wl)
        if q[GROUND_DASH] > 0.0 and line > 0.0:
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


@jit_inline
def colour_ground(
    atlas: Any,
    q: Any,
    waves: Any,
    arcs: Any,
    arc_grid: Any,
    arc_frame: Any,
    ground_texture: Any,
    shadow: Any,
    t: float,
    ox: float,
    oy: float,
    oz: float,
    dx: float,
    dy: float,
    dz: float,
    ax: float,
    ay: float,
    az: float,
    bx: float,
    by: float,
    bz: float,
) -> tuple[float, float, float]:
    """Return the colour of a ground hit: road with paint, pavement, and what lies beside."""
    x, y, z = ox + t * dx, oy + t * dy, oz + t * dz
    _, hx, hy = ground_height(waves, x, y)
    nz = 1.0 / math.sqrt(1.0 + hx * hx + hy * hy)
    nx, ny = -hx * nz, -hy * nz
    s, left, c, sn = road_coordinates(arcs, arc_grid, arc_frame, x, y)
    ax, ay, az = slide(t, dx, dy, dz, ax, ay, az, nx, ny, nz)
    bx, by, bz = slide(t, dx, dy, dz, bx, by, bz, nx, ny, nz)
    ws = max(abs(c * ax + sn * ay) + abs(c * bx + sn * by), 1e-3)
    wl = max(abs(c * ay - sn * ax) + abs(c * by - sn * bx), 1e-3)
    road, pavement = q[GROUND_ROAD], q[GROUND_PAVEMENT]
    zone = 0 if abs(left) < road else (1 if abs(left) < road + pavement else (2 if left > 0 else 3))
    f = 1.0 / (q[GROUND_TILE] * (1.7 if zone == 0 else 1.0))
    texture = ground_texture[zone]
    # Along the road for what is laid along it, along the world's axes for what grows: the latter has no seam.
    if zone == 1:
        r, g, b = sample(
            atlas,
            texture,
            s * f,
            left * f,
            (c * ax + sn * ay) * f,
            (c * ay - sn * ax) * f,
            (c * bx + sn * by) * f,
            (c * by - sn * bx) * f,
        )
    else:
        r, g, b = sample(atlas, texture, x * f, y * f, ax * f, ay * f, bx * f, by * f)
    k = GROUND_TINT + 3 * zone
    f = 1.0 / 23.0
    patch, _, _ = bilinear(atlas, int(q[GROUND_PATCH]), 0 if wl + ws < 0.3 else 3, x * f, y * f)
    stain = 0.6 + 0.8 * patch / 255.0
    r, g, b = r * q[k] * stain, g * q[k + 1] * stain, b * q[k + 2] * stain
    if zone == 0:
        cover = paint(q, s, left, ws, wl) * min(1.0, 0.1 + 0.8 * stain)
        gutter = 1.0 - 0.35 * stripe(abs(left) - road, 0.25, wl)
        r = gutter * (r + cover * (0.85 - r))
        g = gutter * (g + cover * (0.85 - g))
        b = gutter * (b + cover * (0.82 - b))
    lr, lg, lb = lit_colour(q, shadow, x, y, z, nx, ny, nz)
    return r * lr, g * lg, b * lb


@jit_inline
def colour_sky(q: Any, atlas: Any, dx: float, dy: float, dz: float, step: float) -> tuple[float, float, float]:
    """Return the colour of the sky along a ray: a gradient under a flat layer of clouds. ``step``: to the next ray."""
    k = SKY_NUMBERS
    length = math.sqrt(dx * dx + dy * dy + dz * dz)
    up = max(dz / length, 0.0)
    rise = 1.0 - (1.0 - up) * (1.0 - up) * (1.0 - up)
    scale = q[k + 8] / (length * (up + 0.12))
    cloud, _, _ = sample(atlas, int(q[k + 6]), scale * dx, scale * dy, scale * step, 0.0, 0.0, scale * step)
    cover = min(max((cloud - 1.0 + q[k + 7]) * 3.0, 0.0), 1.0) * min(1.0, up * 8.0 + 0.25)
    white = q[k + 9] * (0.75 + 0.35 * cloud)
    r, g, b = (
        q[k + 3] + (q[k] - q[k + 3]) * rise,
        q[k + 4] + (q[k + 1] - q[k + 4]) * rise,
        q[k + 5] + (q[k + 2] - q[k + 5]) * rise,
    )
    return r + cover * (white - r), g + cover * (white - g), b + cover * (white - b)
