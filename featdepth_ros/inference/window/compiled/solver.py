"""Bundle adjustment of a window: poses, inverse depths, scales and the calibration's error, together. Compiled.

Gauss-Newton with Levenberg's damping; points are eliminated first (Schur complement; Triggs et al. 2000, "Bundle
adjustment: a modern synthesis"). A point is the logarithm of its inverse depth along the ray of the keyframe that saw
it first. Frames with variable -1 are held fixed: they carry on what the past knew. There are four kinds of residuals:

- reprojection errors with Huber's weights;
- the network's log depth with one log scale a keyframe (and one shift of inverse depth, for networks that know it up to
  both);
- priors of those and of the calibration;
- what else is known of the newest motion.

Pose perturbations are on the left: ``X = T X_map`` becomes ``X + d[:3] + d[3:] x X``. Frames are in order of time, so
that a host comes before those that saw its points later. The lower triangle of the equations is then enough. Its order
is poses, then scales, then shifts, then the calibration's radial error (`LocalMap.to_image`).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from featdepth_ros.inference.window.compiled._jit import FINGERPRINT, jit_called, jit_entry
from featdepth_ros.inference.window.compiled.factors import (
    HUBER_PRIOR,
    add_block,
    add_motion,
    add_priors,
    observe,
    told_depth,
)
from featdepth_ros.inference.window.compiled.linear import factorise, invert, move, substitute

#: A point's log inverse depth moves by no more than this in one step.
_POINT_STEP = 0.7


@jit_called
def eliminate(H, g, n, s, t, first, work):  # type: ignore[no-untyped-def]
    """Take point n out of the equations."""
    touched, counts, coupling, diagonal, gradient, by_scale, by_shift, by_lens = work[:8]
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
            if t >= 0:
                H[t, a + k] -= c * by_shift[n]
            if first >= 0:
                H[first, a + k] -= c * by_lens[n]
    if s >= 0:
        c = by_scale[n] * inverse
        H[s, s] -= c * by_scale[n]
        g[s] -= c * gradient[n]
    if t >= 0:
        c = by_shift[n] * inverse
        H[t, t] -= c * by_shift[n]
        H[t, s] -= c * by_scale[n]
        g[t] -= c * gradient[n]
    if first >= 0:
        c = by_lens[n] * inverse
        H[first, first] -= c * by_lens[n]
        g[first] -= c * gradient[n]
        if s >= 0:
            H[first, s] -= c * by_scale[n]
        if t >= 0:
            H[first, t] -= c * by_shift[n]


@jit_called
def linearise(H, g, window, points, sights, settings, lens, work):  # type: ignore[no-untyped-def]
    """Build the reduced normal equations H d = -g and what the points' own steps need; returns the cost."""
    poses, variable, log_scales, scale_variable, _, shifts, shift_variable = window[:7]
    host, rays, log_rho, prior, prior_weight, active = points
    start, frames, pixels, recent_frames, recent, measured, measured_weight = sights
    touched, counts, coupling, diagonal, gradient, by_scale, by_shift, by_lens, image_part, seen = work
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
        seen[n] = 0.0
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
            # how far the point's depth moves it in the picture; residuals, each as far as it counts
            slope = jr[0] * jr[0] + jr[1] * jr[1]
            seen[n, 0] = max(seen[n, 0], slope)
            seen[n, 1] += out[2] * (out[0] * out[0] + out[1] * out[1])
            seen[n, 2] += 1.0
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
        s, t = scale_variable[host[p]], shift_variable[host[p]]
        told_depth(
            prior[p], shifts[host[p]], log_scales[host[p]], log_rho[p], prior_weight[p], settings[HUBER_PRIOR], out
        )
        off, w, by_value = out[0], out[1], out[3]
        cost += out[2]
        by_scale[n] = w if s >= 0 else 0.0
        by_shift[n] = w * by_value if t >= 0 else 0.0
        if s >= 0:
            H[s, s] += w
            g[s] += w * off
        if t >= 0:
            H[t, t] += w * by_value * by_value
            H[t, s] += w * by_value
            g[t] += w * by_value * off
        counts[n], diagonal[n], gradient[n] = count, hpp + w + 1e-6, gp + w * off
        eliminate(H, g, n, s, t, first, work)
    return cost


@jit_called
def step_points(points, scale_variable, shift_variable, first, work, d):  # type: ignore[no-untyped-def]
    """Move the points by what the step ``d`` of everything else leaves to them."""
    host, log_rho, active = points[0], points[2], points[5]
    touched, counts, coupling, diagonal, gradient, by_scale, by_shift, by_lens = work[:8]
    for n in range(len(active)):
        total = gradient[n]
        for i in range(counts[n]):
            for k in range(6):
                total += coupling[n, i, k] * d[6 * touched[n, i] + k]
        s = scale_variable[host[active[n]]]
        if s >= 0:
            total += by_scale[n] * d[s]
        t = shift_variable[host[active[n]]]
        if t >= 0:
            total += by_shift[n] * d[t]
        if first >= 0:
            total += by_lens[n] * d[first]
        log_rho[active[n]] -= min(max(total / diagonal[n], -_POINT_STEP), _POINT_STEP)


