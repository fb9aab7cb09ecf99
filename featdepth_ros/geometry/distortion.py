"""Lens distortion in numpy float64, and its inverse by a radial table and Newton steps.

``plumb_bob`` and ``rational_polynomial`` have the formulas of OpenCV's calib3d, with thin prism and tilt for 12 or 14
coefficients. ``equidistant`` has those of OpenCV's fisheye module (Kannala and Brandt 2006). Coordinates are the last
axis of arrays; leading axes are arbitrary.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_TABLE_SIZE = 4096
_MAX_TANGENT = 20.0  # 87 degrees, more than any pinhole view
_NEWTON_STEPS = 12
_STEP = 1e-7
_TOLERANCE = 1e-12
_CHUNK = 8192  # number of points per step, so that temporaries stay in the cache


def distort(points: Array, model: str, coefficients: tuple[float, ...]) -> Array:
    """Distort ideal normalised image points.

    Args:
        points: (..., 2), x/z and y/z in the raw camera's frame.
        model: ``none``, ``plumb_bob``, ``rational_polynomial`` or ``equidistant``.
        coefficients: coefficients in OpenCV's order; missing trailing ones are zero.

    Returns:
        (..., 2) distorted normalised points; K maps them to pixels.
    """
    points = np.asarray(points, dtype=np.float64)
    if model == "equidistant":
        radius = np.hypot(points[..., 0], points[..., 1])
        return _along(points, radius, radial(np.arctan(radius), model, coefficients))
    if not any(coefficients):
        return points.copy()
    return _brown(points, coefficients)


def distort_rays(rays: Array, model: str, coefficients: tuple[float, ...]) -> Array:
    """Return the distorted normalised points (..., 2) of directions (..., 3) of any length.

    The equidistant model also works beside and behind the camera. The others need z > 0; for z <= 0 their results are
    finite but meaningless.
    """
    rays = np.asarray(rays, dtype=np.float64)
    z = rays[..., 2]
    if model == "equidistant":
        radius = np.hypot(rays[..., 0], rays[..., 1])
        return _along(rays[..., :2], radius, radial(np.arctan2(radius, z), model, coefficients), np.maximum(z, 1e-12))
    return distort(rays[..., :2] / np.maximum(z, 1e-6)[..., None], model, coefficients)


def undistort_to_rays(points: Array, model: str, coefficients: tuple[float, ...]) -> Array:
    """Return the unit directions (..., 3) in the raw camera's frame of distorted normalised points (..., 2).

    Points beyond the model's largest radius get the direction at its limit.
    """
    points = np.asarray(points, dtype=np.float64)
    if model == "equidistant":
        radius = np.hypot(points[..., 0], points[..., 1])
        theta = _invert_radial(radius, model, coefficients)
        sine = _along(points, radius, np.sin(theta))
        return np.concatenate([sine, np.cos(theta)[..., None]], axis=-1)
    ideal = points if not any(coefficients) else _invert_brown(points, coefficients)
    rays = np.concatenate([ideal, np.ones_like(ideal[..., :1])], axis=-1)
    directions: Array = rays / np.linalg.norm(rays, axis=-1, keepdims=True)
    return directions


def radial(value: Array, model: str, coefficients: tuple[float, ...]) -> Array:
    """Return the distorted radius of an angle (equidistant, radians) or of an undistorted radius (other models)."""
    square = value * value
    if model == "equidistant":
        k1, k2, k3, k4 = coefficients
        return value * (1 + square * (k1 + square * (k2 + square * (k3 + square * k4))))
    k1, k2, _, _, k3, k4, k5, k6 = _padded(coefficients)[:8]
    numerator = 1 + square * (k1 + square * (k2 + square * k3))
    return value * numerator / (1 + square * (k4 + square * (k5 + square * k6)))


def radial_limit(model: str, coefficients: tuple[float, ...]) -> float:
    """Return the largest angle (equidistant, radians) or undistorted radius of the model's one-to-one range.

    Beyond it the polynomial decreases, and two directions would have the same pixel. Images have no content there.
    """
    end = math.pi if model == "equidistant" else _MAX_TANGENT
    if not any(coefficients):
        return end
    values = np.linspace(0.0, end, _TABLE_SIZE)
    distorted = radial(values, model, coefficients)
    turned = np.flatnonzero(~(np.diff(distorted) > 0))
    return float(values[turned[0]]) if turned.size else end


def _padded(coefficients: tuple[float, ...]) -> tuple[float, ...]:
    return coefficients + (0.0,) * (14 - len(coefficients))


def _along(points: Array, radius: Array, wanted: Array, at_zero: Array | float = 1.0) -> Array:
    """Scale 2-vectors from length ``radius`` to ``wanted``; near zero by the limit of the ratio, 1 / ``at_zero``."""
    small = radius < 1e-12
    ratio = np.where(small, 1.0 / np.asarray(at_zero), wanted / np.where(small, 1.0, radius))
    return points * ratio[..., None]


def _brown(points: Array, coefficients: tuple[float, ...]) -> Array:
    k1, k2, p1, p2, k3, k4, k5, k6, s1, s2, s3, s4, tau_x, tau_y = _padded(coefficients)
    x, y = points[..., 0], points[..., 1]
    r2 = x * x + y * y
    scale = (1 + r2 * (k1 + r2 * (k2 + r2 * k3))) / (1 + r2 * (k4 + r2 * (k5 + r2 * k6)))
    xd = x * scale + 2 * p1 * x * y + p2 * (r2 + 2 * x * x) + r2 * (s1 + r2 * s2)
    yd = y * scale + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y + r2 * (s3 + r2 * s4)
    if tau_x or tau_y:
        tilt = _tilt(tau_x, tau_y)
        w = tilt[2, 0] * xd + tilt[2, 1] * yd + tilt[2, 2]
        xd, yd = (
            (tilt[0, 0] * xd + tilt[0, 1] * yd + tilt[0, 2]) / w,
            (tilt[1, 0] * xd + tilt[1, 1] * yd + tilt[1, 2]) / w,
        )
    return np.stack([xd, yd], axis=-1)


def _tilt(tau_x: float, tau_y: float) -> Array:
    cx, sx, cy, sy = math.cos(tau_x), math.sin(tau_x), math.cos(tau_y), math.sin(tau_y)
    about_x = np.array([[1, 0, 0], [0, cx, sx], [0, -sx, cx]])
    about_y = np.array([[cy, 0, -sy], [0, 1, 0], [sy, 0, cy]])
    turned = about_y @ about_x
    flatten = np.array([[turned[2, 2], 0, -turned[0, 2]], [0, turned[2, 2], -turned[1, 2]], [0, 0, 1]])
    return np.asarray(flatten @ turned, dtype=np.float64)


def _invert_radial(distorted: Array, model: str, coefficients: tuple[float, ...]) -> Array:
    """Solve ``radial(v) = distorted`` for v in [0, limit], by a table and then by Newton steps."""
    limit = radial_limit(model, coefficients)
    values = np.linspace(0.0, limit, _TABLE_SIZE)
    table = radial(values, model, coefficients)
    solution = np.interp(distorted, table, values)
    inside = distorted < table[-1]
    for _ in range(_NEWTON_STEPS):
        here = radial(solution, model, coefficients)
        slope = (radial(solution + _STEP, model, coefficients) - here) / _STEP
        change = np.where(inside, (distorted - here) / np.where(slope > 1e-6, slope, 1.0), 0.0)
        solution = np.clip(solution + change, 0.0, limit)
        if np.max(np.abs(change), initial=0.0) < _TOLERANCE:
            break
    return solution


def _invert_brown(points: Array, coefficients: tuple[float, ...]) -> Array:
    """Invert `_brown`: the radial part by a table, then Newton steps on both coordinates with a numerical Jacobian."""
    wanted = points.reshape(-1, 2)
    radius = np.hypot(wanted[:, 0], wanted[:, 1])
    start = _along(wanted, radius, _invert_radial(radius, "rational_polynomial", coefficients))
    limit = radial_limit("rational_polynomial", coefficients)
    solution = start.copy()
    for first in range(0, len(wanted), _CHUNK):
        _newton(solution[first : first + _CHUNK], wanted[first : first + _CHUNK], coefficients)
    lost = ~(np.hypot(solution[:, 0], solution[:, 1]) <= 1.05 * limit)
    return np.where(lost[:, None], start, solution).reshape(points.shape)


def _newton(solution: Array, wanted: Array, coefficients: tuple[float, ...]) -> None:
    """Improve ``solution`` (N, 2) in place until `_brown` of it is ``wanted`` (N, 2)."""
    radius = np.hypot(wanted[:, 0], wanted[:, 1])
    active = np.arange(len(wanted))
    for _ in range(_NEWTON_STEPS):
        change, regular = _newton_change(solution[active], wanted[active], coefficients)
        # Such a long step leaves the lens's one-to-one range, so the radial solution is kept.
        length = np.hypot(change[:, 0], change[:, 1])
        sane = regular & (length < 0.1 + 0.5 * radius[active])
        solution[active] += np.where(sane[:, None], change, 0.0)
        active = active[sane & (length > _TOLERANCE)]
        if not active.size:
            break


def _newton_change(solution: Array, wanted: Array, coefficients: tuple[float, ...]) -> tuple[Array, NDArray[np.bool_]]:
    """Return one Newton step (N, 2) for `_brown`, and (N,) whether its Jacobian is regular."""
    here = _brown(solution, coefficients)
    jx = (_brown(solution + (_STEP, 0.0), coefficients) - here) / _STEP
    jy = (_brown(solution + (0.0, _STEP), coefficients) - here) / _STEP
    error = wanted - here
    determinant = jx[:, 0] * jy[:, 1] - jx[:, 1] * jy[:, 0]
    regular = np.abs(determinant) > 1e-6
    determinant = np.where(regular, determinant, 1.0)
    change_x = (error[:, 0] * jy[:, 1] - error[:, 1] * jy[:, 0]) / determinant
    change_y = (jx[:, 0] * error[:, 1] - jx[:, 1] * error[:, 0]) / determinant
    return np.stack([change_x, change_y], axis=-1), regular
