"""Where one camera sits, seen from another camera on the same robot."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.ros.frames.tree import Extrinsics, FrameTree, Matrix

#: Path over which a camera that is said to look up is watched, metres or model units. Share of it that must lead where
#: it looks. How far its axes may be from the base's, radians: it is pitched a little.
_WATCHED, _WHERE_IT_LOOKS, _NEARLY = 2.0, 0.8, 0.5


class AxesDoubt:
    """Whether images come in a frame with the body's axes (x forward, z up) instead of an optical one (z forward).

    Drivers that stamp images with ``camera_link`` do that. Then the camera seems to look up, and the robot to rise. A
    camera that does look up moves across its view instead.
    """

    def __init__(self) -> None:
        self._ahead = self._whole = 0.0
        self._doubted = False

    def take(self, T_base_camera: Matrix | None, moved: Matrix) -> bool:
        """Take the camera's motion (4, 4) of a frame and return whether there is doubt."""
        turned = 0.0 if T_base_camera is None else float(np.linalg.norm(se3.vector_from_rotation(T_base_camera)))
        if T_base_camera is None or turned > _NEARLY:
            self._ahead = self._whole = 0.0
            self._doubted = False
            return False
        self._ahead += float(moved[2, 3])
        self._whole += float(np.linalg.norm(moved[:3, 3]))
        if self._whole > _WATCHED:
            self._doubted = abs(self._ahead) > _WHERE_IT_LOOKS * self._whole
            self._ahead = self._whole = 0.0
        return self._doubted


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
    if camera == reference:
        return Mounting(None, missing=f"the images of both cameras have the frame_id '{camera}'")
    odom, base = frames
    ways = [tree.extrinsics(f, base, odom, stamp_ns) or Extrinsics(f, None) for f in (reference, camera)]
    if ways[0].base != ways[1].base:
        return Mounting(None, missing=f"no transform {reference} <- {camera} on /tf_static")
    moves, missing = any(way.moving for way in ways), ways[0].missing or ways[1].missing
    if missing:
        return Mounting(None, moves, missing)
    T_base_reference, T_base_camera = (np.eye(4) if w.T_base_camera is None else w.T_base_camera for w in ways)
    return Mounting(np.asarray(se3.inverse(T_base_reference) @ T_base_camera), moves)
