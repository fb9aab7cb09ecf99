"""Bundle adjustment of a window: poses, inverse depths, scales and the calibration's error, together. Compiled.

Gauss-Newton with Levenberg's damping; points are eliminated first (Schur complement; Triggs et al. 2000, "Bundle
adjustment: a modern synthesis"). A point is the logarithm of its inverse depth along the ray of the keyframe that saw
it first. Residuals are reprojection errors with Huber's weights, the network's log depth with one log scale a
keyframe, priors of those scales and of the calibration, and what else is known of the newest motion. Frames with
variable -1 are held fixed: they carry on what the past knew.

Pose perturbations are on the left: ``X = T X_map`` becomes ``X + d[:3] + d[3:] x X``. Frames are in order of time, so
that a host comes before those that saw its points later, and the lower triangle of the equations is enough: poses,
then scales, then the calibration's radial error (`LocalMap.to_image`).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from featdepth_ros.inference.window.compiled._jit import FINGERPRINT, jit_called, jit_entry
from featdepth_ros.inference.window.compiled.linear import factorise, invert, move, substitute

#: Order of the numbers in ``settings``.
SIGMA_PX, HUBER_PX, OUTLIER_PX, HUBER_PRIOR, SIGMA_SCALE = range(5)

#: Least z-depth in front of a camera, map units: a point behind it must not divide by zero.
_NEAREST = 1e-3
#: Weight of a residual beyond the outlier limit, next to Huber's.
_OUTLIER_SHARE = 0.05
#: A point's log inverse depth moves by no more than this in one step.
_POINT_STEP = 0.7


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
def add_priors(H, g, window, settings, lens):  # type: ignore[no-untyped-def]
    """Priors of the network's log scales (what the points seen again said) and of the calibration; the cost."""
    log_scales, scale_variable, scale_mean = window[2], window[3], window[4]
    near = 1.0 / settings[SIGMA_SCALE] ** 2
    cost = 0.0
    for k in range(len(log_scales)):
        i = scale_variable[k]
        if i >= 0:
            error = log_scales[k] - scale_mean[k]
            H[i, i] += near
            g[i] += near * error
            cost += 0.5 * near * error * error
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


@jit_called
def eliminate(H, g, n, s, first, work):  # type: ignore[no-untyped-def]
    """Take point n out of the equations."""
    touched, counts, coupling, diagonal, gradient, by_scale, by_lens = work[:7]
    inverse = 1.0 / diagonal[n]
    for i in range(counts[n]):
        a = 6 * touched[n, i]
        for k in range(6):
            c = coupling[n, i, k] * inverse
            g[a + k] -= c * gradient[n]
            for j in range(i + 1):
                b = 6 * touched[n, j]
                for m in range(6):
                    H[a + k, b + m] -= c * coupling[n, j, m]
            if s >= 0:
                H[s, a + k] -= c * by_scale[n]
            if first >= 0:
                H[first, a + k] -= c * by_lens[n]
    if s >= 0:
        c = by_scale[n] * inverse
        H[s, s] -= c * by_scale[n]
        g[s] -= c * gradient[n]
    if first >= 0:
        c = by_lens[n] * inverse
        H[first, first] -= c * by_lens[n]
        g[first] -= c * gradient[n]
        if s >= 0:
            H[first, s] -= c * by_scale[n]


