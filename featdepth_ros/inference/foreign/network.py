"""A third-party depth network as a back end. It estimates no motion, which comes from the window."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from featdepth_ros.errors import CheckpointError, ConfigError, FeatDepthError
from featdepth_ros.export.onnx_files import read_onnx, session_runner
from featdepth_ros.export.parity import Array, Runner
from featdepth_ros.inference.backends.files import backend_for
from featdepth_ros.inference.foreign.convention import FARTHEST, Convention
from featdepth_ros.models.info import ModelInfo

_NEAREST = 1e-3
_LICENCE = "that of the file's authors; the file does not state it"


class ForeignFile:
    """A third-party ONNX file. See `backends.files.NetworkFile`.

    Args:
        path: the file.
        convention: its input and output format.

    Attributes:
        info: description of the network.
        kind: kind of its depth, see `Convention`.

    Raises:
        CheckpointError: the file is not ONNX, or its inputs and outputs do not match the convention.
    """

    def __init__(self, path: Path, convention: Convention) -> None:
        model, _ = read_onnx(path)
        self._path, self._convention = path, convention
        self.kind = convention.kind
        own = {entry.name for entry in model.graph.initializer}
        inputs = {entry.name: _shape(entry) for entry in model.graph.input if entry.name not in own}
        outputs = [entry.name for entry in model.graph.output]
        self._input = _chosen(convention.input, list(inputs), f"'{path.name}'", "input")
        self._output = _chosen(convention.output, outputs, f"'{path.name}'", "output")
        if convention.invalid_output and convention.invalid_output not in outputs:
            raise CheckpointError(
                f"'{path.name}' has no output '{convention.invalid_output}'; it has {', '.join(outputs)}. "
                "Name one of these in invalid_output, or leave it out"
            )
        shape = inputs[self._input]
        sides = shape[-2:] if convention.layout == "NCHW" else shape[-3:-1]
        self._fixed = (sides[0], sides[1]) if len(sides) == 2 and min(sides) > 0 else None
        self._rank = len(shape)
        self.info = _info(path, convention)

    def size_for(self, width: int, height: int, wanted: tuple[int, int] | None) -> tuple[int, int]:
        """See `NetworkFile.size_for`. A size that the file fixes has priority over the convention's."""
        if self._fixed is not None:
            if wanted not in (None, self._fixed):
                raise ConfigError(
                    f"'{self._path.name}' takes only images of {self._fixed[0]}x{self._fixed[1]}; leave out the size"
                )
            return self._fixed
        size = wanted or self._convention.fitting(width, height)
        if size is None:
            raise ConfigError(
                f"'{self._path.name}' takes any size, and its convention sets none; add size or short_side to it"
            )
        if any(side % self._convention.multiple for side in size):
            raise ConfigError(f"the size is {size[0]}x{size[1]}; expected multiples of {self._convention.multiple}")
        return size

    def open(self, device: torch.device, precision: str, backend: str) -> ForeignBackend:
        """See `NetworkFile.open`."""
        name = backend_for(self._path, backend, device)
        if precision not in ("auto", "fp32"):
            raise ConfigError(f"'{self._path.name}' has the precision of its export; set precision to auto")
        providers: list[Any] = ["CPUExecutionProvider"]
        if device.type == "cuda":
            providers.insert(0, "CUDAExecutionProvider")
        if name == "tensorrt":
            providers.insert(0, "TensorrtExecutionProvider")
        run = session_runner(self._path, torch.get_num_threads(), providers)
        return ForeignBackend(name, run, self._convention, (self._input, self._output, self._rank), device)


