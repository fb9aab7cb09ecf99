"""Fit the table of `inference.sigma`: the size of depth errors by their predictors.

python test/benchmarks/uncertainty/sigma_table.py [--weights W] [--seven-scenes DIR] [--frames N] [--json FILE]

It runs network, window and fusion on rendered recordings (`RECORDINGS`, with seeds that no published result uses). If
given, it also uses the beginning of a 7-Scenes recording (`CHOICE`). It prints the values for
`inference/sigma.py`, and the shares of errors below one and two standard deviations for each recording.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from featdepth_ros import Estimator, load_model
from featdepth_ros.inference import fusion, sigma
from featdepth_ros.inference.config import EstimatorConfig
from featdepth_ros.inference.networks import Networks
from featdepth_ros.inference.window.types import WindowResult
from featdepth_ros.metrics import resize_inverse_depth
from featdepth_ros.recordings import Frame, open_recording
from featdepth_ros.reporting.tables import text_table, write_json
from featdepth_ros.simulation import Simulation, SimulationConfig
from featdepth_ros.simulation.simulate import default_camera

Floats = NDArray[np.float64]

#: Scene, seed and size (width, height) of the rendered recordings.
SMALL, HALF, ROOM, CAR = (640, 192), (620, 188), (640, 480), (1241, 376)
RECORDINGS = (
    ("room", 7001, HALF), ("room", 7006, HALF), ("room", 7101, ROOM), ("corridor", 7003, SMALL),
    ("clutter", 7004, SMALL), ("street", 7001, HALF), ("street", 7007, HALF), ("street", 7101, CAR),
    ("street", 7102, CAR), ("avenue", 7002, SMALL), ("lane", 7005, SMALL), ("room", 7011, HALF), ("room", 7012, HALF),
    ("room", 7013, HALF), ("room", 7102, ROOM), ("room", 7103, ROOM), ("street", 7103, CAR),
)  # fmt: skip
#: Used share of a real recording's frames, from its beginning, and the camera of 7-Scenes' colour images.
CHOICE, CAMERA = 0.8, "525,525,320,240"
#: Number of skipped frames until the window has settled, samples per frame, and range of true depths, metres.
SETTLING, PIXELS, RANGE_M = 8, 200, (0.1, 80.0)
#: Desired shares of the errors below one and below two standard deviations.
BELOW_ONE, BELOW_TWO = 0.73, 0.95
#: Columns of the samples: `sigma.predictors`, points in reach, size of the correction, relative error, recording, 1
#: where fused, log spread.
DISTANCE, EDGE, REACH, CHANGE, ERROR, RECORDING, FUSED, SPREAD = range(8)
KNOTS = (sigma.DISTANCE_KNOTS, sigma.EDGE_KNOTS, sigma.REACH_KNOTS, sigma.CHANGE_KNOTS, sigma.SPREAD_KNOTS)


def samples_of(depth: sigma.Image, support: sigma.Support | None, truth: Floats, recording: int, seed: int) -> Floats:
    """Return (N, 8) rows for `PIXELS` random pixels with truth; the prediction is median scaled to the truth."""
    known = np.nan_to_num(truth)
    inside = (known > RANGE_M[0]) & (known < RANGE_M[1])
    full = resize_inverse_depth(depth, truth.shape)
    full *= np.median(known[inside]) / np.median(full[inside])
    rng = np.random.default_rng(seed)
    row, column = (rng.integers(0, size, PIXELS) for size in truth.shape)
    keep = inside[row, column]
    row, column = row[keep], column[keep]
    error = np.abs(full[row, column] - known[row, column]) / full[row, column]
    height, width = depth.shape
    small = ((row + 0.5) * height / truth.shape[0]).astype(int), ((column + 0.5) * width / truth.shape[1]).astype(int)
    columns = [values[small] for values in sigma.predictors(depth)]
    points = np.zeros(len(row)) if support is None else support.reach[small]
    change = np.zeros(len(row)) if support is None else support.change[small]
    spread = np.zeros(len(row)) if support is None else np.log(np.maximum(support.spread[small], sigma.LEAST_SPREAD))
    of_all = (np.full(len(row), value) for value in (recording, support is not None))
    return np.stack([*columns, points, change, error, *of_all, spread], axis=1)


def collect(frames: Iterable[Frame], weights: str, recording: int) -> Floats:
    """Run networks, window and fusion on a recording, and return samples of every third frame with truth."""
    networks = Networks(load_model(weights), torch.device("cpu"), "auto")
    estimator = Estimator(networks, EstimatorConfig())
    rows = []
    for index, frame in enumerate(frames):
        encoded, window = estimated(estimator, networks, frame)
        if frame.depth is None or index < SETTLING or index % 3:
            continue
        truth = np.asarray(frame.depth, dtype=np.float64)
        rows.append(samples_of(encoded, None, truth, recording, index))
        if window is None or window.camera is None:
            continue
        found = fusion.find_correction(encoded, window.points, window.camera)
        if found is not None:
            change = np.abs(found.log_ratio - np.float32(found.common_log_ratio))
            support = sigma.Support(found.reach, change, found.spread)
            rows.append(samples_of(encoded * np.exp(found.log_ratio), support, truth, recording, index))
    return np.concatenate(rows)


@torch.inference_mode()
def estimated(
    estimator: Estimator, networks: Networks, frame: Frame
) -> tuple[NDArray[np.float32], WindowResult | None]:
    """Return the depth of the network, at its own size, and the window's result for the frame."""
    rectified, stages = estimator.begin(frame.image, frame.camera, frame.stamp_ns)
    encoded = networks.encode(rectified)
    estimate = estimator.complete(encoded, stages)
    return encoded.host_depth * np.float32(estimate.scale.factor), estimate.window


