"""Bundle adjustment of a window: poses, inverse depths and the network's scales, solved together. Compiled.

Gauss-Newton with Levenberg's damping; points are eliminated first (Schur complement; Triggs et al. 2000, "Bundle
adjustment: a modern synthesis"). A point is the logarithm of its inverse depth along the ray of the keyframe that saw
it first. Residuals are reprojection errors with Huber's weights, the network's log depth with one log scale a
keyframe, a prior of those scales, and what else is known of the newest motion. Frames with variable -1 are held fixed:
they carry on what the past knew.

Pose perturbations are on the left: ``X = T X_map`` becomes ``X + d[:3] + d[3:] x X``. Frames are in order of time,
so that a host comes before those that saw its points later, and the lower triangle of the equations is enough.
"""

from __future__ import annotations

import math

import numpy as np

from featdepth_ros.inference.window._jit import jit, jit_called, jit_entry

#: Order of the numbers in ``settings``.
SIGMA_PX, HUBER_PX, OUTLIER_PX, HUBER_PRIOR, SIGMA_SCALE = range(5)

#: Least z-depth in front of a camera, map units: a point behind it must not divide by zero.
_NEAREST = 1e-3
#: Weight of a residual beyond the outlier limit, next to Huber's.
_OUTLIER_SHARE = 0.05


@jit
def apply_pose(pose, x, y, z):  # type: ignore[no-untyped-def]
    """Apply a (3, 4) pose to a point."""
    return (
        pose[0, 0] * x + pose[0, 1] * y + pose[0, 2] * z + pose[0, 3],
        pose[1, 0] * x + pose[1, 1] * y + pose[1, 2] * z + pose[1, 3],
        pose[2, 0] * x + pose[2, 1] * y + pose[2, 2] * z + pose[2, 3],
    )


@jit_called
def move(pose, d):  # type: ignore[no-untyped-def]
    """Replace a (3, 4) pose by exp(d) pose, with rotation by Rodrigues and translation added."""
    angle2 = d[3] * d[3] + d[4] * d[4] + d[5] * d[5]
    angle = math.sqrt(angle2)
    if angle < 1e-5:
        a, b = 1.0 - angle2 / 6.0, 0.5 - angle2 / 24.0
    else:
        a, b = math.sin(angle) / angle, (1.0 - math.cos(angle)) / angle2
    wx, wy, wz = d[3], d[4], d[5]
    for c in range(4):
        x, y, z = pose[0, c], pose[1, c], pose[2, c]
        cx, cy, cz = wy * z - wz * y, wz * x - wx * z, wx * y - wy * x
        dx, dy, dz = wy * cz - wz * cy, wz * cx - wx * cz, wx * cy - wy * cx
        pose[0, c] = x + a * cx + b * dx
        pose[1, c] = y + a * cy + b * dy
        pose[2, c] = z + a * cz + b * dz
    pose[0, 3] += d[0]
    pose[1, 3] += d[1]
    pose[2, 3] += d[2]


@jit_called
def factorise(matrix):  # type: ignore[no-untyped-def]
    """Cholesky factor in the lower triangle, in place; returns whether the matrix was positive definite."""
    n = matrix.shape[0]
    for i in range(n):
        for j in range(i + 1):
            total = matrix[i, j]
            for k in range(j):
                total -= matrix[i, k] * matrix[j, k]
            if i == j:
                if not total > 0.0:
                    return False
                matrix[i, i] = math.sqrt(total)
            else:
                matrix[i, j] = total / matrix[j, j]
    return True


@jit_called
def substitute(factor, vector):  # type: ignore[no-untyped-def]
    """Solve with a Cholesky factor, in place."""
    n = factor.shape[0]
    for i in range(n):
        total = vector[i]
        for k in range(i):
            total -= factor[i, k] * vector[k]
        vector[i] = total / factor[i, i]
    for i in range(n - 1, -1, -1):
        total = vector[i]
        for k in range(i + 1, n):
            total -= factor[k, i] * vector[k]
        vector[i] = total / factor[i, i]


