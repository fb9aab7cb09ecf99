"""`featdepth refine` from the command line, with the weights that ship, on a rendered drive with a stereo partner."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from featdepth_ros import load_model
from featdepth_ros.cli.main import main
from featdepth_ros.models.base import FeatDepthModel
from featdepth_ros.models.checkpoints import save_model
from featdepth_ros.recordings import write_kitti_odometry
from featdepth_ros.simulation import Simulation, SimulationConfig, default_camera


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rendered")
    config = SimulationConfig(scene="street", seed=3, frames=20, camera=default_camera(128, 64))
    simulation = Simulation(config, threads=1)
    write_kitti_odometry(folder, simulation, simulation.right())
    return folder


def perturbed() -> FeatDepthModel:
    """The weights that ship, whose decoder someone has shaken."""
    model = load_model("compact")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.startswith("decoder") and parameter.ndim > 1:
                parameter.mul_(1 + 0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    return model


@pytest.mark.slow
def test_a_stereo_recording_mends_shaken_weights(recording: Path, tmp_path: Path) -> None:
    weights, output, figures = tmp_path / "w.safetensors", tmp_path / "w2.safetensors", tmp_path / "figures.json"
    save_model(weights, perturbed())
    start = [
        "refine", str(recording), "--weights", str(weights), "--size", "64x128", "--stereo", "--device", "cpu",
        "--work", str(tmp_path / "work"), "--json", str(figures), "--output", str(output),
    ]  # fmt: skip
    assert main([*start, "--steps", "12", "--lr", "3e-4"]) == 0
    found = json.loads(figures.read_text())
    assert {
        "accepted", "reasons", "written", "complete", "steps", "planned_steps", "skipped", "recording", "weights",
        "frames", "train_clips", "held_out_clips", "size", "stereo", "scale_ratio", "scale_ratio_held_out", "before",
        "after", "output", "seconds",
    } == set(found)  # fmt: skip
    before, after = found["before"], found["after"]
    assert found["accepted"] and found["written"] and found["stereo"] and found["steps"] == 12
    assert after["photometric"] < 0.9 * before["photometric"]
    assert after["abs_rel"] < 0.8 * before["abs_rel"]  # metres, which only the partner can tell
    assert before["depth_frames"] == found["held_out_clips"] and before["rpe_deg"] is not None

    old, new = load_model(str(weights)), load_model(str(output))
    image = torch.rand(1, 3, 64, 96)
    assert torch.equal(old.features(image), new.features(image))
    assert not torch.equal(old.depth(image)[0], new.depth(image)[0])
    assert new.info.licence.endswith("+ data terms") and "stereo" in new.info.training

    output.unlink()
    destructive = [*start, "--steps", "2", "--lr", "1.0"]
    assert main(destructive) == 1
    found = json.loads(figures.read_text())
    assert not output.exists() and not found["written"] and found["reasons"] and found["output"] is None
    assert main([*destructive, "--accept-worse"]) == 0
    found = json.loads(figures.read_text())
    assert output.is_file() and found["written"] and not found["accepted"]


def test_mistakes_are_words(recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = str(tmp_path / "w2.safetensors")
    start = ["refine", str(recording), "--output", output]
    for arguments, words in (
        ([*start, "--weights", "compac"], "did you mean 'compact'"),
        ([*start, "--weights", "compact", "--stereo", "image_7"], "no camera 'image_7'"),
        ([*start, "--weights", "compact", "--preset", "kiti"], "did you mean 'kitti'"),
        (["refine", str(tmp_path / "nowhere"), "--weights", "compact", "--output", output], "no recording at"),
    ):
        assert main(arguments) == 1, arguments
        assert words in capsys.readouterr().err
    both = ["--steps", "1", "--epochs", "1"]
    for wrong in (["--size", "60x100"], ["--held-out", "1"], ["--partner-camera", "x"], both):
        with pytest.raises(SystemExit, match="2"):
            main([*start, "--weights", "compact", *wrong])
