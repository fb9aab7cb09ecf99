"""Depth without truth, by classical matching: of a stereo pair in metres, of a moving camera up to scale.

A network's own photometric loss pulls depth over a pixel or two only; a matcher searches, and marks where it is unsure.
What it finds teaches shape and edges (`TermsConfig.pseudo_depth`), as in Watson et al., Self-Supervised Monocular
Depth Hints (ICCV 2019), there of stereo pairs alone.

Frames look back only: the pseudo-depth of a frame never depends on later ones. So whatever a run holds out at the end
of a recording has no part in what it learns from.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from featdepth_ros.errors import RecordingError
from featdepth_training.data.cache import ClipCache
from featdepth_training.data.clip import Clip
from featdepth_training.data.shards import read_indices, read_pseudo_depth_index, write_pseudo_depth_shard
from featdepth_training.data.store import Store

#: How many frames back a frame is matched with, in this order, and the number of good matches that suffice. The nearest
#: come first, and the flow of each begins from that of the one before. A fast camera's flow to far-off frames fails on
#: the near road, there and back alike. It says a small shift where there was a large one: a depth many times too far.
LOOK_BACK, ENOUGH = (1, 2, 3, 4, 6, 9, 13, 18), 3
#: Least parallax of a pixel, and least median of a pair, pixels: below, noise of the flow is much of the depth.
LEAST_PARALLAX_PX, LEAST_MEDIAN_PX = 2.0, 4.0
#: Flow there and back must meet within this, and the epipolar line lie no farther away, pixels.
CONSISTENT_PX, EPIPOLAR_PX = 1.0, 1.0
#: Matches that vote between the four motions of an essential matrix. The motions come from the matrix alone: more
#: voters give the same maps, and took 70 % of the time of matching.
VOTERS = 400
#: Least share of pixels that a pair must explain.
LEAST_SHARE = 0.2
#: Least correlation of the patches (side in pixels) around a pixel and its match, brightness and contrast aside.
LEAST_CORRELATION, PATCH = 0.8, 7
#: Estimates of one pixel that differ from their mean by more than this (of the logarithm) are dropped. Where several
#: pairs show enough parallax, at least two must agree.
AGREEMENT = 0.1
#: Largest disparity that is searched, share of the width; largest part of a baseline that is not sideways.
SEARCHED, MOST_ASIDE = 0.1, 0.05

Map = NDArray[np.float32]
Grey = NDArray[np.uint8]


def stereo_depth(
    image: Grey, partner: Grey, camera: NDArray[np.float64], T_partner_camera: NDArray[np.float64]
) -> Map | None:
    """Semi-global matching (Hirschmueller 2008, as in OpenCV) of a pair, checked from left to right and back.

    Args:
        image: (H, W) uint8, undistorted.
        partner: as ``image``, seen with the same ``camera``.
        camera: (4,) fx, fy, cx, cy, pixels.
        T_partner_camera: (4, 4), metres. The partner may look elsewhere, and may be on either side.

    Returns:
        (H, W) z-depth in metres, NaN: unknown; None when the partner is not beside the camera.
    """
    width = image.shape[1]
    K = intrinsics(camera)
    R, t = T_partner_camera[:3, :3], T_partner_camera[:3, 3]
    baseline = R.T @ t  # of a partner turned to look where the camera does
    if np.abs(baseline[1:]).max() > MOST_ASIDE * abs(baseline[0]):
        return None
    turned = cv2.warpPerspective(
        partner, K @ R @ np.linalg.inv(K), (width, image.shape[0]), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    )
    searched = max(16, int(np.ceil(SEARCHED * width / 16)) * 16)
    matcher = cv2.StereoSGBM_create(
        0, searched, 5, 200, 800, disp12MaxDiff=1, uniquenessRatio=10, speckleWindowSize=100, speckleRange=2
    )
    mirrored = baseline[0] > 0  # the matcher expects the partner on the right
    pair = [np.ascontiguousarray(side[:, ::-1]) if mirrored else side for side in (image, turned)]
    disparity = matcher.compute(*pair).astype(np.float32) / 16
    disparity = disparity[:, ::-1] if mirrored else disparity
    depth = camera[0] * abs(baseline[0]) / np.maximum(disparity, 1e-3)
    return np.where(disparity > 1, depth, np.nan).astype(np.float32)


@dataclass(frozen=True)
class _View:
    """Depth of a frame from one earlier frame, up to scale: z (H, W), and parallax (H, W) pixels, 0: unknown."""

    z: Map
    parallax_px: Map


def moving_depth(image: Grey, earlier: Sequence[Grey], camera: NDArray[np.float64]) -> Map | None:
    """Depth of a frame from where its pixels were in earlier frames of the same moving camera.

    Each pair gives dense optical flow (Kroeger et al. 2016, OpenCV's DIS), checked there and back, and by what the
    matches look like. Motion comes from the essential matrix, depth from triangulation. Then the pairs that show enough
    parallax are averaged where they agree.

    Args:
        image: (H, W) uint8, undistorted.
        earlier: frames before it, the nearest first.
        camera: (4,) fx, fy, cx, cy, pixels.

    Returns:
        (H, W) z-depth with a median of 1, NaN: unknown; None without enough parallax.
    """
    method = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    method.setFinestScale(0)
    K, views = intrinsics(camera), list[_View]()
    before: tuple[int, Map, Map] | None = None
    for back in LOOK_BACK:
        if back > len(earlier) or len(views) == ENOUGH:
            break
        other = earlier[back - 1]
        guesses = (None, None) if before is None else tuple(flow * (back / before[0]) for flow in before[1:])
        there = method.calc(image, other, guesses[0])
        returning = method.calc(other, image, guesses[1])
        before = (back, there, returning)
        view = _triangulate(image, other, K, there, returning)
        if view is not None:
            views.append(view)
    return _fuse(views) if views else None


def intrinsics(camera: NDArray[np.float64]) -> NDArray[np.float64]:
    """(3, 3) K of fx, fy, cx, cy."""
    fx, fy, cx, cy = camera
    return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1.0]])


def _triangulate(image: Grey, earlier: Grey, K: NDArray[np.float64], there: Map, back: Map) -> _View | None:
    """Depth from the flow (H, W, 2) of ``image`` to ``earlier`` and back; None: too little is known, or moves."""
    height, width = image.shape
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    u, v = x + there[..., 0], y + there[..., 1]
    returned = cv2.remap(back, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=(1e3, 1e3, 0, 0))
    known = np.hypot(*np.moveaxis(there + returned, 2, 0)) < CONSISTENT_PX
    if known.mean() < LEAST_SHARE or np.median(np.hypot(there[known, 0], there[known, 1])) < LEAST_MEDIAN_PX:
        return None
    pixels, matches = np.stack((x, y), -1)[known], np.stack((u, v), -1)[known]
    some = np.random.default_rng(0).choice(len(pixels), min(4000, len(pixels)), replace=False)
    E, agrees = cv2.findEssentialMat(pixels[some], matches[some], K, cv2.USAC_MAGSAC, 0.999, 0.5)
    if E is None or E.shape != (3, 3):
        return None
    voters = some[np.flatnonzero(agrees)]
    if not len(voters):
        return None
    voters = voters[:: max(1, len(voters) // VOTERS)]
    _, R, t, _ = cv2.recoverPose(E, pixels[voters], matches[voters], K)
    # With a ray r seen at q after X -> R X + t: (R r)_xy z + t_xy = q ((R r)_z z + t_z), two equations for z.
    f, centre = np.array([K[0, 0], K[1, 1]]), K[:2, 2]
    rays = np.concatenate((((np.stack((x, y), -1) - centre) / f), np.ones((height, width, 1))), -1) @ R.T
    q = (np.stack((u, v), -1) - centre) / f
    a, b = rays[..., :2] - q * rays[..., 2:], q * t[2] - t[:2, 0]
    z = (a * b).sum(-1) / np.maximum((a * a).sum(-1), 1e-12)
    seen = rays * z[..., None] + t[:, 0]
    off = np.linalg.norm((seen[..., :2] / np.maximum(seen[..., 2:], 1e-6) - q) * f, axis=-1)
    parallax = np.linalg.norm((rays[..., :2] / rays[..., 2:] - q) * f, axis=-1)
    good = known & (off < EPIPOLAR_PX) & (z > 0) & (seen[..., 2] > 0) & (parallax > LEAST_PARALLAX_PX)
    good &= _correlation(image, cv2.remap(earlier, u, v, cv2.INTER_LINEAR)) > LEAST_CORRELATION
    if good.mean() < LEAST_SHARE or np.median(parallax[good]) < LEAST_MEDIAN_PX:
        return None
    return _View(z.astype(np.float32), np.where(good, parallax, 0).astype(np.float32))


def _correlation(image: Grey, matched: Grey) -> Map:
    """Correlation (H, W) of the patches around each pixel of two images, -1 to 1; near 0 where a patch is flat."""
    one, other = image.astype(np.float32), matched.astype(np.float32)

    def mean(values: Map) -> Map:
        return np.asarray(cv2.blur(values, (PATCH, PATCH)), np.float32)

    means = mean(one), mean(other)
    variances = (np.maximum(mean(x * x) - m * m, 0.0) for x, m in zip((one, other), means, strict=True))
    shared = mean(one * other) - means[0] * means[1]
    return np.asarray(shared / np.sqrt(np.maximum(np.prod(list(variances), 0), 1.0)), np.float32)


def _fuse(views: Sequence[_View]) -> Map | None:
    """Weighted mean of the logarithms: noise of the flow becomes noise of the logarithm over the parallax.

    Where there are several that overlap, two must agree. None: too few pixels are known then.
    """
    first = max(views, key=lambda view: float((view.parallax_px > 0).mean()))
    logs, weights = [], []
    for view in views:
        weight = np.minimum(view.parallax_px, 20.0) ** 2
        log = np.log(np.where(weight > 0, np.maximum(view.z, 1e-6), 1.0))
        common = (weight > 0) & (first.parallax_px > 0)
        if not common.any():
            continue
        reference = np.log(np.where(common, np.maximum(first.z, 1e-6), 1.0))
        logs.append(log + np.median((reference - log)[common]))
        weights.append(weight)
    values, weight = np.stack(logs), np.stack(weights)
    for _ in range(2):
        total = weight.sum(0)
        mean = (weight * values).sum(0) / np.maximum(total, 1e-6)
        weight = weight * (np.abs(values - mean) < AGREEMENT)
    known = (weight > 0).sum(0) >= min(2, len(values))
    if known.mean() < LEAST_SHARE / 2:
        return None
    mean = (weight * values).sum(0) / np.maximum(weight.sum(0), 1e-6)
    mean = mean - np.median(mean[known])
    return np.where(known, np.exp(mean), np.nan).astype(np.float32)


def write_pseudo_depth(path: str | Path, progress: Callable[[int], None] | None = None) -> float:
    """Find the pseudo-depth of every frame of a finished cache, and write it beside its shards.

    Shards that have it are left as they are.

    Args:
        path: folder of the cache, or its URL.
        progress: called with the number of frames done since the last call.

    Returns:
        share of the pixels that have it.

    Raises:
        RecordingError: no cache, a damaged one, a stereo partner that is not beside the camera, or no space left.
    """
    store, cache = Store(path), ClipCache([path], frames=1)
    shards = read_indices(store)
    indices = [read_pseudo_depth_index(store, shard, len(shard.frames)) for shard in shards]
    last = {meta["stretch"]: n for n, meta in enumerate(meta for shard in shards for meta in shard.frames)}
    # By stretch, until its last frame: those in which nothing moves are stretches that lie between others.
    earlier: dict[int, deque[Grey]] = {}
    number = 0
    for position, shard in enumerate(shards):
        if None not in indices[position:]:
            number += len(shard.frames)
            if progress is not None:
                progress(len(shard.frames))
            continue
        maps = []
        for meta in shard.frames:
            clip, stretch = cache[number], meta["stretch"]
            recent = earlier.setdefault(stretch, deque(maxlen=max(LOOK_BACK)))
            if indices[position] is None:
                maps.append(_depth_of(clip, recent, store))
            recent.appendleft(grey(clip.images[0]))
            if number == last[stretch]:
                del earlier[stretch]
            number += 1
            if progress is not None:
                progress(1)
        if maps:
            indices[position] = write_pseudo_depth_shard(store, shard, np.stack(maps))
    return float(np.average([i.share for i in indices if i is not None], weights=[len(s.frames) for s in shards]))


def _depth_of(clip: Clip, recent: Sequence[Grey], store: Store) -> NDArray[np.float16]:
    """The pseudo-depth (H, W) of a clip of one frame."""
    image = grey(clip.images[0])
    if clip.partner is not None and clip.T_partner_camera is not None:
        depth = stereo_depth(image, grey(clip.partner[0]), clip.camera, clip.T_partner_camera)
        if depth is None:
            baseline_m = clip.T_partner_camera[:3, 3].round(3).tolist()
            raise RecordingError(
                f"the stereo partner of {store} is not beside the camera (it is displaced by {baseline_m} m), and only "
                "pairs side by side are matched; leave out --pseudo-depth, or prepare without --stereo"
            )
    else:
        depth = moving_depth(image, recent, clip.camera)
    return np.full(image.shape, np.nan, np.float16) if depth is None else depth.astype(np.float16)


def grey(image: NDArray[np.uint8]) -> Grey:
    """(H, W, 3) RGB to (H, W)."""
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)