@jit
def add_block(H, a, b, ja, jb, w):  # type: ignore[no-untyped-def]
    """H[6a:, 6b:] += w ja^T jb for two (2, 6) Jacobians."""
    for i in range(6):
        u0, u1 = w * ja[0, i], w * ja[1, i]
        for j in range(6):
            H[6 * a + i, 6 * b + j] += u0 * jb[0, j] + u1 * jb[1, j]


@jit_called
def observe(  # type: ignore[no-untyped-def]
    pose, host_pose, camera, ray_x, ray_y, rho, xw, yw, zw, u, v, huber, outlier, inverse_variance, jj, jh, jr, out
):
    """One observation: residual, weight and Jacobians by pose, host's pose and log inverse depth.

    ``out`` receives (residual u, residual v, weight, cost).
    """
    fx, fy = camera[0], camera[1]
    x, y, z = apply_pose(pose, xw, yw, zw)
    z = max(z, _NEAREST)
    out[0] = fx * x / z + camera[2] - u
    out[1] = fy * y / z + camera[3] - v
    size = math.sqrt(out[0] * out[0] + out[1] * out[1])
    weight, cost = 1.0, 0.5 * size * size
    if size > huber:
        weight, cost = huber / size, huber * (size - 0.5 * huber)
    if size > outlier:
        weight *= _OUTLIER_SHARE
        cost = huber * (outlier - 0.5 * huber) + _OUTLIER_SHARE * huber * (size - outlier)
    out[2] = weight * inverse_variance
    out[3] = cost * inverse_variance
    d00, d02, d11, d12 = fx / z, -fx * x / (z * z), fy / z, -fy * y / (z * z)
    jj[0, 0], jj[0, 1], jj[0, 2] = d00, 0.0, d02
    jj[1, 0], jj[1, 1], jj[1, 2] = 0.0, d11, d12
    for r in range(2):  # D (-hat(X)) = D x X, row by row
        a, b, c = jj[r, 0], jj[r, 1], jj[r, 2]
        jj[r, 3], jj[r, 4], jj[r, 5] = c * y - b * z, a * z - c * x, b * x - a * y
    hx, hy, hz = ray_x / rho, ray_y / rho, 1.0 / rho
    for r in range(2):
        a = jj[r, 0] * pose[0, 0] + jj[r, 1] * pose[1, 0] + jj[r, 2] * pose[2, 0]
        b = jj[r, 0] * pose[0, 1] + jj[r, 1] * pose[1, 1] + jj[r, 2] * pose[2, 1]
        c = jj[r, 0] * pose[0, 2] + jj[r, 1] * pose[1, 2] + jj[r, 2] * pose[2, 2]
        p = -(a * host_pose[0, 0] + b * host_pose[0, 1] + c * host_pose[0, 2])
        q = -(a * host_pose[1, 0] + b * host_pose[1, 1] + c * host_pose[1, 2])
        s = -(a * host_pose[2, 0] + b * host_pose[2, 1] + c * host_pose[2, 2])
        jh[r, 0], jh[r, 1], jh[r, 2] = p, q, s
        jh[r, 3], jh[r, 4], jh[r, 5] = s * hy - q * hz, p * hz - s * hx, q * hx - p * hy
        jr[r] = p * hx + q * hy + s * hz


@jit_called
def add_scales(H, g, log_scales, scale_variable, scale_mean, sigma):  # type: ignore[no-untyped-def]
    """Prior of the network's log scales: near what the points that the keyframe saw again said of it."""
    near = 1.0 / (sigma * sigma)
    cost = 0.0
    for k in range(len(log_scales)):
        i = scale_variable[k]
        if i >= 0:
            error = log_scales[k] - scale_mean[k]
            H[i, i] += near
            g[i] += near * error
            cost += 0.5 * near * error * error
    return cost


