"""Metrics of weights on rendered scenes of new seeds: depth and the pose network alone, against exact truth.

python test/benchmarks/rendered_scenes.py [--weights W...] [--seeds 9001,...] [--frames N] [--only NAME...] [--json F]

No training renders these seeds. Each scene of `SCENES` is rendered once for each seed. Depth is compared up to
`FARTHEST_M`, median scaled. Motion is aligned in scale (RPE). The rows are means over the seeds, the last row is the
mean of the scenes.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from recording_figures import depth_figures, motion_figures

from featdepth_ros import load_model
from featdepth_ros.models.base import FeatDepthModel
from featdepth_ros.recordings import Frame
from featdepth_ros.reporting.tables import number, text_table, write_json
from featdepth_ros.simulation import SimulationConfig, default_camera, simulate
from featdepth_ros.simulation.traffic.style import traffic_style

#: Size of the rendered images (width, height), and the largest evaluated depth, metres.
SIZE, FARTHEST_M = (640, 192), 80.0
#: Kind of scene and traffic of each row, by its name.
SCENES: dict[str, tuple[str, str | None]] = {
    "street": ("street", None),
    "avenue": ("avenue", None),
    "highway, flowing traffic": ("highway", "flow"),
    "highway, jam": ("highway", "jam"),
    "street, jam": ("street", "jam"),
    "bridges and a tunnel": ("underpass", None),
    "room": ("room", None),
    "desk": ("desk", None),
    "corridor": ("corridor", None),
    "yard": ("clutter", None),
}
SEEDS = (9001, 9002, 9003, 9004, 9005)
#: The metrics, in the order of the columns.
METRICS = ("abs_rel", "abs_rel_unscaled", "rpe_m", "rpe_deg")


def render(name: str, seed: int, frames: int) -> list[Frame]:
    """Render the frames of a scene of `SCENES`."""
    scene, traffic = SCENES[name]
    style = None if traffic is None else traffic_style(traffic)
    camera = default_camera(*SIZE)
    return list(simulate(SimulationConfig(scene=scene, seed=seed, frames=frames, camera=camera, traffic=style)))


def measure(model: FeatDepthModel, frames: list[Frame]) -> dict[str, float]:
    """Return `METRICS` of one recording; RPE in metres and degrees between neighbouring frames."""
    found = depth_figures(model, frames, "none", FARTHEST_M) | motion_figures(model, frames, "network")
    return {key: float(found[key]) for key in METRICS}


def mean(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """Return the mean of each metric."""
    return {key: float(np.mean([row[key] for row in rows])) for key in METRICS}


def main() -> None:
    """Print a table with a row for each scene and for the mean, and the metrics of each of the weights."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", nargs="+", default=["compact-nc", "compact-open"])
    parser.add_argument("--seeds", type=lambda text: [int(seed) for seed in text.split(",")], default=SEEDS)
    parser.add_argument("--frames", type=int, default=10)
    parser.add_argument("--only", nargs="+", choices=SCENES, default=[*SCENES])
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    models = {weights: load_model(weights) for weights in args.weights}
    figures: dict[str, dict[str, dict[str, float]]] = {weights: {} for weights in models}
    for name in args.only:
        recordings = [render(name, seed, args.frames) for seed in args.seeds]
        for weights, model in models.items():
            figures[weights][name] = mean([measure(model, frames) for frames in recordings])
    for of in figures.values():
        of["mean"] = mean(list(of.values()))
    for weights, of in figures.items():
        print(weights)
        rows = [[name, *(number(one[key], 3) for key in METRICS)] for name, one in of.items()]
        print(text_table(["scene", *METRICS], rows))
    if args.json is not None:
        write_json(args.json, figures)


if __name__ == "__main__":
    main()
