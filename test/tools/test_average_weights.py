"""The mean of several weights, as the tool writes it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from featdepth_ros import load_model
from featdepth_ros.models.build import build_model
from featdepth_ros.models.checkpoints import save_model
from featdepth_ros.models.info import ModelInfo

TOOL = Path(__file__).resolve().parents[2] / "tools" / "average_weights.py"


def written(path: Path, seed: int, architecture: str = "compact") -> Path:
    torch.manual_seed(seed)
    info = ModelInfo(name=f"seed {seed}", architecture=architecture, licence=f"licence {seed}")
    return save_model(path, build_model(architecture, info))


def averaged(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(TOOL), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.slow
def test_every_value_is_the_weighted_mean_and_facts_are_those_of_the_first(tmp_path: Path) -> None:
    first, second = written(tmp_path / "a.safetensors", 1), written(tmp_path / "b.safetensors", 2)
    done = averaged(str(tmp_path / "m.safetensors"), f"{first}=3", f"{second}=1", "--name", "mean")
    assert done.returncode == 0, done.stderr
    models = [load_model(path) for path in (first, second, tmp_path / "m.safetensors")]
    one, other, mean = (model.state_dict() for model in models)
    assert any(not torch.allclose(one[key], other[key].to(one[key].dtype), atol=1e-2) for key in one)
    for key, value in mean.items():
        if value.is_floating_point():
            torch.testing.assert_close(value, 0.75 * one[key] + 0.25 * other[key], rtol=1e-3, atol=1e-6)
    assert models[2].info.name == "mean" and models[2].info.licence == "licence 1"


@pytest.mark.slow
def test_unlike_networks_and_a_single_one_are_refused(tmp_path: Path) -> None:
    one, other = written(tmp_path / "a.safetensors", 1), written(tmp_path / "b.safetensors", 2, "mono_fm_r18")
    alone = averaged(str(tmp_path / "m.safetensors"), f"{one}=1")
    unlike = averaged(str(tmp_path / "m.safetensors"), f"{one}=1", f"{other}=1")
    assert alone.returncode and "expected two or more weights" in alone.stderr
    assert unlike.returncode and "has other layers than" in unlike.stderr
    assert not (tmp_path / "m.safetensors").exists()