@jit_called
def add_motion(H, g, poses, variable, measured, weight):  # type: ignore[no-untyped-def]
    """What else is known of the newest motion: ``measured`` (3, 4) T_newest_previous, ``weight`` (6, 6)."""
    newest, previous = poses[-1], poses[-2]
    relative, error = np.empty((3, 4)), np.empty(6)
    for i in range(3):
        for j in range(3):
            relative[i, j] = 0.0
            for k in range(3):
                relative[i, j] += newest[i, k] * previous[j, k]
    for i in range(3):
        relative[i, 3] = newest[i, 3]
        for k in range(3):
            relative[i, 3] -= relative[i, k] * previous[k, 3]
    # rotation left over, relative measured^T, near the identity; translation as a difference
    left = np.zeros((3, 3))
    for i in range(3):
        for j in range(3):
            for k in range(3):
                left[i, j] += relative[i, k] * measured[j, k]
    error[3] = 0.5 * (left[2, 1] - left[1, 2])
    error[4] = 0.5 * (left[0, 2] - left[2, 0])
    error[5] = 0.5 * (left[1, 0] - left[0, 1])
    for i in range(3):
        error[i] = relative[i, 3] - measured[i, 3]
    # by the newest pose: identity, and rotation moves the translation; by the previous one: minus the rotation
    by_newest, by_previous = np.zeros((6, 6)), np.zeros((6, 6))
    for i in range(3):
        by_newest[i, i] = by_newest[3 + i, 3 + i] = 1.0
        for j in range(3):
            by_previous[i, j] = by_previous[3 + i, 3 + j] = -relative[i, j]
    x, y, z = relative[0, 3], relative[1, 3], relative[2, 3]
    by_newest[0, 4], by_newest[0, 5] = z, -y
    by_newest[1, 3], by_newest[1, 5] = -z, x
    by_newest[2, 3], by_newest[2, 4] = y, -x
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
def linearise(  # type: ignore[no-untyped-def]
    poses,
    variable,
    log_scales,
    scale_variable,
    scale_mean,
    settings,
    camera,
    host,
    rays,
    log_rho,
    prior,
    prior_weight,
    active,
    start,
    frames,
    pixels,
    recent_frames,
    recent,
    measured,
    measured_weight,
    H,
    g,
    touched,
    counts,
    coupling,
    diagonal,
    gradient,
    scale_coupling,
    image_part,
):
    """Build the reduced normal equations H d = -g and what the points' own steps need; returns the cost."""
    jj, jh, jr, out = np.empty((2, 6)), np.empty((2, 6)), np.empty(2), np.empty(4)
    huber, outlier = settings[HUBER_PX], settings[OUTLIER_PX]
    inverse_variance = 1.0 / settings[SIGMA_PX] ** 2
    cost = add_scales(H, g, log_scales, scale_variable, scale_mean, settings[SIGMA_SCALE])
    cost += add_motion(H, g, poses, variable, measured, measured_weight)
    for n in range(len(active)):
        p = active[n]
        h = host[p]
        rho = math.exp(log_rho[p])
        hp = poses[h]
        ax, ay, az = rays[p, 0] / rho - hp[0, 3], rays[p, 1] / rho - hp[1, 3], 1.0 / rho - hp[2, 3]
        xw = hp[0, 0] * ax + hp[1, 0] * ay + hp[2, 0] * az
        yw = hp[0, 1] * ax + hp[1, 1] * ay + hp[2, 1] * az
        zw = hp[0, 2] * ax + hp[1, 2] * ay + hp[2, 2] * az
        b = variable[h]
        hpp, gp, count = 0.0, 0.0, 0
        if b >= 0:
            touched[n, 0] = b
            for i in range(6):
                coupling[n, 0, i] = 0.0
            count = 1
        kept = start[p + 1] - start[p]
        for o in range(kept + len(recent_frames)):
            if o < kept:
                f = frames[start[p] + o]
                u, v = pixels[start[p] + o, 0], pixels[start[p] + o, 1]
            else:
                f = recent_frames[o - kept]
                u, v = recent[o - kept, p, 0], recent[o - kept, p, 1]
            if f == h or u != u:
                continue
            observe(
                poses[f], hp, camera, rays[p, 0], rays[p, 1], rho, xw, yw, zw, u, v, huber, outlier, inverse_variance,
                jj, jh, jr, out,
            )  # fmt: skip
            w = out[2]
            cost += out[3]
            hpp += w * (jr[0] * jr[0] + jr[1] * jr[1])
            gp += w * (jr[0] * out[0] + jr[1] * out[1])
            a = variable[f]
            if a >= 0:
                add_block(H, a, a, jj, jj, w)
                touched[n, count] = a
                for i in range(6):
                    g[6 * a + i] += w * (jj[0, i] * out[0] + jj[1, i] * out[1])
                    coupling[n, count, i] = w * (jj[0, i] * jr[0] + jj[1, i] * jr[1])
                count += 1
                if b >= 0:  # the lower triangle is enough: a host is older than those that saw its points later
                    add_block(H, a, b, jj, jh, w)
            if b >= 0:
                add_block(H, b, b, jh, jh, w)
                for i in range(6):
                    g[6 * b + i] += w * (jh[0, i] * out[0] + jh[1, i] * out[1])
                    coupling[n, 0, i] += w * (jh[0, i] * jr[0] + jh[1, i] * jr[1])
        image_part[n] = hpp
        s = scale_variable[h]
        error = log_rho[p] - prior[p] + log_scales[h]
        w, size = prior_weight[p], abs(error)
        if size > settings[HUBER_PRIOR]:
            cost += w * settings[HUBER_PRIOR] * (size - 0.5 * settings[HUBER_PRIOR])
            w *= settings[HUBER_PRIOR] / size
        else:
            cost += 0.5 * w * size * size
        hpp += w
        gp += w * error
        scale_coupling[n] = 0.0
        if s >= 0:
            H[s, s] += w
            g[s] += w * error
            scale_coupling[n] = w
        counts[n] = count
        diagonal[n] = hpp + 1e-6
        gradient[n] = gp
        # eliminate the point
        inverse = 1.0 / diagonal[n]
        for i in range(count):
            a = 6 * touched[n, i]
            for k in range(6):
                c = coupling[n, i, k] * inverse
                g[a + k] -= c * gp
                for j in range(i + 1):
                    column = 6 * touched[n, j]
                    for m in range(6):
                        H[a + k, column + m] -= c * coupling[n, j, m]
                if s >= 0:
                    H[s, a + k] -= c * scale_coupling[n]
        if s >= 0:
            H[s, s] -= scale_coupling[n] * scale_coupling[n] * inverse
            g[s] -= scale_coupling[n] * inverse * gp
    return cost


