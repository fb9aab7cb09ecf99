"""`featdepth infer`: its files hold what the estimator said, and its options reach it."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from featdepth_ros import Estimator
from featdepth_ros.cli.main import main
from featdepth_ros.errors import FeatDepthError
from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.inference import estimator as estimator_module
from featdepth_ros.inference.config import EstimatorConfig
from featdepth_ros.messages.colours import depth_colours
from featdepth_ros.models.base import FeatDepthModel
from featdepth_ros.models.build import build_model
from featdepth_ros.models.checkpoints import load_model, save_model
from featdepth_ros.models.info import ModelInfo

CAMERA = CameraModel(160, 96, 93.0, 93.0, 79.5, 47.5)
SIZE = (64, 96)
FAST = ["--camera", "93,93,79.5,47.5", "--device", "cpu", "--precision", "fp32", "--input-size", "64x96"]


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four pictures of noise in a folder, and random weights beside it."""
    folder = tmp_path_factory.mktemp("infer")
    (folder / "shots").mkdir()
    for index in range(4):
        image = np.random.default_rng(index).integers(0, 256, (96, 160, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / "shots" / f"shot{index}.png"), image[:, :, ::-1])
    torch.manual_seed(3)
    info = ModelInfo(architecture="compact", focal=(0.58, 1.92), scale_kind="metric")
    save_model(folder / "weights.safetensors", build_model("compact", info).eval())
    return folder


def infer(recording: Path, output: Path, *options: str) -> dict[str, object]:
    words = ["infer", str(recording / "shots"), "--output", str(output), "--weights"]
    assert main([*words, str(recording / "weights.safetensors"), *FAST, *options]) == 0
    summary: dict[str, object] = json.loads((output / "summary.json").read_text())
    return summary


