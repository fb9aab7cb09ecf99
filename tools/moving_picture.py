"""Create the README's animation from a rendered drive: tracks, fused depth, sigma, and estimated and true path.

python tools/moving_picture.py OUTPUT.webp [--scene street] [--seed 8] [--seconds 9] [--weights W] [--quality 45]

It shows the output of the estimator, frame by frame and without later corrections: the path is the sum of the motions.
All images are rendered by this package. The script needs Pillow, which is installed with matplotlib.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from featdepth_ros import Estimator, load_model
from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.inference.config import EstimatorConfig
from featdepth_ros.inference.types import Estimate
from featdepth_ros.messages.colours import SceneRange, depth_colours
from featdepth_ros.simulation import Simulation, SimulationConfig
from featdepth_ros.simulation.simulate import default_camera

Picture = NDArray[np.uint8]

#: Rate (Hz), size of a panel (width, height), size of the rendered images, and number of frames before the first shown.
RATE_HZ, PANEL, RENDERED, SETTLING = 10, (416, 128), (832, 256), 12
#: Ratio of sigma to depth at the end of the colour scale.
MOST_SIGMA = 0.4
#: RGB colours of the true and the estimated path, and of tracks with and without measured depth.
TRUTH, ESTIMATE, MEASURED, NEW = (150, 150, 150), (0, 114, 178), (86, 220, 120), (200, 200, 200)
BACKGROUND, TEXT = 250, (40, 40, 40)
#: Least information (inverse variance of log depth) of a track with measured depth.
KNOWN = 25.0


def with_tracks(estimate: Estimate) -> Picture:
    """Return the image with the tracks of the window."""
    shown = cv2.resize(estimate.image, PANEL, interpolation=cv2.INTER_AREA)
    if estimate.window is None or estimate.window.camera is None:
        return np.asarray(shown, np.uint8)
    points, camera = estimate.window.points, estimate.window.camera
    scale = np.array([PANEL[0] / camera.width, PANEL[1] / camera.height])
    for pixel, information in zip((points.pixels + 0.5) * scale - 0.5, points.information, strict=True):
        place = (round(float(pixel[0])), round(float(pixel[1])))
        cv2.circle(shown, place, 1, MEASURED if information > KNOWN else NEW, -1, cv2.LINE_AA)
    return np.asarray(shown, np.uint8)


def with_sigma(estimate: Estimate) -> Picture:
    """Return an image of sigma divided by depth; dark is certain, bright is uncertain."""
    assert estimate.sigma is not None
    share = np.clip(estimate.sigma / estimate.finite_depth / MOST_SIGMA, 0, 1)
    coloured = cv2.applyColorMap((share * 255).astype(np.uint8), cv2.COLORMAP_VIRIDIS)[..., ::-1]
    return np.asarray(cv2.resize(coloured, PANEL, interpolation=cv2.INTER_AREA), np.uint8)


def paths(truth: NDArray[np.float64], estimate: NDArray[np.float64], now: int) -> Picture:
    """Return a plot of the true and the estimated path up to ``now``, from above, with forward to the right.

    Both paths are (N, 4, 4) poses.
    """
    panel = np.full((PANEL[1], PANEL[0], 3), BACKGROUND, np.uint8)
    both = np.concatenate([truth[:, :3, 3], estimate[:, :3, 3]])[:, [2, 0]]
    low, high = both.min(axis=0), both.max(axis=0)
    zoom = min((PANEL[0] - 40) / max(high[0] - low[0], 1e-3), (PANEL[1] - 50) / max(high[1] - low[1], 1e-3))

    def drawn(poses: NDArray[np.float64]) -> NDArray[np.int32]:
        places = (poses[:, :3, 3][:, [2, 0]] - low) * zoom + [20, 30]
        return np.rint(places * 16).astype(np.int32)

    cv2.polylines(panel, [drawn(truth)], False, TRUTH, 3, cv2.LINE_AA, 4)
    cv2.polylines(panel, [drawn(estimate[: now + 1])], False, ESTIMATE, 2, cv2.LINE_AA, 4)
    head = drawn(estimate[now : now + 1])[0]
    cv2.circle(panel, (int(head[0]), int(head[1])), 4 * 16, ESTIMATE, -1, cv2.LINE_AA, 4)
    return panel


def named(panel: Picture, name: str) -> Picture:
    """Return the panel with its name above it."""
    strip = np.full((18, PANEL[0], 3), BACKGROUND, np.uint8)
    cv2.putText(strip, name, (4, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.42, TEXT, 1, cv2.LINE_AA)
    return np.concatenate([strip, panel])


def frames(scene: str, seed: int, seconds: float, weights: str) -> list[Picture]:
    """Run the estimator on a rendered drive and return the frames of the animation."""
    count = SETTLING + round(seconds * RATE_HZ)
    camera = default_camera(*RENDERED)
    simulation = Simulation(SimulationConfig(scene=scene, seed=seed, frames=count, rate_hz=RATE_HZ, camera=camera))
    estimator = Estimator(load_model(weights), EstimatorConfig(), device="cpu")
    span, pose, estimates, poses = SceneRange(), np.eye(4), [], []
    for frame in simulation:
        estimates.append(estimator.step(frame.image, frame.camera, frame.stamp_ns))
        pose = se3.orthonormalised(pose @ estimates[-1].motion.T_previous_current)
        poses.append(pose)
    start = se3.inverse(simulation.poses[SETTLING])
    truth = np.stack([start @ T for T in simulation.poses[SETTLING:]])
    start = se3.inverse(poses[SETTLING])
    estimated = np.stack([start @ T for T in poses[SETTLING:]])
    shown = []
    for now, estimate in enumerate(estimates[SETTLING:]):
        depth = np.clip(estimate.finite_depth, estimate.min_depth, estimate.max_depth)
        coloured = cv2.resize(depth_colours(depth, *span.update(depth)), PANEL, interpolation=cv2.INTER_AREA)
        metres = float(np.linalg.norm(np.diff(estimated[: now + 1, :3, 3], axis=0), axis=1).sum())
        true_metres = float(np.linalg.norm(np.diff(truth[: now + 1, :3, 3], axis=0), axis=1).sum())
        upper = [named(with_tracks(estimate), "image and tracks"), named(np.asarray(coloured, np.uint8), "fused depth")]
        lower = [
            named(with_sigma(estimate), f"sigma / depth, 0 (dark) to {MOST_SIGMA:g}"),
            named(paths(truth, estimated, now), f"path from above: {metres:.0f} m, true (grey) {true_metres:.0f} m"),
        ]
        shown.append(np.concatenate([np.concatenate(upper, 1), np.concatenate(lower, 1)]))
    return shown


def main() -> None:
    """Parse the command line and write the animation."""
    from PIL import Image

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--scene", default="street")
    parser.add_argument("--seed", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=9.0)
    parser.add_argument("--weights", default="compact-nc")
    parser.add_argument("--quality", type=int, default=45)
    args = parser.parse_args()
    pictures = [Image.fromarray(picture) for picture in frames(args.scene, args.seed, args.seconds, args.weights)]
    pictures[0].save(
        args.output, save_all=True, append_images=pictures[1:], duration=1000 // RATE_HZ, loop=0, method=4,
        quality=args.quality,
    )  # fmt: skip
    size = pictures[0].size
    print(f"{args.output}: {len(pictures)} frames of {size[0]}x{size[1]}, {args.output.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
