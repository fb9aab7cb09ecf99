"""Metrics of weights on parts of a recording: depth and motion against ground truth, and metrics without it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from stereo_depth import matched_depth

from featdepth_ros import Estimator
from featdepth_ros.geometry.projection import backproject
from featdepth_ros.geometry.warp import sample_grid, sampling_grid
from featdepth_ros.inference.config import EstimatorConfig
from featdepth_ros.inference.types import Estimate, MotionState
from featdepth_ros.losses.photometric import photometric
from featdepth_ros.messages.colours import depth_colours
from featdepth_ros.metrics.depth import DepthProtocol, evaluate_image, resize_inverse_depth, summarise_depth
from featdepth_ros.metrics.kitti_odometry import evaluate_odometry
from featdepth_ros.metrics.trajectory import make_trajectory
from featdepth_ros.models.base import FeatDepthModel
from featdepth_ros.recordings.frame import Frame

PICTURE_WIDTH, SHEET_WIDTH = 1200, 1200
#: Percentiles of the depths at the near and the far end of an image's colour scale.
SPAN_PERCENT = (2.0, 98.0)
#: Least share of pixels that must be visible in both frames of a compared pair.
LEAST_SEEN = 0.2

Picture = NDArray[np.uint8]


@dataclass
class Album:
    """Images of the best and the worst frame of each recording, by name.

    Attributes:
        pictures: (H, W, 3) uint8 RGB images by name.
    """

    pictures: dict[str, Picture] = field(default_factory=dict)

    def keep(self, name: str, seen: Sequence[tuple[float, Picture]]) -> None:
        """Keep the images with the smallest and the largest error."""
        if seen:
            self.pictures[f"{name} best"] = min(seen, key=lambda pair: pair[0])[1]
            self.pictures[f"{name} worst"] = max(seen, key=lambda pair: pair[0])[1]

    def sheet(self) -> Picture:
        """Return one image with a row per recording: its best frame on the left, its worst frame on the right."""
        names = list(dict.fromkeys(name.rsplit(" ", 1)[0] for name in self.pictures))
        rows = []
        for name in names:
            pair = [_shrunk(self.pictures[f"{name} {which}"], SHEET_WIDTH // 2) for which in ("best", "worst")]
            head = np.full((18, SHEET_WIDTH, 3), 255, np.uint8)
            cv2.putText(head, name, (2, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
            rows += [head, np.concatenate(pair, 1)]
        return np.concatenate(rows)


def _shrunk(picture: Picture, width: int) -> Picture:
    size = (width, round(width * picture.shape[0] / picture.shape[1]))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def beside(image: Picture, depths: Sequence[NDArray[np.floating]], span: tuple[float, float]) -> Picture:
    """Return an image and depth maps side by side, `PICTURE_WIDTH` pixels wide; unknown depth is black."""
    height, width = image.shape[:2]
    coloured = []
    for depth in depths:
        known = np.nan_to_num(depth).astype(np.float32)
        colours = depth_colours(np.where(known > 0, known, span[1]), *span)
        coloured.append(cv2.resize(np.where(known[..., None] > 0, colours, 0), (width, height)))
    return _shrunk(np.concatenate([image, *coloured], 1), PICTURE_WIDTH)


def _config(**settings: Any) -> EstimatorConfig:
    """Return settings of the estimator, always with PyTorch as the back end, because weights are compared."""
    return EstimatorConfig(backend="torch", **settings)


def _span(depth: NDArray[np.floating]) -> tuple[float, float]:
    near, far = np.percentile(depth[np.nan_to_num(depth) > 0], SPAN_PERCENT)
    return float(near), float(far)


def depth_figures(
    model: FeatDepthModel,
    frames: list[Frame],
    crop: str,
    cap: float,
    name: str = "",
    album: Album | None = None,
    lead: Sequence[Frame] | None = None,
) -> dict[str, Any]:
    """Return the depth metrics, median scaled and unscaled, and the density of the ground truth.

    ``album`` gets image, estimate (median scaled) and truth of the frames with the smallest and the largest AbsRel. If
    ``lead`` is given, even empty, depth is fused with the points of the window, which processes these frames first.
    """
    fused = lead is not None
    estimator = Estimator(model, _config(output_size="network", estimate_motion=fused))
    for frame in lead or ():
        estimator.step(frame.image, frame.camera, frame.stamp_ns)
    scaled, plain, density = [], [], []
    seen: list[tuple[float, Picture]] = []
    for frame in frames:
        estimate = estimator.step(frame.image, frame.camera, frame.stamp_ns)
        truth = matched_depth(frame) if frame.depth is None else np.asarray(frame.depth, np.float64)
        density.append(float((np.nan_to_num(truth) > 0).mean()))
        guess = resize_inverse_depth(estimate.finite_depth, truth.shape)
        for into, scale in ((scaled, "median"), (plain, "none")):
            protocol = DepthProtocol(crop=crop, max_depth=cap, scale=scale)  # type: ignore[arg-type]
            into.append(evaluate_image(guess, truth, protocol, frame.name))
        found = scaled[-1]
        if album is not None and found is not None and found.scale is not None:
            seen.append((found.abs_rel, beside(frame.image, [guess * found.scale, truth], _span(truth))))
    if album is not None:
        album.keep(name, seen)
    summary, unscaled = summarise_depth(scaled), summarise_depth(plain)
    return {
        "frames": len(frames),
        "truth_density": float(np.mean(density)),
        "abs_rel": summary.abs_rel,
        "rmse": summary.rmse,
        "a1": summary.a1,
        "abs_rel_unscaled": unscaled.abs_rel,
        "scale_median": summary.scale_median,
        "scale_std": summary.scale_std,
    }


def motion_figures(model: FeatDepthModel, frames: list[Frame], motion: str) -> dict[str, Any]:
    """Return ATE and RPE after alignment of the scale, and ATE after a similarity alignment (7dof).

    Args:
        model: model to evaluate.
        frames: frames with true poses.
        motion: ``network`` (the pose network alone) or ``window``.
    """
    estimator = Estimator(model, _config(motion=motion))
    pose, poses = np.eye(4), []
    for frame in frames:
        pose = pose @ estimator.step(frame.image, frame.camera, frame.stamp_ns).motion.T_previous_current
        poses.append(pose)
    keys = np.arange(len(frames))
    truth = make_trajectory(keys, np.stack([f.T_world_camera for f in frames if f.T_world_camera is not None]), False)
    estimate = make_trajectory(keys, np.stack(poses), False)
    found = evaluate_odometry(truth, estimate, "scale").figures()
    figures = {key: found[key] for key in ("frames", "length_m", "ate_m", "rpe_m", "rpe_deg", "scale")}
    return {**figures, "ate_7dof_m": evaluate_odometry(truth, estimate, "7dof").figures()["ate_m"]}


def standing_figures(model: FeatDepthModel, frame: Frame) -> dict[str, Any]:
    """Return the path length of the estimate over twenty copies of one frame, without the standing gate, in metres."""
    estimator = Estimator(model, _config(motion="network", standing_gate=False))
    moved = 0.0
    for n in range(20):
        step = estimator.step(frame.image, frame.camera, frame.stamp_ns + n * 100_000_000).motion.T_previous_current
        moved += float(np.linalg.norm(step[:3, 3]))
    return {"frames": 20, "path_m": moved}


@dataclass(frozen=True)
class PairFigures:
    """Metrics of depth and motion from two neighbouring frames without ground truth.

    Attributes:
        photometric: difference of the later image and the earlier image warped to it, 0 to 1 (`losses.photometric`).
        unwarped: difference of the images without the warp.
        scale_step: median over the pixels of the log ratio of the later frame's depth to the earlier frame's, for the
            same points. 0: both frames have the same scale.
    """

    photometric: float
    unwarped: float
    scale_step: float


def compare_pair(earlier: Estimate, later: Estimate) -> PairFigures | None:
    """Compare two estimates by the later one's motion; None if it has no motion or the common view is too small."""
    if later.motion.state is not MotionState.TRACKED or later.camera is None:
        return None
    camera, size = later.camera, later.depth.shape
    K = torch.tensor([[[camera.fx, 0, camera.cx], [0, camera.fy, camera.cy], [0, 0, 1]]], dtype=torch.float32)
    motion = torch.from_numpy(later.motion.T_previous_current).float()[None]
    first, second = (torch.from_numpy(e.image).permute(2, 0, 1)[None].float() / 255.0 for e in (earlier, later))
    before, now = (torch.from_numpy(np.array(e.finite_depth))[None, None] for e in (earlier, later))
    points = backproject(now, K)
    grid, seen = sampling_grid(points, K, motion, size)
    mask = seen & torch.from_numpy(later.in_image)[None, None]
    if float(mask.float().mean()) < LEAST_SEEN:
        return None
    warped = photometric(sample_grid(first, grid), second)
    moved = (motion[:, 2, :3] @ points.flatten(2) + motion[:, 2, 3:, None]).view_as(now)
    step = torch.log(moved / sample_grid(before, grid))[mask]
    return PairFigures(
        photometric=float(warped[mask].mean()),
        unwarped=float(photometric(first, second)[mask].mean()),
        scale_step=float(step.median()),
    )


