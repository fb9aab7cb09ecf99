"""Normalised errors of poses and steps, and how far the scale is off, beside what the estimate says of both.

python test/benchmarks/pose_uncertainty.py INPUT... [--weights W] [--scale S] [--camera-height M] [--camera C]
    [--truth-noise M RAD] [--first N]

INPUT is a recording with true poses, or ``street:SEED`` or ``room:SEED`` for 160 rendered frames. Errors are squared,
divided by what the covariance says, and a degree of freedom: 1 is right. Those of the pose are taken at every tenth
frame and at the last one: with the covariance as it is, and with one that takes the scale for new in every motion
(``alone``). Truth has noise of its own, which ``--truth-noise`` names: of KITTI 0.01 m and 0.0005 rad. Where truth
begins badly, the recording is taken from frame ``--first`` on; `field/truth_of_rotation.py` tells where.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from featdepth_ros import Estimator, load_model
from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.inference.config import EstimatorConfig
from featdepth_ros.inference.odometry import Odometry
from featdepth_ros.inference.types import Estimate, MotionState
from featdepth_ros.metrics.depth import resize_inverse_depth
from featdepth_ros.models.base import FeatDepthModel
from featdepth_ros.recordings.frame import Frame
from featdepth_ros.recordings.open import open_recording
from featdepth_ros.reporting.tables import number, text_table
from featdepth_ros.simulation.simulate import Simulation, SimulationConfig, default_camera

Floats = NDArray[np.float64]
SIZES = {"street": (1241, 376), "room": (640, 480)}


def frames_of(source: str, camera: str | None) -> Iterator[Frame]:
    """Frames of a recording, or rendered ones."""
    scene, _, seed = source.partition(":")
    if scene in SIZES and seed:
        config = SimulationConfig(scene=scene, seed=int(seed), frames=160, camera=default_camera(*SIZES[scene]))
        yield from Simulation(config)
    else:
        yield from open_recording(source, camera=camera)


def normalised(found: Floats, true: Floats, covariance: Floats) -> float:
    """Normalised squared error a degree of freedom."""
    turned = se3.vector_from_rotation(found[:3, :3] @ true[:3, :3].T)
    error = np.concatenate([found[:3, 3] - true[:3, 3], turned])
    return float(error @ np.linalg.solve(covariance, error)) / 6


def depth_ratio(estimate: Estimate, frame: Frame) -> float:
    """Logarithm of true over estimated depth, the median of a frame; NaN without truth."""
    if frame.depth is None:
        return float("nan")
    true = np.nan_to_num(np.asarray(frame.depth, np.float64))
    seen = (true > 0.1) & (true < 80)
    return float(np.log(np.median(true[seen] / resize_inverse_depth(estimate.depth, true.shape)[seen])))


def alone(estimate: Estimate) -> Estimate:
    """The same estimate, its scale taken for independent of those before."""
    return replace(estimate, motion=replace(estimate.motion, scale_log_variance=0.0))


def measure(model: FeatDepthModel, frames: Iterator[Frame], config: EstimatorConfig, noise: Floats) -> list[float]:
    """Return pose at the end and on the way, the same with scales alone, step, and scale: error and deviation."""
    estimator, chains = Estimator(model, config), (Odometry(np.eye(4)), Odometry(np.eye(4)))
    errors: tuple[list[float], list[float]] = ([], [])
    steps, ratios, deviations, first, before = [], [], [], None, None
    for index, frame in enumerate(frames):
        assert frame.T_world_camera is not None, "the recording has no true poses"
        true = frame.T_world_camera
        first = true if first is None else first
        estimate = estimator.step(frame.image, frame.camera, frame.stamp_ns)
        states = [chain.update(e) for chain, e in zip(chains, (estimate, alone(estimate)), strict=True)]
        if before is not None and estimate.motion.state is MotionState.TRACKED:
            motion = estimate.motion
            moved = se3.inverse(before) @ true
            steps.append(normalised(motion.T_previous_current, moved, motion.covariance + noise))
        ratios.append(depth_ratio(estimate, frame))
        deviations.append(estimate.scale.variance**0.5)
        if index and index % 10 == 0:
            for into, state in zip(errors, states, strict=True):
                pose = se3.inverse(first) @ true
                into.append(normalised(state.T_odom_base, pose, state.pose_covariance + noise))
        before = true
    known = np.array(ratios)[np.isfinite(ratios)]
    off = float(np.median(known)) if len(known) else float("nan")
    common = [value for chain in errors for value in (chain[-1], float(np.mean(chain)))]
    return [*common, float(np.mean(steps)), off, float(np.median(deviations))]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("inputs", nargs="+", metavar="INPUT")
    parser.add_argument("--weights", default="compact")
    parser.add_argument("--scale", default="auto")
    parser.add_argument("--camera-height", type=float, default=1.65)
    parser.add_argument("--camera")
    parser.add_argument("--truth-noise", type=float, nargs=2, default=(0.0, 0.0), metavar=("M", "RAD"))
    parser.add_argument("--first", type=int, default=0, metavar="N")
    args = parser.parse_args()
    config = EstimatorConfig(scale=args.scale, camera_height_m=args.camera_height)
    noise = np.diag([args.truth_noise[0] ** 2] * 3 + [args.truth_noise[1] ** 2] * 3)
    model = load_model(args.weights)
    rows = []
    for source in args.inputs:
        figures = measure(model, islice(frames_of(source, args.camera), args.first, None), config, noise)
        rows.append([source.rstrip("/").rsplit("/", 1)[-1], *(number(value, 2) for value in figures)])
    heads = ["recording", "pose end", "way", "alone: end", "way", "step", "log true/depth", "sigma"]
    print(text_table(heads, rows))


if __name__ == "__main__":
    main()
