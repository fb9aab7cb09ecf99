"""Share of valid depth that is within 25 % of the ground truth, on rendered drives and rooms.

python test/benchmarks/uncertainty/validity.py [--weights W] [--frames N] [--seeds 901,902]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from featdepth_ros import Estimator, load_model
from featdepth_ros.inference.config import EstimatorConfig
from featdepth_ros.simulation import Simulation, SimulationConfig

#: Seeds of scenes that are not in the training.
SEEDS = (901, 902)


@dataclass(frozen=True)
class Precision:
    """Shares of the pixels whose ground truth is inside the depth range.

    Attributes:
        kept: share of valid pixels.
        before: share of all pixels within 25 % of the truth, after scaling by one factor for the whole recording.
        after: the same share among the valid pixels.
        rejected: the same share among the invalid pixels.
    """

    kept: float
    before: float
    after: float
    rejected: float


def measure(scene: str, seeds: Sequence[int], frames: int, weights: str = "compact") -> Precision:
    """Run the estimator on rendered recordings and compare its depth with their ground truth."""
    # Depth has the size of the rendered frames, for comparison with their ground truth.
    config = EstimatorConfig(output_size="input")
    estimator = Estimator(load_model(weights), config, device="cpu")
    within, kept = [], []
    for seed in seeds:
        estimator.reset()
        ratios, valids = [], []
        for frame in Simulation(SimulationConfig(scene=scene, seed=seed, frames=frames)):
            estimate = estimator.step(frame.image, frame.camera, frame.stamp_ns)
            assert frame.depth is not None
            known = (frame.depth > config.min_depth) & (frame.depth < config.max_depth)
            ratios.append(estimate.finite_depth[known] / frame.depth[known])
            valids.append(estimate.valid[known])
        ratio = np.concatenate(ratios)
        ratio /= np.median(ratio)  # the check is about shape; the uncertainty of the scale is separate
        within.append(np.maximum(ratio, 1 / ratio) < 1.25)
        kept.append(np.concatenate(valids))
    good, valid = np.concatenate(within), np.concatenate(kept)
    return Precision(float(valid.mean()), float(good.mean()), float(good[valid].mean()), float(good[~valid].mean()))


def main() -> None:
    """Print one JSON line per scene."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", default="compact")
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--seeds", default=",".join(map(str, SEEDS)))
    args = parser.parse_args()
    seeds = [int(seed) for seed in args.seeds.split(",")]
    for scene in ("street", "room"):
        figures = asdict(measure(scene, seeds, args.frames, args.weights))
        print(json.dumps({"scene": scene, **{key: round(value, 4) for key, value in figures.items()}}))


if __name__ == "__main__":
    main()
