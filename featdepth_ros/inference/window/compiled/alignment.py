"""Patches of one image found again in another: the inner loop of tracking. Compiled.

A patch is warped beforehand by what is known of the motion and the surface. So two numbers of position, a gain and an
offset of brightness are left to solve. Inverse compositional alignment solves for them (Baker and Matthews 2004). It
goes from coarse to fine levels of a pyramid. The warp removes what a translation alone gets wrong: a patch grows as the
camera comes near, and one on the road shears.
"""

from __future__ import annotations

import math

import numpy as np

from featdepth_ros.inference.window.compiled._jit import jit_called, jit_entry


@jit_called
def warped_patch(image, u, v, a00, a01, a10, a11, half, patch):  # type: ignore[no-untyped-def]
    """Sample a (2 half + 3) square around (u, v), bilinear, offsets multiplied by the matrix; False when outside."""
    height, width = image.shape
    reach = half + 1
    extent_u, extent_v = reach * (abs(a00) + abs(a01)), reach * (abs(a10) + abs(a11))
    if not (u - extent_u >= 0 and u + extent_u < width - 1 and v - extent_v >= 0 and v + extent_v < height - 1):
        return False
    for i in range(2 * reach + 1):
        for j in range(2 * reach + 1):
            dx, dy = j - reach, i - reach
            x, y = u + a00 * dx + a01 * dy, v + a10 * dx + a11 * dy
            column, row = int(x), int(y)
            fx, fy = np.float32(x - column), np.float32(y - row)
            one = np.float32(1.0)
            patch[i, j] = (one - fy) * (
                (one - fx) * np.float32(image[row, column]) + fx * np.float32(image[row, column + 1])
            ) + fy * ((one - fx) * np.float32(image[row + 1, column]) + fx * np.float32(image[row + 1, column + 1]))
    return True


@jit_called
def prepare(patch, half, template, gx, gy, normal):  # type: ignore[no-untyped-def]
    """Template without mean, its gradients without mean and without what a gain explains, and the normal matrix."""
    side = 2 * half + 1
    mean, mx, my = np.float32(0.0), np.float32(0.0), np.float32(0.0)
    for i in range(side):
        for j in range(side):
            template[i, j] = patch[i + 1, j + 1]
            gx[i, j] = np.float32(0.5) * (patch[i + 1, j + 2] - patch[i + 1, j])
            gy[i, j] = np.float32(0.5) * (patch[i + 2, j + 1] - patch[i, j + 1])
            mean += template[i, j]
            mx += gx[i, j]
            my += gy[i, j]
    count = np.float32(side * side)
    mean, mx, my = mean / count, mx / count, my / count
    power, px, py = np.float32(0.0), np.float32(0.0), np.float32(0.0)
    for i in range(side):
        for j in range(side):
            t = template[i, j] - mean
            template[i, j] = t
            gx[i, j] -= mx
            gy[i, j] -= my
            power += t * t
            px += t * gx[i, j]
            py += t * gy[i, j]
    kx, ky = px / max(power, np.float32(1e-6)), py / max(power, np.float32(1e-6))
    xx, xy, yy = np.float32(0.0), np.float32(0.0), np.float32(0.0)
    for i in range(side):
        for j in range(side):
            gx[i, j] -= kx * template[i, j]
            gy[i, j] -= ky * template[i, j]
            xx += gx[i, j] * gx[i, j]
            xy += gx[i, j] * gy[i, j]
            yy += gy[i, j] * gy[i, j]
    normal[0], normal[1], normal[2], normal[3] = xx, xy, yy, power


