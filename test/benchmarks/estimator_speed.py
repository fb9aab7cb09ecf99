"""Milliseconds of each stage of the estimator on rendered frames, for precisions and thread counts in one run.

python test/benchmarks/estimator_speed.py [--weights W] [--size 375x1242] [--frames N]
"""

from __future__ import annotations

import argparse
import json
import time

import numpy as np
import torch

from featdepth_ros import Estimator, load_model
from featdepth_ros.inference.config import EstimatorConfig
from featdepth_ros.simulation import Simulation, SimulationConfig, default_camera


def main() -> None:
    """Print one JSON line per setting, with medians in milliseconds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", default="compact")
    parser.add_argument("--size", default="375x1242", help="HxW of the images")
    parser.add_argument("--frames", type=int, default=30)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    height, width = (int(side) for side in args.size.split("x"))
    camera = default_camera(width, height)
    frames = list(Simulation(SimulationConfig(frames=args.frames, camera=camera)))
    for precision in ("fp32", "bf16"):
        for threads in (1, 2):
            torch.set_num_threads(threads)
            estimator = Estimator(load_model(args.weights), EstimatorConfig(precision=precision), device=args.device)
            estimator.warm_up((width, height), camera)
            totals, stages = [], []
            for frame in frames:
                start = time.perf_counter()
                estimate = estimator.step(frame.image, frame.camera, frame.stamp_ns)
                totals.append((time.perf_counter() - start) * 1e3)
                stages.append(estimate.stage_ms)
            medians = {name: round(float(np.median([s[name] for s in stages])), 2) for name in stages[0]}
            total = round(float(np.median(totals)), 2)
            print(json.dumps({"precision": precision, "threads": threads, "total_ms": total, **medians}), flush=True)


if __name__ == "__main__":
    main()
