"""Starting points for training the reference networks: ImageNet ResNets, and a feature net from an autoencoder."""

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
    """Start a reference model's encoders from torchvision ResNet files, as the published code does.

    Args:
        model: changed in place.
        depth_path: ResNet for the depth encoder and, in the joint model and the autoencoder, the feature net. The
            feature net of ``mono_fm`` comes from an autoencoder instead (`load_feature_net`).
        pose_path: ResNet for the pose encoder; its first kernels are used for each of the two images, halved.

    Raises:
        FeatDepthError: not a reference model, or it lacks the net.
        CheckpointError: unreadable, or a ResNet of another depth.
    """
    if not isinstance(model, ReferenceModel):
        raise FeatDepthError(f"ResNets fit the reference networks only; this is {model.info.architecture}")
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
    """Give ``mono_fm`` the feature net of a trained autoencoder (or joint model) and keep it from being trained.

    Raises:
        FeatDepthError: ``model`` is no ``mono_fm``, or the file holds no feature net.
        CheckpointError: see `load_model`; or the ResNets differ in depth.
    """
    target = getattr(model, "extractor", None)
    if not isinstance(target, Encoder):
        raise FeatDepthError(f"only mono_fm takes a separate feature net; this is {model.info.architecture}")
    source = load_model(autoencoder_path, preset="kitti")  # the depth range plays no part here
    if "features" not in source.nets:
        raise FeatDepthError(f"'{autoencoder_path}' ({source.info.architecture}) holds no feature net")
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
