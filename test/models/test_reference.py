"""The reference networks: keys and shapes of the published checkpoints, and numbers recorded from the published code.

The numbers come from running the published classes in eval mode with the formula weights below, so that no file of
weights is needed: every tensor is drawn from a generator seeded with the checksum of its key.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from featdepth_ros.errors import FeatDepthError, ImageError
from featdepth_ros.models.build import build_model
from featdepth_ros.models.reference import NETS, ReferenceModel

GOLDEN = json.loads((Path(__file__).parent / "golden_reference.json").read_text())
#: Number of entries, and sha256 over the lines "key 64x3x7x7\n", of the published architectures. In their order, since
#: the optimiser state of published checkpoints counts parameters in it.
STATE_DIGESTS = {
    "baseline_r18": (296, "cb1c9d62b160bda8f07f059cac6315809945dae273368137a9a128ef2f7121fa"),
    "baseline_r50": (494, "6d5f7c0bbfb61c72f1ccf1717ff5b70d6e4ccdc60298e8473e7b818443337f30"),
    "autoencoder_r18": (150, "101c3d12b72849e693bed7d5fa268b4d7350d2dde590ca74f4beeb41230cbd9e"),
    "autoencoder_r50": (348, "2d0fef5f026456b6151c7cff013bafd343328757f75991cfe85e1ccda1206177"),
    "mono_fm_joint_r18": (446, "a908bdc377803444ba6c14482cb2e8b3a134f7f9ed10a1ebcb5f2d8a2e0bcfa7"),
    "mono_fm_joint_r50": (842, "bbe2a7f2922d0e0fffaa212a16e0d56da033324c0dd93454aa9fb7ef24ff2b42"),
    "mono_fm_r18": (418, "1b625700a9fd5821abc89e0d32c216191ca70f4246a890c969eb842c485e9406"),
    "mono_fm_r50": (814, "bbc07bafa348799a5c3fc5889abcc9b05ffbf6ce3489289cdfaabd50b1bbab05"),
}


def _generator(name: str) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(zlib.crc32(name.encode())))


def _formula_tensor(key: str, shape: tuple[int, ...]) -> torch.Tensor:
    if key.endswith("num_batches_tracked"):
        return torch.zeros((), dtype=torch.int64)
    random = _generator(key)
    norm_weight = len(shape) == 1 and key.endswith("weight") and ("bn" in key or "downsample.1" in key)
    if key.endswith("running_var") or norm_weight:
        values = random.uniform(0.5, 1.5, shape)
    elif len(shape) > 1:
        values = random.uniform(-1, 1, shape) * np.sqrt(3 / np.prod(shape[1:]))
    else:
        values = random.uniform(-0.1, 0.1, shape)
    if key.startswith("DepthDecoder.disp"):
        values = values * 0.1  # keep the sigmoid away from its ends
    return torch.from_numpy(np.asarray(values, dtype=np.float32))


def _image(name: str) -> torch.Tensor:
    return torch.from_numpy(_generator(name).uniform(0, 1, (1, 3, 64, 96)).astype(np.float32))


def _outputs(model: ReferenceModel) -> dict[str, torch.Tensor]:
    earlier, later = _image("earlier"), _image("later")
    outputs: dict[str, torch.Tensor] = {}
    with torch.inference_mode():
        if "depth" in model.nets:
            outputs |= {f"disp{i}": disparity for i, disparity in enumerate(model.depth(earlier))}
            outputs["axisangle"], outputs["translation"] = model.pose(earlier, later)
        if "features" in model.nets:
            pyramid = model.feature_pyramid(earlier)
            outputs |= {"features": model.features(earlier), "pyramid4": pyramid[4]}
            if "reconstruction" in model.nets:
                outputs |= {f"recon{i}": image for i, image in enumerate(model.reconstruct(pyramid))}
    return outputs


@pytest.mark.parametrize("architecture", sorted(GOLDEN))
def test_outputs_equal_the_published_code(architecture: str) -> None:
    model = build_model(architecture).eval()
    assert isinstance(model, ReferenceModel)
    model.load_state_dict({key: _formula_tensor(key, tuple(v.shape)) for key, v in model.state_dict().items()})
    outputs = _outputs(model)
    assert sorted(outputs) == sorted(GOLDEN[architecture])
    for name, golden in GOLDEN[architecture].items():
        found = outputs[name]
        assert list(found.shape) == golden["shape"], name
        flat = found.double().flatten()
        samples = torch.stack([flat[(i * 2654435761) % flat.numel()] for i in range(len(golden["samples"]))])
        # The motion is a hundredth of the others' size. Deep maps reach 100; float32 leaves them fewer decimals.
        tolerance = 1e-6 if name in ("axisangle", "translation") else 1e-5
        expected = torch.tensor(golden["samples"], dtype=torch.float64)
        torch.testing.assert_close(samples, expected, atol=tolerance, rtol=1e-5 if name == "pyramid4" else 0)
        mean = torch.tensor(golden["mean"], dtype=torch.float64)
        torch.testing.assert_close(flat.mean(), mean, atol=tolerance, rtol=1e-5 if name == "pyramid4" else 0)


def _state_lines(architecture: str) -> list[str]:
    with torch.device("meta"):
        state = build_model(architecture).state_dict()
    return [f"{key} {'x'.join(map(str, value.shape))}\n" for key, value in state.items()]


@pytest.mark.parametrize("architecture", sorted(STATE_DIGESTS))
def test_keys_and_shapes_are_those_of_published_checkpoints(architecture: str) -> None:
    lines = _state_lines(architecture)
    count, digest = STATE_DIGESTS[architecture]
    assert len(lines) == count
    assert hashlib.sha256("".join(lines).encode()).hexdigest() == digest


@pytest.mark.parametrize("architecture", sorted(STATE_DIGESTS))
def test_keys_equal_the_full_lists(architecture: str, test_data: Path) -> None:
    listed = architecture.replace("baseline", "Baseline")
    table = test_data.parent / "spec" / f"state_dict_keys_{listed}.tsv"
    if not table.is_file():
        pytest.skip("the full lists of keys are not beside the recordings")
    rows = [row.split("\t") for row in table.read_text().splitlines() if not row.startswith("#")]
    expected = [f"{key} {'x'.join(shape.strip('(,)').split(', '))}\n" for key, shape, _ in rows]
    assert _state_lines(architecture) == expected


def test_parameter_counts_are_those_of_the_paper_code() -> None:
    with torch.device("meta"):
        counts = build_model("mono_fm_r50").parameter_counts()
    assert counts == {
        "DepthEncoder": 25_557_032,
        "DepthDecoder": 9_651_972,
        "PoseEncoder": 11_698_920,
        "PoseDecoder": 1_313_030,
        "extractor": 25_557_032,
    }


def test_dropout_acts_in_training_only() -> None:
    model = build_model("baseline_r18").eval()
    image = _image("earlier")
    with torch.no_grad():
        torch.testing.assert_close(model.depth(image), model.depth(image), atol=0, rtol=0)
        model.DepthDecoder.train()
        first, second = model.depth(image)[0], model.depth(image)[0]
    assert not torch.equal(first, second)


def test_features_are_the_first_map_of_the_pyramid() -> None:
    model = build_model("autoencoder_r18").eval()
    assert isinstance(model, ReferenceModel)
    image = _image("later")
    with torch.inference_mode():
        torch.testing.assert_close(model.features(image), model.feature_pyramid(image)[0])


@pytest.mark.parametrize("kind", sorted(NETS))
def test_absent_nets_say_so(kind: str) -> None:
    with torch.device("meta"):
        model = build_model(f"{kind}_r18")
    assert isinstance(model, ReferenceModel)
    image = torch.zeros(1, 3, 64, 64)
    calls = {
        "depth": lambda: model.depth(image),
        "pose": lambda: model.pose(image, image),
        "features": lambda: model.features(image),
        "reconstruction": lambda: model.reconstruct([image]),
    }
    absent = set(calls) - set(NETS[kind])
    for net in absent:
        with pytest.raises(FeatDepthError, match=f"hold no {net} net"):
            calls[net]()
    assert set(model.nets) == set(NETS[kind])


def test_depth_net_refuses_images_too_small_for_its_padding() -> None:
    model = build_model("baseline_r18")
    with pytest.raises(ImageError, match="at least 64"):
        model.depth(torch.zeros(1, 3, 32, 64))


def test_runs_in_reduced_precision() -> None:
    model = build_model("baseline_r18").eval().to(memory_format=torch.channels_last)
    image = _image("earlier")
    with torch.inference_mode():
        full = model.depth(image)[0]
        with torch.autocast("cpu", torch.bfloat16):
            low = model.depth(image)[0]
            axisangle, translation = model.pose(image, image)
    torch.testing.assert_close(full, low, atol=0.02, rtol=0)
    assert low.dtype == axisangle.dtype == translation.dtype == torch.float32
