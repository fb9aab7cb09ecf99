"""Normalised errors of poses, steps and scale, to check the estimated covariances.

python test/benchmarks/uncertainty/pose_uncertainty.py INPUT... [--weights W] [--scale S] [--camera-height M]
    [--camera C] [--truth-noise M RAD] [--axes RAD] [--first N]

INPUT is a recording with true poses, or ``street:SEED`` or ``room:SEED`` for 160 rendered frames. The normalised
squared error (NEES) is divided by its degrees of freedom, so 1 is ideal. That of the pose is computed at every tenth
frame and at the last one. It is computed with the full covariance, and with one that treats the scale as independent in
every motion (``alone``). The errors within one drive are correlated. So each value has a 90 % interval beside it, from
simulated drives whose errors follow the covariance.

Ground truth has noise too, which ``--truth-noise`` gives: for KITTI 0.01 m and 0.0005 rad. The poses before and after a
step share most of this noise. So the noise of a step is limited, per axis, to what fourth differences of the true
motions show. If the truth is wrong at the beginning, ``--first`` sets the first frame; `field/truth_of_rotation.py`
shows where. The axes of a rendered camera are exact (``--axes 0``).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice, pairwise

import numpy as np
from numpy.typing import NDArray

from featdepth_ros import Estimator, load_model
from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.inference import odometry
from featdepth_ros.inference.config import EstimatorConfig
from featdepth_ros.inference.odometry import Odometry, PoseUncertainty, covariance_in_base
from featdepth_ros.inference.types import Estimate, Motion, MotionState
from featdepth_ros.metrics.depth import resize_inverse_depth
from featdepth_ros.models.base import FeatDepthModel
from featdepth_ros.recordings.frame import Frame
from featdepth_ros.recordings.open import open_recording
from featdepth_ros.reporting.tables import number, text_table
from featdepth_ros.simulation.simulate import Simulation, SimulationConfig, default_camera

Floats = NDArray[np.float64]
SIZES = {"street": (1241, 376), "room": (640, 480)}
#: Number of simulated drives, and the share of them below and above the interval.
DRAWS, TAIL = 1000, 0.05


def frames_of(source: str, camera: str | None) -> Iterator[Frame]:
    """Yield the frames of a recording, or rendered frames."""
    scene, _, seed = source.partition(":")
    if scene in SIZES and seed:
        config = SimulationConfig(scene=scene, seed=int(seed), frames=160, camera=default_camera(*SIZES[scene]))
        yield from Simulation(config)
    else:
        yield from open_recording(source, camera=camera)


def normalised(found: Floats, true: Floats, covariance: Floats) -> float:
    """Return the normalised squared error per degree of freedom."""
    turned = se3.vector_from_rotation(found[:3, :3] @ true[:3, :3].T)
    error = np.concatenate([found[:3, 3] - true[:3, 3], turned])
    return float(error @ np.linalg.solve(covariance, error)) / 6


def step_noise(motions: list[Floats], noise: Floats) -> Floats:
    """Return the covariance (6, 6) of the truth's noise in one step: as given, but limited by fourth differences.

    The fourth differences of a vehicle's own motion are negligible. Those of white noise with variance s have the
    variance 70 s.
    """
    vectors = np.array([[*m[:3, 3], *se3.vector_from_rotation(m[:3, :3])] for m in motions])
    return np.diag(np.minimum(np.diag(noise), np.mean(np.diff(vectors, 4, axis=0) ** 2, axis=0) / 70))


class Drawn(PoseUncertainty):
    """Simulates drives whose errors follow the covariance, beside the covariance itself. The camera is the base."""

    def reset(self) -> None:
        """Start the simulated drives."""
        super().reset()
        self._random = np.random.default_rng(0)
        self._errors = self._draw(self._P)

    def _draw(self, covariance: Floats) -> Floats:
        """Return (DRAWS, n) random errors with a covariance (n, n)."""
        values, vectors = np.linalg.eigh(covariance)
        drawn = self._random.standard_normal((DRAWS, len(covariance)))
        return np.asarray(drawn * np.sqrt(np.maximum(values, 0.0)) @ vectors.T)

    def follow(self, rotation: Floats, motion: Motion) -> Floats:
        """Append a motion to all drives; return its errors (DRAWS, 6) in the axes of the earlier camera."""
        F, Q = self.transition(rotation, motion.T_previous_current, motion)
        added, before = self._draw(Q), self._errors
        self._errors = before @ F.T + added
        shared = slice(6, 16)  # the common errors of all motions; the pose so far is no error of this one
        own = before[:, shared] @ F[:6, shared].T + added[:, :6]
        self.append(rotation, motion.T_previous_current, motion)
        return own @ se3.adjoint(se3.make(rotation, np.zeros(3)))

    def squared(self, errors: Floats | None, covariance: Floats, noise: Floats) -> Floats:
        """Return (DRAWS,) normalised squared errors, of the pose by default, including random noise of the truth."""
        errors = self._errors[:, :6] if errors is None else errors
        errors = errors + self._draw(noise)
        claimed = covariance + noise
        return np.asarray(np.einsum("ni,ni->n", errors, np.linalg.solve(claimed, errors.T).T)) / 6


def depth_ratio(estimate: Estimate, frame: Frame) -> float:
    """Return the median over a frame of log(true depth / estimated depth); NaN without truth."""
    if frame.depth is None:
        return float("nan")
    true = np.nan_to_num(np.asarray(frame.depth, np.float64))
    seen = (true > 0.1) & (true < 80)
    return float(np.log(np.median(true[seen] / resize_inverse_depth(estimate.depth, true.shape)[seen])))


def bare(estimate: Estimate) -> Estimate:
    """Return the estimate without its images."""
    nothing = np.zeros((0, 0), np.float32)
    return replace(estimate, image=np.zeros((0, 0, 3), np.uint8), depth=nothing, sigma=None, window=None)


def alone(estimate: Estimate) -> Estimate:
    """Return the estimate with a scale that is independent of the earlier ones."""
    return replace(estimate, motion=replace(estimate.motion, scale_log_variance=0.0))


class Figures:
    """Normalised errors of one kind, and those of the simulated drives."""

    def __init__(self) -> None:
        self.found: list[float] = []
        self.drawn: list[Floats] = []

    def add(self, found: float, drawn: Floats) -> None:
        """Add one error and the (DRAWS,) errors of the simulated drives."""
        self.found.append(found)
        self.drawn.append(drawn)

    def told(self, found: float, drawn: Floats) -> list[str]:
        """Return a value, and the 90 % interval of the simulated ones."""
        low, high = np.quantile(drawn, (TAIL, 1 - TAIL))
        return [number(found, 2), f"{low:.2f} to {high:.2f}"]

    @property
    def last(self) -> list[str]:
        """Return the texts for the last error."""
        return self.told(self.found[-1], self.drawn[-1])

    @property
    def mean(self) -> list[str]:
        """Return the texts for the mean error."""
        return self.told(float(np.mean(self.found)), np.mean(self.drawn, axis=0))


def measure(model: FeatDepthModel, frames: Iterator[Frame], config: EstimatorConfig, noise: Floats) -> list[str]:
    """Return a row: NEES of the last pose and on the way, the same with independent scales, step, and scale error."""
    estimator, true, estimates = Estimator(model, config), [], []
    ratios, deviations = [], []
    for frame in frames:
        assert frame.T_world_camera is not None, "the recording has no true poses"
        true.append(frame.T_world_camera)
        estimates.append(estimate := estimator.step(frame.image, frame.camera, frame.stamp_ns))
        ratios.append(depth_ratio(estimate, frame))
        deviations.append(estimate.scale.variance**0.5)
        estimates[-1] = bare(estimate)
    chains, drives = (Odometry(np.eye(4)), Odometry(np.eye(4))), Drawn(np.eye(6))
    moved = [se3.inverse(a) @ b for a, b in pairwise(true)]
    of_step = step_noise(moved, noise)
    pose, step, single = Figures(), Figures(), []
    for index, estimate in enumerate(estimates):
        motion, rotation = estimate.motion, chains[0].pose[:3, :3]
        states = [chain.update(e) for chain, e in zip(chains, (estimate, alone(estimate)), strict=True)]
        if motion.state is MotionState.FIRST:
            continue
        errors = drives.follow(rotation, motion)
        if motion.state is MotionState.TRACKED:
            claimed = covariance_in_base(motion)
            found = normalised(motion.T_previous_current, moved[index - 1], claimed + of_step)
            step.add(found, drives.squared(errors, claimed, of_step))
        if index % 10 == 0 or index == len(true) - 1:
            at, covariance = se3.inverse(true[0]) @ true[index], states[0].pose_covariance
            found = normalised(states[0].T_odom_base, at, covariance + noise)
            pose.add(found, drives.squared(None, covariance, noise))
            single.append(normalised(states[1].T_odom_base, at, states[1].pose_covariance + noise))
    known = np.array(ratios)[np.isfinite(ratios)]
    off = float(np.median(known)) if len(known) else float("nan")
    rest = [single[-1], float(np.mean(single)), off, float(np.median(deviations))]
    return [*pose.last, *pose.mean, *step.mean, *(number(value, 2) for value in rest)]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("inputs", nargs="+", metavar="INPUT")
    parser.add_argument("--weights", default="compact")
    parser.add_argument("--scale", default="auto")
    parser.add_argument("--camera-height", type=float, default=1.65)
    parser.add_argument("--camera")
    parser.add_argument("--truth-noise", type=float, nargs=2, default=(0.0, 0.0), metavar=("M", "RAD"))
    parser.add_argument("--axes", type=float, default=odometry.AXES_RAD, metavar="RAD")
    parser.add_argument("--first", type=int, default=0, metavar="N")
    args = parser.parse_args()
    odometry.AXES_RAD = args.axes
    config = EstimatorConfig(scale=args.scale, camera_height_m=args.camera_height)
    noise = np.diag([args.truth_noise[0] ** 2] * 3 + [args.truth_noise[1] ** 2] * 3)
    model = load_model(args.weights)
    rows = []
    for source in args.inputs:
        figures = measure(model, islice(frames_of(source, args.camera), args.first, None), config, noise)
        rows.append([source.rstrip("/").rsplit("/", 1)[-1], *figures])
    claims = [head for name in ("pose end", "way", "step") for head in (name, "90 %")]
    heads = ["recording", *claims, "alone: end", "way", "log true/depth", "sigma"]
    print(text_table(heads, rows))


if __name__ == "__main__":
    main()
