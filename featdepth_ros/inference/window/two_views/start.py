"""Start without depth: waits for two images with enough parallax, then uses the motion between them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.inference.window import tracks
from featdepth_ros.inference.window.local_map import LocalMap
from featdepth_ros.inference.window.pose import find_pose
from featdepth_ros.inference.window.records import Sight
from featdepth_ros.inference.window.two_views.geometry import TwoView, explained, two_view_motion
from featdepth_ros.inference.window.two_views.matching import matches

Floats = NDArray[np.float64]

#: - `PARALLAX`: least median parallax of a start, as a share of the image's width.
#: - `LEFT`, `LEAST`: least share and number of the first image's points that are still tracked.
#: - `SURE`: share of tracked points below which matched features predict their positions.
PARALLAX, LEFT, LEAST, SURE = 0.01, 0.25, 30, 0.7
#: Least share of inliers of the motion.
AGREE = 0.5
#: Number of neighbouring features whose median is a point's predicted flow.
NEXT = 3


@dataclass(frozen=True)
class Opened:
    """Result of a start.

    Attributes:
        newest: pose (4, 4) T_camera_map and observations of the newest frame.
        before: the same of the previous frame.
    """

    newest: tuple[Floats, Sight]
    before: tuple[Floats, Sight]


class Start:
    """Tracks the first image's points, whose depth is unknown.

    Args:
        local_map: the map with the first keyframe.
        template: the first keyframe's image and points.

    Attributes:
        sight: observations of the newest frame.
        before: observations of the previous frame.
    """

    def __init__(self, local_map: LocalMap, template: tracks.Template) -> None:
        self._map, self._template = local_map, template
        self._count = len(template.sight)
        self._pyramid = template.pyramid
        self._flow = np.zeros((self._count, 2))
        self.sight = self.before = template.sight

    def follow(self, pyramid: tracks.Pyramid) -> bool:
        """Track the points from the previous image into the newest one; return whether enough are left."""
        last = self._map.to_image(self.sight.pixels)
        pixels, good = self._found(pyramid, last, last + self._flow)
        if good.sum() < SURE * len(last):
            first, second = matches(self._pyramid[0], pyramid[0], self._template.allowed)
            if len(first) >= LEAST:
                nearest = np.argsort(np.linalg.norm(last[:, None] - first[None], axis=2), axis=1)[:, :NEXT]
                pixels, good = self._found(pyramid, last, last + np.median((second - first)[nearest], axis=1))
        self._flow, self._pyramid = (pixels - last)[good], pyramid
        self.before, self.sight = self.sight, Sight.at(self.sight.places[good], self._map.to_ideal(pixels[good]))
        return len(self.sight) >= max(LEAST, LEFT * self._count)

    def _found(self, pyramid: tracks.Pyramid, last: Floats, expected: Floats) -> tuple[Floats, NDArray[np.bool_]]:
        warp = np.tile(np.eye(2), (len(last), 1, 1))
        return tracks.follow(self._pyramid, pyramid, last, expected, warp, self._template.allowed)

    def open(self, usual_depth: float, known: Floats | None) -> Opened | None:
        """Estimate the motion since the first image, and set the points' depths in the map.

        Args:
            usual_depth: median depth of the points if the motion is not given; it defines the unit.
            known: given T_newest_first (4, 4), map units; None: it is estimated.

        Returns:
            Poses and observations; None while there is too little parallax.
        """
        view, local_map = self._motion(known), self._map
        if view is None:
            return None
        good = view.supporters
        unit = (
            usual_depth / float(np.median(view.depth[good])) if known is None else float(np.linalg.norm(known[:3, 3]))
        )
        motion = se3.stretched(view.T_second_first, unit)
        newest = self.sight.chosen(good)
        local_map.begin_with(newest.places, view.depth[good] * unit)
        key = local_map.keyframes[-1].pose
        before = self.before.chosen(np.isin(self.before.places, newest.places))
        pose, fits = find_pose(local_map, before, key, LEAST)
        return Opened((motion @ key, newest), (pose, before.chosen(fits)))

    def _motion(self, known: Floats | None) -> TwoView | None:
        width = 2 * self._map.camera[2]
        first = np.zeros((len(self._map.ids), 2))
        first[self._template.sight.places] = self._template.sight.pixels
        first = first[self.sight.places]
        if np.median(np.linalg.norm(first - self.sight.pixels, axis=1)) < PARALLAX * width:
            return None
        rays = self._map.rays_of(first), self._map.rays_of(self.sight.pixels)
        focal_px = float(self._map.camera[0])
        if known is None:
            view = two_view_motion(*rays, focal_px, LEAST)
        else:
            motion = known.copy()
            motion[:3, 3] /= max(float(np.linalg.norm(known[:3, 3])), 1e-9)
            view = explained(motion, *rays, focal_px)
        if view is None or view.supporters.mean() < AGREE:
            return None
        return view if float(np.median(view.parallax_px[view.supporters])) > PARALLAX * width else None
