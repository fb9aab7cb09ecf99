"""A start without depth: wait until two pictures show enough parallax, then take the motion between them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.inference.window import tracks
from featdepth_ros.inference.window.local_map import LocalMap
from featdepth_ros.inference.window.pose import find_pose
from featdepth_ros.inference.window.records import Sight
from featdepth_ros.inference.window.two_views.geometry import TwoView, explained, two_view_motion
from featdepth_ros.inference.window.two_views.matching import matches

Floats = NDArray[np.float64]

#: - `PARALLAX`: median parallax that makes a start, share of the picture's width.
#: - `LEFT`, `LEAST`: share of the first picture's points that must be left, and their number.
#: - `SURE`: share of the points below which features tell where to look.
PARALLAX, LEFT, LEAST, SURE = 0.01, 0.25, 30, 0.7
#: Share of the points that must support the motion.
AGREE = 0.5
#: Features next to a point that tell its flow.
NEXT = 3


@dataclass(frozen=True)
class Opened:
    """Pose (4, 4) T_camera_map and sight of the newest frame, and of the frame before it."""

    newest: tuple[Floats, Sight]
    before: tuple[Floats, Sight]


class Start:
    """Follows the first picture's points, of which no depth is known.

    Args:
        local_map: the map that the first keyframe began.
        template: the first keyframe's picture and points.

    Attributes:
        sight: the points that the newest picture shows.
        before: those that the picture before it showed.
    """

    def __init__(self, local_map: LocalMap, template: tracks.Template) -> None:
        self._map, self._template = local_map, template
        self._count = len(template.sight)
        self._pyramid = template.pyramid
        self._flow = np.zeros((self._count, 2))
        self.sight = self.before = template.sight

    def follow(self, pyramid: tracks.Pyramid) -> bool:
        """Follow the points from the picture before into the newest; returns whether enough are left."""
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
        """Give the points the depths that the motion since the first picture shows.

        Args:
            usual_depth: what their median is to be, where the motion is not known: the unit.
            known: T_newest_first (4, 4), map units, where it is.

        Returns:
            Poses and sights, or None while there is too little parallax to tell.
        """
        view, local_map = self._motion(known), self._map
        if view is None:
            return None
        good = view.supporters
        unit = usual_depth / float(np.median(view.depth[good])) if known is None else np.linalg.norm(known[:3, 3])
        motion = view.T_second_first.copy()
        motion[:3, 3] *= unit
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
