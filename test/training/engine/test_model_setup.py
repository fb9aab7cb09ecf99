"""What a run starts from: ImageNet files, published weights, our own, a feature net; and who is trained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from featdepth_ros.errors import CheckpointError, ConfigError, FeatDepthError, MissingDependencyError
from featdepth_ros.models import lite0, reference, resnet
from featdepth_ros.models.build import build_model
from featdepth_ros.models.checkpoints import load_model, save_model
from featdepth_ros.models.compact import CompactModel
from featdepth_ros.models.info import ModelInfo
from featdepth_ros.models.reference import ReferenceModel
from featdepth_ros.models.resnet import ResNet
from featdepth_training.config.loading import from_dict
from featdepth_training.config.schema import TrainConfig
from featdepth_training.engine.model_setup import start_model, training_mode
from featdepth_training.engine.optimiser import build_optimiser

BASE = (
    *("data.kind=prepared", "data.prepared.caches=[x]", "data.augment.haze=0", "data.sequence.frames=3"),
    "objective={photometric: 1, smoothness: 1e-3}",
)
FM = (*BASE, "objective.features=1e-3", "model.architecture=mono_fm_r18")
JOINT = (*FM, "model.architecture=mono_fm_joint_r18", "objective.reconstruction=1")
BASELINE = (*BASE, "model.architecture=baseline_r18")
AUTOENCODER = (
    *("data.kind=prepared", "data.prepared.caches=[x]", "data.augment.haze=0", "data.sequence.frames=1"),
    *("objective={reconstruction: 1}", "model.architecture=autoencoder_r18"),
)


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Published architectures of a few channels."""
    monkeypatch.setattr(resnet, "PLANES", (16, 16, 16, 16))
    monkeypatch.setattr(reference, "_WIDTH", 16)
    monkeypatch.setattr(reference.ImageDecoder, "widths", (8, 8, 8, 8, 8))


def config(base: Sequence[str], *more: str) -> TrainConfig:
    return from_dict({}, [*base, *more])


@pytest.fixture
def imagenet(tmp_path: Path) -> Path:
    """A ResNet-18 in torchvision's format, of the time before BatchNorm counted its batches."""
    torch.manual_seed(7)
    state = {k: v for k, v in ResNet(18).state_dict().items() if not k.endswith("num_batches_tracked")}
    torch.save(state, tmp_path / "resnet18.pth")
    return tmp_path / "resnet18.pth"


def published(path: Path, architecture: str) -> Path:
    """Weights as the original's runner writes them: no word of depth range, unit or licence."""
    torch.manual_seed(1)
    state = build_model(architecture).state_dict()
    torch.save({"meta": {"epoch": 40, "iter": 99520}, "state_dict": state}, path)
    return path


def ours(path: Path, architecture: str, **facts: object) -> Path:
    torch.manual_seed(2)
    info = ModelInfo(name="made", licence="MIT", scale_kind="metric").with_(**facts)
    return save_model(path, build_model(architecture, info))


# ImageNet


@pytest.mark.parametrize("base", [JOINT, BASELINE, AUTOENCODER])
def test_a_torchvision_file_starts_every_encoder(base: tuple[str, ...], imagenet: Path) -> None:
    state = torch.load(imagenet, weights_only=True)
    pose = [] if base is AUTOENCODER else [f"model.pose_resnet_file={imagenet}"]
    model = start_model(config(base, f"model.resnet_file={imagenet}", *pose))
    assert isinstance(model, ReferenceModel)
    for name in ("DepthEncoder", "Encoder"):
        if hasattr(model, name):
            found = getattr(model, name).encoder.state_dict()
            assert all(torch.equal(found[key], value) for key, value in state.items()), name
    if base is not AUTOENCODER:
        kernels = model.PoseEncoder.encoder.conv1.weight
        assert torch.equal(kernels[:, :3], state["conv1.weight"] / 2) and torch.equal(kernels[:, 3:], kernels[:, :3])


def test_without_a_pose_file_the_pose_net_is_random(imagenet: Path) -> None:
    torch.manual_seed(0)
    model = start_model(config(BASELINE, f"model.resnet_file={imagenet}"))
    assert isinstance(model, ReferenceModel)
    state = torch.load(imagenet, weights_only=True)
    assert not torch.equal(model.PoseEncoder.encoder.layer1[0].conv1.weight, state["layer1.0.conv1.weight"])


