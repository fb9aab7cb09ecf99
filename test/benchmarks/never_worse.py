"""Comparison of fused depth with the network's depth in difficult situations: standing, rotation, traffic, blur, gaps.

python test/benchmarks/never_worse.py [--weights W] [--seeds 9001] [--tum DIR] [--only NAME ...] [--json FILE]

It renders each situation (`SITUATIONS`), and runs networks, window and fusion on it. It compares the AbsRel of fused
depth with that of the network's depth for the same frames. Each frame is median scaled to the ground truth. If the
camera stands, only frames with the estimator's state standing count. TUM is the folder of a TUM RGB-D recording with
quick rotation (freiburg1 rpy). It prints the AbsRel of both, their ratio, the ratio of the worst frame, and the states.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featdepth_ros import Estimator, load_model
from featdepth_ros.inference.config import EstimatorConfig
from featdepth_ros.inference.types import Estimate
from featdepth_ros.metrics.depth import DepthProtocol, evaluate_image
from featdepth_ros.models.base import FeatDepthModel
from featdepth_ros.recordings import Frame, open_recording
from featdepth_ros.reporting.tables import number, text_table, write_json
from featdepth_ros.simulation import Simulation, SimulationConfig
from featdepth_ros.simulation.camera_path import Motion, TurnStyle
from featdepth_ros.simulation.faults import Faults
from featdepth_ros.simulation.simulate import default_camera
from featdepth_ros.simulation.traffic.style import traffic_style

#: Size of the rendered images (width, height), and largest evaluated depth of rendered recordings and of TUM, metres.
SIZE, FARTHEST_M = (620, 188), (80.0, 10.0)


@dataclass(frozen=True)
class Situation:
    """A rendered recording in which fusion could fail.

    Attributes:
        settings: settings of `SimulationConfig`.
        left_out: frames that are not delivered.
        standing: whether only standing frames count.
        max_gap_s: setting of the estimator.
    """

    settings: dict[str, Any]
    left_out: range = field(default_factory=lambda: range(0))
    standing: bool = False
    max_gap_s: float = 1.0


def _both(name: str, frames: int, **settings: Any) -> dict[str, Situation]:
    """Return a street and a room with the same settings, which are those of `Situation` or of `SimulationConfig`."""
    own = {key: settings.pop(key) for key in ("left_out", "standing", "max_gap_s") if key in settings}
    scenes = ("street", "room")
    return {f"{name}, {s}": Situation({"scene": s, "frames": frames, **settings}, **own) for s in scenes}


SITUATIONS: dict[str, Situation] = {
    **_both("stands", 60, motion=Motion(stands=((2.0, 4.0),)), standing=True),
    **_both("turns on the spot", 50, motion=Motion(turn=TurnStyle(0.5))),
    **_both("turns about all axes", 50, motion=Motion(turn=TurnStyle(0.5, all_axes=True))),
    **_both("smeared by 25 px", 40, faults=Faults(blur=(10, 30, 25))),
    **_both("gap of 2 s", 60, left_out=range(20, 40)),
    "1 frame/s, street": Situation({"scene": "street", "frames": 30, "rate_hz": 1.0}, max_gap_s=2.0),
    "jam, street": Situation({"scene": "street", "frames": 50, "traffic": traffic_style("jam")}),
    "jam, highway": Situation({"scene": "highway", "frames": 50, "traffic": traffic_style("jam")}),
    "flow, highway": Situation({"scene": "highway", "frames": 50, "traffic": traffic_style("flow")}),
}


@dataclass(frozen=True)
class Comparison:
    """Comparison of fused depth with the network's depth over the frames that count.

    Attributes:
        network, fused: mean AbsRel of each.
        worst: largest ratio of a single frame.
        states: number of all frames in each state.
    """

    network: float
    fused: float
    worst: float
    states: dict[str, int]

    @property
    def ratio(self) -> float:
        """AbsRel of fused depth divided by that of the network's depth."""
        return self.fused / self.network


def frames_of(situation: Situation, seed: int) -> list[Frame]:
    """Render a situation."""
    simulation = Simulation(SimulationConfig(seed=seed, camera=default_camera(*SIZE), **situation.settings))
    return [simulation.frame(index) for index in range(len(simulation)) if index not in situation.left_out]


def compare(
    model: FeatDepthModel, frames: Iterable[Frame], farthest_m: float, standing: bool = False, max_gap_s: float = 1.0
) -> Comparison | None:
    """Run the estimator on frames and return the comparison; None if no frame counts."""
    estimator = Estimator(model, EstimatorConfig(output_size="network", max_gap_s=max_gap_s), device="cpu")
    protocol = DepthProtocol(max_depth=farthest_m, scale="median")
    rows, states = [], Counter[str]()
    for frame in frames:
        estimate = estimator.step(frame.image, frame.camera, frame.stamp_ns)
        state = estimate.motion.state.value
        states[state] += 1
        if frame.depth is None or (standing and state != "standing"):
            continue
        found = [_abs_rel(depth, frame.depth, protocol) for depth in (_network_depth(estimate), estimate.finite_depth)]
        if None not in found:
            rows.append(found)
    if not rows:
        return None
    errors = np.array(rows, dtype=np.float64)
    network, fused = errors.mean(axis=0)
    return Comparison(float(network), float(fused), float((errors[:, 1] / errors[:, 0]).max()), dict(states))


def _network_depth(estimate: Estimate) -> NDArray[np.float32]:
    return estimate.finite_depth if estimate.network_depth is None else estimate.network_depth


def _abs_rel(depth: NDArray[np.float32], truth: NDArray[np.float32], protocol: DepthProtocol) -> float | None:
    found = evaluate_image(depth, truth, protocol)
    return None if found is None else found.abs_rel


def table(found: dict[str, Comparison | None]) -> str:
    """Return a table with one row per situation."""
    rows = []
    for name, one in found.items():
        figures = ["-"] * 5
        if one is not None:
            states = ", ".join(f"{count} {state}" for state, count in one.states.items())
            figures = [number(one.network, 3), number(one.fused, 3), f"{one.ratio:.3f}", f"{one.worst:.2f}", states]
        rows.append([name, *figures])
    return text_table(["situation", "network", "fused", "ratio", "worst frame", "states"], rows)


def measure(
    model: FeatDepthModel, seeds: Sequence[int], only: Sequence[str] = (), tum: Path | None = None
) -> dict[str, Comparison | None]:
    """Return the comparison of every situation and seed.

    Args:
        model: the networks.
        seeds: random seeds of the rendered recordings.
        only: parts of the names of situations; empty: all situations.
        tum: folder of the TUM recording, see the module; None: without it.
    """
    found: dict[str, Comparison | None] = {}
    if tum is not None:
        found["quick rotation, TUM"] = compare(model, open_recording(tum), FARTHEST_M[1])
    for seed in seeds:
        for name, one in SITUATIONS.items():
            if not only or any(part in name for part in only):
                frames = frames_of(one, seed)
                found[f"{name} {seed}"] = compare(model, frames, FARTHEST_M[0], one.standing, one.max_gap_s)
    return found


def main() -> None:
    """Parse the command line, measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", default="compact-nc")
    parser.add_argument("--seeds", type=lambda text: [int(seed) for seed in text.split(",")], default=[9001])
    parser.add_argument("--tum", type=Path)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    found = measure(load_model(args.weights), args.seeds, args.only, args.tum)
    print(table(found))
    if args.json:
        write_json(
            args.json, {name: None if one is None else vars(one) | {"ratio": one.ratio} for name, one in found.items()}
        )


if __name__ == "__main__":
    main()
