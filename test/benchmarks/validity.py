"""How often is a depth that the estimator calls valid within 25 % of the truth? On rendered drives and rooms.

python test/benchmarks/validity.py [--weights W] [--frames N] [--seeds 901,902]
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

#: Beyond the seeds that training takes its scenes from.
SEEDS = (901, 902)


@dataclass(frozen=True)
class Precision:
    """Shares of pixels with truth inside the depth range.

    Attributes:
        kept: called valid.
        before: within 25 % of the truth (after one factor for the whole recording), of all.
        after: likewise, of the valid ones.
        rejected: likewise, of those called invalid.
    """

    kept: float
    before: float
    after: float
    rejected: float


def measure(scene: str, seeds: Sequence[int], frames: int, weights: str = "compact") -> Precision:
    """Run the estimator over rendered recordings and compare with their truth."""
    # Depth at the size of the rendered frames, for their truth.
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
        ratio /= np.median(ratio)  # the rule is about shape; the scale has a variance of its own
        within.append(np.maximum(ratio, 1 / ratio) < 1.25)
        kept.append(np.concatenate(valids))
    good, valid = np.concatenate(within), np.concatenate(kept)
    return Precision(float(valid.mean()), float(good.mean()), float(good[valid].mean()), float(good[~valid].mean()))


def main() -> None:
    """Print one JSON line a scene."""
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
