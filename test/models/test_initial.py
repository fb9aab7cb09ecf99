"""Starting points of the reference networks."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from featdepth_ros.errors import CheckpointError, FeatDepthError
from featdepth_ros.models.build import build_model
from featdepth_ros.models.checkpoints import save_model
from featdepth_ros.models.initial import load_feature_net, load_imagenet_resnets
from featdepth_ros.models.reference import ReferenceModel
from featdepth_ros.models.resnet import ResNet


def _reference(architecture: str) -> ReferenceModel:
    model = build_model(architecture)
    assert isinstance(model, ReferenceModel)
    return model


@pytest.fixture(scope="module")
def resnet_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(5)
    file = tmp_path_factory.mktemp("imagenet") / "resnet18.pth"
    torch.save(ResNet(18).state_dict(), file)
    return file


def test_resnets_start_depth_pose_and_joint_feature_net(resnet_file: Path) -> None:
    model = _reference("mono_fm_joint_r18").eval()
    load_imagenet_resnets(model, resnet_file, resnet_file)
    plain = ResNet(18).eval()
    plain.load_state_dict(torch.load(resnet_file, weights_only=True))
    image = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        expected = plain((image - 0.45) / 0.225)[4]
        torch.testing.assert_close(model.DepthEncoder(image)[4], expected)
        # Twice the same image through halved kernels is the image through the whole ones.
        torch.testing.assert_close(model.PoseEncoder(torch.cat((image, image), 1))[4], expected, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(model.feature_pyramid(image)[4], plain(image)[4])


def test_feature_net_comes_from_an_autoencoder_and_is_fixed(tmp_path: Path) -> None:
    autoencoder, model = _reference("autoencoder_r18").eval(), _reference("mono_fm_r18").eval()
    load_feature_net(model, save_model(tmp_path / "autoencoder.safetensors", autoencoder))
    image = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(model.features(image), autoencoder.features(image), atol=0, rtol=0)
    assert not any(p.requires_grad for p in model.extractor.parameters())
    assert all(p.requires_grad for p in model.DepthEncoder.parameters())


def test_wrong_starting_points_are_refused(resnet_file: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="ResNet of the same depth"):
        load_imagenet_resnets(_reference("baseline_r34"), resnet_file)
    with pytest.raises(FeatDepthError, match="holds no pose net"):
        load_imagenet_resnets(_reference("autoencoder_r18"), None, resnet_file)
    with pytest.raises(FeatDepthError, match="reference networks only"):
        load_imagenet_resnets(build_model("compact"), resnet_file)
    with pytest.raises(FeatDepthError, match="only mono_fm"):
        load_feature_net(_reference("baseline_r18"), resnet_file)
    baseline = save_model(tmp_path / "baseline.safetensors", _reference("baseline_r18"))
    with pytest.raises(FeatDepthError, match="holds no feature net"):
        load_feature_net(_reference("mono_fm_r18"), baseline)
