"""Checkpoints of other people's training loops: books beside the tensors, numpy's numbers, other keys."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from featdepth_ros import load_model
from featdepth_ros.errors import CheckpointError
from featdepth_ros.models.build import build_model
from featdepth_ros.models.info import ModelInfo
from featdepth_ros.models.weights_io import read_weights


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    return dict(build_model("compact", ModelInfo(name="x")).state_dict())


def _saved(path: Path, content: Any) -> Path:
    torch.save(content, path)
    return path


@pytest.mark.parametrize("key", ["state_dict", "model", "model_state_dict", "net"])
def test_where_the_tensors_lie(tmp_path: Path, state: dict[str, Tensor], key: str) -> None:
    content = {key: state, "optimizer_state_dict": {}, "epoch": 3}
    weights = read_weights(_saved(tmp_path / "w.pth", content))
    assert weights.state.keys() == state.keys() and "epoch" in weights.dropped


@pytest.mark.parametrize(
    "value", [np.float64(0.1), np.float32(0.1), np.int64(3), np.bool_(True), np.arange(3.0), np.array(2)], ids=repr
)
def test_numbers_of_numpy_are_data(tmp_path: Path, state: dict[str, Tensor], value: Any) -> None:
    if tuple(int(part) for part in torch.__version__.split(".")[:2]) < (2, 6):
        pytest.skip("PyTorch before 2.6 cannot be told to let them pass")
    weights = read_weights(_saved(tmp_path / "w.pth", {"state_dict": state, "meta": {"best": value}}))
    assert weights.state.keys() == state.keys()


def test_an_object_is_refused_by_its_name_without_terminal_escapes(tmp_path: Path, state: dict[str, Tensor]) -> None:
    path = _saved(tmp_path / "w.pth", {"state_dict": state, "args": argparse.Namespace(lr=1)})
    with pytest.raises(CheckpointError, match=r"argparse\.Namespace") as error:
        read_weights(path)
    assert "\x1b" not in str(error.value)


def test_books_between_the_tensors_are_left_out(tmp_path: Path, state: dict[str, Tensor]) -> None:
    weights = read_weights(_saved(tmp_path / "w.pth", {**state, "height": 192, "use_stereo": False}))
    assert weights.state.keys() == state.keys() and weights.dropped == ("height", "use_stereo")
    with pytest.raises(CheckpointError, match="no tensors"):
        read_weights(_saved(tmp_path / "none.pth", {"height": 192}))


def test_counters_of_batches_may_be_missing(tmp_path: Path, state: dict[str, Tensor]) -> None:
    without = {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}
    assert len(without) < len(state)
    model = load_model(_saved(tmp_path / "w.pth", without), preset="kitti")
    counters = [value for key, value in model.state_dict().items() if key.endswith("num_batches_tracked")]
    assert counters and all(int(value) == 0 for value in counters)
    key = next(key for key in without if key.endswith("running_mean"))
    del without[key]
    with pytest.raises(CheckpointError, match="1 missing"):
        load_model(_saved(tmp_path / "w.pth", without), preset="kitti")
