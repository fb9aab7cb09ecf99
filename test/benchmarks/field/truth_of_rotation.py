"""Check of a recording's ground-truth rotations against rotations from two-view geometry of its images.

python test/benchmarks/field/truth_of_rotation.py INPUT [--topic T] [--frames N]

INPUT is a recording with true poses and a calibration. OpenCV's Lucas-Kanade tracks corners from each frame to the
next, forwards and backwards. The five-point essential matrix with RANSAC gives the rotation. Of this package, only the
readers are used. The result is the median of five draws.
"""

from __future__ import annotations

import argparse

import cv2
import numpy as np
from numpy.typing import NDArray

from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.recordings.open import open_recording
from featdepth_ros.reporting.tables import text_table

Floats = NDArray[np.float64]
#: Largest forward-backward error of a corner and inlier threshold of the essential matrix, pixels; number of draws.
BACK_PX, INLIER_PX, DRAWS = 0.3, 0.4, 5


def seen_rotation(before: NDArray[np.uint8], after: NDArray[np.uint8], K: Floats) -> Floats:
    """Return the rotation vector (3,) of T_before_after in radians, from two grey images."""
    options = {"winSize": (21, 21), "maxLevel": 4}
    start = cv2.goodFeaturesToTrack(before, 2000, 0.003, 8)
    found, forth, _ = cv2.calcOpticalFlowPyrLK(before, after, start, None, **options)
    again, back, _ = cv2.calcOpticalFlowPyrLK(after, before, found, None, **options)
    good = (forth[:, 0] > 0) & (back[:, 0] > 0) & (np.abs(again - start)[:, 0].max(axis=1) < BACK_PX)
    drawn = []
    for seed in range(DRAWS):
        cv2.setRNGSeed(seed)
        E, inliers = cv2.findEssentialMat(start[good], found[good], K, cv2.RANSAC, 0.9999, INLIER_PX)
        _, R, _, _ = cv2.recoverPose(E, start[good], found[good], K, mask=inliers)
        drawn.append(se3.vector_from_rotation(np.asarray(R.T, np.float64)))
    return np.asarray(np.median(drawn, axis=0))


def main() -> None:
    """Print the difference of the true rotation from that of the images for each frame, and its sum, in degrees."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("input")
    parser.add_argument("--topic")
    parser.add_argument("--frames", type=int, default=40)
    args = parser.parse_args()
    before, rows, total = None, [], np.zeros(3)
    for index, frame in enumerate(open_recording(args.input, args.topic)):
        if index > args.frames:
            break
        grey = cv2.cvtColor(frame.image, cv2.COLOR_RGB2GRAY)
        if before is not None:
            assert frame.camera is not None and frame.T_world_camera is not None, "truth and calibration are needed"
            true = se3.vector_from_rotation((se3.inverse(before[1]) @ frame.T_world_camera)[:3, :3])
            off = np.degrees(seen_rotation(before[0], grey, frame.camera.K) - true)
            total += off
            rows.append([str(index), *(f"{value:.3f}" for value in (*off, *total))])
        before = grey, frame.T_world_camera
    print(text_table(["frame", "x", "y", "z", "sum x", "y", "z"], rows))


if __name__ == "__main__":
    main()
