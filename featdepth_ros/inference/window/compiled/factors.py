"""The terms of the window's adjustment: residuals, weights and derivatives. Compiled; see `solver`."""

from __future__ import annotations

import math

import numpy as np

from featdepth_ros.inference.window.compiled._jit import jit_called

#: Order of the numbers in ``settings``.
SIGMA_PX, HUBER_PX, OUTLIER_PX, HUBER_PRIOR, SIGMA_SCALE, SIGMA_SHIFT = range(6)

#: Least z-depth in front of a camera, map units: a point behind it must not divide by zero.
_NEAREST = 1e-3
#: What a shift leaves at least of the inverse depth that the network told, share.
_LEAST_SHARE = 0.02
#: Weight of a residual beyond the outlier limit, next to Huber's.
_OUTLIER_SHARE = 0.05


@jit_called
def add_block(H, a, b, ja, jb, w):  # type: ignore[no-untyped-def]
    """H[a:, b:] += w ja^T jb for two Jacobians with two rows."""
    for i in range(ja.shape[1]):
        u0, u1 = w * ja[0, i], w * ja[1, i]
        for j in range(jb.shape[1]):
            H[a + i, b + j] += u0 * jb[0, j] + u1 * jb[1, j]


@jit_called
def observe(pose, host_pose, lens, ray, rho, point, u, v, settings, jj, jh, jr, jc, out):  # type: ignore[no-untyped-def]
    """One observation: residual, and Jacobians by pose, host's pose, log inverse depth and calibration.

    ``ray`` is (x, y, its squared length before correction), ``point`` the point in the map's coordinates. ``out``
    receives (residual u, residual v, weight, cost).
    """
    camera, error = lens[0], lens[1]
    fx, fy = camera[0], camera[1]
    x = pose[0, 0] * point[0] + pose[0, 1] * point[1] + pose[0, 2] * point[2] + pose[0, 3]
    y = pose[1, 0] * point[0] + pose[1, 1] * point[1] + pose[1, 2] * point[2] + pose[1, 3]
    z = max(pose[2, 0] * point[0] + pose[2, 1] * point[1] + pose[2, 2] * point[2] + pose[2, 3], _NEAREST)
    nx, ny = (u - camera[2]) / fx, (v - camera[3]) / fy
    square = nx * nx + ny * ny
    shrink = 1.0 / (1.0 + error[0] * square)
    out[0] = fx * (x / z - nx * shrink)
    out[1] = fy * (y / z - ny * shrink)
    huber, outlier, inverse_variance = settings[HUBER_PX], settings[OUTLIER_PX], 1.0 / settings[SIGMA_PX] ** 2
    size = math.sqrt(out[0] * out[0] + out[1] * out[1])
    weight, cost = 1.0, 0.5 * size * size
    if size > huber:
        weight, cost = huber / size, huber * (size - 0.5 * huber)
    if size > outlier:
        weight *= _OUTLIER_SHARE
        cost = huber * (outlier - 0.5 * huber) + _OUTLIER_SHARE * huber * (size - outlier)
    out[2], out[3] = weight * inverse_variance, cost * inverse_variance
    jj[0, 0], jj[0, 1], jj[0, 2] = fx / z, 0.0, -fx * x / (z * z)
    jj[1, 0], jj[1, 1], jj[1, 2] = 0.0, fy / z, -fy * y / (z * z)
    hx, hy, hz = ray[0] / rho, ray[1] / rho, 1.0 / rho
    jc[0, 0], jc[1, 0] = fx * nx * square, fy * ny * square
    for r in range(2):
        a, b, c = jj[r, 0], jj[r, 1], jj[r, 2]
        jj[r, 3], jj[r, 4], jj[r, 5] = c * y - b * z, a * z - c * x, b * x - a * y  # D (-hat(X)) row by row
        p = a * pose[0, 0] + b * pose[1, 0] + c * pose[2, 0]
        q = a * pose[0, 1] + b * pose[1, 1] + c * pose[2, 1]
        s = a * pose[0, 2] + b * pose[1, 2] + c * pose[2, 2]
        a = -(p * host_pose[0, 0] + q * host_pose[0, 1] + s * host_pose[0, 2])
        b = -(p * host_pose[1, 0] + q * host_pose[1, 1] + s * host_pose[1, 2])
        c = -(p * host_pose[2, 0] + q * host_pose[2, 1] + s * host_pose[2, 2])
        jh[r, 0], jh[r, 1], jh[r, 2] = a, b, c
        jh[r, 3], jh[r, 4], jh[r, 5] = c * hy - b * hz, a * hz - c * hx, b * hx - a * hy
        jr[r] = a * hx + b * hy + c * hz
        jc[r, 0] += (a * hx + b * hy) * ray[2]


