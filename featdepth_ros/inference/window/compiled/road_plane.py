"""Which height of the road plane makes the lower picture of two frames agree. Compiled.

For each height on trial the newest picture's road pixels are carried by the plane into an earlier picture. Small blocks
are then compared by zero-mean normalised correlation. Gain and offset of brightness do not matter to it. Asphalt's weak
texture counts by many blocks, where corners are too few.
"""

from __future__ import annotations

import math

import numpy as np

from featdepth_ros.inference.window.compiled._jit import jit_entry

#: Samples a side of a block, and from one block to the next.
BLOCK, STRIDE = 9, 4
#: Variance of grey values at which a block counts fully; noise below which correlation means nothing.
_FULL, _NOISE = 100.0, 4.0


@jit_entry(
    "void(uint8[:,::1], uint8[:,::1], float64[:,::1], float64[::1], float64[::1], float64[:,::1], float64[::1],"
    "float64[::1], float64[::1])"
)
def plane_scores(earlier, newest, motion, normal, camera, grid, heights, scores, covered):  # type: ignore[no-untyped-def]
    """Score heights.

    Args:
        earlier: (H, W) smoothed image.
        newest: the same of the other frame.
        motion: (3, 4) T_earlier_newest.
        normal: (3,) unit normal of the road, pointing down, newest camera.
        camera: (5,) fx fy cx cy, and the radial error (`lens.Lens`).
        grid: (2, 3): first, end and step of rows, then of columns, of the sampled pixels.
        heights: (n,) unit of the motion.
        scores: (n,) filled: weighted mean correlation.
        covered: (n,) filled: share of the samples that the earlier picture shows.
    """
    rows = int((grid[0, 1] - grid[0, 0]) / grid[0, 2])
    columns = int((grid[1, 1] - grid[1, 0]) / grid[1, 2])
    want, seen = np.empty((rows, columns), np.float32), np.empty((rows, columns), np.float32)
    inside = np.empty((rows, columns), np.bool_)
    for i in range(rows):
        for j in range(columns):
            want[i, j] = newest[int(grid[0, 0] + i * grid[0, 2]), int(grid[1, 0] + j * grid[1, 2])]
    height, width = earlier.shape
    for k in range(len(heights)):
        # homography of the plane normal . X = h: X_earlier = (R + t normal^T / h) X
        h = heights[k]
        total_inside = 0
        for i in range(rows):
            v = int(grid[0, 0] + i * grid[0, 2])
            for j in range(columns):
                u = int(grid[1, 0] + j * grid[1, 2])
                x, y = (u - camera[2]) / camera[0], (v - camera[3]) / camera[1]
                shrink = 1.0 / (1.0 + camera[4] * (x * x + y * y))
                x, y = x * shrink, y * shrink
                s = (normal[0] * x + normal[1] * y + normal[2]) / h
                px = motion[0, 0] * x + motion[0, 1] * y + motion[0, 2] + motion[0, 3] * s
                py = motion[1, 0] * x + motion[1, 1] * y + motion[1, 2] + motion[1, 3] * s
                pz = motion[2, 0] * x + motion[2, 1] * y + motion[2, 2] + motion[2, 3] * s
                inside[i, j] = False
                seen[i, j] = 0.0
                if s <= 0.0 or pz <= 1e-3:
                    continue
                px, py = px / pz, py / pz
                grown = 2.0 / (1.0 + math.sqrt(max(1.0 - 4.0 * camera[4] * (px * px + py * py), 0.0)))
                a, b = camera[0] * px * grown + camera[2], camera[1] * py * grown + camera[3]
                if not (a >= 0.0 and a < width - 1 and b >= 0.0 and b < height - 1):
                    continue
                c, r = int(a), int(b)
                fx, fy = a - c, b - r
                seen[i, j] = (1.0 - fy) * ((1.0 - fx) * earlier[r, c] + fx * earlier[r, c + 1]) + fy * (
                    (1.0 - fx) * earlier[r + 1, c] + fx * earlier[r + 1, c + 1]
                )
                inside[i, j] = True
                total_inside += 1
        covered[k] = total_inside / (rows * columns)
        score, weight = 0.0, 0.0
        for i in range(0, rows - BLOCK + 1, STRIDE):
            for j in range(0, columns - BLOCK + 1, STRIDE):
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
                n = BLOCK * BLOCK
                m1, m2 = m1 / n, m2 / n
                v1, v2 = s1 / n - m1 * m1, s2 / n - m2 * m2
                w = min(v1, _FULL)
                score += w * (cross / n - m1 * m2) / math.sqrt(max(v1, _NOISE) * max(v2, _NOISE))
                weight += w
        scores[k] = score / weight if weight > 0.0 else -1.0