def untrue_figures(
    model: FeatDepthModel, frames: list[Frame], name: str = "", album: Album | None = None
) -> dict[str, Any]:
    """Return metrics of the networks alone on a recording without ground truth, as means over neighbouring frames.

    ``album`` gets image and estimate of the frames with the smallest and the largest photometric error, relative to
    that without the warp.

    Returns:
        ``photometric`` and ``photometric_unwarped`` (see `PairFigures`), and ``scale_step_std``, the standard deviation
        of the logarithmic change of scale from frame to frame. They are None if no pair could be compared.
    """
    estimator = Estimator(model, _config(output_size="network", motion="network", depth="network"))
    earlier: Estimate | None = None
    pairs: list[PairFigures] = []
    seen: list[tuple[float, Picture]] = []
    for frame in frames:
        estimate = estimator.step(frame.image, frame.camera, frame.stamp_ns)
        pair = None if earlier is None else compare_pair(earlier, estimate)
        if pair is not None:
            pairs.append(pair)
            depth = estimate.finite_depth
            seen.append((pair.photometric / max(pair.unwarped, 1e-6), beside(estimate.image, [depth], _span(depth))))
        earlier = estimate
    if album is not None:
        album.keep(name, seen)

    def over(values: list[float], way: Any) -> float | None:
        return float(way(values)) if values else None

    return {
        "frames": len(frames),
        "pairs": len(pairs),
        "photometric": over([p.photometric for p in pairs], np.mean),
        "photometric_unwarped": over([p.unwarped for p in pairs], np.mean),
        "scale_step_std": over([p.scale_step for p in pairs], np.std),
    }