@jit_called
def linearise(H, g, window, points, sights, settings, lens, work):  # type: ignore[no-untyped-def]
    """Build the reduced normal equations H d = -g and what the points' own steps need; returns the cost."""
    poses, variable, log_scales, scale_variable = window[:4]
    host, rays, log_rho, prior, prior_weight, active = points
    start, frames, pixels, recent_frames, recent, measured, measured_weight = sights
    touched, counts, coupling, diagonal, gradient, by_scale, by_lens, image_part = work
    error, first = lens[1], lens[4]
    jj, jh, jr, jc, out = np.empty((2, 6)), np.empty((2, 6)), np.empty(2), np.empty((2, 1)), np.empty(4)
    ray, point = np.empty(3), np.empty(3)
    H[:] = 0.0
    g[:] = 0.0
    cost = add_priors(H, g, window, settings, lens) + add_motion(H, g, poses, variable, measured, measured_weight)
    for n in range(len(active)):
        p = active[n]
        hp = poses[host[p]]
        b = variable[host[p]]
        rho = math.exp(log_rho[p])
        ray[2] = rays[p, 0] * rays[p, 0] + rays[p, 1] * rays[p, 1]
        shrink = 1.0 / (1.0 + error[0] * ray[2])
        ray[0], ray[1] = rays[p, 0] * shrink, rays[p, 1] * shrink
        ax, ay, az = ray[0] / rho - hp[0, 3], ray[1] / rho - hp[1, 3], 1.0 / rho - hp[2, 3]
        for i in range(3):
            point[i] = hp[0, i] * ax + hp[1, i] * ay + hp[2, i] * az
        count = 1 if b >= 0 else 0
        touched[n, 0] = b
        coupling[n, 0] = 0.0
        by_lens[n] = 0.0
        hpp, gp = 0.0, 0.0
        kept = start[p + 1] - start[p]
        for o in range(kept + len(recent_frames)):
            if o < kept:
                f, u, v = frames[start[p] + o], pixels[start[p] + o, 0], pixels[start[p] + o, 1]
            else:
                f, u, v = recent_frames[o - kept], recent[o - kept, p, 0], recent[o - kept, p, 1]
            if f == host[p] or u != u:
                continue
            observe(poses[f], hp, lens, ray, rho, point, u, v, settings, jj, jh, jr, jc, out)
            w, a = out[2], variable[f]
            cost += out[3]
            hpp += w * (jr[0] * jr[0] + jr[1] * jr[1])
            gp += w * (jr[0] * out[0] + jr[1] * out[1])
            if a >= 0:
                add_block(H, 6 * a, 6 * a, jj, jj, w)
                touched[n, count] = a
                for i in range(6):
                    g[6 * a + i] += w * (jj[0, i] * out[0] + jj[1, i] * out[1])
                    coupling[n, count, i] = w * (jj[0, i] * jr[0] + jj[1, i] * jr[1])
                count += 1
                if b >= 0:
                    add_block(H, 6 * a, 6 * b, jj, jh, w)
            if b >= 0:
                add_block(H, 6 * b, 6 * b, jh, jh, w)
                for i in range(6):
                    g[6 * b + i] += w * (jh[0, i] * out[0] + jh[1, i] * out[1])
                    coupling[n, 0, i] += w * (jh[0, i] * jr[0] + jh[1, i] * jr[1])
            if first >= 0:
                add_block(H, first, first, jc, jc, w)
                if a >= 0:
                    add_block(H, first, 6 * a, jc, jj, w)
                if b >= 0:
                    add_block(H, first, 6 * b, jc, jh, w)
                g[first] += w * (jc[0, 0] * out[0] + jc[1, 0] * out[1])
                by_lens[n] += w * (jc[0, 0] * jr[0] + jc[1, 0] * jr[1])
        image_part[n] = hpp
        s = scale_variable[host[p]]
        off = log_rho[p] - prior[p] + log_scales[host[p]]
        w = prior_weight[p]
        if abs(off) > settings[HUBER_PRIOR]:
            cost += w * settings[HUBER_PRIOR] * (abs(off) - 0.5 * settings[HUBER_PRIOR])
            w *= settings[HUBER_PRIOR] / abs(off)
        else:
            cost += 0.5 * w * off * off
        by_scale[n] = w if s >= 0 else 0.0
        if s >= 0:
            H[s, s] += w
            g[s] += w * off
        counts[n], diagonal[n], gradient[n] = count, hpp + w + 1e-6, gp + w * off
        eliminate(H, g, n, s, first, work)
    return cost


@jit_called
def step_points(points, scale_variable, first, work, d):  # type: ignore[no-untyped-def]
    """Move the points by what the step ``d`` of everything else leaves to them."""
    host, log_rho, active = points[0], points[2], points[5]
    touched, counts, coupling, diagonal, gradient, by_scale, by_lens = work[:7]
    for n in range(len(active)):
        total = gradient[n]
        for i in range(counts[n]):
            for k in range(6):
                total += coupling[n, i, k] * d[6 * touched[n, i] + k]
        s = scale_variable[host[active[n]]]
        if s >= 0:
            total += by_scale[n] * d[s]
        if first >= 0:
            total += by_lens[n] * d[first]
        log_rho[active[n]] -= min(max(total / diagonal[n], -_POINT_STEP), _POINT_STEP)


@jit_called
def point_variances(variance, information, points, scale_variable, first, work, covariance):  # type: ignore[no-untyped-def]
    """Marginal variance of each log inverse depth, and the part of its inverse that images gave."""
    host, active = points[0], points[5]
    touched, counts, coupling, diagonal, gradient, by_scale, by_lens, image_part = work
    row, place = np.empty(6 * touched.shape[1] + 2), np.empty(6 * touched.shape[1] + 2, np.int64)
    for n in range(len(active)):
        size = 0
        for i in range(counts[n]):
            for k in range(6):
                row[size], place[size] = coupling[n, i, k], 6 * touched[n, i] + k
                size += 1
        s = scale_variable[host[active[n]]]
        if s >= 0:
            row[size], place[size] = by_scale[n], s
            size += 1
        if first >= 0:
            row[size], place[size] = by_lens[n], first
            size += 1
        spread = 0.0
        for i in range(size):
            for j in range(i):
                spread += 2.0 * row[i] * row[j] * covariance[place[i], place[j]]
            spread += row[i] * row[i] * covariance[place[i], place[i]]
        p = active[n]
        variance[p] = 1.0 / diagonal[n] + max(spread, 0.0) / (diagonal[n] * diagonal[n])
        information[p] = max(1.0 / variance[p] - (diagonal[n] - image_part[n]), 0.0)


