"""Rotations and rigid motions on tensors, batched, fp32 or fp64, with finite gradients at zero. numpy: `se3_numpy`."""

from __future__ import annotations

import torch
from torch import Tensor

#: Below this squared angle series replace the closed forms (their relative error is then under fp64 rounding).
_SMALL = 1e-4


def hat(vector: Tensor) -> Tensor:
    """Cross-product matrix (..., 3, 3) of (..., 3)."""
    x, y, z = vector.unbind(-1)
    zero = torch.zeros_like(x)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).reshape(*vector.shape[:-1], 3, 3)


def _coefficients(square: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """sin(a)/a, (1-cos(a))/a^2 and (a-sin(a))/a^3 as functions of a^2, smooth through zero."""
    small = square < _SMALL
    safe = torch.where(small, torch.ones_like(square), square)
    angle = safe.sqrt()
    a = torch.where(small, 1 - square / 6 * (1 - square / 20 * (1 - square / 42)), angle.sin() / angle)
    b = torch.where(small, 0.5 * (1 - square / 12 * (1 - square / 30 * (1 - square / 56))), (1 - angle.cos()) / safe)
    c = torch.where(small, (1 - square / 20 * (1 - square / 42)) / 6, (angle - angle.sin()) / (safe * angle))
    return a, b, c


def so3_exp(rotation: Tensor) -> Tensor:
    """Rotation vectors (..., 3), radians, to matrices (..., 3, 3) (Rodrigues)."""
    a, b, _ = _coefficients((rotation * rotation).sum(-1))
    skew = hat(rotation)
    identity = torch.eye(3, dtype=rotation.dtype, device=rotation.device)
    return identity + a[..., None, None] * skew + b[..., None, None] * (skew @ skew)


def so3_log(matrix: Tensor) -> Tensor:
    """Rotation matrices (..., 3, 3) to rotation vectors (..., 3), radians, length at most pi. Stable up to pi."""
    quaternion = matrix_to_quaternion(matrix)
    imaginary, real = quaternion[..., :3], quaternion[..., 3:]
    square = (imaginary * imaginary).sum(-1, keepdim=True)
    small = square < _SMALL * 0.25
    length = torch.where(small, torch.ones_like(square), square).sqrt()
    safe_real = torch.where(small, real, torch.ones_like(real))
    ratio = square / (safe_real * safe_real)  # tan^2 of half the angle; atan series: 2/w (1 - t/3 + t^2/5 - t^3/7)
    near = 2 / safe_real * (1 - ratio * (1 / 3 - ratio * (1 / 5 - ratio / 7)))
    far = 2 * torch.atan2(length, real) / length
    return torch.where(small, near, far) * imaginary


def matrix_to_quaternion(matrix: Tensor) -> Tensor:
    """Rotation matrices (..., 3, 3) to unit quaternions (..., 4), xyzw, w >= 0."""
    m = matrix
    trace = m[..., 0, 0] + m[..., 1, 1] + m[..., 2, 2]
    # four times the products q_i q_j: each row is the quaternion times one of its own components
    rows = torch.stack(
        [
            torch.stack(
                [
                    1 + 2 * m[..., 0, 0] - trace,
                    m[..., 0, 1] + m[..., 1, 0],
                    m[..., 0, 2] + m[..., 2, 0],
                    m[..., 2, 1] - m[..., 1, 2],
                ],
                -1,
            ),
            torch.stack(
                [
                    m[..., 0, 1] + m[..., 1, 0],
                    1 + 2 * m[..., 1, 1] - trace,
                    m[..., 1, 2] + m[..., 2, 1],
                    m[..., 0, 2] - m[..., 2, 0],
                ],
                -1,
            ),
            torch.stack(
                [
                    m[..., 0, 2] + m[..., 2, 0],
                    m[..., 1, 2] + m[..., 2, 1],
                    1 + 2 * m[..., 2, 2] - trace,
                    m[..., 1, 0] - m[..., 0, 1],
                ],
                -1,
            ),
            torch.stack(
                [
                    m[..., 2, 1] - m[..., 1, 2],
                    m[..., 0, 2] - m[..., 2, 0],
                    m[..., 1, 0] - m[..., 0, 1],
                    1 + trace,
                ],
                -1,
            ),
        ],
        -2,
    )
    best = torch.diagonal(rows, dim1=-2, dim2=-1).argmax(-1)
    row = torch.take_along_dim(rows, best[..., None, None], -2).squeeze(-2)
    quaternion = row / row.norm(dim=-1, keepdim=True)
    return torch.where(quaternion[..., 3:] < 0, -quaternion, quaternion)


def make(rotation: Tensor, translation: Tensor) -> Tensor:
    """Assemble (..., 4, 4) from (..., 3, 3) and (..., 3)."""
    top = torch.cat([rotation, translation[..., None]], -1)
    bottom = torch.zeros_like(top[..., :1, :])
    bottom[..., 3] = 1
    return torch.cat([top, bottom], -2)


def se3_exp(twist: Tensor) -> Tensor:
    """Twists (..., 6), (translation part, rotation vector), to motions (..., 4, 4)."""
    rho, phi = twist[..., :3], twist[..., 3:]
    a, b, c = _coefficients((phi * phi).sum(-1))
    skew = hat(phi)
    square = skew @ skew
    identity = torch.eye(3, dtype=twist.dtype, device=twist.device)
    rotation = identity + a[..., None, None] * skew + b[..., None, None] * square
    left = identity + b[..., None, None] * skew + c[..., None, None] * square
    return make(rotation, (left @ rho[..., None])[..., 0])


def se3_log(motion: Tensor) -> Tensor:
    """Motions (..., 4, 4) to twists (..., 6); the inverse of `se3_exp` for rotations below pi."""
    phi = so3_log(motion[..., :3, :3])
    _, b, c = _coefficients((phi * phi).sum(-1))
    skew = hat(phi)
    identity = torch.eye(3, dtype=motion.dtype, device=motion.device)
    left = identity + b[..., None, None] * skew + c[..., None, None] * (skew @ skew)
    rho = torch.linalg.solve(left, motion[..., :3, 3:])[..., 0]
    return torch.cat([rho, phi], -1)


def inverse(motion: Tensor) -> Tensor:
    """Inverse of rigid motions (..., 4, 4)."""
    rotation = motion[..., :3, :3].transpose(-1, -2)
    return make(rotation, -(rotation @ motion[..., :3, 3:])[..., 0])


def compose(*motions: Tensor) -> Tensor:
    """Product of motions (..., 4, 4), left to right: ``compose(T_a_b, T_b_c) = T_a_c``."""
    result = motions[0]
    for motion in motions[1:]:
        result = result @ motion
    return result


def interpolate(first: Tensor, second: Tensor, fraction: float | Tensor) -> Tensor:
    """Motion a ``fraction`` of the way from ``first`` to ``second`` (..., 4, 4): along the arc and straight."""
    r0, r1 = first[..., :3, :3], second[..., :3, :3]
    share = torch.as_tensor(fraction, dtype=first.dtype, device=first.device)[..., None]
    rotation = r0 @ so3_exp(share * so3_log(r0.transpose(-1, -2) @ r1))
    return make(rotation, first[..., :3, 3] + share * (second[..., :3, 3] - first[..., :3, 3]))


def pose_matrix(axisangle: Tensor, translation: Tensor, invert: bool = False) -> Tensor:
    """Motion of a pose network's output, as the reference builds it (spec section 2).

    The axis is ``v / (|v| + 1e-7)``, so the rotation of tiny vectors is smaller than their length.

    Args:
        axisangle: (B, 3) rotation vectors, radians, fp32 or fp64 (half precision is raised to fp32).
        translation: (B, 3).
        invert: False gives [R | t]; True gives [R^T | -R^T t]. The network is fed (earlier, later); a motion into the
            earlier frame is the inverted one.

    Returns:
        (B, 4, 4).
    """
    axisangle = axisangle if axisangle.dtype == torch.float64 else axisangle.float()
    translation = translation.to(axisangle.dtype)
    angle = axisangle.norm(dim=-1, keepdim=True)
    x, y, z = (axisangle / (angle + 1e-7)).unbind(-1)
    cosine, sine = angle[..., 0].cos(), angle[..., 0].sin()
    rest = 1 - cosine
    rotation = torch.stack(
        [
            x * x * rest + cosine,
            x * y * rest - z * sine,
            z * x * rest + y * sine,
            x * y * rest + z * sine,
            y * y * rest + cosine,
            y * z * rest - x * sine,
            z * x * rest - y * sine,
            y * z * rest + x * sine,
            z * z * rest + cosine,
        ],
        dim=-1,
    ).reshape(*axisangle.shape[:-1], 3, 3)
    if not invert:
        return make(rotation, translation)
    rotation = rotation.transpose(-1, -2)
    return make(rotation, -(rotation @ translation[..., None])[..., 0])


def refocused_motion(axisangle: Tensor, translation: Tensor, ratio: Tensor) -> tuple[Tensor, Tensor]:
    """Motion that moves one camera's pixels as a given motion moves those of another, to first order in its angle.

    A pose net that regresses its answer takes every camera for the one it was trained with. With the same depth maps
    for both cameras and r times the focal length, the flow f t_x / Z needs t_x / r, f x t_z / Z the same t_z, f w_y
    needs w_y / r; the turn about the optical axis is free of f.

    Args:
        axisangle: (B, 3) radians, of the camera that the answer is meant for.
        translation: (B, 3), in the unit of depth.
        ratio: (B,) r, focal length of the other camera over that of the first.

    Returns:
        Axisangle and translation (B, 3) of the other camera.
    """
    r = ratio.to(axisangle)[:, None]
    across = torch.cat((r, r, torch.ones_like(r)), 1)
    return axisangle / across, translation / across
