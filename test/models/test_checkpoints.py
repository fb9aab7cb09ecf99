"""Files in and out: published and own formats, presets, and refusals of everything else."""

from __future__ import annotations

import logging
import os
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import featdepth_ros
from featdepth_ros.errors import CheckpointError, FeatDepthError
from featdepth_ros.models.base import FeatDepthModel
from featdepth_ros.models.build import build_model
from featdepth_ros.models.checkpoints import load_model, model_from_weights, save_model
from featdepth_ros.models.info import ModelInfo
from featdepth_ros.models.presets import PRESETS
from featdepth_ros.models.weights_io import WeightsFile, read_weights, write_safetensors

INFO = ModelInfo(name="trial", max_depth=60.0, focal=(0.7, 1.2), scale_kind="metric", licence="CC0", training="seed 3")


@pytest.fixture(scope="module")
def compact() -> FeatDepthModel:
    torch.manual_seed(0)
    return build_model("compact", INFO).eval()


@pytest.fixture(scope="module")
def autoencoder_state() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return dict(build_model("autoencoder_r18").state_dict())


def _published(path: Path, state: dict[str, Tensor], prefix: str = "", zipped: bool = False) -> Path:
    content = {
        "meta": {"epoch": 40, "iter": 99560, "mmcv_version": "0.4.4", "time": "Mon Jun 29 12:00:00 2020"},
        "state_dict": OrderedDict((prefix + key, value) for key, value in state.items()),
        "optimizer": {"state": {0: {"step": 7, "exp_avg": torch.ones(2)}}, "param_groups": [{"lr": 1e-4}]},
    }
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    return path


def _same_state(model: nn.Module, state: dict[str, Tensor]) -> None:
    loaded = model.state_dict()
    assert sorted(loaded) == sorted(state)
    for key, value in state.items():
        torch.testing.assert_close(loaded[key], value, atol=0, rtol=0)


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("zipped", [False, True])
def test_published_checkpoint_loads_as_it_is(
    tmp_path: Path, autoencoder_state: dict[str, Tensor], prefix: str, zipped: bool
) -> None:
    file = _published(tmp_path / "autoencoder.pth", autoencoder_state, prefix, zipped)
    assert (file.read_bytes()[:2] == b"PK") == zipped
    model = featdepth_ros.load_model(file, preset="kitti")
    _same_state(model, autoencoder_state)
    assert not model.training and model.info.architecture == "autoencoder_r18"
    assert read_weights(file).dropped == (
        "meta (epoch 40, iter 99560, mmcv_version 0.4.4, time Mon Jun 29 12:00:00 2020)",
        "optimizer state",
    )


def test_bare_state_dict_in_float16_becomes_float32(tmp_path: Path, autoencoder_state: dict[str, Tensor]) -> None:
    half = {key: value.half() if value.is_floating_point() else value for key, value in autoencoder_state.items()}
    torch.save(half, tmp_path / "bare.pth")
    model = load_model(tmp_path / "bare.pth", preset="kitti")
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())
    _same_state(model, {k: v.float() if v.is_floating_point() else v for k, v in half.items()})


def _zeros(architecture: str) -> dict[str, Tensor]:
    with torch.device("meta"):
        state = build_model(architecture).state_dict()
    return {key: torch.zeros(value.shape, dtype=value.dtype) for key, value in state.items()}


@pytest.mark.parametrize(
    "architecture",
    ["compact", "mono_fm_r18", "mono_fm_r101", "mono_fm_joint_r34", "autoencoder_r50", "baseline_r50_p34"],
)
def test_architecture_is_inferred_from_the_keys(architecture: str) -> None:
    weights = WeightsFile(Path("weights.pth"), "pth", _zeros(architecture), None, {}, ())
    loaded = model_from_weights(weights, preset="kitti")
    with torch.device("meta"):
        built = build_model(architecture)
    assert loaded.info.architecture == architecture
    assert loaded.nets == built.nets
    assert not loaded.training and all(parameter.requires_grad for parameter in loaded.parameters())


def test_own_file_carries_its_description(tmp_path: Path, compact: FeatDepthModel) -> None:
    file = save_model(tmp_path / "trial.safetensors", compact)
    loaded = load_model(str(file))
    assert loaded.info == INFO.with_(architecture="compact")
    _same_state(loaded, compact.state_dict())
    image = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(loaded.depth(image), compact.depth(image), atol=0, rtol=0)


def test_a_header_of_any_length_is_told_from_a_pickle(tmp_path: Path) -> None:
    path, firsts = tmp_path / "w.safetensors", set()
    for length in range(0, 256, 8):  # headers are padded to multiples of eight
        info = ModelInfo(name="n", training="x" * length)
        write_safetensors(path, {"a": torch.zeros(2)}, info, torch.float32)
        firsts.add(path.read_bytes()[0])
        assert read_weights(path).info == info
    assert 0x80 in firsts  # with which pickles begin


