"""PyTorch as a back end: any size, any device, ready at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from featdepth_ros.errors import ConfigError
from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.geometry.se3 import refocused_motion
from featdepth_ros.inference.backends.base import intrinsics_of
from featdepth_ros.inference.backends.cuda_graphs import Graphed
from featdepth_ros.models.base import FeatDepthModel
from featdepth_ros.models.compact import Coarse
from featdepth_ros.models.inference_copy import inference_copy

Observation = tuple[Tensor, ...]
_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def _fast_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    # On a CPU without bf16 instructions, bf16 is emulated and slower than fp32.
    probes = (getattr(torch.cpu, name, None) for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"))
    return any(bool(probe and probe()) for probe in probes)


def resolve_precision(name: str, device: torch.device, architecture: str) -> str:
    """Return the precision for a requested one. ``auto`` keeps published architectures in fp32, to reproduce results.

    Raises:
        ConfigError: fp16 is requested on a CPU.
    """
    if name == "auto":
        return "bf16" if architecture == "compact" and _fast_bf16(device) else "fp32"
    if name == "fp16" and device.type == "cpu":
        raise ConfigError("precision fp16 needs a GPU; on a CPU use fp32, bf16 or auto")
    return name


class TorchBackend:
    """A model in PyTorch. See `Backend`.

    An observation is a tuple of tensors: the inputs of the motion, and at the end the depth. On a GPU, frames and
    motions of a repeated size are replayed as CUDA graphs. TF32 is off, so that fp32 has full precision.

    Args:
        model: model of `load_model`; the networks run on a copy in eval mode.
        device: device of the networks.
        precision: ``fp32``, ``bf16`` or ``fp16``.
    """

    name = "torch"

    def __init__(self, model: FeatDepthModel, device: torch.device, precision: str) -> None:
        self.precision = precision
        self.has_pose = "pose" in model.nets
        self._info = model.info
        self._device = device
        self._dtype = _DTYPES[precision]
        self._shared = hasattr(model, "encode")
        # The type is `Any`, because only models with a shared encoder have these methods.
        copied: Any = inference_copy(model.eval(), None if self._dtype == torch.float32 else self._dtype)
        self._model = copied.to(device=device, memory_format=torch.channels_last)
        self._look = Graphed(self._look_at_shared if self._shared else self._look_at_one)
        self._move = Graphed(self._move_by_features if self._shared else self._move_by_images)
        self._intrinsics: tuple[CameraModel | None, tuple[int, int], Tensor] | None = None

    def observe(self, image: Tensor) -> Observation:
        """See `Backend.observe`."""
        with self._arithmetic():
            return self._look(image.contiguous(memory_format=torch.channels_last))

    def row(self, observation: Observation, row: int) -> Observation:
        """See `Backend.row`."""
        return tuple(part[row : row + 1] for part in observation)

    def depth(self, observation: Observation) -> Tensor:
        """See `Backend.depth`; h' = h / 2, w' = w / 2."""
        return observation[-1]

    def motion(
        self, earlier: Observation, later: Observation, camera: CameraModel | None, ratio: float
    ) -> tuple[Tensor, Tensor]:
        """See `Backend.motion`."""
        parts = (*earlier[:-1], *later[:-1])
        if self._shared:
            height, width = (2 * side for side in later[-1].shape[-2:])
            parts = (*parts, self._camera(camera, (height, width)))
        with self._arithmetic():
            (moved,) = self._move(*parts)
        axisangle, translation = moved.cpu()
        if not self._shared:
            both = refocused_motion(axisangle[None], translation[None], torch.tensor([ratio]))
            axisangle, translation = (x[0] for x in both)
        return axisangle, translation

    # -- functions of tensors for CUDA graphs ---------------------------------------------------------------------

    def _look_at_shared(self, image: Tensor) -> Observation:
        maps = self._model.encode(image)
        coarse = self._model.coarse_depth(maps)
        disparity = self._model.depth_from_features(maps, coarse, all_scales=False)[0]
        return maps[2], maps[3], coarse.disparities[0], self._info.depth_of(disparity.float())

    def _look_at_one(self, image: Tensor) -> Observation:
        size = self._info.pose_input_size
        small = F.interpolate(image, size=size, mode="bilinear", align_corners=False) if self.has_pose else image[:, :0]
        return small, self._info.depth_of(self._model.depth(image)[0].float())

    def _move_by_features(self, *parts: Tensor) -> Observation:
        maps, disparities = (parts[0:2], parts[3:5]), (parts[2], parts[5])
        # The pose head uses the third and the fourth of the five feature maps of a frame.
        pyramids = [[map8, map8, map8, map16, map16] for map8, map16 in maps]
        coarse = [Coarse(disparity, [disparity]) for disparity in disparities]
        return (torch.cat([x.float() for x in self._model.pose_from_features(*pyramids, *coarse, parts[6])]),)

    def _move_by_images(self, earlier: Tensor, later: Tensor) -> Observation:
        return (torch.cat([x.float() for x in self._model.pose(earlier, later)]),)

    # -- precision and camera -------------------------------------------------------------------------------------

    @contextmanager
    def _arithmetic(self) -> Iterator[None]:
        """Enable half precision if requested. On a GPU, disable TF32 and let cuDNN benchmark its kernels."""
        half = self._dtype != torch.float32
        with ExitStack() as held:
            if self._device.type == "cuda":
                held.enter_context(torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=False))
            # The weights already have this dtype, so autocast needs no cache, which CUDA graphs do not support.
            held.enter_context(torch.autocast(self._device.type, dtype=self._dtype, enabled=half, cache_enabled=False))
            yield

    def _camera(self, camera: CameraModel | None, size: tuple[int, int]) -> Tensor:
        """Return fx, fy, cx, cy as (1, 4) on the device; the tensor is reused until the camera changes."""
        if self._intrinsics is None or self._intrinsics[0] is not camera or self._intrinsics[1] != size:
            numbers = torch.tensor([intrinsics_of(camera, self._info, size)], dtype=torch.float32)
            self._intrinsics = camera, size, numbers.to(self._device)
        return self._intrinsics[2]
