"""Loads models from files and saves them: architecture by the keys, strict loading, clear errors."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from featdepth_ros.errors import CheckpointError, FeatDepthError
from featdepth_ros.models.base import FeatDepthModel
from featdepth_ros.models.build import build_model, reference_name
from featdepth_ros.models.info import ModelInfo
from featdepth_ros.models.presets import PRESETS, preset_info, with_known_facts
from featdepth_ros.models.reference import PARTS, ReferenceModel
from featdepth_ros.models.resnet import BLOCKS, BOTTLENECK_FROM
from featdepth_ros.models.weights_io import WeightsFile, read_weights, write_safetensors
from featdepth_ros.resources import weights_file

_log = logging.getLogger(__name__)
#: Files whose missing depth range was already reported.
_reported: set[Path] = set()
_NAMED_IN_ERRORS = 4


def load_model(path: str | Path, device: str | torch.device = "cpu", preset: str | None = None) -> FeatDepthModel:
    """Load weights: those of this package (safetensors), or the published ones (``.pth``) without conversion.

    The architecture is inferred from the keys, and loading is strict. Published files have no depth range, so
    ``preset`` names it. Without a preset, the range is 0.1 to 100 and the scale unknown, and a warning is logged once
    per file.

    Args:
        path: a file, or the name of a shipped model (``compact``).
        device: device of the parameters; the model is float32 and in eval mode.
        preset: ``kitti``, ``kitti_odom``, ``euroc``, ``nyu``, ``eth3d`` or ``make3d``; its facts replace those in the
            file.

    Returns:
        A model with the networks in the file; a call of another network raises `FeatDepthError`.

    Raises:
        CheckpointError: the file is unreadable, its architecture is unknown, or keys are missing, unexpected or of
            another shape.
        FeatDepthError: the file or the device does not exist.
    """
    return model_from_weights(read_weights(weights_file(str(path))), device, preset)


def model_from_weights(
    weights: WeightsFile, device: str | torch.device = "cpu", preset: str | None = None
) -> FeatDepthModel:
    """Build the model for the tensors of a weights file; see `load_model`."""
    facts = _facts(weights, preset)
    with torch.device("meta"):  # without initial values, which would be replaced at once
        model = _empty_model(weights, facts)
    _load_strictly(model, weights)
    _log.info("'%s' (%s), licence: %s", model.info.name, model.info.architecture, model.info.licence)
    try:
        return model.to(device).eval()
    except (RuntimeError, AssertionError) as error:
        raise FeatDepthError(f"device '{device}' cannot be used: {str(error).splitlines()[0]}") from error


def save_model(path: str | Path, model: nn.Module, dtype: torch.dtype = torch.float32) -> Path:
    """Write a model and its `info` as safetensors, atomically.

    Args:
        path: the file; an existing one is replaced.
        model: model of `build_model` or `load_model`, also inside DistributedDataParallel or torch.compile.
        dtype: dtype of matrices and kernels in the file: float32, or float16 for half the size. Vectors stay float32.

    Returns:
        The path of the file.

    Raises:
        CheckpointError: it is not a `FeatDepthModel`, the dtype is another, the folder is missing, or values are out of
            range.
    """
    inner: object = model
    while not isinstance(inner, FeatDepthModel):
        wrapped = getattr(inner, "module", None) or getattr(inner, "_orig_mod", None)
        if wrapped is None:
            raise CheckpointError(f"a {type(model).__name__} cannot be saved as weights; expected a FeatDepthModel")
        inner = wrapped
    if dtype not in (torch.float32, torch.float16):
        raise CheckpointError(f"the dtype of weights is {dtype}; expected float32 or float16")
    target = Path(path).expanduser()
    write_safetensors(target, inner.state_dict(), inner.info, dtype)
    return target


def _facts(weights: WeightsFile, preset: str | None) -> ModelInfo:
    if preset is not None:
        return preset_info(preset)
    if weights.info is not None:
        return with_known_facts(weights.info)
    if weights.path not in _reported:
        _reported.add(weights.path)
        _log.warning(
            "'%s' carries no depth range; 0.1 to 100 network units and an unknown scale are assumed. "
            "Name its training data by a preset: %s.",
            weights.path,
            ", ".join(PRESETS),
        )
    return ModelInfo(name=weights.path.stem)


def _empty_model(weights: WeightsFile, facts: ModelInfo) -> FeatDepthModel:
    parts = {key.split(".", 1)[0] for key in weights.state}
    if parts and parts <= {"encoder", "decoder", "pose_head"}:
        return build_model("compact", facts)
    if not parts & set(PARTS):
        raise CheckpointError(
            f"'{weights.path}' fits no known architecture: its keys start with {', '.join(sorted(parts)[:6])}; "
            f"expected {', '.join(PARTS)} (FeatDepth), or encoder, decoder, pose_head (compact)"
        )
    nets = tuple(dict.fromkeys(net for part, net in PARTS.items() if part in parts))
    if "reconstruction" in nets and "features" not in nets:  # an image decoder needs the feature net
        nets = ("features", *nets)
    if "extractor" in parts:
        kind = "mono_fm"
    elif parts & {"Encoder", "Decoder"}:
        kind = "mono_fm_joint" if {"depth", "pose"} & set(nets) else "autoencoder"
    else:
        kind = "baseline"
    layers = next((_layers(weights, part) for part in ("DepthEncoder", "extractor", "Encoder") if part in parts), 18)
    pose_layers = _layers(weights, "PoseEncoder") if "PoseEncoder" in parts else 18
    named = facts.with_(architecture=reference_name(kind, layers, pose_layers))
    return ReferenceModel(named, kind, layers, pose_layers, nets)


def _layers(weights: WeightsFile, part: str) -> int:
    """Return the ResNet's number of layers by the number and kind of the blocks of its third stage."""
    stage = f"{part}.encoder.layer3."
    blocks = {key[len(stage) :].split(".", 1)[0] for key in weights.state if key.startswith(stage)}
    bottleneck = any(key.startswith(stage) and ".conv3." in key for key in weights.state)
    for layers, counts in BLOCKS.items():
        if counts[2] == len(blocks) and bottleneck == (layers >= BOTTLENECK_FROM):
            return layers
    raise CheckpointError(
        f"'{weights.path}': {part} has {len(blocks)} blocks in layer3, which fits no ResNet of "
        f"{', '.join(map(str, BLOCKS))} layers; the file is incomplete or of another network"
    )


def _load_strictly(model: FeatDepthModel, weights: WeightsFile) -> None:
    expected: Mapping[str, Tensor] = model.state_dict()
    # Numbers of batches of batch norms, which old files do not have and no forward pass uses.
    counters = {
        key: torch.zeros((), dtype=torch.int64)
        for key in expected
        if key.endswith(".num_batches_tracked") and key not in weights.state
    }
    state = {**weights.state, **counters}
    missing = [key for key in expected if key not in state]
    unexpected = [key for key in weights.state if key not in expected]
    shapes = [
        f"{key} is {tuple(value.shape)}, expected {tuple(expected[key].shape)}"
        for key, value in weights.state.items()
        if key in expected and value.shape != expected[key].shape
    ]
    problems = [
        f"{len(keys)} {what}: {', '.join(keys[:_NAMED_IN_ERRORS])}{', ...' if len(keys) > _NAMED_IN_ERRORS else ''}"
        for what, keys in (("missing", missing), ("unexpected", unexpected), ("of another shape", shapes))
        if keys
    ]
    if problems:
        raise CheckpointError(f"'{weights.path}' does not fit {model.info.architecture}: {'; '.join(problems)}")
    model.load_state_dict(state, strict=True, assign=True)
