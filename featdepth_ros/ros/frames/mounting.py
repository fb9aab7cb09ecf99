"""Where one camera sits, seen from another camera on the same robot."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.ros.frames.tree import Extrinsics, FrameTree, Matrix


@dataclass(frozen=True)
class Mounting:
    """Where a camera sits.

    Attributes:
        T_reference_camera: (4, 4) pose in the reference camera's optical frame; None: not known.
        moves: a joint that moves is on the way (a pan-tilt head), so that another value is no correction.
        missing: in words, why it is not known; empty: it is.
    """

    T_reference_camera: Matrix | None
    moves: bool = False
    missing: str = ""


def mounting(tree: FrameTree, reference: str, camera: str, frames: tuple[str, str], stamp_ns: int) -> Mounting:
    """Return where a camera sits at a stamp.

    Args:
        tree: what /tf and /tf_static say.
        reference: optical frame of the camera from which it is seen.
        camera: optical frame of the camera.
        frames: (odom, base); moving joints count below the base.
        stamp_ns: when.
    """
    odom, base = frames
    ways = [tree.extrinsics(f, base, odom, stamp_ns) or Extrinsics(f, None) for f in (reference, camera)]
    if ways[0].base != ways[1].base:
        return Mounting(None, missing=f"no transform {reference} <- {camera} on /tf_static")
    moves, missing = any(way.moving for way in ways), ways[0].missing or ways[1].missing
    if missing:
        return Mounting(None, moves, missing)
    T_base_reference, T_base_camera = (np.eye(4) if w.T_base_camera is None else w.T_base_camera for w in ways)
    return Mounting(np.asarray(se3.inverse(T_base_reference) @ T_base_camera), moves)