def design(samples: Floats) -> Floats:
    """Return the (N, K) weights of the knots in each sample: linear interpolation, constant beyond the outer knots.

    Samples without fusion have no spread.
    """
    blocks = []
    for column, knots in zip((DISTANCE, EDGE, REACH, CHANGE, SPREAD), KNOTS, strict=True):
        unit = np.eye(len(knots))
        block = np.stack([np.interp(samples[:, column], knots, row) for row in unit], axis=1)
        blocks.append(block * samples[:, FUSED, None] if column == SPREAD else block)
    return np.concatenate(blocks, axis=1)


def fit(samples: Floats, steps: int = 250) -> list[Floats]:
    """Return the heights at the knots of each term.

    Adam minimises the sum of two slightly smoothed pinball losses (Koenker and Bassett, 1978). At their minima, the
    shares below one and two standard deviations are the desired ones. All recordings have the same weight. Samples of
    the network alone have half the weight of fused samples.
    """
    shares, log_error = design(samples), np.log(np.maximum(samples[:, ERROR], 1e-4))
    groups = samples[:, RECORDING] * 2 + samples[:, FUSED]
    _, group, counts = np.unique(groups, return_inverse=True, return_counts=True)
    weight = (1 + samples[:, FUSED]) / counts[group]
    weight /= weight.sum()
    heights = np.linalg.lstsq(shares, log_error, rcond=None)[0]
    first, second = np.zeros_like(heights), np.zeros_like(heights)
    for step in range(steps):
        left = log_error - shares @ heights
        above = sum(
            wanted - 1 + 1 / (1 + np.exp(-(left - offset) / 0.08))
            for wanted, offset in ((BELOW_ONE, 0.0), (BELOW_TWO, np.log(2)))
        )
        slope = -shares.T @ (weight * above)
        first, second = 0.9 * first + 0.1 * slope, 0.99 * second + 0.01 * slope**2
        heights = heights - 0.05 * 0.5 ** (step / 150) * first / (np.sqrt(second) + 1e-7)
    distance, edge, reach, change, spread = np.split(heights, np.cumsum([len(knots) for knots in KNOTS])[:-1])
    middle = len(edge) // 2  # only the sum is given: edge is 0 at its middle knot, reach where no point is, change at 0
    falling = np.minimum.accumulate(reach - reach[0])  # a measured point must not increase sigma
    rising = np.maximum.accumulate(spread)  # contradicting points must not decrease sigma
    return [distance + edge[middle] + reach[0] + change[0], edge - edge[middle], falling, change - change[0], rising]


def shares_below(samples: Floats, heights: list[Floats]) -> list[list[str]]:
    """Return table rows: recording, network or fused, shares below one and two standard deviations."""
    ratio = samples[:, ERROR] / np.exp(design(samples) @ np.concatenate(heights))
    rows = []
    for recording in np.unique(samples[:, RECORDING]):
        for fused in (0, 1):
            chosen = (samples[:, RECORDING] == recording) & (samples[:, FUSED] == fused)
            if chosen.any():
                below = [f"{(ratio[chosen] < k).mean():.2f}" for k in (1, 2)]
                rows.append([str(int(recording)), "fused" if fused else "network", *below])
    return rows


def main() -> None:
    """Parse the command line, fit, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", default="compact-nc")
    parser.add_argument("--seven-scenes", type=Path, help="folder of a 7-Scenes recording")
    parser.add_argument("--frames", type=int, default=60, help="frames per rendered recording")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    parts = [
        collect(
            Simulation(SimulationConfig(scene=scene, seed=seed, frames=args.frames, camera=default_camera(*size))),
            args.weights,
            index,
        )
        for index, (scene, seed, size) in enumerate(RECORDINGS)
    ]
    if args.seven_scenes:
        frames = list(open_recording(args.seven_scenes, camera=CAMERA))
        parts.append(collect(frames[: round(len(frames) * CHOICE)], args.weights, len(RECORDINGS)))
    samples = np.concatenate(parts)
    heights = fit(samples)
    names = ("DISTANCE_LOG", "EDGE_LOG", "REACH_LOG", "CHANGE_LOG", "SPREAD_LOG")
    for name, values in zip(names, heights, strict=True):
        print(f"{name} = {tuple(np.round(values, 2).tolist())}")
    print(text_table(["recording", "depth", "below 1 sigma", "below 2 sigma"], shares_below(samples, heights)))
    if args.json:
        write_json(args.json, {name: values.tolist() for name, values in zip(names, heights, strict=True)})


if __name__ == "__main__":
    main()
