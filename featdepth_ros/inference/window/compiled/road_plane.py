"""Which height of the road plane makes the lower picture of two frames agree. Compiled.

For each height on trial the newest picture's road pixels are carried by the plane into an earlier picture. Small blocks
are then compared by zero-mean normalised correlation. Gain and offset of brightness do not matter to it. Asphalt's weak
texture counts by many blocks, where corners are too few.
"""

from __future__ import annotations

import math

import numpy as np

from featdepth_ros.inference.window.compiled._jit import jit_called, jit_entry

#: Samples a side of a block, and from one block to the next.
BLOCK, STRIDE = 9, 4
#: Variance of grey values at which a block counts fully; noise below which correlation means nothing.
_FULL, _NOISE = 100.0, 4.0


@jit_called
def place_samples(newest, normal, camera, grid, bands, corridor, rays, drops, band, want):  # type: ignore[no-untyped-def]
    """Fill rays (r, c, 2), drops and bands (r, c; -1: not road) and grey values (r, c) of the sampled pixels."""
    for i in range(want.shape[0]):
        v = int(grid[0, 0] + i * grid[0, 2])
        for j in range(want.shape[1]):
            u = int(grid[1, 0] + j * grid[1, 2])
            want[i, j] = newest[v, u]
            x, y = (u - camera[2]) / camera[0], (v - camera[3]) / camera[1]
            shrink = 1.0 / (1.0 + camera[4] * (x * x + y * y))
            x, y = x * shrink, y * shrink
            rays[i, j, 0], rays[i, j, 1] = x, y
            drop = normal[0] * x + normal[1] * y + normal[2]
            drops[i, j], band[i, j] = drop, -1
            if abs(x) < corridor * drop:
                for b in range(len(bands) - 1):
                    if bands[b] <= drop < bands[b + 1]:
                        band[i, j] = b


@jit_called
def carry_samples(earlier, motion, camera, height, rays, drops, band, seen, inside):  # type: ignore[no-untyped-def]
    """Fill what the earlier picture shows of the samples (r, c) and whether it does; return the share that it shows.

    The plane's homography: X_earlier = (R + t normal^T / height) X.
    """
    rows, columns = earlier.shape
    asked, shown = 0, 0
    for i in range(seen.shape[0]):
        for j in range(seen.shape[1]):
            inside[i, j] = False
            seen[i, j] = 0.0
            if band[i, j] < 0:
                continue
            asked += 1
            x, y, s = rays[i, j, 0], rays[i, j, 1], drops[i, j] / height
            px = motion[0, 0] * x + motion[0, 1] * y + motion[0, 2] + motion[0, 3] * s
            py = motion[1, 0] * x + motion[1, 1] * y + motion[1, 2] + motion[1, 3] * s
            pz = motion[2, 0] * x + motion[2, 1] * y + motion[2, 2] + motion[2, 3] * s
            if pz <= 1e-3:
                continue
            px, py = px / pz, py / pz
            grown = 2.0 / (1.0 + math.sqrt(max(1.0 - 4.0 * camera[4] * (px * px + py * py), 0.0)))
            a, b = camera[0] * px * grown + camera[2], camera[1] * py * grown + camera[3]
            if not (a >= 0.0 and a < columns - 1 and b >= 0.0 and b < rows - 1):
                continue
            c, r = int(a), int(b)
            fx, fy = a - c, b - r
            seen[i, j] = (1.0 - fy) * ((1.0 - fx) * earlier[r, c] + fx * earlier[r, c + 1]) + fy * (
                (1.0 - fx) * earlier[r + 1, c] + fx * earlier[r + 1, c + 1]
            )
            inside[i, j] = True
            shown += 1
    return shown / max(asked, 1)


@jit_called
def compare_blocks(want, seen, inside, band, score, weight):  # type: ignore[no-untyped-def]
    """Add each block's weighted correlation and its weight to those (bands,) of its band."""
    rows, columns = want.shape
    n = BLOCK * BLOCK
    for i in range(0, rows - BLOCK + 1, STRIDE):
        for j in range(0, columns - BLOCK + 1, STRIDE):
            at = band[i + BLOCK // 2, j + BLOCK // 2]
            if at < 0:
                continue
            whole = True
            m1, m2, s1, s2, cross = 0.0, 0.0, 0.0, 0.0, 0.0
            for a in range(BLOCK):
                for b in range(BLOCK):
                    p, q = want[i + a, j + b], seen[i + a, j + b]
                    whole = whole and inside[i + a, j + b]
                    m1 += p
                    m2 += q
                    s1 += p * p
                    s2 += q * q
                    cross += p * q
            if not whole:
                continue
            m1, m2 = m1 / n, m2 / n
            v1, v2 = s1 / n - m1 * m1, s2 / n - m2 * m2
            w = min(v1, _FULL)
            score[at] += w * (cross / n - m1 * m2) / math.sqrt(max(v1, _NOISE) * max(v2, _NOISE))
            weight[at] += w


@jit_entry(
    "void(uint8[:,::1], uint8[:,::1], float64[:,::1], float64[::1], float64[::1], float64[:,::1], float64[::1],"
    "float64[::1], float64, float64[:,::1], float64[:,::1], float64[::1], float64[::1])"
)
def plane_scores(  # type: ignore[no-untyped-def]
    earlier, newest, motion, normal, camera, grid, heights, bands, corridor, scores, weights, covered, drop
):
    """Score heights, in bands of distance.

    A pixel's drop is how far its ray falls towards the plane on one unit of depth; inverse depth is drop over height.

    Args:
        earlier: (H, W) smoothed image.
        newest: the same of the other frame.
        motion: (3, 4) T_earlier_newest.
        normal: (3,) unit normal of the road, pointing down, newest camera.
        camera: (5,) fx fy cx cy, and the radial error (`lens.Lens`).
        grid: (2, 3): first, end and step of rows, then of columns, of the sampled pixels.
        heights: (n,) unit of the motion.
        bands: (b + 1,) rising drops, above 0: from each to the next is a band; farther ones come first.
        corridor: half the width of the road that counts, heights.
        scores: (n, b) filled: sum of weighted correlations.
        weights: (n, b) filled: sum of the weights.
        covered: (n,) filled: share of the samples that the earlier picture shows.
        drop: (b,) filled: mean drop of the samples of a band; 0 for none.
    """
    rows = int((grid[0, 1] - grid[0, 0]) / grid[0, 2])
    columns = int((grid[1, 1] - grid[1, 0]) / grid[1, 2])
    want, seen = np.empty((rows, columns), np.float32), np.empty((rows, columns), np.float32)
    rays, drops = np.empty((rows, columns, 2)), np.empty((rows, columns))
    inside, band = np.empty((rows, columns), np.bool_), np.empty((rows, columns), np.int64)
    place_samples(newest, normal, camera, grid, bands, corridor, rays, drops, band, want)
    for b in range(len(drop)):
        total, count = 0.0, 0
        for i in range(rows):
            for j in range(columns):
                if band[i, j] == b:
                    total += drops[i, j]
                    count += 1
        drop[b] = total / max(count, 1)
    scores[:] = 0.0
    weights[:] = 0.0
    for k in range(len(heights)):
        covered[k] = carry_samples(earlier, motion, camera, heights[k], rays, drops, band, seen, inside)
        compare_blocks(want, seen, inside, band, scores[k], weights[k])