class ForeignBackend:
    """Runs a third-party network. See `backends.base.Backend`."""

    precision = "fp32"
    has_pose = False

    def __init__(
        self, name: str, run: Runner, convention: Convention, names: tuple[str, str, int], device: torch.device
    ) -> None:
        self.name = name
        self._run, self._convention, self._device = run, convention, device
        self._input, self._output, self._rank = names

    def observe(self, image: Tensor) -> dict[str, Array]:
        """See `Backend.observe`. The observation is the outputs of the network by name."""
        c = self._convention
        pixels = image.cpu().numpy()
        if c.colour == "bgr":
            pixels = pixels[:, ::-1]
        shape = (1, 3, 1, 1)
        pixels = (pixels - np.reshape(c.mean, shape)) / np.reshape(c.std, shape)
        if c.layout == "NHWC":
            pixels = pixels.transpose(0, 2, 3, 1)
        rows = []
        for row in np.ascontiguousarray(pixels, dtype=np.float32):
            # One image at a time, as many exports have a fixed batch of one. Some have another axis for views.
            outputs = self._run({self._input: row.reshape((1,) * (self._rank - 3) + row.shape)})
            kept = [name for name in (self._output, c.invalid_output) if name]
            rows.append({name: _as_map(outputs[name]) for name in kept})
        return {name: np.stack([row[name] for row in rows]) for name in rows[0]}

    def row(self, observation: dict[str, Array], row: int) -> dict[str, Array]:
        """See `Backend.row`."""
        return {name: values[row : row + 1] for name, values in observation.items()}

    def depth(self, observation: dict[str, Array]) -> Tensor:
        """See `Backend.depth`. It has the size of the network's output; invalid pixels have the depth `FARTHEST`.

        For an inverse depth it is the reciprocal without a unit: scale and shift are unknown.
        """
        given = torch.from_numpy(observation[self._output])[:, None].float().to(self._device)
        if self._convention.kind == "inverse_depth":
            # Distant pixels stay below the value of invalid ones.
            given = 1.0 / torch.nan_to_num(given).clamp(2.0 / FARTHEST, 1.0 / _NEAREST)
        depth = torch.nan_to_num(given, nan=FARTHEST, posinf=FARTHEST).clamp(_NEAREST, FARTHEST)
        name = self._convention.invalid_output
        if name:
            mark = torch.from_numpy(observation[name])[:, None].float().to(self._device)
            if mark.shape != depth.shape:
                mark = F.interpolate(mark, depth.shape[-2:], mode="nearest")
            wrong = mark > self._convention.invalid_above
            if self._convention.invalid_below is not None:
                wrong = mark < self._convention.invalid_below
            depth = torch.where(wrong, FARTHEST, depth)
        return depth

    def motion(self, *_: Any) -> tuple[Tensor, Tensor]:
        """See `Backend.motion`.

        Raises:
            FeatDepthError: always.
        """
        raise FeatDepthError("a third-party depth network has no pose network; set motion to window")


def _as_map(output: Array) -> Array:
    """Return an output of any rank as (h, w)."""
    squeezed = np.squeeze(output)
    if squeezed.ndim != 2:
        raise CheckpointError(f"an output of the network has shape {output.shape}; expected one value per pixel")
    return squeezed


def _chosen(name: str, there: list[str], file: str, what: str) -> str:
    if name and name not in there:
        raise CheckpointError(
            f"{file} has no {what} '{name}'; it has {', '.join(there)}. Name one of these in the convention"
        )
    if not name and what == "input" and len(there) != 1:
        raise CheckpointError(f"{file} has the inputs {', '.join(there)}; name that of the image in the convention")
    return name or there[0]


def _shape(entry: Any) -> list[int]:
    """Return the dimensions of an input; 0 for variable ones."""
    return [int(side.dim_value) for side in entry.type.tensor_type.shape.dim]


def _info(path: Path, convention: Convention) -> ModelInfo:
    """Return the description of the network; a canonical focal length counts as that of the training camera."""
    focal_px = convention.canonical_focal_px
    height, width = 480, 640  # a usual picture: for warming up, and to turn pixels into shares and back
    return ModelInfo(
        name=path.stem,
        architecture=f"foreign ({convention.kind})",
        min_depth=_NEAREST,
        max_depth=FARTHEST,
        input_size=(height, width),
        focal=None if focal_px is None else (focal_px / width, focal_px / height),
        scale_kind="relative" if convention.kind == "inverse_depth" else "metric",
        licence=_LICENCE,
    )