@jit_called
def settle(image, u, v, half, template, gx, gy, normal, iterations, small, out):  # type: ignore[no-untyped-def]
    """Move (u, v) until the template fits; ``out`` receives u, v and the correlation. Returns whether it converged."""
    height, width = image.shape
    side = 2 * half + 1
    determinant = normal[0] * normal[2] - normal[1] * normal[1]
    if not determinant > 1e-6 * (normal[0] + normal[2]) ** 2 + 1e-3:
        return False
    done = False
    count = np.float32(side * side)
    correlation = 0.0
    for _ in range(iterations):
        column, row = int(math.floor(u)), int(math.floor(v))
        if not (column - half >= 0 and column + half + 1 < width and row - half >= 0 and row + half + 1 < height):
            return False
        fx, fy = np.float32(u - column), np.float32(v - row)
        w11 = fx * fy
        w01, w10 = fx - w11, fy - w11
        w00 = np.float32(1.0) - fx - fy + w11
        bx, by, total, square, cross = (
            np.float32(0.0), np.float32(0.0), np.float32(0.0), np.float32(0.0), np.float32(0.0),
        )  # fmt: skip
        for i in range(side):
            upper = image[row - half + i, column - half : column + half + 2]
            lower = image[row - half + i + 1, column - half : column + half + 2]
            for j in range(side):
                value = (
                    w00 * np.float32(upper[j])
                    + w01 * np.float32(upper[j + 1])
                    + w10 * np.float32(lower[j])
                    + w11 * np.float32(lower[j + 1])
                )
                bx += gx[i, j] * value
                by += gy[i, j] * value
                total += value
                square += value * value
                cross += template[i, j] * value
        gain = cross / max(normal[3], np.float32(1e-6))
        spread = square - total * total / count
        correlation = float(cross / math.sqrt(max(spread * normal[3], 1e-6)))
        if not gain > 0.2:  # not the same thing
            return False
        # The gradients are free of mean and template, so the sums are those of the residual. The gain scales them.
        du = -(normal[2] * bx - normal[1] * by) / (determinant * gain)
        dv = -(normal[0] * by - normal[1] * bx) / (determinant * gain)
        u, v = u + du, v + dv
        if not (abs(du) < half and abs(dv) < half):
            return False
        if du * du + dv * dv < small * small:
            done = True
            break
    out[0], out[1], out[2] = u, v, correlation
    return done


@jit_entry(
    "void(UniTuple(uint8[:,::1], 4), UniTuple(uint8[:,::1], 4), float64[:,::1], float64[:,::1], float64[:,:,::1],"
    "int64, int64, int64, float64[:,::1], float64[::1])"
)
def align(earlier, later, start, expected, warp, half, coarsest, iterations, found, correlation):  # type: ignore[no-untyped-def]
    """Find patches again.

    Args:
        earlier: pyramid, each level half of the one before.
        later: the same of the other image.
        start: (n, 2) pixels in the earlier image.
        expected: (n, 2) pixels where the search begins in the later one.
        warp: (n, 2, 2) matrices from offsets in the later image to offsets in the earlier one.
        half: patches have 2 half + 1 pixels a side.
        coarsest: level to begin with.
        iterations: at most, a level.
        found: (n, 2), filled: pixels in the later image.
        correlation: (n,), filled: of the patches; -1 where the point was lost.
    """
    side = 2 * half + 1
    patch = np.empty((side + 2, side + 2), np.float32)
    template = np.empty((side, side), np.float32)
    gx, gy = np.empty((side, side), np.float32), np.empty((side, side), np.float32)
    normal, out = np.empty(4, np.float32), np.empty(3)
    for n in range(len(start)):
        u, v = expected[n, 0], expected[n, 1]
        correlation[n] = -1.0
        for step in range(coarsest + 1):
            level = coarsest - step
            shrink = 1.0 / (1 << level)
            # Pixel centres lie at integers, and cv2.pyrDown keeps pixel 0 where it is.
            if warped_patch(
                earlier[level], start[n, 0] * shrink, start[n, 1] * shrink, warp[n, 0, 0], warp[n, 0, 1],
                warp[n, 1, 0], warp[n, 1, 1], half, patch,
            ):  # fmt: skip
                prepare(patch, half, template, gx, gy, normal)
                good = settle(
                    later[level], u * shrink, v * shrink, half, template, gx, gy, normal, iterations,
                    0.02 if level == 0 else 0.1, out,
                )  # fmt: skip
            else:
                good = False
            if good:
                u, v = out[0] / shrink, out[1] / shrink
                if level == 0:
                    correlation[n] = out[2]
        found[n, 0], found[n, 1] = u, v