def test_the_compact_encoder_starts_from_the_installed_package() -> None:
    pytest.importorskip(lite0.IMAGENET_PACKAGE)
    first, second = (start_model(config(BASE, f"seed={seed}")) for seed in (0, 1))
    random = start_model(config(BASE, "model.initial=none"))
    assert isinstance(first, CompactModel) and isinstance(second, CompactModel) and isinstance(random, CompactModel)
    key = "_conv_stem.weight"
    assert torch.equal(first.encoder.state_dict()[key], second.encoder.state_dict()[key])
    assert not torch.equal(first.encoder.state_dict()[key], random.encoder.state_dict()[key])


def test_a_missing_imagenet_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lite0, "IMAGENET_PACKAGE", "no_such_package")
    with pytest.raises(MissingDependencyError, match="pip install"):
        start_model(config(BASE))


def test_imagenet_files_that_do_not_serve(imagenet: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"model\.resnet_file=PATH.*--finetune.*model\.initial=none"):
        start_model(config(BASELINE))
    with pytest.raises(FeatDepthError, match=r"no weights at '.*resnet50\.pth'"):
        start_model(config(BASELINE, f"model.resnet_file={tmp_path / 'resnet50.pth'}"))
    with pytest.raises(CheckpointError, match="is it a ResNet of the same depth"):
        start_model(config(BASELINE, "model.architecture=baseline_r50", f"model.resnet_file={imagenet}"))
    deeper = tmp_path / "resnet34.pth"
    torch.save(ResNet(34).state_dict(), deeper)
    with pytest.raises(CheckpointError, match="does not fit PoseEncoder"):
        start_model(config(BASELINE, f"model.resnet_file={imagenet}", f"model.pose_resnet_file={deeper}"))
    (tmp_path / "page.pth").write_text("<!DOCTYPE html><html>")
    with pytest.raises(CheckpointError, match="is a web page"):
        start_model(config(BASELINE, f"model.resnet_file={tmp_path / 'page.pth'}"))


# the feature net


def test_the_feature_net_comes_from_an_autoencoder_and_is_never_trained(imagenet: Path, tmp_path: Path) -> None:
    autoencoder = ours(tmp_path / "autoencoder.safetensors", "autoencoder_r18")
    settings = config(FM, f"model.resnet_file={imagenet}", f"model.feature_net={autoencoder}")
    model = start_model(settings)
    source = load_model(autoencoder)
    assert isinstance(model, ReferenceModel) and isinstance(source, ReferenceModel)
    assert torch.equal(model.extractor.encoder.conv1.weight, source.Encoder.encoder.conv1.weight)
    training_mode(model, settings.model)
    assert model.training and not any(m.training for m in model.extractor.modules() if "Norm" in type(m).__name__)
    _, trained = build_optimiser(model, settings.optimiser)
    assert not {id(p) for p in trained} & {id(p) for p in model.extractor.parameters()}


def test_without_a_feature_net_the_way_to_one_is_named(imagenet: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"recipe kitti_autoencoder.*model\.feature_net=PATH.*--finetune"):
        start_model(config(FM, f"model.resnet_file={imagenet}"))
    baseline = ours(tmp_path / "baseline.safetensors", "baseline_r18")
    with pytest.raises(FeatDepthError, match="holds no feature net"):
        start_model(config(FM, f"model.resnet_file={imagenet}", f"model.feature_net={baseline}"))
    with pytest.raises(FeatDepthError, match="no weights at"):
        start_model(config(FM, f"model.resnet_file={imagenet}", "model.feature_net=nowhere.safetensors"))


def test_the_joint_model_trains_its_feature_net(imagenet: Path) -> None:
    settings = config(JOINT, f"model.resnet_file={imagenet}")
    model = start_model(settings)
    assert isinstance(model, ReferenceModel)
    _, trained = build_optimiser(model, settings.optimiser)
    assert {id(p) for p in model.Encoder.parameters()} <= {id(p) for p in trained}


# --finetune


def test_published_weights_bring_their_feature_net_and_need_no_resnet(tmp_path: Path) -> None:
    path = published(tmp_path / "fm_depth.pth", "mono_fm_r18")
    stereo = ("data.sequence.stereo=true", "model.metres_per_unit=36", "model.preset=kitti")
    model = start_model(config(FM, *stereo), str(path))
    expected = torch.load(path, weights_only=True)["state_dict"]
    assert all(torch.equal(value, expected[key]) for key, value in model.state_dict().items())
    assert (model.info.scale_kind, model.info.scale_factor) == ("metric", 36.0)
    assert "KITTI" in model.info.licence  # of what it was trained on before
    assert not any(p.requires_grad for p in model.extractor.parameters())  # type: ignore[union-attr,operator]