@pytest.mark.usefixtures("unjudged_motion")
def test_the_files_hold_what_the_estimator_says(recording: Path, tmp_path: Path) -> None:
    summary = infer(
        recording, tmp_path / "out", "--motion", "network", "--rate", "20", "--min-depth", "0.02", "--max-depth", "0.04"
    )
    model: FeatDepthModel = load_model(recording / "weights.safetensors")
    config = EstimatorConfig(input_size=SIZE, precision="fp32", motion="network", min_depth=0.02, max_depth=0.04)
    estimator, pose, poses = Estimator(model, config, device="cpu"), np.eye(4), []
    for index in range(4):
        image = np.random.default_rng(index).integers(0, 256, (96, 160, 3), dtype=np.uint8)
        estimate = estimator.step(image, CAMERA, index * 50_000_000)
        pose = pose @ estimate.motion.T_previous_current
        poses.append(pose)
        depth = np.load(tmp_path / "out" / "depth" / f"shot{index}.npy")
        np.testing.assert_allclose(depth, estimator.to_delivered(estimate.depth), rtol=1e-5)
        valid = cv2.imread(str(tmp_path / "out" / "valid" / f"shot{index}.png"), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(valid, 255 * estimator.to_delivered(estimate.valid).astype(np.uint8))
        preview = cv2.imread(str(tmp_path / "out" / "preview" / f"shot{index}.png"))[:, :, ::-1]
        np.testing.assert_array_equal(preview[:96], image)
    assert depth.dtype == np.float32 and 0 < (valid > 0).mean() < 1
    kitti = np.loadtxt(tmp_path / "out" / "trajectory.kitti.txt").reshape(-1, 3, 4)
    np.testing.assert_allclose(kitti, [p[:3] for p in poses], atol=1e-6)
    assert np.linalg.norm(se3.vector_from_rotation(pose[:3, :3])) > 1e-4  # or else the order would not matter
    tum = np.loadtxt(tmp_path / "out" / "trajectory.tum.txt")
    np.testing.assert_allclose(tum[:, 0], [0.0, 0.05, 0.1, 0.15], atol=1e-9)
    for row, expected in zip(tum, poses, strict=True):
        np.testing.assert_allclose(se3.from_quaternion(row[1:4], row[4:]), expected, atol=1e-6)
    assert summary["scale_kind"] == "metric_unverified" and summary["frames"] == 4 and summary["calibration"] == "known"
    assert (summary["motion"], summary["depth"], summary["backend"]) == ("network", "network", "torch")
    assert summary["motion_states"] == {"first": 1, "tracked": 3}


@pytest.mark.usefixtures("unjudged_motion")
def test_options_of_scale_reach_the_estimator(recording: Path, tmp_path: Path) -> None:
    plain = infer(recording, tmp_path / "plain", "--scale", "relative")
    told = infer(recording, tmp_path / "told", "--scale", "factor", "--scale-factor", "3")
    assert (plain["scale_source"], told["scale_source"]) == ("none", "factor")
    one, three = (np.load(tmp_path / name / "depth" / "shot2.npy") for name in ("plain", "told"))
    np.testing.assert_allclose(three, 3 * one, rtol=1e-5)


def test_every_option_reaches_the_estimator(recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, object] = {}

    def keep(model: FeatDepthModel, config: EstimatorConfig, device: str) -> None:
        given.update(model=model, config=config, device=device)
        raise FeatDepthError("enough")

    monkeypatch.setattr(estimator_module, "Estimator", keep)
    options = (
        "--precision bf16 --input-size 32x64 --depth fused --motion window --scale camera_height --scale-factor 3 "
        "--camera-height 0.7 --min-depth 0.3 --max-depth 30 --device cpu"
    )
    start = ["infer", str(recording / "shots"), "--output", str(tmp_path / "out"), "--weights"]
    assert main([*start, str(recording / "weights.safetensors"), *options.split()]) == 1
    assert given["config"] == EstimatorConfig(
        precision="bf16",
        input_size=(32, 64),
        depth="fused",
        motion="window",
        scale="camera_height",
        scale_factor=3.0,
        camera_height_m=0.7,
        min_depth=0.3,
        max_depth=30.0,
    )
    assert given["device"] == "cpu"


def test_a_word_that_is_gone_names_the_one_in_its_place(
    recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["infer", str(recording / "shots"), "--output", str(tmp_path / "out"), "--motion", "aligned"])
    assert ended.value.code == 2 and "use 'window' instead" in capsys.readouterr().err


@pytest.mark.usefixtures("unjudged_motion")
def test_a_window_that_cannot_run_is_told(recording: Path, tmp_path: Path) -> None:
    words = ["infer", str(recording / "shots"), "--output", str(tmp_path / "out"), "--device", "cpu"]
    words += ["--weights", str(recording / "weights.safetensors"), "--precision", "fp32", "--input-size", "64x96"]
    for motion, count in (("window", 1), ("auto", 0)):
        assert main([*words, "--motion", motion, "--overwrite"]) == 0
        summary = json.loads((tmp_path / "out" / "summary.json").read_text())
        assert summary["motion"] == "network"
        assert (
            len([note for note in summary["notes"] if "'window' was requested and 'network' was used" in note]) == count
        )


def test_near_is_bright() -> None:
    ramp = np.linspace(1.0, 40.0, 64, dtype=np.float32)[None].repeat(2, axis=0)
    brightness = depth_colours(ramp, 1.0, 40.0).astype(int).sum(axis=2)[0]
    assert brightness[0] > brightness[8] > brightness[-1]


def test_results_are_not_overwritten_unasked(
    recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    infer(recording, tmp_path / "out")
    (tmp_path / "out" / "depth" / "old.npy").write_bytes(b"")
    again = ["infer", str(recording / "shots"), "--output", str(tmp_path / "out"), "--weights"]
    assert main([*again, str(recording / "weights.safetensors"), *FAST]) == 1
    assert "--overwrite" in capsys.readouterr().err
    infer(recording, tmp_path / "out", "--overwrite")
    assert sorted(p.stem for p in (tmp_path / "out" / "depth").iterdir()) == [f"shot{i}" for i in range(4)]
