"""Comparison of an exported file with PyTorch: both run on a few frames, and every output is compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from featdepth_ros.errors import FeatDepthError
from featdepth_ros.export.graph import MOTION_OUTPUTS, PREVIOUS, ModelGraph, example_inputs
from featdepth_ros.metrics.depth import depth_errors
from featdepth_ros.models.info import ModelInfo

Array = NDArray[np.float32]
#: A function from arrays by input name to arrays by output name.
Runner = Callable[[Mapping[str, Array]], dict[str, Array]]

#: Tolerances of the relative error of inverse depth, by precision. For fp32 it is the error of the worst pixel. For the
#: others it is the root mean square over an image, because rounding moves outlines by a fraction of a pixel.
DISPARITY_TOLERANCE = {"fp32": 1e-4, "fp16": 5e-3, "bf16": 5e-3}
#: Tolerances of the relative error of rotation and translation, by precision.
MOTION_TOLERANCE = {"fp32": 1e-3, "fp16": 1e-2, "bf16": 1e-2}
#: Least denominators of these relative errors: radians, and network units at a median depth of about ten.
SMALLEST_MOTION = {"axisangle": 0.01, "translation": 0.1}
#: Largest relative increase of the mean relative depth error by int8.
INT8_ABS_REL_TOLERANCE = 0.02
#: Name of the error for the int8 tolerance, in the table of errors.
ABS_REL = "disparity (AbsRel)"


@dataclass(frozen=True)
class CheckFrames:
    """Consecutive frames of one camera, for the comparison of files and for the calibration of int8.

    Attributes:
        images: (3, H, W) float32 RGB in [0, 1] each, at the networks' size.
        intrinsics: (4,) fx, fy, cx, cy in pixels of the images; None: a camera of 58 degrees.
        depths: (H / 2, W / 2) float32 true z-depth of each frame, NaN where unknown; None without truth.
    """

    images: Sequence[Array]
    intrinsics: Array | None = None
    depths: Sequence[Array] | None = None


@dataclass(frozen=True)
class Parity:
    """Result of the comparison of two runners.

    Attributes:
        errors: relative error of each output in the worst frame.
        tolerances: tolerances of the checked outputs.
        abs_rel: mean relative depth error of both runners, with median scaling per image; None without ground truth.
    """

    errors: dict[str, float]
    tolerances: dict[str, float]
    abs_rel: tuple[float, float] | None = None

    @property
    def worst(self) -> str:
        """Name of the output with the largest ratio of error to tolerance."""
        return max(self.tolerances, key=lambda name: self.errors[name] / self.tolerances[name])

    @property
    def passes(self) -> bool:
        """Whether every output is within its tolerance."""
        return all(
            np.isfinite(self.errors[name]) and self.errors[name] <= most for name, most in self.tolerances.items()
        )

    def require(self, what: str, remedy: str = "take a higher precision") -> None:
        """Raise an error for a file whose outputs differ too much from PyTorch's.

        Args:
            what: name of the compared file in the message.
            remedy: advice for the user.

        Raises:
            FeatDepthError: an output exceeds its tolerance; the message names the worst one with both values.
        """
        if not self.passes:
            name = self.worst
            raise FeatDepthError(
                f"{what} differs from PyTorch: the error of output '{name}' is {self.errors[name]:.2g}, "
                f"allowed is {self.tolerances[name]:.2g} (both relative). Nothing was written; {remedy}"
            )


def torch_runner(graph: ModelGraph) -> Runner:
    """Return a runner of the graph in PyTorch."""

    def run(inputs: Mapping[str, Array]) -> dict[str, Array]:
        tensors = [torch.from_numpy(np.ascontiguousarray(inputs[name])) for name in graph.input_names]
        with torch.inference_mode():
            outputs = graph(*tensors)
        return {name: value.numpy() for name, value in zip(graph.output_names, outputs, strict=True)}

    return run


def run_over(
    runner: Runner, graph: ModelGraph, frames: CheckFrames, batch: int = 1
) -> Iterator[tuple[dict[str, Array], dict[str, Array]]]:
    """Run all frames in order, each with the features of the previous one; all rows of a batch are equal.

    Yields:
        The inputs and outputs of each frame.
    """
    size = (frames.images[0].shape[1], frames.images[0].shape[2])
    inputs = {name: value.numpy() for name, value in example_inputs(graph, batch, size).items()}
    if frames.intrinsics is not None and graph.takes_intrinsics:
        inputs["intrinsics"] = np.repeat(np.asarray(frames.intrinsics, np.float32)[None], batch, 0)
    for image in frames.images:
        inputs["image"] = np.repeat(image[None], batch, 0)
        outputs = runner(inputs)
        yield dict(inputs), outputs
        for name in graph.feature_names:
            inputs[PREVIOUS + name] = outputs[name]


def compare(
    expected: Sequence[dict[str, Array]],
    given: Sequence[dict[str, Array]],
    precision: str,
    info: ModelInfo,
    frames: CheckFrames,
) -> Parity:
    """Compare outputs frame by frame, without the motion of the first frame, which is meaningless.

    The depth of int8 is compared with the ground truth: its mean relative error may be 2 % larger. Without ground
    truth, its depth may differ from PyTorch's by as much.

    Args:
        expected: outputs of PyTorch in float32, batch size 1.
        given: outputs of the exported file, any batch size; the worst row is used.
        precision: ``fp32``, ``fp16``, ``bf16`` or ``int8``.
        info: description of the weights, for the depth range.
        frames: the frames of both runs.
    """
    pairs = [
        (_inverse(a["disparity"], info), _inverse(b["disparity"], info)) for a, b in zip(expected, given, strict=True)
    ]
    relative = [np.abs(b / a - 1.0) for a, b in pairs]
    size = np.max if precision == "fp32" else _root_mean_square
    errors = {"disparity": float(max(size(r) for r in relative))}
    tolerances = {} if precision == "int8" else {"disparity": DISPARITY_TOLERANCE[precision]}
    for name in MOTION_OUTPUTS:
        if name in expected[0] and len(pairs) > 1:
            errors[name] = max(
                _share(a[name], b[name], SMALLEST_MOTION[name]) for a, b in zip(expected[1:], given[1:], strict=True)
            )
            if precision != "int8":
                tolerances[name] = MOTION_TOLERANCE[precision]
    abs_rel = None
    if frames.depths is not None:
        first, second = ([1.0 / pair[side][0, 0] for pair in pairs] for side in (0, 1))
        abs_rel = _abs_rel(frames.depths, first), _abs_rel(frames.depths, second)
    if precision == "int8":
        change = abs_rel[1] / abs_rel[0] - 1.0 if abs_rel else float(np.mean([r.mean() for r in relative]))
        errors[ABS_REL], tolerances[ABS_REL] = change, INT8_ABS_REL_TOLERANCE
    return Parity(errors, tolerances, abs_rel)


def _root_mean_square(values: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def _inverse(disparity: Array, info: ModelInfo) -> NDArray[np.float64]:
    low, high = 1.0 / info.max_depth, 1.0 / info.min_depth
    return low + (high - low) * disparity.astype(np.float64)


def _share(expected: Array, given: Array, smallest: float) -> float:
    distances = np.linalg.norm(given - expected, axis=-1)
    return float(distances.max() / max(float(np.linalg.norm(expected)), smallest))


def _abs_rel(truths: Sequence[Array], depths: Sequence[NDArray[np.float64]]) -> float:
    errors = []
    for truth, depth in zip(truths, depths, strict=True):
        known = np.isfinite(truth) & (truth > 0)
        if known.any():
            measured, real = depth[known], truth[known].astype(np.float64)
            errors.append(depth_errors(real, measured * np.median(real) / np.median(measured))["abs_rel"])
    return float(np.mean(errors)) if errors else float("nan")