def test_published_weights_without_a_preset_are_what_the_run_says(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = published(tmp_path / "euroc.pth", "baseline_r18")
    model = start_model(config(BASELINE, "model.max_depth=50"), str(path))
    assert model.info.max_depth == 50 and model.info.licence == "Apache-2.0"
    assert "is assumed" not in caplog.text and "are assumed" not in caplog.text


def test_own_weights_and_shipped_ones(tmp_path: Path) -> None:
    path = ours(tmp_path / "own.safetensors", "baseline_r18")
    model = start_model(config(BASELINE), str(path))
    expected = load_model(path).state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in model.state_dict().items())
    assert model.info.scale_kind == "relative" and "started from 'made': MIT" in model.info.licence
    again = start_model(config(BASELINE), str(save_model(tmp_path / "first.safetensors", model)))
    assert again.info.licence == model.info.licence  # of the same recipe, so not said once more
    compact = start_model(config(BASE, "model.frozen_blocks=1"), "compact")
    shipped = load_model("compact").state_dict()
    assert all(torch.equal(value, shipped[key]) for key, value in compact.state_dict().items())
    assert isinstance(compact, CompactModel) and not compact.pose_head.noisy_depth
    with pytest.raises(FeatDepthError, match="did you mean 'compact'"):
        start_model(config(BASE), "compakt")


def test_a_feature_net_named_beside_finetune_counts(tmp_path: Path) -> None:
    path, autoencoder = published(tmp_path / "fm.pth", "mono_fm_r18"), tmp_path / "autoencoder.safetensors"
    ours(autoencoder, "autoencoder_r18")
    model, source = start_model(config(FM, f"model.feature_net={autoencoder}"), str(path)), load_model(autoencoder)
    assert isinstance(model, ReferenceModel) and isinstance(source, ReferenceModel)
    assert torch.equal(model.extractor.encoder.conv1.weight, source.Encoder.encoder.conv1.weight)


def test_weights_that_do_not_fit_say_why(tmp_path: Path) -> None:
    path = str(ours(tmp_path / "own.safetensors", "baseline_r18", scale_factor=36.0, max_depth=50.0))
    with pytest.raises(CheckpointError, match=r"holds a baseline_r18 model.*Set model\.architecture=baseline_r18"):
        start_model(config(BASELINE, "model.architecture=baseline_r34"), path)
    with pytest.raises(CheckpointError, match="holds a compact model"):
        start_model(config(BASELINE), "compact")
    with pytest.raises(ConfigError, match=r"set model\.min_depth=0\.1 model\.max_depth=50\.0"):
        start_model(config(BASELINE), path)
    stereo = ("model.max_depth=50", "data.sequence.stereo=true")
    with pytest.raises(ConfigError, match=r"a network unit is 36 m .* and 1 m .* set model\.metres_per_unit=36"):
        start_model(config(BASELINE, *stereo), path)
    start_model(config(BASELINE, "model.max_depth=50"), path)  # one camera alone knows no unit
    preset = config(BASELINE, "model.preset=euroc")
    with pytest.raises(ConfigError, match=r"model\.max_depth=50\.0"):
        start_model(preset, str(published(tmp_path / "euroc.pth", "baseline_r18")))


def test_half_a_model_is_refused_by_its_missing_net(tmp_path: Path) -> None:
    state = build_model("baseline_r18").state_dict()
    torch.save({k: v for k, v in state.items() if k.startswith("Depth")}, tmp_path / "depth.pth")
    with pytest.raises(CheckpointError, match="holds no pose net, which this run trains; it holds: depth"):
        start_model(config(BASELINE), str(tmp_path / "depth.pth"))


def test_random_blocks_are_not_frozen() -> None:
    with pytest.raises(ConfigError, match=r"are random; set model\.initial=imagenet"):
        start_model(config(BASE, "model.initial=none", "model.frozen_blocks=1"))
    start_model(config(BASE, "model.initial=none", "model.frozen_blocks=1"), resumed=True)  # weights follow


def test_a_part_that_the_model_lacks_is_named() -> None:
    with pytest.raises(ConfigError, match=r"model\.trained holds 'pose_heat'.* did you mean 'pose_head'"):
        start_model(config(BASE, "model.initial=none", "model.trained=[pose_heat]"))
    model = start_model(config(BASE, "model.initial=none", "model.trained=[decoder, pose_head]"))
    trained = {name.split(".")[0] for name, p in model.named_parameters() if p.requires_grad}
    assert trained == {"decoder", "pose_head"}
