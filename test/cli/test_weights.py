"""``featdepth weights``: what it prints and writes, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from featdepth_ros.cli.main import main
from featdepth_ros.models.build import build_model
from featdepth_ros.models.checkpoints import load_model


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("weights") / "autoencoder.pth"
    torch.manual_seed(0)
    state = build_model("autoencoder_r18").state_dict()
    content = {"meta": {"epoch": 40}, "state_dict": state, "optimizer": {"state": {}, "param_groups": []}}
    torch.save(content, file, _use_new_zipfile_serialization=False)
    return file


def test_info_tells_the_facts(published: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figures_file = tmp_path / "figures.json"
    assert main(["weights", "info", str(published), "--preset", "kitti", "--json", str(figures_file)]) == 0
    text = capsys.readouterr().out
    assert "autoencoder_r18" in text and "metric, 36 m a unit" in text and "2,364,476 parameters" in text
    figures = json.loads(figures_file.read_text())
    assert figures["parameters"]["Decoder"] == 2_364_476
    assert figures["nets"] == ["features", "reconstruction"]
    assert figures["input_size"] == [320, 1024] and figures["scale_factor"] == 36.0
    assert figures["file_bytes"] == published.stat().st_size


def test_import_writes_what_load_model_reads(
    published: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target, figures_file = tmp_path / "kitti.safetensors", tmp_path / "figures.json"
    arguments = ["weights", "import", str(published), str(target), "--preset", "kitti", "--fp16"]
    assert main([*arguments, "--json", str(figures_file)]) == 0
    assert "dropped         meta (epoch 40), optimizer state" in capsys.readouterr().out
    assert json.loads(figures_file.read_text())["dropped"] == ["meta (epoch 40)", "optimizer state"]
    assert target.stat().st_size < 0.55 * published.stat().st_size
    before, after = load_model(published, preset="kitti"), load_model(target)
    assert after.info == before.info
    image = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(before.features(image), after.features(image), atol=5e-3, rtol=0)


def test_mistakes_end_with_a_message(published: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["weights", "info", str(tmp_path / "absent.pth")]) == 1
    assert main(["weights", "import", str(published), str(tmp_path / "x.pth"), "--preset", "kitti"]) == 1
    assert main(["weights", "info", str(published), "--preset", "kity"]) == 1
    assert main(["weights", "info", str(published), "--preset", "nyu", "--json", str(published / "f")]) == 1
    errors = capsys.readouterr().err
    assert "no weights at" in errors and "ends in .safetensors" in errors and "did you mean 'kitti'" in errors
    assert "cannot be written" in errors and "Traceback" not in errors
    with pytest.raises(SystemExit) as caught:
        main(["weights"])
    assert caught.value.code == 2