@jit_called
def point_variances(found, points, scale_variable, shift_variable, first, work, covariance):  # type: ignore[no-untyped-def]
    """Fill ``found``; see `adjust`."""
    host, active = points[0], points[5]
    touched, counts, coupling, diagonal, _, by_scale, by_shift, by_lens, image_part, seen = work
    row, place = np.empty(6 * touched.shape[1] + 3), np.empty(6 * touched.shape[1] + 3, np.int64)
    for n in range(len(active)):
        size, p = 0, active[n]
        for i in range(counts[n]):
            for k in range(6):
                row[size], place[size] = coupling[n, i, k], 6 * touched[n, i] + k
                size += 1
        own = ((scale_variable[host[p]], by_scale[n]), (shift_variable[host[p]], by_shift[n]), (first, by_lens[n]))
        for where, value in own:
            if where >= 0:
                row[size], place[size] = value, where
                size += 1
        spread = 0.0
        for i in range(size):
            for j in range(i):
                spread += 2.0 * row[i] * row[j] * covariance[place[i], place[j]]
            spread += row[i] * row[i] * covariance[place[i], place[i]]
        found[p, 0] = 1.0 / diagonal[n] + max(spread, 0.0) / (diagonal[n] * diagonal[n])
        found[p, 1] = max(1.0 / found[p, 0] - (diagonal[n] - image_part[n]), 0.0)
        found[p, 2], found[p, 3], found[p, 4] = math.sqrt(seen[n, 0]), seen[n, 1], seen[n, 2]


_WINDOW = (
    "Tuple((float64[:,:,::1], int64[::1], float64[::1], int64[::1], float64[::1], float64[::1], int64[::1],"
    "float64[::1]))"
)
_POINTS = "Tuple((int64[::1], float64[:,::1], float64[::1], float64[::1], float64[::1], int64[::1]))"
_SIGHTS = (
    "Tuple((int64[::1], int64[::1], float64[:,::1], int64[::1], float64[:,:,::1], float64[:,::1], float64[:,::1]))"
)
_LENS = "Tuple((float64[::1], float64[::1], float64, float64, int64))"


def _entry_point(fingerprint: str) -> Callable[..., float]:
    @jit_entry(
        f"float64({_WINDOW}, {_POINTS}, {_SIGHTS}, float64[::1], {_LENS}, int64, float64[:,::1], float64[:,::1])"
    )
    def adjust(window, points, sights, settings, lens, iterations, covariance, found):  # type: ignore[no-untyped-def]
        """Solve, in place. F frames, S of them solved for; N points.

        Args:
            window: in this order:
                - poses (F, 3, 4) T_camera_map;
                - index of each among those solved for (F,), -1 for fixed;
                - log scales (F,);
                - their place among the unknowns (F,), -1 for none;
                - their prior means (F,);
                - the same three of the shifts of the network's inverse depth.
            points: host frame (N,); rays (N, 2); log inverse depths (N,); the network's inverse depths (N,) and their
                weights (N,); which points to solve for (A,).
            sights: in this order:
                - what keyframes saw, sorted by point: starts (N + 1,), frames (M,), pixels (M, 2);
                - frames (R,) that are no keyframes, and what they saw (R, N, 2), NaN for nothing;
                - the newest motion as otherwise known (3, 4) T_newest_previous and its information (6, 6).
            settings: see `SIGMA_PX` and so on.
            lens: fx fy cx cy; radial error of the calibration (1,), its prior mean and information; its place among the
                unknowns, -1 for none.
            iterations: steps.
            covariance: (U, U) of all unknowns but the points, filled.
            found: (N, 5), filled where points were solved for, in this order:
                - variance of the log inverse depth;
                - the part of its inverse that images gave;
                - the farthest that a unit of log depth moves the point in a picture, pixels;
                - the sum of its squared residuals over their assumed variance, outliers counted less;
                - how often it was seen.

        Returns:
            The last cost, or -1 when the equations could not be solved.
        """
        _ = fingerprint
        poses, variable, log_scales, scale_variable, _, shifts, shift_variable = window[:7]
        log_rho, error, first = points[2], lens[1], lens[4]
        n, size, width = len(covariance), len(points[5]), len(variable) + 1
        H, g = np.empty((n, n)), np.empty(n)
        work = (
            np.empty((size, width), np.int64), np.empty(size, np.int64), np.empty((size, width, 6)), np.empty(size),
            np.empty(size), np.empty(size), np.empty(size), np.empty(size), np.empty(size), np.empty((size, 3)),
        )  # fmt: skip
        old_poses, old_scales, old_rho, old_error = poses.copy(), log_scales.copy(), log_rho.copy(), error.copy()
        old_shifts = shifts.copy()
        damping, before, step = 1e-5, np.inf, 0
        for attempt in range(2 * iterations + 1):
            cost = linearise(H, g, window, points, sights, settings, lens, work)
            if not cost <= before * (1.0 + 1e-9) and attempt > 0:  # take the step back, make the next one shorter
                poses[:], log_scales[:], log_rho[:], error[:] = old_poses, old_scales, old_rho, old_error
                shifts[:] = old_shifts
                damping, before = damping * 100.0, np.inf
                continue
            for i in range(n):
                H[i, i] += damping * H[i, i] + 1e-8
            if not factorise(H):
                return -1.0
            if step >= iterations or attempt == 2 * iterations:
                invert(H, covariance)
                point_variances(found, points, scale_variable, shift_variable, first, work, covariance)
                return cost
            step += 1
            before = cost
            old_poses[:], old_scales[:], old_rho[:], old_error[:] = poses, log_scales, log_rho, error
            old_shifts[:] = shifts
            substitute(H, g)
            for i in range(n):
                g[i] = -g[i]
            for f in range(len(variable)):
                if variable[f] >= 0:
                    move(poses[f], g[6 * variable[f] : 6 * variable[f] + 6])
                if scale_variable[f] >= 0:
                    log_scales[f] += g[scale_variable[f]]
                if shift_variable[f] >= 0:
                    shifts[f] += g[shift_variable[f]]
            if first >= 0:
                error[0] += g[first]
            step_points(points, scale_variable, shift_variable, first, work, g)
        return -1.0

    return adjust


adjust = _entry_point(FINGERPRINT)
