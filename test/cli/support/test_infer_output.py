"""The files of `featdepth infer`: what stands in them. Random weights: nothing here is about accuracy."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from featdepth_ros import Estimator
from featdepth_ros.cli.support.infer_output import InferOutput
from featdepth_ros.errors import FeatDepthError, MissingDependencyError
from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.inference import window_motion
from featdepth_ros.inference.config import EstimatorConfig
from featdepth_ros.models.build import build_model
from featdepth_ros.models.info import ModelInfo
from featdepth_ros.recordings import Frame, open_recording
from featdepth_ros.reporting.trajectory_files import COVARIANCE_FILE

STEP_NS = 100_000_000
CONFIG = EstimatorConfig(input_size=(64, 128), precision="fp32", motion="network")
CAMERAS = {
    "pinhole": CameraModel(160, 96, 120.0, 120.0, 79.5, 47.5),
    "lens": CameraModel(160, 96, 120.0, 120.0, 79.5, 47.5, "plumb_bob", (-0.2, 0.05, 0.0, 0.0, 0.0)),
}


def made(config: EstimatorConfig) -> Estimator:
    """Return an estimator with random weights, the same ones every time."""
    torch.manual_seed(3)
    return Estimator(build_model("compact", ModelInfo(architecture="compact")).eval(), config, device="cpu")


def written(folder: Path, camera: CameraModel, deviation_of_inverse: float | None, frames: int = 3) -> list[np.ndarray]:
    """Run and write a few frames; return the covariances of their motions."""
    estimator = made(CONFIG)
    rng = np.random.default_rng(0)
    covariances = []
    with InferOutput(folder) as output:
        for i in range(frames):
            image = rng.integers(0, 256, (96, 160, 3), dtype=np.uint8)
            estimate = estimator.step(image, camera, i * STEP_NS)
            if deviation_of_inverse is not None:
                sigma = (deviation_of_inverse * estimate.depth**2).astype(np.float32)
                estimate = dataclasses.replace(estimate, sigma=sigma)
            output.add(Frame(image, i * STEP_NS, f"{i:06d}", camera), estimate, estimator)
            covariances.append(estimate.motion.covariance)
        output.finish_files()
    return covariances


@pytest.mark.parametrize("camera", CAMERAS)
def test_sigma_is_that_of_the_depth_beside_it(tmp_path, camera):
    written(tmp_path / "out", CAMERAS[camera], 0.01)
    for i in range(3):
        depth = np.load(tmp_path / "out" / "depth" / f"{i:06d}.npy")
        sigma = np.load(tmp_path / "out" / "sigma" / f"{i:06d}.npy")
        assert sigma.dtype == np.float32 and sigma.shape == (96, 160)
        # One deviation of inverse depth everywhere: resampling cannot change it.
        np.testing.assert_allclose(sigma, 0.01 * depth**2, rtol=1e-4)


@pytest.mark.usefixtures("unjudged_motion")
def test_covariances_stand_in_the_order_of_the_frames(tmp_path):
    covariances = written(tmp_path / "out", CAMERAS["pinhole"], None)
    found = np.load(tmp_path / "out" / COVARIANCE_FILE)
    np.testing.assert_array_equal(found, np.stack(covariances))
    assert found.shape == (3, 6, 6) and found[0, 0, 0] >= 100 and found[1, 0, 0] < 100
    assert sorted(path.name for path in (tmp_path / "out" / "sigma").iterdir()) == sorted(
        path.name for path in (tmp_path / "out" / "depth").iterdir()
    )


def test_an_earlier_runs_sigma_is_not_left_behind(tmp_path):
    written(tmp_path / "out", CAMERAS["pinhole"], 0.01)
    with pytest.raises(FeatDepthError, match="sigma"):
        InferOutput(tmp_path / "out")
    with InferOutput(tmp_path / "out", overwrite=True):
        assert not (tmp_path / "out" / "sigma").exists()
        assert not (tmp_path / "out" / COVARIANCE_FILE).exists()


def test_the_summary_tells_that_numba_is_missing(tmp_path, monkeypatch):
    cv2.imwrite(str(tmp_path / "a.png"), np.full((96, 160, 3), 90, np.uint8))
    recording = open_recording(tmp_path / "a.png")

    def notes(motion: str) -> list[str]:
        estimator = made(dataclasses.replace(CONFIG, motion=motion))
        with InferOutput(tmp_path / "out", overwrite=True) as output:
            for frame in recording:
                output.add(frame, estimator.step(frame.image, CAMERAS["pinhole"], frame.stamp_ns), estimator)
            output.finish_files()
            return output.summary(estimator, recording, seconds=1.0, weights="", source="")["notes"]

    monkeypatch.setattr(window_motion, "window_is_available", lambda: False)
    assert notes("network") == recording.notes
    (added,) = set(notes("auto")) - set(recording.notes)
    assert "pip install numba" in added and "pose network" in added
    for asked in ({"motion": "window"}, {"motion": "auto", "depth": "fused"}):
        with pytest.raises(MissingDependencyError, match="needs numba"):
            made(dataclasses.replace(CONFIG, **asked))
