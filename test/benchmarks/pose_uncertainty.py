"""Normalised errors of poses and steps, and how far the scale is off, beside what the estimate says of both.

python test/benchmarks/pose_uncertainty.py INPUT... [--weights W] [--scale S] [--camera-height M] [--camera C]
    [--truth-noise M RAD] [--axes RAD] [--first N]

INPUT is a recording with true poses, or ``street:SEED`` or ``room:SEED`` for 160 rendered frames. Errors are squared,
divided by what the covariance says, and a degree of freedom: 1 is right. Those of the pose are taken at every tenth
frame and at the last one: with the covariance as it is, and with one that takes the scale for new in every motion
(``alone``). One drive is one draw of errors that hang together. So each figure has beside it where 90 % of such figures
would lie, were the errors drawn as the covariance claims them.

Truth has noise of its own, which ``--truth-noise`` names: of KITTI 0.01 m and 0.0005 rad. The poses before and after a
step share most of it: a step is given no more than fourth differences of the true motions show, axis by axis. Where
truth begins badly, the recording is taken from frame ``--first`` on; `field/truth_of_rotation.py` tells where. The axes
of a rendered camera are exact (``--axes 0``).
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
#: Drives that are drawn, and the share of them below and above the interval.
DRAWS, TAIL = 1000, 0.05


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


def step_noise(motions: list[Floats], noise: Floats) -> Floats:
    """Covariance (6, 6) of the truth's noise in one step: as named, and no more than fourth differences show.

    A vehicle's own motion has next to no fourth differences from frame to frame. White noise of variance s has 70 s.
    """
    vectors = np.array([[*m[:3, 3], *se3.vector_from_rotation(m[:3, :3])] for m in motions])
    return np.diag(np.minimum(np.diag(noise), np.mean(np.diff(vectors, 4, axis=0) ** 2, axis=0) / 70))


class Drawn(PoseUncertainty):
    """Draws drives whose errors are as the covariance claims them, beside the covariance. The camera is the base."""

    def reset(self) -> None:
        """Begin the drives."""
        super().reset()
        self._random = np.random.default_rng(0)
        self._errors = self._draw(self._P)

    def _draw(self, covariance: Floats) -> Floats:
        """(DRAWS, n) errors of a covariance (n, n)."""
        values, vectors = np.linalg.eigh(covariance)
        drawn = self._random.standard_normal((DRAWS, len(covariance)))
        return np.asarray(drawn * np.sqrt(np.maximum(values, 0.0)) @ vectors.T)

    def follow(self, rotation: Floats, motion: Motion) -> Floats:
        """Append a motion to all drives; returns its errors (DRAWS, 6) in the axes of the camera before."""
        F, Q = self.transition(rotation, motion.T_previous_current, motion)
        added, before = self._draw(Q), self._errors
        self._errors = before @ F.T + added
        shared = slice(6, 16)  # what motions have in common; the pose so far is no error of this one
        own = before[:, shared] @ F[:6, shared].T + added[:, :6]
        self.append(rotation, motion.T_previous_current, motion)
        return own @ se3.adjoint(se3.make(rotation, np.zeros(3)))

    def squared(self, errors: Floats | None, covariance: Floats, noise: Floats) -> Floats:
        """(DRAWS,) normalised squared errors; of the pose by default. The truth's noise is drawn too."""
        errors = self._errors[:, :6] if errors is None else errors
        errors = errors + self._draw(noise)
        claimed = covariance + noise
        return np.asarray(np.einsum("ni,ni->n", errors, np.linalg.solve(claimed, errors.T).T)) / 6


def depth_ratio(estimate: Estimate, frame: Frame) -> float:
    """Logarithm of true over estimated depth, the median of a frame; NaN without truth."""
    if frame.depth is None:
        return float("nan")
    true = np.nan_to_num(np.asarray(frame.depth, np.float64))
    seen = (true > 0.1) & (true < 80)
    return float(np.log(np.median(true[seen] / resize_inverse_depth(estimate.depth, true.shape)[seen])))


def bare(estimate: Estimate) -> Estimate:
    """The same estimate without its pictures."""
    nothing = np.zeros((0, 0), np.float32)
    return replace(estimate, image=np.zeros((0, 0, 3), np.uint8), depth=nothing, sigma=None, window=None)


def alone(estimate: Estimate) -> Estimate:
    """The same estimate, its scale taken for independent of those before."""
    return replace(estimate, motion=replace(estimate.motion, scale_log_variance=0.0))


class Figures:
    """Normalised errors of one kind, and those of drawn drives."""

    def __init__(self) -> None:
        self.found: list[float] = []
        self.drawn: list[Floats] = []

    def add(self, found: float, drawn: Floats) -> None:
        """Take one error and those (DRAWS,) of the drives."""
        self.found.append(found)
        self.drawn.append(drawn)

    def told(self, found: float, drawn: Floats) -> list[str]:
        """A figure, and where 90 % of the drawn ones lie."""
        low, high = np.quantile(drawn, (TAIL, 1 - TAIL))
        return [number(found, 2), f"{low:.2f} to {high:.2f}"]

    @property
    def last(self) -> list[str]:
        """Of the last error."""
        return self.told(self.found[-1], self.drawn[-1])

    @property
    def mean(self) -> list[str]:
        """Of the mean error."""
        return self.told(float(np.mean(self.found)), np.mean(self.drawn, axis=0))


def measure(model: FeatDepthModel, frames: Iterator[Frame], config: EstimatorConfig, noise: Floats) -> list[str]:
    """Return pose at the end and on the way, the same with scales alone, step, and scale: error and deviation."""
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
