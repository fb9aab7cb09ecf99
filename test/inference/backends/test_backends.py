"""Back ends: each gives what PyTorch gives, is built once, and takes over while PyTorch serves."""

from __future__ import annotations

import json
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from featdepth_ros import Estimator
from featdepth_ros.cli.main import main
from featdepth_ros.errors import CheckpointError, ConfigError, FeatDepthError, MissingDependencyError
from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.inference.backends import build as build_module
from featdepth_ros.inference.backends import choice as choice_module
from featdepth_ros.inference.backends import engines
from featdepth_ros.inference.backends.cache import Cache, code_checksum, weights_checksum
from featdepth_ros.inference.backends.loading import load_networks
from featdepth_ros.inference.config import EstimatorConfig
from featdepth_ros.inference.frame import Rectifier
from featdepth_ros.inference.networks import Networks
from featdepth_ros.models.base import FeatDepthModel
from featdepth_ros.models.build import build_model
from featdepth_ros.models.checkpoints import load_model

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
pytest.importorskip("openvino")
pytestmark = pytest.mark.slow

SIZE = (64, 96)
CPU = torch.device("cpu")
CAMERA = CameraModel(96, 64, 90.0, 90.0, 47.5, 31.5)


@pytest.fixture(scope="module")
def model() -> FeatDepthModel:
    return load_model("compact")


@pytest.fixture(scope="module")
def cache(model: FeatDepthModel, tmp_path_factory: pytest.TempPathFactory) -> Cache:
    """A cache that holds the compact model for images of 64x96, in both formats."""
    cache = Cache(tmp_path_factory.mktemp("cache"))
    checksum = weights_checksum(model)
    build_module.build(model, checksum, SIZE, [".onnx", ".xml"], cache.entry(checksum, CPU, SIZE))
    return cache


