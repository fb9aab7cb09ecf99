"""Initial weights for training the reference networks: ImageNet ResNets, and the feature net of an autoencoder."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from featdepth_ros.errors import CheckpointError, FeatDepthError
from featdepth_ros.models.base import FeatDepthModel
from featdepth_ros.models.checkpoints import load_model
from featdepth_ros.models.reference import Encoder, ReferenceModel
from featdepth_ros.models.weights_io import read_weights
from featdepth_ros.resources import weights_file


def load_imagenet_resnets(
    model: FeatDepthModel, depth_path: str | Path | None = None, pose_path: str | Path | None = None
) -> None:
    """Load torchvision ResNet files into a reference model's encoders, as the published code does.

    Args:
        model: the model, which is changed in place.
        depth_path: ResNet for the depth encoder and, in the joint model and the autoencoder, the feature net. The
            feature net of ``mono_fm`` comes from an autoencoder instead (`load_feature_net`).
        pose_path: ResNet for the pose encoder; half of its first kernels' weights are used for each of the two images.

    Raises:
        FeatDepthError: it is not a reference model, or it does not have the network.
        CheckpointError: the file is unreadable, or its ResNet has another depth.
    """
    if not isinstance(model, ReferenceModel):
        raise FeatDepthError(f"the model is {model.info.architecture}; ResNets fit the reference networks only")
    if depth_path is not None:
        names = [name for name in ("DepthEncoder", "Encoder") if hasattr(model, name)]
        if not names:
            raise FeatDepthError(f"{model.info.architecture} holds no depth net and no trainable feature net")
        state = read_weights(weights_file(str(depth_path))).state
        for name in names:
            _load(getattr(model, name).encoder, state, depth_path, name)
    if pose_path is not None:
        if "pose" not in model.nets:
            raise FeatDepthError(f"{model.info.architecture} holds no pose net")
        state = dict(read_weights(weights_file(str(pose_path))).state)
        if "conv1.weight" in state:
            state["conv1.weight"] = torch.cat((state["conv1.weight"],) * 2, 1) / 2
        _load(model.PoseEncoder.encoder, state, pose_path, "PoseEncoder")


def load_feature_net(model: FeatDepthModel, autoencoder_path: str | Path) -> None:
    """Load the feature net of a trained autoencoder (or joint model) into ``mono_fm``, and freeze it.

    Raises:
        FeatDepthError: ``model`` is not a ``mono_fm``, or the file has no feature net.
        CheckpointError: see `load_model`; or the ResNets differ in depth.
    """
    target = getattr(model, "extractor", None)
    if not isinstance(target, Encoder):
        raise FeatDepthError(f"the model is {model.info.architecture}; only mono_fm takes a separate feature net")
    source = load_model(autoencoder_path, preset="kitti")  # the depth range has no effect here
    if "features" not in source.nets:
        raise FeatDepthError(
            f"'{autoencoder_path}' ({source.info.architecture}) holds no feature net; expected an autoencoder or a "
            "joint model"
        )
    net = getattr(source, "Encoder", None) or source.extractor
    assert isinstance(net, Encoder)
    _load(target.encoder, net.encoder.state_dict(), autoencoder_path, "extractor")
    target.requires_grad_(False)


def _load(net: nn.Module, state: dict[str, Tensor], path: str | Path, name: str) -> None:
    try:
        net.load_state_dict(state, strict=True)
    except RuntimeError as error:
        reason = " ".join(line.strip() for line in str(error).splitlines()[1:3])
        raise CheckpointError(f"'{path}' does not fit {name}; is it a ResNet of the same depth? {reason}") from error
