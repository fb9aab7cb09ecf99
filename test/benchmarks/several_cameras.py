"""CPU time of one, two and four cameras in one estimator, on rendered frames. It prints one JSON line per setting.

python test/benchmarks/several_cameras.py [--weights W] [--size 480x640] [--frames N] [--threads N] [--device D]

Each setting gives the median CPU time in milliseconds for one round (one image of every camera). On a GPU, wall time is
measured instead.

- `forward` is the batched pass through the networks.
- `motion` is tracking and the solver for all cameras.
- `fusion` is the correction of depth.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from featdepth_ros import load_model
from featdepth_ros.inference.config import EstimatorConfig
from featdepth_ros.inference.rig.rig import Rig
from featdepth_ros.inference.rig.shot import Shot
from featdepth_ros.inference.types import Estimate
from featdepth_ros.recordings.frame import Frame

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support" / "worlds"))
from rendered_rig import Mounted, RenderedRig, side

#: Viewing directions of the cameras, degrees to the right of the first one.
YAWS = (0.0, 40.0, -40.0, 80.0)


def measured(
    frames: Sequence[tuple[str, Frame]], mounted: dict[str, Mounted], windows: str, args: argparse.Namespace
) -> dict[str, float]:
    """Return the medians over the rounds, milliseconds.

    Args:
        frames: frames of all cameras, in order; a round is one frame of each camera.
        mounted: the cameras.
        windows: ``none`` (the network's depth, without motion), ``first`` (the others use its motion), or ``all``.
        args: command line arguments.
    """
    names = list(mounted)
    config = EstimatorConfig(precision="fp32", estimate_motion=windows != "none")
    own = names[1:] if windows == "all" else []
    rig = Rig(load_model(args.weights), dict.fromkeys(names, config), names[0], own, device=args.device)
    for name, place in mounted.items():
        rig.mount(name, place.T_first_camera)
    clock = time.perf_counter if rig.device.type == "cuda" else time.process_time
    rounds: list[dict[str, float]] = []
    for first in range(0, len(frames), len(names)):
        shots = [Shot(name, f.image, f.camera, f.stamp_ns) for name, f in frames[first : first + len(names)]]
        started = clock()
        answers = [answer for _, answer in rig.steps(shots)]
        total = (clock() - started) * 1e3
        good = [answer for answer in answers if isinstance(answer, Estimate)]
        assert len(good) == len(names), answers
        stages = {stage: sum(one.stage_ms[stage] for one in good) for stage in ("motion", "fusion")}
        rounds.append({"total": total, "forward": good[0].stage_ms["depth"], **stages})
    settled = rounds[len(rounds) // 3 :]
    return {key: round(float(np.median([one[key] for one in settled])), 1) for key in settled[0]}


def main() -> None:
    """Print one JSON line per setting."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", default="compact")
    parser.add_argument("--size", default="480x640", help="HxW of the images")
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    height, width = (int(size) for size in args.size.split("x"))
    torch.set_num_threads(args.threads)
    if args.device == "cpu":  # stages are measured in CPU time too, because the machine may be busy
        from featdepth_ros.inference import estimator

        estimator.time = _ProcessorTime  # type: ignore[assignment]
    for count in (1, 2, 4):
        cameras = {f"c{i}": side(width, height, yaw, delay_ns=0) for i, yaw in enumerate(YAWS[:count])}
        frames = list(RenderedRig(cameras, frames=args.frames))
        for windows in ("none", "first", "all")[: 3 if count > 1 else 2]:
            figures = measured(frames, cameras, windows, args)
            print(json.dumps({"cameras": count, "size": args.size, "windows": windows, **figures}), flush=True)


class _ProcessorTime:
    """A replacement for the module ``time`` that measures CPU time."""

    perf_counter = staticmethod(time.process_time)


if __name__ == "__main__":
    main()