@jit_called
def step_points(  # type: ignore[no-untyped-def]
    log_rho, active, touched, counts, coupling, diagonal, gradient, scale_coupling, scale_variable, host, d
):
    """Move the points by what the poses' and scales' step ``d`` leaves to them."""
    for n in range(len(active)):
        total = gradient[n]
        for i in range(counts[n]):
            a = 6 * touched[n, i]
            for k in range(6):
                total += coupling[n, i, k] * d[a + k]
        s = scale_variable[host[active[n]]]
        if s >= 0:
            total += scale_coupling[n] * d[s]
        log_rho[active[n]] -= min(max(total / diagonal[n], -0.7), 0.7)


@jit_called
def invert(factor, inverse):  # type: ignore[no-untyped-def]
    """Inverse of a matrix from its Cholesky factor."""
    n = factor.shape[0]
    column = np.empty(n)
    for i in range(n):
        column[:] = 0.0
        column[i] = 1.0
        substitute(factor, column)
        inverse[:, i] = column


@jit_called
def point_variances(  # type: ignore[no-untyped-def]
    variance,
    information,
    active,
    touched,
    counts,
    coupling,
    diagonal,
    scale_coupling,
    image_part,
    scale_variable,
    host,
    covariance,
):
    """Marginal variance of each log inverse depth, and the part of its inverse that images gave."""
    for n in range(len(active)):
        p = active[n]
        spread = 0.0
        s = scale_variable[host[p]]
        for i in range(counts[n]):
            a = 6 * touched[n, i]
            for k in range(6):
                c = coupling[n, i, k]
                for j in range(counts[n]):
                    b = 6 * touched[n, j]
                    for m in range(6):
                        spread += c * covariance[a + k, b + m] * coupling[n, j, m]
                if s >= 0:
                    spread += 2.0 * c * covariance[s, a + k] * scale_coupling[n]
        if s >= 0:
            spread += scale_coupling[n] * scale_coupling[n] * covariance[s, s]
        variance[p] = 1.0 / diagonal[n] + spread / (diagonal[n] * diagonal[n])
        information[p] = max(1.0 / variance[p] - (diagonal[n] - image_part[n]), 0.0)


