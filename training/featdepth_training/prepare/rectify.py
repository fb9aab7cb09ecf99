"""Converts frames of a recording to stored ones: rectified, at training size, with one K for both images of a pair."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.errors import CalibrationError
from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.geometry.rectification import Rectification
from featdepth_ros.recordings.frame import Frame, Partner
from featdepth_training.data.shards import CachedFrame


class Rectifier:
    """Converts frames to stored ones; the sampling grids are computed once per camera.

    Args:
        size: (height, width) of the stored images in pixels.
        stereo: also store the partner's image, which every frame must then have.
    """

    def __init__(self, size: tuple[int, int], stereo: bool) -> None:
        self.size, self.stereo = size, stereo
        self._camera: CameraModel | None = None
        self._chain: Rectification | None = None
        self._partner_camera: CameraModel | None = None
        self._partner_chain: Rectification | None = None

    def __call__(self, frame: Frame, camera: CameraModel) -> CachedFrame:
        """Return the rectified and resized ``frame`` of ``camera``; its sequence number stays 0.

        Raises:
            CalibrationError: a calibration belongs to images of another size, or the partner has none.
        """
        height, width = frame.image.shape[:2]
        if self._chain is None or camera != self._camera:
            self._camera, self._chain = camera, Rectification(camera, (width, height), self.size)
            self._partner_chain = None
        view = self._chain.camera
        assert view is not None
        stored = CachedFrame(
            image=self._chain.apply_to_bytes(frame.image),
            camera=np.array([view.fx, view.fy, view.cx, view.cy]),
            stretch=0,
            stamp_ns=frame.stamp_ns,
            name=frame.name,
            pose=_pose(frame, camera),
            depth=self._depth(frame, camera),
        )
        if not self.stereo:
            return stored
        assert frame.partner is not None
        return replace(
            stored,
            partner=self._chain_of(frame.partner, view).apply_to_bytes(frame.partner.image),
            T_partner_camera=frame.partner.T_partner_camera,
        )

    def _chain_of(self, partner: Partner, view: CameraModel) -> Rectification:
        if partner.camera is None:
            raise CalibrationError("the stereo partner has no calibration; give --partner-camera FILE")
        if self._partner_chain is None or partner.camera != self._partner_camera:
            height, width = partner.image.shape[:2]
            self._partner_camera = partner.camera
            self._partner_chain = Rectification(partner.camera, (width, height), self.size, view=view)
        return self._partner_chain

    def _depth(self, frame: Frame, camera: CameraModel) -> NDArray[np.floating] | None:
        # Rectification that rotates the camera changes z-depths, and truth of another size does not match the image.
        if frame.depth is None or frame.depth.shape != frame.image.shape[:2] or not np.array_equal(camera.R, np.eye(3)):
            return None
        assert self._chain is not None
        depth = self._chain.apply_nearest(frame.depth).numpy()
        return np.where(depth > 0, depth, np.nan).astype(np.float16)


def _pose(frame: Frame, camera: CameraModel) -> NDArray[np.float64] | None:
    """Return T_world_camera (4, 4) of the rectified camera; None if the frame has no pose."""
    if frame.T_world_camera is None:
        return None
    turn = np.eye(4)
    turn[:3, :3] = camera.R.T
    return np.asarray(frame.T_world_camera @ turn)