_WINDOW = "Tuple((float64[:,:,::1], int64[::1], float64[::1], int64[::1], float64[::1]))"
_POINTS = "Tuple((int64[::1], float64[:,::1], float64[::1], float64[::1], float64[::1], int64[::1]))"
_SIGHTS = (
    "Tuple((int64[::1], int64[::1], float64[:,::1], int64[::1], float64[:,:,::1], float64[:,::1], float64[:,::1]))"
)
_LENS = "Tuple((float64[::1], float64[::1], float64, float64, int64))"


def _entry_point(fingerprint: str) -> Callable[..., float]:
    @jit_entry(
        f"float64({_WINDOW}, {_POINTS}, {_SIGHTS}, float64[::1], {_LENS}, int64, float64[:,::1], float64[::1],"
        "float64[::1])"
    )
    def adjust(window, points, sights, settings, lens, iterations, covariance, variance, information):  # type: ignore[no-untyped-def]
        """Solve, in place. F frames, S of them solved for; N points.

        Args:
            window: poses (F, 3, 4) T_camera_map; index of each among those solved for (F,), -1 for fixed; log scales
                (F,); their place among the unknowns (F,), -1 for none; their prior means (F,).
            points: host frame (N,); rays (N, 2); log inverse depths (N,); the network's log inverse depths (N,) and
                their weights (N,); which points to solve for (A,).
            sights: what keyframes saw, sorted by point: starts (N + 1,), frames (M,), pixels (M, 2); frames (R,) that
                are no keyframes, and what they saw (R, N, 2), NaN for nothing; the newest motion as otherwise known
                (3, 4) T_newest_previous and its information (6, 6).
            settings: see `SIGMA_PX` and so on.
            lens: fx fy cx cy; radial error of the calibration (1,), its prior mean and information; its place among the
                unknowns, -1 for none.
            iterations: steps.
            covariance: (U, U) of all unknowns but the points, filled.
            variance: (N,), filled where points were solved for; see `WindowPoints`.
            information: the same.

        Returns:
            The last cost, or -1 when the equations could not be solved.
        """
        _ = fingerprint
        poses, variable, log_scales, scale_variable = window[:4]
        log_rho, error, first = points[2], lens[1], lens[4]
        n, size, width = len(covariance), len(points[5]), len(variable) + 1
        H, g = np.empty((n, n)), np.empty(n)
        work = (
            np.empty((size, width), np.int64), np.empty(size, np.int64), np.empty((size, width, 6)), np.empty(size),
            np.empty(size), np.empty(size), np.empty(size), np.empty(size),
        )  # fmt: skip
        old_poses, old_scales, old_rho, old_error = poses.copy(), log_scales.copy(), log_rho.copy(), error.copy()
        damping, before, step = 1e-5, np.inf, 0
        for attempt in range(2 * iterations + 1):
            cost = linearise(H, g, window, points, sights, settings, lens, work)
            if not cost <= before * (1.0 + 1e-9) and attempt > 0:  # take the step back, make the next one shorter
                poses[:], log_scales[:], log_rho[:], error[:] = old_poses, old_scales, old_rho, old_error
                damping, before = damping * 100.0, np.inf
                continue
            for i in range(n):
                H[i, i] += damping * H[i, i] + 1e-8
            if not factorise(H):
                return -1.0
            if step >= iterations or attempt == 2 * iterations:
                invert(H, covariance)
                point_variances(variance, information, points, scale_variable, first, work, covariance)
                return cost
            step += 1
            before = cost
            old_poses[:], old_scales[:], old_rho[:], old_error[:] = poses, log_scales, log_rho, error
            substitute(H, g)
            for i in range(n):
                g[i] = -g[i]
            for f in range(len(variable)):
                if variable[f] >= 0:
                    move(poses[f], g[6 * variable[f] : 6 * variable[f] + 6])
                if scale_variable[f] >= 0:
                    log_scales[f] += g[scale_variable[f]]
            if first >= 0:
                error[0] += g[first]
            step_points(points, scale_variable, first, work, g)
        return -1.0

    return adjust


adjust = _entry_point(FINGERPRINT)
