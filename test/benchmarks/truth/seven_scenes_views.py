"""The share of the error on 7-Scenes that is due to its ground truth, which is not registered to the colour image.

python test/benchmarks/truth/seven_scenes_views.py DIR [--weights W] [--first N] [--last N]

The ground truth of 7-Scenes is in the pixels of a Kinect's depth camera, the image in those of its colour camera. The
script compares the network's depth and fused depth with the truth as published, which the protocol requires. It also
compares them with the truth registered to the colour camera by the nominal geometry (`DEPTH_FOCAL_PX`, `BASELINE_M`).
The last row is the error that the protocol gives for a perfect depth of the colour camera.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from featdepth_ros import Estimator, load_model
from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.inference.config import EstimatorConfig
from featdepth_ros.metrics.depth import DepthProtocol, evaluate_image, resize_inverse_depth
from featdepth_ros.recordings.open import open_recording
from featdepth_ros.reporting.tables import text_table

Floats = NDArray[np.float64]

#: Focal length of the depth camera, pixels, and its offset to the right of the colour camera, metres.
DEPTH_FOCAL_PX, BASELINE_M = 585.0, 0.025
COLOUR_CAMERA = "525,525,320,240"
PROTOCOL = DepthProtocol(max_depth=10.0, scale="median")


def seen_by_colour(truth: Floats, camera: CameraModel) -> Floats:
    """Register (H, W) depth of the depth camera to the colour camera; the nearest value counts, 0 is unknown."""
    height, width = truth.shape
    v, u = np.nonzero(np.nan_to_num(truth) > 0)
    z = truth[v, u]
    x = (u - camera.cx) / DEPTH_FOCAL_PX * z - BASELINE_M
    y = (v - camera.cy) / DEPTH_FOCAL_PX * z
    column = np.rint(camera.fx * x / z + camera.cx).astype(int)
    row = np.rint(camera.fy * y / z + camera.cy).astype(int)
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    seen = np.full(truth.shape, np.inf)
    np.minimum.at(seen, (row[inside], column[inside]), z[inside])
    return np.where(np.isfinite(seen), seen, 0.0)


def main() -> None:
    """Parse the command line, compare, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--weights", default="compact-nc")
    parser.add_argument("--first", type=int, default=120)
    parser.add_argument("--last", type=int, default=149)
    args = parser.parse_args()
    estimator = Estimator(load_model(args.weights), EstimatorConfig(output_size="network"))
    rows = []
    for index, frame in enumerate(open_recording(args.folder, camera=COLOUR_CAMERA)):
        if index > args.last:
            break
        estimate = estimator.step(frame.image, frame.camera, frame.stamp_ns)
        if index < args.first or frame.depth is None or frame.camera is None:
            continue
        truth = np.asarray(frame.depth, dtype=np.float64)
        own = seen_by_colour(truth, frame.camera)
        network = estimate.finite_depth if estimate.network_depth is None else estimate.network_depth
        guesses = [resize_inverse_depth(depth, truth.shape) for depth in (network, estimate.finite_depth)]
        both = np.where(own > 0, truth, 0.0)
        pairs = [(g, t) for t in (truth, own) for g in guesses] + [
            (np.where(own > 0, own, 1.0).astype(np.float32), both)
        ]
        found = [evaluate_image(guess, known, PROTOCOL, frame.name) for guess, known in pairs]
        rows.append([np.nan if one is None else one.abs_rel for one in found])
    names = ["network", "fused", "network, truth registered", "fused, truth registered", "a perfect depth"]
    print(
        text_table(
            ["AbsRel, median scaled", ""], [[n, f"{v:.3f}"] for n, v in zip(names, np.mean(rows, 0), strict=True)]
        )
    )


if __name__ == "__main__":
    main()
