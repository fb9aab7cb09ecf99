"""PyTorch as a back end: any size, any device, ready at once."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from featdepth_ros.errors import ConfigError
from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.geometry.se3 import refocused_motion
from featdepth_ros.models.base import FeatDepthModel
from featdepth_ros.models.inference_copy import inference_copy

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def _fast_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    # Without instructions for it bf16 on a CPU is emulated and slower than fp32.
    probes = (getattr(torch.cpu, name, None) for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"))
    return any(bool(probe and probe()) for probe in probes)


def resolve_precision(name: str, device: torch.device, architecture: str) -> str:
    """Choose the networks' arithmetic. ``auto`` keeps published architectures in fp32, so that their numbers stay.

    Raises:
        ConfigError: fp16 on a CPU.
    """
    if name == "auto":
        return "bf16" if architecture == "compact" and _fast_bf16(device) else "fp32"
    if name == "fp16" and device.type == "cpu":
        raise ConfigError("precision fp16 needs a GPU; on a CPU use fp32, bf16 or auto")
    return name


class TorchBackend:
    """A model in PyTorch. See `Backend`.

    Args:
        model: as `load_model` returns it; the networks run on a copy in eval mode.
        device: where.
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
        # The `Any` is for the two methods that only models with a shared encoder have.
        lean: Any = inference_copy(model.eval(), None if self._dtype == torch.float32 else self._dtype)
        self._model = lean.to(device=device, memory_format=torch.channels_last)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self._device.type, dtype=self._dtype, enabled=self._dtype != torch.float32)

    def observe(self, image: Tensor) -> Any:
        """See `Backend.observe`."""
        if self._shared:
            with self._autocast():
                maps = self._model.encode(image.contiguous(memory_format=torch.channels_last))
                return maps, self._model.coarse_depth(maps)
        return image

    def row(self, observation: Any, row: int) -> Any:
        """See `Backend.row`."""
        if not self._shared:
            return observation[row : row + 1]
        maps, coarse = observation
        return [m[row : row + 1] for m in maps], coarse.select(lambda m: m[row : row + 1])

    def depth(self, observation: Any) -> Tensor:
        """See `Backend.depth`; h' = h / 2, w' = w / 2."""
        with self._autocast():
            if self._shared:
                disparity = self._model.depth_from_features(*observation, all_scales=False)[0]
            else:
                disparity = self._model.depth(observation.contiguous(memory_format=torch.channels_last))[0]
        return self._info.depth_of(disparity.float())

    def motion(self, earlier: Any, later: Any, camera: CameraModel | None, ratio: float) -> tuple[Tensor, Tensor]:
        """See `Backend.motion`."""
        with self._autocast():
            if self._shared:
                (maps, coarse), (later_maps, later_coarse) = earlier, later
                intrinsics = None
                if camera is not None:
                    numbers = [camera.fx, camera.fy, camera.cx, camera.cy]
                    intrinsics = torch.tensor([numbers], dtype=torch.float32, device=self._device)
                motion = self._model.pose_from_features(maps, later_maps, coarse, later_coarse, intrinsics)
            else:
                size = self._info.pose_input_size
                pair = [F.interpolate(x, size=size, mode="bilinear", align_corners=False) for x in (earlier, later)]
                axisangle, translation = (x.float() for x in self._model.pose(*pair))
                motion = refocused_motion(axisangle, translation, torch.tensor([ratio], device=self._device))
        axisangle, translation = (x[0].float().cpu() for x in motion)
        return axisangle, translation
