"""Colours out of the texture atlas, filtered over a pixel's footprint."""

from __future__ import annotations

import math
from typing import Any

from featdepth_ros.simulation.render.jit import jit, jit_inline
from featdepth_ros.simulation.render.shapes import LEVELS, TEXTURE_SIZE


@jit_inline
def bilinear(atlas: Any, texture: int, level: int, u: float, v: float) -> tuple[float, float, float]:
    """Return the colour (0 to 255) at u, v in tiles, in one mip level; textures repeat."""
    size = TEXTURE_SIZE >> level
    # The levels are a geometric series: the first texel of one follows without a table.
    start = (4 * TEXTURE_SIZE * TEXTURE_SIZE - 4 * size * size) // 3
    x, y = u * size - 0.5, v * size - 0.5
    fx, fy = math.floor(x), math.floor(y)
    ax, ay = x - fx, y - fy
    x0, y0 = int(fx) & (size - 1), int(fy) & (size - 1)
    x1, y1 = (x0 + 1) & (size - 1), (y0 + 1) & (size - 1)
    i00, i01 = start + y0 * size + x0, start + y0 * size + x1
    i10, i11 = start + y1 * size + x0, start + y1 * size + x1
    w11 = ax * ay
    w01, w10 = ax - w11, ay - w11
    w00 = 1.0 - ax - w10
    return (
        w00 * atlas[texture, i00, 0]
        + w01 * atlas[texture, i01, 0]
        + w10 * atlas[texture, i10, 0]
        + w11 * atlas[texture, i11, 0],
        w00 * atlas[texture, i00, 1]
        + w01 * atlas[texture, i01, 1]
        + w10 * atlas[texture, i10, 1]
        + w11 * atlas[texture, i11, 1],
        w00 * atlas[texture, i00, 2]
        + w01 * atlas[texture, i01, 2]
        + w10 * atlas[texture, i10, 2]
        + w11 * atlas[texture, i11, 2],
    )


@jit
def sample(
    atlas: Any, texture: int, u: float, v: float, ux: float, vx: float, uy: float, vy: float
) -> tuple[float, float, float]:
    """Return the colour (0 to 1) of a texture over a pixel's footprint (du/dx, dv/dx, du/dy, dv/dy: tiles a pixel).

    Trilinear, with up to four taps along the longer side.
    """
    a, b = math.sqrt(ux * ux + vx * vx) * TEXTURE_SIZE, math.sqrt(uy * uy + vy * vy) * TEXTURE_SIZE
    major, minor, su, sv = (a, b, ux, vx) if a >= b else (b, a, uy, vy)
    taps = 1
    if major > 1.5 and major > 1.5 * minor:
        taps = min(4, int(major / max(minor, 1.0)) + 1)
    lod = min(math.log2(max(minor, max(major / taps, 1.0))), LEVELS - 1.001)
    level = int(lod)
    mix = lod - level
    red, green, blue = 0.0, 0.0, 0.0
    for i in range(taps):
        along = (i + 0.5) / taps - 0.5
        r, g, bl = bilinear(atlas, texture, level, u + along * su, v + along * sv)
        if mix > 0.02:
            r2, g2, b2 = bilinear(atlas, texture, level + 1, u + along * su, v + along * sv)
            r, g, bl = r + mix * (r2 - r), g + mix * (g2 - g), bl + mix * (b2 - bl)
        red, green, blue = red + r, green + g, blue + bl
    scale = 1.0 / (255.0 * taps)
    return red * scale, green * scale, blue * scale
