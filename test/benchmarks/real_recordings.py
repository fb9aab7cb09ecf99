"""Figures of weights on the last fifth of real recordings, which no training sees: depth, motion, scale.

python test/benchmarks/real_recordings.py DATA [--weights W] [--json FILE] [--pictures DIR]

DATA holds ``kitti_raw/2011_09_26/2011_09_26_drive_0001_sync``, ``kitti_odometry/sequences/00`` (with ``poses.txt``) and
``seven_scenes_kitchen`` in their own layouts; what is absent is left out. Truth for drive 0001 is semi-global matching
of the stereo pair, where left-to-right and right-to-left agree (`stereo_depth`).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from stereo_depth import matched_depth

from featdepth_ros import Estimator, load_model
from featdepth_ros.cli.infer_output import depth_colours
from featdepth_ros.inference.config import EstimatorConfig
from featdepth_ros.metrics.depth import DepthProtocol, evaluate_image, resize_inverse_depth, summarise_depth
from featdepth_ros.metrics.odometry import evaluate_odometry
from featdepth_ros.metrics.trajectory import make_trajectory
from featdepth_ros.models.base import FeatDepthModel
from featdepth_ros.recordings.frame import Frame
from featdepth_ros.recordings.open import open_recording
from featdepth_ros.reporting.tables import number, text_table, write_json

#: Share of each recording, from its end, that is measured.
HELD_OUT = 0.2


def last_fifth(frames: list[Frame]) -> list[Frame]:
    """The frames that are measured."""
    return frames[round(len(frames) * (1 - HELD_OUT)) :]


def depth_figures(
    model: FeatDepthModel, frames: list[Frame], crop: str, cap: float, pictures: Path | None, name: str
) -> dict[str, Any]:
    """AbsRel and company, median scaled and as predicted, and the density of the truth."""
    estimator = Estimator(model, EstimatorConfig(output_size="network", estimate_motion=False))
    scaled, plain, density = [], [], []
    for position, frame in enumerate(frames):
        estimate = estimator.step(frame.image, frame.camera, frame.stamp_ns)
        truth = matched_depth(frame) if frame.depth is None else np.asarray(frame.depth, np.float64)
        density.append(float((np.nan_to_num(truth) > 0).mean()))
        guess = resize_inverse_depth(estimate.depth, truth.shape)
        for into, scale in ((scaled, "median"), (plain, "none")):
            protocol = DepthProtocol(crop=crop, max_depth=cap, scale=scale)  # type: ignore[arg-type]
            into.append(evaluate_image(guess, truth, protocol, frame.name))
        if pictures is not None and position in (0, len(frames) // 2):
            span = (0.5, 6.0) if crop == "none" else (3.0, cap)
            rows = [frame.image, *(depth_colours(np.nan_to_num(d).astype(np.float32), *span) for d in (guess, truth))]
            pictures.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(pictures / f"{name}_{position:02d}.jpg"), np.concatenate(rows)[..., ::-1])
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
    """ATE and RPE after aligning the scale, of the pose network alone or of the motion aligned on points."""
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
    data: Path, model: FeatDepthModel, pictures: Path | None = None, motions: Sequence[str] = ("network", "aligned")
) -> dict[str, dict[str, Any]]:
    """All figures, by name; of motion, as the pose network alone says it and as aligned on points."""
    figures: dict[str, dict[str, Any]] = {}
    drive = data / "kitti_raw/2011_09_26/2011_09_26_drive_0001_sync"
    if drive.is_dir():
        frames = last_fifth(list(open_recording(drive, partner="auto")))
        figures["drive 0001 depth"] = depth_figures(model, frames, "garg", 80.0, pictures, "drive_0001")
    kitchen = data / "seven_scenes_kitchen"
    if kitchen.is_dir():
        frames = last_fifth(list(open_recording(kitchen)))
        figures["7-Scenes depth"] = depth_figures(model, frames, "none", 10.0, pictures, "seven_scenes")
    sequence = data / "kitti_odometry/sequences/00"
    if sequence.is_dir():
        frames = last_fifth(list(open_recording(sequence)))
        names = {"network": "KITTI 00 pose network", "aligned": "KITTI 00 aligned motion"}
        for motion in motions:
            figures[names[motion]] = motion_figures(model, frames, motion)
        figures["KITTI 00 standing"] = standing_figures(model, frames[0])
    return figures


def main() -> None:
    """Print a table a recording."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--weights", default="compact")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--pictures", type=Path)
    args = parser.parse_args()
    figures = measure(args.data, load_model(args.weights), args.pictures)
    for name, values in figures.items():
        print(text_table([name, ""], [[key, number(value)] for key, value in values.items()]), end="\n\n")
    if args.json is not None:
        write_json(args.json, figures)


if __name__ == "__main__":
    main()
