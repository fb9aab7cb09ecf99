"""Benchmarks of self-supervised training: depth from random weights, and the effect of the feature-metric term.

python test/benchmarks/learning.py [--seeds 0,1,2] [--output DIR] [--json FILE]
    trains the recipe ``learning`` from random weights and compares held-out depth with a constant map. The exit code is
    1 if the error of any seed is above 0.6 times that of the constant map.
python test/benchmarks/learning.py --textureless [--seeds 0] ...
    trains twice per seed on rooms of nearly one colour, from ImageNet, with and without the feature-metric term.

The held-out scenes are in no training clip. Each prediction (and the constant map) is median scaled per image.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from featdepth_ros import load_model
from featdepth_ros.losses.objective import depth_from_disparity
from featdepth_ros.metrics import DepthProtocol, evaluate_image, summarise_depth
from featdepth_training.config.loading import load_config
from featdepth_training.config.schema import TrainConfig
from featdepth_training.data.samples import ClipDataset, validation_batches
from featdepth_training.engine.open_data import open_data
from featdepth_training.engine.run import train

#: Largest accepted ratio of the networks' error to that of a constant map.
LIMIT = 0.6
PROTOCOL = DepthProtocol(min_depth=0.1, max_depth=80.0, scale="median")
#: Both arms freeze the encoder's first block, whose map the feature-metric term compares.
TEXTURELESS = (
    "data.rendered.scenes=[textureless]",
    "data.rendered.baseline_m=0.15",
    "model.initial=imagenet",
    "model.frozen_blocks=1",
    "model.norm_momentum=0",
    "optimiser.encoder_lr_factor=0.3",
)
ARMS = {"baseline": "objective.features=0", "feature-metric": "objective.features=1.0e-3"}


@dataclass(frozen=True)
class Row:
    """A run: ``abs_rel`` and ``a1`` of the networks, AbsRel ``flat`` of a constant map, and ``ratio`` of the errors."""

    arm: str
    seed: int
    abs_rel: float
    a1: float
    flat: float
    ratio: float
    cpu_s: float


def measure(config: TrainConfig, weights: Path, output: Path) -> tuple[float, float, float]:
    """Return AbsRel and a1 (within 1.25) of the weights, and AbsRel of a constant map, on the held-out clips."""
    model = load_model(weights)
    config, _, held_out = open_data(config, output, silent=True)
    learned, flat = [], []
    for batch in validation_batches(ClipDataset(held_out, config.data.sequence, None, 0), config.stages[-1].sizes, 8):
        with torch.no_grad():
            disparity = model.depth(batch.images[:, 0].float() / 255.0)[0]
        depth = depth_from_disparity(disparity, model.info.min_depth, model.info.max_depth)[:, 0].numpy()
        for guess, truth in zip(depth, batch.depth[:, 0, 0].numpy(), strict=True):
            learned.append(evaluate_image(guess, truth, PROTOCOL))
            flat.append(evaluate_image(np.ones_like(truth), truth, PROTOCOL))
    summary = summarise_depth([errors for errors in learned if errors is not None])
    return summary.abs_rel, summary.a1, summarise_depth([errors for errors in flat if errors is not None]).abs_rel


def run(arm: str, seed: int, output: Path, cache: Path, overrides: Sequence[str]) -> Row:
    """Train once and measure."""
    config = load_config("learning", [f"seed={seed}", f"data.rendered.cache={cache}", *overrides])
    open_data(config, output)  # rendering is shared by all runs and not part of their time
    started = time.process_time()
    outcome = train(config, output, device="cpu")
    cpu_s = time.process_time() - started
    abs_rel, a1, flat = measure(config, outcome.weights, output)
    return Row(arm, seed, abs_rel, a1, flat, abs_rel / flat, cpu_s)


def table(rows: Sequence[Row]) -> str:
    """Return the rows and the mean of each arm as a Markdown table."""
    lines = ["| arm | seed | AbsRel | within 25 % | flat map | ratio | CPU s |", "|---|---|---|---|---|---|---|"]
    for arm in dict.fromkeys(row.arm for row in rows):
        mine = [row for row in rows if row.arm == arm]
        figures = [[r.abs_rel, r.a1, r.flat, r.ratio, r.cpu_s] for r in mine]
        named = [(str(row.seed), values) for row, values in zip(mine, figures, strict=True)]
        for seed, (abs_rel, a1, flat, ratio, cpu_s) in [*named, ("mean", np.mean(figures, 0).tolist())]:
            lines.append(f"| {arm} | {seed} | {abs_rel:.3f} | {a1:.3f} | {flat:.3f} | {ratio:.3f} | {cpu_s:.0f} |")
    return "\n".join(lines)


def main() -> int:
    """Train, measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--output", type=Path, default=Path("runs/learning_benchmark"))
    parser.add_argument("--textureless", action="store_true")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    seeds = [int(seed) for seed in args.seeds.split(",")]
    name = "textureless" if args.textureless else "street"
    arms = ARMS if args.textureless else {"from scratch": ""}
    rows: list[Row] = []
    for seed in seeds:
        for arm, override in arms.items():
            overrides = [*TEXTURELESS, override] if args.textureless else []
            folder = args.output / f"{name}_{arm.replace(' ', '_')}_{seed}"
            rows.append(run(arm, seed, folder, args.output / f"cache_{name}", overrides))
            print(table(rows[-1:]).splitlines()[2], flush=True)
    print(table(rows))
    if args.json:
        args.json.write_text(json.dumps([asdict(row) for row in rows], indent=1), encoding="utf-8")
    return int(not args.textureless and max(row.ratio for row in rows) > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