def test_float16_file_is_half_the_size_and_close(tmp_path: Path, compact: FeatDepthModel) -> None:
    full, half = tmp_path / "full.safetensors", tmp_path / "half.safetensors"
    save_model(full, compact)
    save_model(half, compact, torch.float16)
    assert half.stat().st_size < 0.53 * full.stat().st_size
    image = torch.rand(1, 3, 64, 96)
    with torch.inference_mode():
        torch.testing.assert_close(load_model(half).depth(image), compact.depth(image), atol=5e-3, rtol=0)
    loaded = load_model(half).state_dict()
    key = "encoder._bn0.running_var"
    torch.testing.assert_close(loaded[key], compact.state_dict()[key], atol=0, rtol=0)


def test_saving_replaces_in_one_step(tmp_path: Path, compact: FeatDepthModel, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "weights.safetensors"
    save_model(file, compact)
    before = file.read_bytes()

    def interrupted(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(CheckpointError, match="disk full"):
        save_model(file, build_model("compact"))
    assert file.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["weights.safetensors"]


def test_saved_weights_are_readable_for_other_users(tmp_path: Path, compact: FeatDepthModel) -> None:
    (tmp_path / "usual").touch()
    saved = save_model(tmp_path / "w.safetensors", compact)
    assert saved.stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_wrapped_models_are_saved_without_the_wrapper(tmp_path: Path, compact: FeatDepthModel) -> None:
    file = save_model(tmp_path / "wrapped.safetensors", nn.DataParallel(compact))
    _same_state(load_model(file), compact.state_dict())


def test_unsavable_things_are_refused(tmp_path: Path, compact: FeatDepthModel) -> None:
    with pytest.raises(CheckpointError, match="expected a FeatDepthModel"):
        save_model(tmp_path / "x.safetensors", nn.Linear(1, 1))
    with pytest.raises(CheckpointError, match="float32 or float16"):
        save_model(tmp_path / "x.safetensors", compact, torch.int8)
    with pytest.raises(CheckpointError, match="cannot be written"):
        save_model(tmp_path / "absent" / "x.safetensors", compact)
    huge = build_model("compact")
    with torch.no_grad():
        next(huge.parameters()).fill_(1e6)
    with pytest.raises(CheckpointError, match=r"not finite as torch\.float16"):
        save_model(tmp_path / "x.safetensors", huge, torch.float16)
    assert not list(tmp_path.iterdir())


def test_presets_say_what_files_do_not(tmp_path: Path, autoencoder_state: dict[str, Tensor]) -> None:
    file = _published(tmp_path / "weights.pth", autoencoder_state)
    kitti = load_model(file, preset="kitti").info
    assert (kitti.min_depth, kitti.max_depth, kitti.input_size) == (0.1, 100.0, (320, 1024))
    assert (kitti.scale_kind, kitti.scale_factor, kitti.focal) == ("metric", 36.0, (0.58, 1.92))
    euroc = load_model(file, preset="euroc").info
    assert (euroc.max_depth, euroc.scale_factor, euroc.input_size) == (50.0, 1.1, (480, 768))
    assert all(info.pose_input_size == (192, 640) for info in PRESETS.values())
    assert all(side % 32 == 0 for info in PRESETS.values() for side in info.input_size)
    with pytest.raises(CheckpointError, match="did you mean 'kitti'"):
        load_model(file, preset="kiti")


def test_missing_depth_range_is_reported_once(
    tmp_path: Path, autoencoder_state: dict[str, Tensor], caplog: pytest.LogCaptureFixture
) -> None:
    file = _published(tmp_path / "weights.pth", autoencoder_state)
    with caplog.at_level(logging.WARNING):
        info = load_model(file).info
        load_model(file)
    assert (info.min_depth, info.max_depth, info.scale_kind) == (0.1, 100.0, "relative")
    reports = [r for r in caplog.records if "carries no depth range" in r.getMessage()]
    assert len(reports) == 1 and "kitti_odom" in reports[0].getMessage()


def test_partial_checkpoint_keeps_the_nets_it_has(tmp_path: Path) -> None:
    depth_only = {key: value for key, value in _zeros("baseline_r18").items() if key.startswith("Depth")}
    model = load_model(_published(tmp_path / "depth.pth", depth_only), preset="kitti")
    image = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        assert len(model.depth(image)) == 4
    with pytest.raises(FeatDepthError, match="hold no pose net; they hold: depth"):
        model.pose(image, image)


def test_incomplete_nets_are_named(tmp_path: Path, autoencoder_state: dict[str, Tensor]) -> None:
    state = dict(autoencoder_state)
    del state["Decoder.disp1.conv.weight"]
    state["Decoder.disp9.conv.weight"] = torch.zeros(1)
    state["Decoder.disp2.conv.bias"] = torch.zeros(7)
    with pytest.raises(CheckpointError) as caught:
        load_model(_published(tmp_path / "x.pth", state), preset="kitti")
    message = str(caught.value)
    assert "1 missing: Decoder.disp1.conv.weight" in message
    assert "1 unexpected: Decoder.disp9.conv.weight" in message
    assert "Decoder.disp2.conv.bias is (7,), expected (3,)" in message
    half = {key: value for key, value in autoencoder_state.items() if key.startswith("Decoder.")}
    with pytest.raises(CheckpointError, match=r"missing: Encoder\.encoder\.conv1\.weight"):
        load_model(_published(tmp_path / "y.pth", half), preset="kitti")
    with pytest.raises(CheckpointError, match="fits no ResNet"):
        load_model(_published(tmp_path / "z.pth", {"PoseEncoder.encoder.layer3.0.conv1.weight": torch.zeros(1)}))


class _Malicious:
    """Unpickling it would create a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("zipped", [False, True, None])
def test_code_in_a_pickle_is_refused_and_not_run(tmp_path: Path, zipped: bool | None) -> None:
    trap, file = tmp_path / "trap", tmp_path / "evil.pth"
    content = {"state_dict": {"a": torch.zeros(1)}, "meta": _Malicious(trap)}
    if zipped is None:
        file.write_bytes(pickle.dumps(content["meta"], protocol=2))
    else:
        torch.save(content, file, _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match=r"evil\.pth"):
        load_model(file)
    assert not trap.exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html><title>Google Drive</title>", "web page"),
        (b"\n <html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "Git LFS pointer"),
        (b"just some text, nothing else", "neither a safetensors nor a PyTorch file"),
        (b"\xff\xff\x00\x00\x00\x00\x00\x00{", "truncated"),
        (b"\x80\x02}q\x00.", "holds no state_dict|damaged"),
        (b"PK\x03\x04 and nothing more", "damaged"),
    ],
)
def test_other_files_are_refused_with_words(tmp_path: Path, content: bytes, words: str) -> None:
    file = tmp_path / "file.pth"
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match=words):
        load_model(file)


@pytest.mark.parametrize("kind", ["legacy", "zip", "safetensors"])
@pytest.mark.parametrize("fraction", [0.01, 0.5, 0.99])
def test_truncated_files_are_refused(
    tmp_path: Path, autoencoder_state: dict[str, Tensor], compact: FeatDepthModel, kind: str, fraction: float
) -> None:
    file = tmp_path / "whole"
    if kind == "safetensors":
        save_model(file, compact)
    else:
        _published(file, autoencoder_state, zipped=kind == "zip")
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * fraction)])
    with pytest.raises(CheckpointError, match=r"damaged|truncated"):
        load_model(file)


def test_foreign_and_broken_tensors_are_refused(tmp_path: Path, autoencoder_state: dict[str, Tensor]) -> None:
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "foreign.pth")
    with pytest.raises(CheckpointError, match="fits no known architecture: its keys start with conv1"):
        load_model(tmp_path / "foreign.pth")
    torch.save([torch.zeros(1)], tmp_path / "list.pth")
    with pytest.raises(CheckpointError, match="holds a list"):
        load_model(tmp_path / "list.pth")
    state = dict(autoencoder_state)
    state["Decoder.disp1.conv.bias"] = torch.tensor([0.0, float("nan"), 0.0])
    with pytest.raises(CheckpointError, match=r"not finite in 'Decoder.disp1.conv.bias'"):
        load_model(_published(tmp_path / "nan.pth", state))


def test_absent_files_and_devices_are_refused(tmp_path: Path, compact: FeatDepthModel) -> None:
    with pytest.raises(FeatDepthError, match="no weights at"):
        load_model(tmp_path / "absent.pth")
    file = save_model(tmp_path / "x.safetensors", compact)
    with pytest.raises(FeatDepthError, match="device 'nonsense' cannot be used"):
        load_model(file, device="nonsense")


def test_description_of_another_version_or_damaged(tmp_path: Path) -> None:
    text = INFO.to_json()
    assert ModelInfo.from_json(text) == INFO
    assert ModelInfo.from_json(text[:-1] + ', "later": 1}') == INFO
    broken = ["{", "[]", '{"min_depth": 0}', '{"max_depth": "far"}', '{"input_size": [192]}', '{"scale_kind": "big"}']
    for damaged in broken:
        with pytest.raises(CheckpointError, match="cannot be read"):
            ModelInfo.from_json(damaged)
