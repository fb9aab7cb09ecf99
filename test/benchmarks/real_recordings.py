"""Figures of weights on the last fifth of real recordings, which no training sees: depth, motion, scale.

python test/benchmarks/real_recordings.py DATA [--weights W] [--part last|validation] [--json FILE] [--picture FILE]

The part ``validation`` is the fifth before: what choices are made on, by runs that leave it out (`ablation`). The
weights that ship have been trained on it.

DATA holds ``kitti_raw/2011_09_26/2011_09_26_drive_0001_sync``, ``kitti_odometry/sequences/00`` (with ``poses.txt``) and
``seven_scenes_kitchen`` in their own layouts; what is absent is left out. Truth for drive 0001 is semi-global matching
of the stereo pair, where left-to-right and right-to-left agree (`stereo_depth`). The picture shows image, estimate and
truth of the best and the worst frame of the two with true depth. Of KITTI 00 it shows image and estimate.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from stereo_depth import matched_depth

from featdepth_ros import Estimator, load_model
from featdepth_ros.inference.config import EstimatorConfig
from featdepth_ros.messages.colours import depth_colours
from featdepth_ros.metrics.depth import DepthProtocol, evaluate_image, resize_inverse_depth, summarise_depth
from featdepth_ros.metrics.kitti_odometry import evaluate_odometry
from featdepth_ros.metrics.trajectory import make_trajectory
from featdepth_ros.models.base import FeatDepthModel
from featdepth_ros.recordings.frame import Frame
from featdepth_ros.recordings.open import open_recording
from featdepth_ros.reporting.tables import number, text_table, write_json

#: Parts of each recording: where they begin and end, shares of its frames.
PARTS = {"last": (0.8, 1.0), "validation": (0.6, 0.8)}
PICTURE_WIDTH = 1200
#: Share of the true depths below which a picture's nearest, and its farthest, colour begins.
SPAN_PERCENT = (2.0, 98.0)

Picture = NDArray[np.uint8]


def part_of(frames: list[Frame], part: str) -> list[Frame]:
    """The frames that are measured."""
    start, end = (round(len(frames) * share) for share in PARTS[part])
    return frames[start:end]


def depth_figures(
    model: FeatDepthModel,
    frames: list[Frame],
    crop: str,
    cap: float,
    rows: list[Picture] | None = None,
    lead: Sequence[Frame] | None = None,
) -> dict[str, Any]:
    """AbsRel and company, median scaled and as predicted, and the density of the truth.

    ``rows`` gets image, estimate (median scaled) and truth of the frames with the least and the greatest AbsRel.
    ``lead`` are the frames before; with them, even none, depth is fused with the points of a window that saw them.
    """
    fused = lead is not None
    estimator = Estimator(model, EstimatorConfig(output_size="network", estimate_motion=fused))
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
        if rows is not None and found is not None and found.scale is not None:
            near, far = np.percentile(truth[np.nan_to_num(truth) > 0], SPAN_PERCENT)
            seen.append((found.abs_rel, beside(frame.image, [guess * found.scale, truth], (near, far))))
    if rows is not None and seen:
        rows += [min(seen, key=lambda pair: pair[0])[1], max(seen, key=lambda pair: pair[0])[1]]
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


def beside(image: Picture, depths: list[NDArray[np.floating]], span: tuple[float, float]) -> Picture:
    """An image and depth maps side by side, `PICTURE_WIDTH` wide; where depth is unknown the map is black."""
    height, width = image.shape[:2]
    coloured = []
    for depth in depths:
        known = np.nan_to_num(depth).astype(np.float32)
        colours = depth_colours(np.where(known > 0, known, span[1]), *span)
        coloured.append(cv2.resize(np.where(known[..., None] > 0, colours, 0), (width, height)))
    row = np.concatenate([image, *coloured], 1)
    size = (PICTURE_WIDTH, round(PICTURE_WIDTH * height / row.shape[1]))
    return np.asarray(cv2.resize(row, size, interpolation=cv2.INTER_AREA), np.uint8)


def motion_figures(model: FeatDepthModel, frames: list[Frame], motion: str) -> dict[str, Any]:
    """ATE and RPE after aligning the scale, of the pose network alone or of the window."""
    estimator = Estimator(model, EstimatorConfig(motion=motion))  # type: ignore[arg-type]
    pose, poses = np.eye(4), []
    for frame in frames:
        pose = pose @ estimator.step(frame.image, frame.camera, frame.stamp_ns).motion.T_previous_current
        poses.append(pose)
    keys = np.arange(len(frames))
    truth = make_trajectory(keys, np.stack([f.T_world_camera for f in frames if f.T_world_camera is not None]), False)
    found = evaluate_odometry(truth, make_trajectory(keys, np.stack(poses), False), "scale").figures()
    return {key: found[key] for key in ("frames", "length_m", "ate_m", "rpe_m", "rpe_deg", "scale")}


def standing_figures(model: FeatDepthModel, frame: Frame) -> dict[str, Any]:
    """How far the estimate moves over twenty looks at one frame, the zero-motion gate off: metres."""
    estimator = Estimator(model, EstimatorConfig(motion="network", standing_gate=False))
    moved = 0.0
    for n in range(20):
        step = estimator.step(frame.image, frame.camera, frame.stamp_ns + n * 100_000_000).motion.T_previous_current
        moved += float(np.linalg.norm(step[:3, 3]))
    return {"frames": 20, "path_m": moved}


def measure(
    data: Path,
    model: FeatDepthModel,
    rows: list[Picture] | None = None,
    motions: Sequence[str] = ("network", "window"),
    part: str = "last",
) -> dict[str, dict[str, Any]]:
    """All figures, by name; of motion, as the pose network alone says it and as the window measures it.

    ``rows`` gets pictures, see `depth_figures`.
    """
    figures: dict[str, dict[str, Any]] = {}
    drive = data / "kitti_raw/2011_09_26/2011_09_26_drive_0001_sync"
    if drive.is_dir():
        every = list(open_recording(drive, partner="auto"))
        frames = part_of(every, part)
        figures["drive 0001 depth"] = depth_figures(model, frames, "garg", 80.0, rows)
        if "window" in motions:
            lead = every[: next(i for i, frame in enumerate(every) if frame is frames[0])]
            figures["drive 0001 fused"] = depth_figures(model, frames, "garg", 80.0, lead=lead)
    kitchen = data / "seven_scenes_kitchen"
    if kitchen.is_dir():
        frames = part_of(list(open_recording(kitchen)), part)
        figures["7-Scenes depth"] = depth_figures(model, frames, "none", 10.0, rows)
        if "window" in motions:
            # The colour camera's focal length; the recording names that of its depth camera.
            every = list(open_recording(kitchen, camera="525,525,320,240"))
            start = next(i for i, frame in enumerate(every) if frame.stamp_ns == frames[0].stamp_ns)
            judged = every[start : start + len(frames)]
            figures["7-Scenes fused"] = depth_figures(model, judged, "none", 10.0, lead=every[:start])
    sequence = data / "kitti_odometry/sequences/00"
    if sequence.is_dir():
        frames = part_of(list(open_recording(sequence)), part)
        names = {"network": "KITTI 00 pose network", "window": "KITTI 00 window"}
        for motion in motions:
            figures[names[motion]] = motion_figures(model, frames, motion)
        figures["KITTI 00 standing"] = standing_figures(model, frames[0])
        if rows is not None:
            estimator = Estimator(model, EstimatorConfig(estimate_motion=False))
            for frame in (frames[0], frames[len(frames) // 2]):
                depth = estimator.step(frame.image, frame.camera, frame.stamp_ns).finite_depth
                rows.append(beside(frame.image, [depth], (3.0, 80.0)))
    return figures


def main() -> None:
    """Print a table a recording."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--weights", default="compact")
    parser.add_argument("--part", choices=PARTS, default="last")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--picture", type=Path)
    args = parser.parse_args()
    rows: list[Picture] = []
    figures = measure(args.data, load_model(args.weights), None if args.picture is None else rows, part=args.part)
    if args.picture is not None:
        cv2.imwrite(str(args.picture), np.concatenate(rows)[..., ::-1])
    for name, values in figures.items():
        print(text_table([name, ""], [[key, number(value)] for key, value in values.items()]), end="\n\n")
    if args.json is not None:
        write_json(args.json, figures)


if __name__ == "__main__":
    main()
