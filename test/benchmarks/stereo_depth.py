"""Depth of weights against disparities of the stereo pairs (OpenCV's semi-global matching).

    python test/benchmarks/stereo_depth.py $DATA/kitti_raw/2011_09_26/2011_09_26_drive_0001_sync \
        --weights compact refined.safetensors --size 128x416 --last 0.2

It is for recordings without true depth. Pairs must be rectified. The evaluation uses Garg's crop, and 0.001 to 80 m.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from numpy.typing import NDArray

from featdepth_ros import load_model
from featdepth_ros.cli.support.arguments import image_size
from featdepth_ros.geometry.rectification import Rectification
from featdepth_ros.metrics.depth import DepthProtocol, ImageErrors, evaluate_image, summarise_depth
from featdepth_ros.models.base import FeatDepthModel
from featdepth_ros.recordings import Frame, open_recording
from featdepth_training.prepare.pseudo_depth import grey, stereo_depth


def matched_depth(frame: Frame) -> NDArray[np.float64]:
    """Return (H, W) metres; 0 without a match, or if left-to-right and right-to-left differ by more than a pixel."""
    assert frame.partner is not None and frame.camera is not None
    camera = frame.camera
    found = stereo_depth(
        grey(frame.image),
        grey(frame.partner.image),
        np.array([camera.fx, camera.fy, camera.cx, camera.cy]),
        frame.partner.T_partner_camera,
    )
    assert found is not None, "the partner is beside the camera"
    return np.nan_to_num(found.astype(np.float64))


@torch.inference_mode()
def predicted_depth(model: FeatDepthModel, frame: Frame, size: tuple[int, int]) -> NDArray[np.float32]:
    """Return the predicted depth (h, w) in metres."""
    assert frame.camera is not None
    rectification = Rectification(frame.camera, (frame.image.shape[1], frame.image.shape[0]), size)
    camera = rectification.camera
    assert camera is not None
    ratio = model.info.focal_ratio(camera.fx, camera.fy) if model.info.focal else 1.0
    low, high = 1 / model.info.max_depth, 1 / model.info.min_depth
    disparity = model.depth(rectification.apply(frame.image))[0][0, 0].numpy()
    return model.info.scale_factor * ratio / (low + (high - low) * disparity)


def main() -> None:
    """Print one line for each weights file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("input")
    parser.add_argument("--weights", nargs="+", required=True)
    parser.add_argument("--size", type=image_size, default=(192, 640))
    parser.add_argument("--last", type=float, default=1.0, help="evaluated share of the recording, from its end")
    args = parser.parse_args()
    recording = open_recording(args.input, partner="auto")
    models = {name: load_model(name) for name in args.weights}
    found: dict[tuple[str, str], list[ImageErrors]] = {}
    for frame in recording.frames_from(round(len(recording) * (1 - args.last))):
        if frame.partner is None:
            continue
        truth = matched_depth(frame)
        for name, model in models.items():
            depth = predicted_depth(model, frame, args.size)
            for scale in ("none", "median"):
                errors = evaluate_image(depth, truth, DepthProtocol(crop="garg", scale=scale))  # type: ignore[arg-type]
                if errors is not None:
                    found.setdefault((name, scale), []).append(errors)
    for (name, scale), images in found.items():
        s = summarise_depth(images)
        print(
            f"{name}, {scale}: AbsRel {s.abs_rel:.3f}, a1 {s.a1:.3f}, RMSE {s.rmse:.2f} m over {s.frames} frames, "
            f"median true / predicted {s.scale_median:.3f}"
        )


if __name__ == "__main__":
    main()