@jit_entry(
    "float64(float64[:,:,::1], int64[::1], float64[::1], int64[::1], float64[::1], float64[::1], float64[::1], int64[::1],"
    "float64[:,::1], float64[::1], float64[::1], float64[::1], int64[::1], int64[::1], int64[::1], float64[:,::1],"
    "int64[::1],"
    "float64[:,:,::1], float64[:,::1], float64[:,::1], int64, float64[:,::1], float64[::1], float64[::1])"
)
def adjust(  # type: ignore[no-untyped-def]
    poses,
    variable,
    log_scales,
    scale_variable,
    scale_mean,
    settings,
    camera,
    host,
    rays,
    log_rho,
    prior,
    prior_weight,
    active,
    start,
    frames,
    pixels,
    recent_frames,
    recent,
    measured,
    measured_weight,
    iterations,
    covariance,
    variance,
    information,
):
    """Solve; ``poses``, ``log_scales`` and ``log_rho`` are changed in place, the last three arguments are filled.

    Returns the last cost, or -1 when the equations could not be solved (nothing is then changed since the last step).
    """
    n = len(covariance)
    size = len(active)
    width = len(variable) + 1
    H, g = np.empty((n, n)), np.empty(n)
    touched, counts = np.empty((size, width), np.int64), np.empty(size, np.int64)
    coupling = np.empty((size, width, 6))
    diagonal, gradient, scale_coupling, image_part = np.empty(size), np.empty(size), np.empty(size), np.empty(size)
    old_poses, old_scales, old_rho = poses.copy(), log_scales.copy(), log_rho.copy()
    damping, before, step = 1e-5, np.inf, 0
    for attempt in range(2 * iterations + 1):
        H[:] = 0.0
        g[:] = 0.0
        cost = linearise(
            poses, variable, log_scales, scale_variable, scale_mean, settings, camera, host, rays, log_rho, prior,
            prior_weight, active, start, frames, pixels, recent_frames, recent, measured, measured_weight, H, g, touched, counts, coupling, diagonal, gradient,
            scale_coupling, image_part,
        )  # fmt: skip
        worse = not cost <= before * (1.0 + 1e-9)
        if worse and attempt > 0:  # take the step back, make the next one shorter
            poses[:], log_scales[:], log_rho[:] = old_poses, old_scales, old_rho
            damping *= 100.0
            before = np.inf
            if attempt < 2 * iterations:
                continue
            return -1.0
        for i in range(n):
            H[i, i] += damping * H[i, i] + 1e-8
        if not factorise(H):
            return -1.0
        if step >= iterations or attempt == 2 * iterations:
            break
        step += 1
        before = cost
        old_poses[:], old_scales[:], old_rho[:] = poses, log_scales, log_rho
        for i in range(n):
            g[i] = -g[i]
        substitute(H, g)
        for f in range(len(variable)):
            if variable[f] >= 0:
                move(poses[f], g[6 * variable[f] : 6 * variable[f] + 6])
            if scale_variable[f] >= 0:
                log_scales[f] += g[scale_variable[f]]
        step_points(
            log_rho, active, touched, counts, coupling, diagonal, gradient, scale_coupling, scale_variable, host, g
        )
    invert(H, covariance)
    point_variances(
        variance, information, active, touched, counts, coupling, diagonal, scale_coupling, image_part,
        scale_variable, host, covariance,
    )  # fmt: skip
    return cost