@jit_called
def add_means(H, g, values, variable, means, sigma):  # type: ignore[no-untyped-def]
    """Each frame's own unknown stays near its mean; the cost."""
    near, cost = 1.0 / sigma**2, 0.0
    for k in range(len(values)):
        i = variable[k]
        if i >= 0:
            error = values[k] - means[k]
            H[i, i] += near
            g[i] += near * error
            cost += 0.5 * near * error * error
    return cost


@jit_called
def told_depth(told, shift, log_scale, log_rho, weight, huber, out):  # type: ignore[no-untyped-def]
    """What the network said of a point: ``out`` receives error, weight, cost and the error's derivative by the shift.

    The inverse depth is ``exp(-log_scale) (told + shift)``; the error is that of its logarithm.
    """
    value = told + shift
    least = _LEAST_SHARE * told + 1e-9
    out[3] = -1.0 / value
    if value < least:
        value, out[3] = least, 0.0
    off = log_rho - math.log(value) + log_scale
    out[0], out[1] = off, weight
    if abs(off) > huber:
        out[1] = weight * huber / abs(off)
        out[2] = weight * huber * (abs(off) - 0.5 * huber)
    else:
        out[2] = 0.5 * weight * off * off


@jit_called
def add_priors(H, g, window, settings, lens):  # type: ignore[no-untyped-def]
    """Priors of the network's scales and shifts (what points seen again said) and of the calibration; the cost."""
    cost = add_means(H, g, window[2], window[3], window[4], settings[SIGMA_SCALE])
    cost += add_means(H, g, window[5], window[6], window[7], settings[SIGMA_SHIFT])
    place = lens[4]
    if place >= 0:
        error = lens[1][0] - lens[2]
        H[place, place] += lens[3]
        g[place] += lens[3] * error
        cost += 0.5 * lens[3] * error * error
    return cost


@jit_called
def add_motion(H, g, poses, variable, measured, weight):  # type: ignore[no-untyped-def]
    """What else is known of the newest motion: ``measured`` (3, 4) T_newest_previous, ``weight`` (6, 6); the cost."""
    newest, previous = poses[-1], poses[-2]
    by_newest, by_previous = np.zeros((6, 6)), np.zeros((6, 6))
    left, error = np.zeros((3, 3)), np.empty(6)
    for i in range(3):
        for j in range(3):
            for k in range(3):
                by_previous[i, j] -= newest[i, k] * previous[j, k]
    moved = np.empty(3)
    for i in range(3):
        moved[i] = newest[i, 3]
        by_newest[i, i] = by_newest[3 + i, 3 + i] = 1.0
        for j in range(3):
            by_previous[3 + i, 3 + j] = by_previous[i, j]
            moved[i] += by_previous[i, j] * previous[j, 3]
            for k in range(3):
                left[i, j] -= by_previous[i, k] * measured[j, k]
    for i in range(3):
        error[i] = moved[i] - measured[i, 3]
        j, k = (i + 1) % 3, (i + 2) % 3
        error[3 + i] = 0.5 * (left[k, j] - left[j, k])  # rotation that is left over, near the identity
        by_newest[j, 3 + k], by_newest[k, 3 + j] = -moved[i], moved[i]
    cost = 0.0
    a, b = 6 * variable[-1], 6 * variable[-2]
    for i in range(6):
        for j in range(6):
            w = weight[i, j]
            if w == 0.0:
                continue
            cost += 0.5 * w * error[i] * error[j]
            for k in range(6):
                if a >= 0:
                    g[a + k] += by_newest[i, k] * w * error[j]
                if b >= 0:
                    g[b + k] += by_previous[i, k] * w * error[j]
                for m in range(6):
                    if a >= 0:
                        H[a + k, a + m] += by_newest[i, k] * w * by_newest[j, m]
                    if b >= 0:
                        H[b + k, b + m] += by_previous[i, k] * w * by_previous[j, m]
                    if a >= 0 and b >= 0:
                        H[a + k, b + m] += by_newest[i, k] * w * by_previous[j, m]
    return cost
