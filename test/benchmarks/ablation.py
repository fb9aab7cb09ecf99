"""Ablation of the training: short runs that lack one part each, measured on real recordings.

python test/benchmarks/ablation.py DATA RUNS [--seeds 0,1] [--steps 120] [--arms NAME ...] [--json FILE] [--set K=V ...]

DATA holds the recordings (see `real_recordings`); RUNS is the output folder of tools/train_weights.sh, of which
``caches`` and ``rendered`` are read. Runs are written to ``RUNS/ablation``; existing runs are only measured. Every run
is the recipe ``compact_nc``, but only on small images. It starts from the weights ``compact-open``, which were not
trained on the three measured recordings. Runs train on the first three fifths of each recording and are measured on the
fourth. The last fifth is not used for any choice.
The arm ``not pre-trained`` starts from ImageNet weights, without rendered scenes before or during the run.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from real_recordings import Judging, measure

from featdepth_ros import load_model
from featdepth_ros.reporting.tables import text_table, write_json
from featdepth_training.config.loading import load_config
from featdepth_training.engine.run import train

CACHES = ("kitti_0001", "kitti_00", "seven_scenes", "seven_scenes_far", "tum")
PAIRS = "euroc_pairs"
SUPERVISED = ("depth", "gradient", "rotation", "translation", "flow")
NO_TRUTH = ("data.kind=prepared", *(f"objective.{term}=0" for term in SUPERVISED))
#: Data on which the arms are compared.
VALIDATION = Judging("validation", ("network",))
POSE_ALONE = "then the pose head alone"
ARMS: dict[str, tuple[str, ...]] = {
    "everything": (),
    "no feature-metric term": ("objective.features=0",),
    "no photometric term": ("objective.photometric=0", "objective.features=0.1"),
    "no rendered scenes beside": NO_TRUTH,
    "not pre-trained": (*NO_TRUTH, "model.initial=imagenet"),
    "no pseudo-depth": ("objective.pseudo_depth=0",),
    # The pseudo-depth of drive 0001 comes from its stereo partner.
    "no pseudo-depth, no stereo partners": (
        "objective.pseudo_depth=0",
        "data.sequence.stereo=false",
        "data.prepared.singles=[]",
    ),
    "no camera height": ("objective.ground=0",),
    "repeated border": ("objective.mask_outside=false",),
    "no avenues and lanes": (
        "data.rendered.clips=600",
        "data.rendered.scenes=[street, room, clutter, corridor]",
        "data.rendered.shares=[0.4, 0.4, 0.1, 0.1]",
    ),
    "no lanes, rendered cameras of all heights": (
        "data.rendered.cache={runs}/rendered_all_heights",
        "data.rendered.camera_height_m=0",
        "data.rendered.scenes=[street, avenue, room, clutter, corridor]",
        "data.rendered.shares=[0.25, 0.3, 0.25, 0.1, 0.1]",
    ),
    # It continues from "everything" and trains only the pose head: all other learning rates are negligible.
    POSE_ALONE: (
        "model.initial={everything}",
        "optimiser.lr=1e-9",
        "optimiser.pose_lr_factor=4e5",
        "data.rendered_share=0.25",
        "stages=[{{steps: 40, sizes: [[96, 320]], batch_size: 6}}]",
    ),
}
COLUMNS = (
    ("drive 0001 depth", "abs_rel"),
    ("drive 0001 depth", "abs_rel_unscaled"),
    ("7-Scenes depth", "abs_rel"),
    ("KITTI 00 pose network", "ate_m"),
    ("KITTI 00 pose network", "rpe_m"),
    ("KITTI 00 pose network", "rpe_deg"),
)


def overrides(arm: str, seed: int, steps: int, runs: Path, also: Sequence[str]) -> list[str]:
    """Return the settings of one run; ``also`` are settings of every run."""
    everything = folder("everything", seed, steps, runs, also) / "model.safetensors"
    changes = [change.format(runs=runs, everything=everything) for change in ARMS[arm]]
    names = CACHES if "data.sequence.stereo=false" in ARMS[arm] else (*CACHES, PAIRS)
    shares = (2.5, 3.5, 0.5, 2.5, 0.3, 0.7)[: len(names)]
    return [
        f"seed={seed}",
        f"data.prepared.caches=[{','.join(str(runs / 'caches' / name) for name in names)}]",
        f"data.prepared.shares={list(shares)}",
        f"data.prepared.camera_heights_m={[1.65 * (name == 'kitti_00') for name in names]}",
        "data.prepared.held_out=0.43",
        f"stages=[{{steps: {steps}, sizes: [[96, 320], [96, 320], [128, 192]], batch_size: 6}}]",
        "model.initial=compact-open",
        f"data.rendered.cache={runs / 'rendered'}",
        "schedule.warmup_steps=15",
        "engine.ema_decay=0.97",
        "engine.validate_every=100000",
        "engine.tensorboard=false",
        *changes,
        *also,
    ]


def folder(arm: str, seed: int, steps: int, runs: Path, also: Sequence[str]) -> Path:
    """Return the folder of a run."""
    return runs / "ablation" / "_".join([arm.replace(" ", "_"), str(steps), str(seed), *also])


def run(arm: str, seed: int, steps: int, data: Path, runs: Path, also: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Train, unless the run exists, and measure."""
    output = folder(arm, seed, steps, runs, also)
    weights = output / "model.safetensors"
    if not weights.is_file():
        config = load_config("compact_nc", overrides(arm, seed, steps, runs, also))
        weights = train(config, output, device="cpu").weights
    return measure(data, load_model(weights), VALIDATION)


def main() -> None:
    """Print a line for each run, and the mean of each arm if there are several seeds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--arms", nargs="+", choices=[*ARMS], default=[*ARMS])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="of every run: engine.precision=bf16")
    args = parser.parse_args()
    runs = args.runs.resolve()
    start = measure(args.data, load_model("compact-open"), VALIDATION)
    found: dict[str, list[list[float]]] = {"(start: compact-open)": [_figures(start)]}
    for seed in [int(text) for text in args.seeds.split(",")]:
        for arm in args.arms:
            found.setdefault(arm, []).append(_figures(run(arm, seed, args.steps, args.data, runs, args.set)))
            print(arm, seed, *(f"{value:.3f}" for value in found[arm][-1]), flush=True)
    rows = []
    for arm, values in found.items():
        middle, spread = np.mean(values, 0), np.std(values, 0)
        cells = [f"{m:.3f}" + (f" ± {s:.3f}" if len(values) > 1 else "") for m, s in zip(middle, spread, strict=True)]
        rows.append([arm, str(len(values)), *cells])
    print(text_table(["arm", "runs", *(f"{name} {key}" for name, key in COLUMNS)], rows))
    if args.json is not None:
        write_json(args.json, {"columns": [" ".join(column) for column in COLUMNS], **found})


def _figures(measured: dict[str, dict[str, Any]]) -> list[float]:
    return [float(measured[name][key]) for name, key in COLUMNS]


if __name__ == "__main__":
    main()
