"""Small dense linear algebra for compiled code: no BLAS, which numba would need SciPy for."""

from __future__ import annotations

import math

import numpy as np

from featdepth_ros.inference.window.compiled._jit import jit_called


@jit_called
def move(pose, d):  # type: ignore[no-untyped-def]
    """Perturb a (3, 4) pose by d (translation, rotation vector) on the left, in place."""
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
    """Cholesky factor of the lower triangle, in place; returns whether the matrix was positive definite."""
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