@pytest.fixture
def never_built(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails when something is built that should have been found."""

    def refuse(*_: object) -> None:
        raise AssertionError("built again")

    monkeypatch.setattr(choice_module, "build", refuse)


def pictures(count: int = 2) -> list[np.ndarray]:
    """Smooth noise that moves by two pixels from picture to picture."""
    noise = torch.rand((1, 3, 10, 14), generator=torch.Generator().manual_seed(1))
    wide = torch.nn.functional.interpolate(noise, (SIZE[0], SIZE[1] + 2 * count), mode="bicubic").clamp(0, 1)
    whole = (wide[0].permute(1, 2, 0) * 255).to(torch.uint8).numpy()
    return [np.ascontiguousarray(whole[:, 2 * i : 2 * i + SIZE[1]]) for i in range(count)]


def encoded(networks: Networks, count: int = 2) -> list:
    rectifier = Rectifier(lambda _w, _h: SIZE, CPU)
    frames = [rectifier.rectify(image, CAMERA, i) for i, image in enumerate(pictures(count))]
    return networks.encode_all(frames)


@pytest.mark.usefixtures("never_built")
@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_a_back_end_gives_what_pytorch_gives(backend: str, model: FeatDepthModel, cache: Cache) -> None:
    torch_networks = Networks(model, CPU, "fp32")
    networks = Networks(model, CPU, "fp32", backend, cache)
    assert networks.backend == "torch"
    networks.build_backend(SIZE, 1)
    assert networks.backend == backend and networks.precision == "fp32" and networks.note == ""
    expected, given = encoded(torch_networks), encoded(networks)
    for a, b in zip(expected, given, strict=True):
        np.testing.assert_allclose(b.network_depth.numpy(), a.network_depth.numpy(), rtol=1e-4)
    motions = [
        n.motion(pair[0].observation, pair[1].observation, CAMERA, 1.0)
        for n, pair in ((torch_networks, expected), (networks, given))
    ]
    for a, b in zip(*motions, strict=True):
        np.testing.assert_allclose(b.numpy(), a.numpy(), rtol=1e-3, atol=1e-5)
    # a frame that PyTorch observed and one that the back end did make a pair as well
    mixed = networks.motion(expected[0].observation, given[1].observation, CAMERA, 1.0)
    np.testing.assert_allclose(mixed[1].numpy(), motions[0][1].numpy(), rtol=1e-3, atol=1e-5)


@pytest.mark.usefixtures("never_built")
def test_openvino_computes_in_the_precision_asked_for(model: FeatDepthModel, cache: Cache) -> None:
    depths = {}
    for precision in ("fp32", "bf16"):
        networks = Networks(model, CPU, precision, "openvino", cache)
        networks.build_backend(SIZE, 1)
        assert networks.precision == precision
        depths[precision] = encoded(networks)[0].network_depth.numpy()
    exact = encoded(Networks(model, CPU, "fp32"))[0].network_depth.numpy()
    errors = {name: np.abs(depth / exact - 1.0).max() for name, depth in depths.items()}
    assert errors["fp32"] < 1e-4
    if torch.cpu._is_avx512_bf16_supported():  # elsewhere bf16 is computed in fp32
        assert 1e-4 < errors["bf16"] < 0.2


def test_onnx_runtime_does_not_pretend_to_compute_in_bf16(model: FeatDepthModel, cache: Cache) -> None:
    with pytest.raises(ConfigError, match="supports fp32 on cpu, not bf16"):
        Networks(model, CPU, "bf16", "onnxruntime", cache)
    assert Networks(model, CPU, "auto", "onnxruntime", cache)._choice._precision == "fp32"


def test_a_back_end_of_another_device_is_refused(model: FeatDepthModel, cache: Cache) -> None:
    with pytest.raises(ConfigError, match="'tensorrt' does not support cpu; choose another backend or device"):
        Networks(model, CPU, "fp32", "tensorrt", cache)


@pytest.mark.usefixtures("never_built")
def test_auto_takes_the_fastest_and_remembers_it(
    model: FeatDepthModel, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = {"openvino": 0.01, "onnxruntime": 0.02, "torch": 0.03}
    measured: list[str] = []

    def seconds(backend, _image):
        measured.append(backend.name)
        return times[backend.name]

    monkeypatch.setattr(choice_module, "_seconds", seconds)
    networks = Networks(model, CPU, "fp32", "auto", cache)
    networks.build_backend(SIZE, 1)
    assert networks.backend == "openvino" and sorted(measured) == ["onnxruntime", "openvino", "torch"]
    entry = cache.entry(weights_checksum(model), CPU, SIZE)
    assert json.loads((entry / "fastest.json").read_text()) == {"fp32": "openvino"}
    again = Networks(model, CPU, "fp32", "auto", cache)
    again.build_backend(SIZE, 1)
    assert again.backend == "openvino" and measured[3:] == ["openvino"]


def test_auto_builds_for_long_recordings_only(
    model: FeatDepthModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[object] = []
    monkeypatch.setattr(choice_module, "build", lambda *values: built.append(values))
    networks = Networks(model, CPU, "fp32", "auto", Cache(tmp_path))
    networks.build_backend(SIZE, 20)
    assert networks.backend == "torch" and not built and not list(tmp_path.iterdir())
    Networks(model, CPU, "fp32", "auto", Cache(tmp_path)).build_backend(SIZE, 1000)
    assert built


@pytest.mark.usefixtures("never_built")
def test_a_back_end_that_is_not_equal_is_not_used(
    model: FeatDepthModel, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = load_model("compact")
    other.decoder.head[3].bias.data.add_(0.5)
    monkeypatch.setattr(choice_module, "weights_checksum", lambda _: weights_checksum(model))
    networks = Networks(other, CPU, "fp32", "openvino", cache)
    with pytest.raises(FeatDepthError, match=r"openvino: the relative error of depth is .* at most 0.0001 is allowed"):
        networks.build_backend(SIZE, 1)
    assert networks.backend == "torch"
    assert len(encoded(networks)) == 2  # PyTorch goes on


@pytest.mark.usefixtures("never_built")
def test_pytorch_serves_until_the_back_end_is_ready(
    model: FeatDepthModel, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is loaded from the first image on, as the cache holds it; a build would wait for more of them."""
    monkeypatch.setattr(choice_module, "_SOON", 10**6)
    config = EstimatorConfig(
        input_size=SIZE, precision="fp32", motion="network", backend="openvino", backend_cache=str(cache.folder)
    )
    estimator = Estimator(model, config, device="cpu")
    served, depths = [], []
    shown = pictures(2)  # in turns: a picture that never changes would be a frozen camera
    deadline = time.monotonic() + 120
    while "openvino" not in served and time.monotonic() < deadline:
        estimate = estimator.step(shown[len(served) % 2], CAMERA, 1 + 100_000_000 * len(served))
        served.append(estimator.backend)
        depths.append(estimate.depth)
    assert served[0] == "torch" and served[-1] == "openvino"
    np.testing.assert_allclose(depths[-1], depths[(len(depths) - 1) % 2], rtol=1e-4)


def test_a_full_cache_loses_what_was_used_longest_ago(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache", most_mb=0.25)
    entries = [cache.entry("abc", CPU, (64, 96 + 32 * i)) for i in range(3)]
    assert len(set(entries)) == 3
    for age, entry in enumerate(entries):
        entry.mkdir(parents=True)
        (entry / "graph.onnx").write_bytes(bytes(100_000))
        cache.used(entry)
        time.sleep(0.02 * age)
    assert [entry.is_dir() for entry in entries] == [False, True, True]
    assert cache.entry("abd", CPU, (64, 96)) != entries[0] != cache.entry("abc", torch.device("cuda"), (64, 96))


def test_changed_code_of_the_networks_has_other_cache_entries(tmp_path: Path) -> None:
    """Else a robot would go on with graphs of the code before an update."""
    for folder in ("models", "geometry", "export"):
        (tmp_path / folder).mkdir()
    checksums = [code_checksum(tmp_path)]
    for folder in ("models", "geometry", "export"):
        (tmp_path / folder / "code.py").write_text(folder)
        code_checksum.cache_clear()
        checksums.append(code_checksum(tmp_path))
    assert len(set(checksums)) == 4


def test_a_back_end_that_is_not_installed_is_told(model: FeatDepthModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "missing", lambda engine: ["openvino"])
    with pytest.raises(MissingDependencyError, match=r"pip install 'featdepth_ros\[openvino\]'"):
        Networks(model, CPU, "fp32", "openvino")
    assert Networks(model, CPU, "fp32", "auto")._choice._candidates == []


@pytest.mark.usefixtures("unjudged_motion")
@pytest.mark.parametrize("name", ["graph.onnx", "graph.xml"])
def test_an_export_is_taken_as_weights(name: str, model: FeatDepthModel, cache: Cache) -> None:
    path = cache.entry(weights_checksum(model), CPU, SIZE) / name
    loaded = load_networks(path)
    assert loaded.info == model.info
    config = EstimatorConfig(motion="network", depth="network")
    exported, native = (
        Estimator(loaded, config, device="cpu"),
        Estimator(
            model, EstimatorConfig(input_size=SIZE, precision="fp32", motion="network", backend="torch"), device="cpu"
        ),
    )
    for i, picture in enumerate(pictures(3)):
        stamp_ns = 1 + 100_000_000 * i
        found, expected = exported.step(picture, CAMERA, stamp_ns), native.step(picture, CAMERA, stamp_ns)
    assert exported.size == SIZE and exported.backend == ("onnxruntime" if name.endswith("onnx") else "openvino")
    np.testing.assert_allclose(found.depth, expected.depth, rtol=1e-4)
    np.testing.assert_allclose(found.motion.T_previous_current, expected.motion.T_previous_current, atol=1e-4)
    with pytest.raises(ConfigError, match="was exported for images of 64x96"):
        Estimator(loaded, EstimatorConfig(input_size=(96, 96)), device="cpu").warm_up((96, 96))
    with pytest.raises(CheckpointError, match="weights are needed here"):
        load_model(path)


@pytest.mark.usefixtures("never_built")
def test_infer_names_the_back_end_that_computed(cache: Cache, tmp_path: Path) -> None:
    (tmp_path / "shots").mkdir()
    for i, picture in enumerate(pictures()):
        cv2.imwrite(str(tmp_path / "shots" / f"{i}.png"), picture)
    depths = {}
    for backend in ("torch", "openvino"):
        output = tmp_path / backend
        words = [
            "infer",
            str(tmp_path / "shots"),
            "--output",
            str(output),
            "--input-size",
            "64x96",
            "--backend",
            backend,
        ]
        assert main([*words, "--precision", "fp32", "--device", "cpu", "--backend-cache", str(cache.folder)]) == 0
        assert json.loads((output / "summary.json").read_text())["backend"] == backend
        depths[backend] = np.load(output / "depth" / "1.npy")
    np.testing.assert_allclose(depths["openvino"], depths["torch"], rtol=1e-4)


def test_a_published_architecture_runs_on_a_back_end(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = build_model("baseline_r18").eval()
    networks = Networks(model, CPU, "fp32", "onnxruntime", Cache(tmp_path))
    networks.build_backend(SIZE, 1)
    pairs = {"ours": encoded(networks), "torch": encoded(Networks(model, CPU, "fp32"))}
    assert networks.backend == "onnxruntime"
    np.testing.assert_allclose(
        pairs["ours"][0].network_depth.numpy(), pairs["torch"][0].network_depth.numpy(), rtol=1e-4
    )
    found = [
        Networks(model, CPU, "fp32").motion(*(f.observation for f in pair), CAMERA, 1.3) for pair in pairs.values()
    ]
    np.testing.assert_allclose(found[0][1].numpy(), found[1][1].numpy(), rtol=1e-3, atol=1e-6)
