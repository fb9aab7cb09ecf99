"""Synthetic trajectories."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def rotation(axis: NDArray[np.float64], angle: float) -> NDArray[np.float64]:
    """Return the (3, 3) rotation about ``axis`` by ``angle`` radians (Rodrigues' formula)."""
    x, y, z = axis / np.linalg.norm(axis)
    K = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * K + (1 - np.cos(angle)) * K @ K


def pose(R: NDArray[np.float64], t: NDArray[np.float64]) -> NDArray[np.float64]:
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = R, t
    return T


def drive(frames: int, rng: np.random.Generator, step_m: float = 1.0, noise: float = 0.0) -> NDArray[np.float64]:
    """Return a winding drive as (N, 4, 4) poses in camera axes; ``noise`` disturbs every motion."""
    poses = [np.eye(4)]
    for i in range(frames - 1):
        turn = rotation(np.array([0.1, 1.0, 0.05]), 0.03 * np.sin(i / 15) + noise * rng.normal() * 0.01)
        motion = pose(turn, np.array([0.02, 0.01, 1.0]) * step_m * (1 + noise * rng.normal() * 0.1))
        poses.append(poses[-1] @ motion)
    return np.array(poses)


def straight(frames: int, step_m: float) -> NDArray[np.float64]:
    poses = np.tile(np.eye(4), (frames, 1, 1))
    poses[:, 2, 3] = step_m * np.arange(frames)
    return poses
