"""The objective against numbers that the original repository's own code gave on the formula's inputs.

Tie-break noise is zero in both. ``regularisation/i`` of the original is the sum of our discriminative and convergent
terms.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import golden_inputs
import pytest
import torch
from torch import Tensor

from featdepth_ros.geometry.se3 import pose_matrix
from featdepth_ros.losses import ObjectiveConfig, batch_norm_mode, feature_maps, objective

GOLDEN: dict[str, dict[str, Any]] = json.loads((Path(__file__).parent / "golden.json").read_text())


def check_terms(terms: dict[str, Tensor], golden: dict[str, Any]) -> None:
    for name, expected in golden.items():
        if name.startswith("gradient/"):
            continue
        if name.startswith("regularisation/"):
            level = name.split("/")[1]
            value = terms[f"discriminative/{level}"] + terms[f"convergent/{level}"]
        else:
            value = terms[name]
        assert value.item() == pytest.approx(expected, rel=1e-5), name
    assert sum(v.item() for k, v in terms.items() if k != "total") == pytest.approx(golden["total"], rel=1e-5)


def norms(gradients: tuple[Tensor, ...]) -> list[float]:
    return [float(g.norm()) for g in gradients]


@pytest.mark.parametrize("case", [name for name in GOLDEN if name != "autoencoder"])
def test_terms_and_gradients_equal_the_original(case: str) -> None:
    kind, *frame_names, convention, mode = case.split()
    frames: list[int | str] = [f if f == "s" else int(f) for f in frame_names]
    net = golden_inputs.SmallEncoder().requires_grad_(kind == "joint")
    inputs = {**golden_inputs.images(frames), **golden_inputs.cameras()}
    disparities = {k: v.requires_grad_() for k, v in golden_inputs.disparities().items()}
    motions = {f: (a.requires_grad_(), t.requires_grad_()) for f, (a, t) in golden_inputs.motions(frames).items()}
    outputs: dict[Any, Tensor] = dict(disparities)
    outputs.update({("cam_T_cam", 0, f): pose_matrix(a, t, invert=f < 0) for f, (a, t) in motions.items()})
    images = {f: inputs["color", f, 0] for f in frames}
    outputs.update(feature_maps(images, lambda x: net(x)[0], net, mode, gradients=kind == "joint"))  # type: ignore[arg-type]
    if kind == "joint":
        with batch_norm_mode(net, mode):  # type: ignore[arg-type]
            outputs.update({("feature", 0, i): f for i, f in enumerate(net(images[0]))})
        outputs.update({("res_img", 0, s): image for s, image in golden_inputs.reconstructions().items()})
    config = ObjectiveConfig.reference(kind, convention, frame_ids=frames)  # type: ignore[arg-type]
    terms = objective(inputs, outputs, config, tie_break_noise=torch.zeros(()))
    golden = GOLDEN[case]
    check_terms(terms, golden)

    leaves = [*disparities.values(), *(x for pair in motions.values() for x in pair)]
    leaves += list(net.parameters()) if kind == "joint" else []
    gradients = torch.autograd.grad(terms["total"], leaves)
    # single pixels whose SSIM lies on its clamp, or whose two best sources tie, go either way by rounding
    assert norms(gradients[:4]) == pytest.approx(golden["gradient/disp"], rel=5e-4)
    for gradient, expected in zip(gradients[4:], golden["gradient/motion"], strict=False):
        wanted = torch.tensor(expected)
        assert float(torch.cosine_similarity(gradient.flatten(), wanted, 0)) > 0.9999
        assert float(gradient.norm()) == pytest.approx(float(wanted.norm()), rel=1e-3)
    if kind == "joint":
        assert norms(gradients[4 + 2 * len(motions) :]) == pytest.approx(golden["gradient/encoder"], rel=1e-3)


def test_autoencoder_equals_the_original() -> None:
    net = golden_inputs.SmallEncoder().train()
    images = golden_inputs.images([0])
    reconstructions = {s: image.requires_grad_() for s, image in golden_inputs.reconstructions().items()}
    outputs: dict[Any, Tensor] = {("disp", 0, s): image for s, image in reconstructions.items()}
    outputs.update({("feature", 0, i): f for i, f in enumerate(net(images["color", 0, 0]))})
    terms = objective(images, outputs, ObjectiveConfig.reference("autoencoder"))
    golden = GOLDEN["autoencoder"]
    check_terms(terms, golden)
    gradients = torch.autograd.grad(terms["total"], [*net.parameters(), *reconstructions.values()])
    assert norms(gradients[:-4]) == pytest.approx(golden["gradient/encoder"], rel=1e-3)
    assert norms(gradients[-4:]) == pytest.approx(golden["gradient/reconstruction"], rel=1e-4)
