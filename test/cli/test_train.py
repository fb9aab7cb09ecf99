"""`featdepth train` from the command line, on frames rendered in the test."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml

from featdepth_ros.cli.main import main
from featdepth_ros.errors import FeatDepthError

CONFIG = {
    "seed": 1,
    "model": {"initial": "none", "name": "tiny"},
    "data": {
        "rendered": {
            "clips": 2, "validation_clips": 1, "frames": 2, "height": 64, "width": 128,
            "scenes": ["street"], "shard_clips": 2,
        },
        "sequence": {"standing": 0.0, "reverse": 0.0},
        "augment": {
            "zoom": [1.0, 1.0], "shift": 0.0, "flip": 0.0, "stretch": 0.0, "brightness": 0.0, "contrast": 0.0,
            "saturation": 0.0, "hue": 0.0, "gamma": 0.0, "grey": 0.0, "blur": 0.0, "haze": 0.0, "noise": 0.0,
        },
    },
    "stages": [{"steps": 24, "sizes": [[64, 96]], "batch_size": 2}],
    "optimiser": {"lr": 2e-3, "encoder_lr_factor": 1.0},
    "schedule": {"kind": "constant", "warmup_steps": 0},
    "engine": {"log_every": 1, "validate_every": 0, "checkpoint_every": 12, "tensorboard": False, "threads": 1},
}  # fmt: skip


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "tiny.yaml"
    file.write_text(yaml.safe_dump(CONFIG))
    return file


@pytest.mark.slow
def test_training_on_rendered_frames_lowers_the_loss(config: Path, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    output, figures = tmp_path / "run", tmp_path / "figures.json"
    assert main(["train", "--config", str(config), "--output", str(output), "--json", str(figures)]) == 0
    records = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    totals = [r["total"] for r in records if r["kind"] == "train"]
    assert len(totals) == 24
    assert sum(totals[-4:]) < 0.6 * sum(totals[:4])
    assert json.loads(figures.read_text())["complete"] is True

    from featdepth_ros import load_model

    model = load_model(str(output / "model.safetensors"))
    assert model.info.name == "tiny" and model.info.scale_kind == "metric" and not model.training

    again = ["train", "--config", str(config), "--output", str(output)]
    assert main(again) == 1  # refuses to write over a run
    assert (
        main([*again, "engine.keep_last=1", "--resume", "stages=[{steps: 26, sizes: [[64, 96]], batch_size: 2}]"]) == 0
    )
    assert json.loads((output / "metrics.jsonl").read_text().splitlines()[-1])["step"] == 26


def test_the_device_is_chosen_as_by_the_other_verbs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from featdepth_training.engine import run

    given: list[str] = []

    def stop_here(device: str, **_: object) -> None:
        given.append(device)
        raise FeatDepthError("enough")

    monkeypatch.setattr(run, "train", stop_here)
    start = ["train", "--config", "overfit", "--output", str(tmp_path / "out")]
    assert main(start) == 1 and main([*start, "--device", "cpu"]) == 1
    assert given == ["auto", "cpu"]


def test_mistakes_are_words(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = str(tmp_path / "out")
    start = ["train", "--config", str(config), "--output", output]
    for arguments, words in (
        ([*start, "optimiser.lrr=1"], "did you mean 'lr'"),
        ([*start, "--resume"], "no checkpoint"),
        ([*start, "--resume", "--finetune", "compact"], "Give one of them"),
        ([*start, "--device", "gpu0"], "is not known; expected auto"),
        ([*start, "data.rendered.scenes=[stret]"], "did you mean 'street'"),
        (["train", "--config", "nowhere", "--output", output], "no recipe 'nowhere'"),
    ):
        assert main(arguments) == 1, arguments
        assert words in capsys.readouterr().err
