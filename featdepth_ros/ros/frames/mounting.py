"""The mounting of a camera relative to another camera of the same robot."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.ros.frames.tree import Extrinsics, FrameTree, Matrix

#: For a camera that seems to look up. First: length of the observed path in metres or model units. Second: share of it
#: along the optical axis that raises the doubt. Third: largest angle in radians between its axes and the base's.
_WATCHED, _WHERE_IT_LOOKS, _NEARLY = 2.0, 0.8, 0.5


class AxesDoubt:
    """Detects images in a frame with body axes (x forward, z up) instead of optical axes (z forward).

    Drivers that stamp images with ``camera_link`` cause this. The camera then seems to look up, and the robot to rise.
    A camera that really looks up moves perpendicular to its optical axis.
    """

    def __init__(self) -> None:
        self._ahead = self._whole = 0.0
        self._doubted = False

    def take(self, T_base_camera: Matrix | None, moved: Matrix) -> bool:
        """Add the motion of one frame and return whether the axes are doubtful.

        Args:
            T_base_camera: (4, 4) mounting of the camera; None: unknown.
            moved: (4, 4) motion of the camera since the previous frame.
        """
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
    """The mounting of a camera.

    Attributes:
        T_reference_camera: (4, 4) pose in the reference camera's optical frame; None: unknown.
        moves: whether a moving joint (a pan-tilt head) is in between, so that a new value is no correction.
        missing: why the pose is unknown; empty: it is known.
    """

    T_reference_camera: Matrix | None
    moves: bool = False
    missing: str = ""


def mounting(tree: FrameTree, reference: str, camera: str, frames: tuple[str, str], stamp_ns: int) -> Mounting:
    """Return the mounting of a camera at a stamp.

    Args:
        tree: transforms of /tf and /tf_static.
        reference: optical frame of the reference camera.
        camera: optical frame of the camera.
        frames: (odom, base); moving joints are followed below the base only.
        stamp_ns: time of the mounting, nanoseconds.
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
