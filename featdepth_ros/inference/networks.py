"""The networks as the estimator drives them: device, precision, memory layout, shared features.

Networks may run in half precision; what leaves this module is fp32.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from featdepth_ros.errors import ConfigError, FeatDepthError
from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.geometry.se3 import refocused_motion
from featdepth_ros.inference.frame import EncodedFrame, RectifiedFrame
from featdepth_ros.models.base import FeatDepthModel
from featdepth_ros.models.batch_norms import fuse_batch_norms
from featdepth_ros.models.info import ModelInfo

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def _fast_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    # Without instructions for it bf16 on a CPU is emulated and slower than fp32.
    probes = (getattr(torch.cpu, name, None) for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"))
    return any(bool(probe and probe()) for probe in probes)


def resolve_precision(name: str, device: torch.device, architecture: str) -> torch.dtype:
    """Choose the networks' arithmetic. ``auto`` keeps published architectures in fp32, so that their numbers stay.

    Raises:
        ConfigError: fp16 on a CPU.
    """
    if name == "auto":
        if architecture == "compact" and _fast_bf16(device):
            return torch.bfloat16
        return torch.float32
    if name == "fp16" and device.type == "cpu":
        raise ConfigError("precision fp16 needs a GPU; on a CPU use fp32, bf16 or auto")
    return _DTYPES[name]


def fitting_size(info: ModelInfo, width: int, height: int) -> tuple[int, int]:
    """Choose the size at which the networks see images of ``width`` x ``height``.

    The compact model takes any size: about as many pixels as it was trained with, in the image's own aspect, because
    it was trained with nearly square pixels. Published architectures keep the size of their training.

    Returns:
        (height, width), multiples of 32.
    """
    if info.architecture != "compact":
        return info.input_size
    pixels = info.input_size[0] * info.input_size[1]
    rows = max(32, 32 * round(math.sqrt(pixels * height / width) / 32))
    columns = max(32, 32 * round(rows * width / height / 32))
    return rows, columns


class Networks:
    """One model on one device.

    An `observe` result is opaque: it holds what the depth and pose nets need of one frame, so that each
    frame is encoded once where the model shares its encoder.

    Args:
        model: as `load_model` returns it; put into eval mode, otherwise left alone: the networks run on a copy.
        device: see `device.resolve_device`.
        precision: see `resolve_precision`.
    """

    def __init__(self, model: FeatDepthModel, device: torch.device, precision: str) -> None:
        self.info = model.info
        self.device = device
        self.dtype = resolve_precision(precision, device, model.info.architecture)
        if "depth" not in model.nets:
            raise FeatDepthError(
                f"the weights '{model.info.name}' ({model.info.architecture}) hold no depth net; an estimator needs one"
            )
        self.precision = next(name for name, dtype in _DTYPES.items() if dtype is self.dtype)
        self.has_pose = "pose" in model.nets
        self._shared = hasattr(model, "encode")
        # The `Any` is for the two methods that only models with a shared encoder have.
        fused: Any = fuse_batch_norms(model.eval())
        self._model = fused.to(device=device, memory_format=torch.channels_last)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, dtype=self.dtype, enabled=self.dtype != torch.float32)

    def encode(self, frame: RectifiedFrame) -> EncodedFrame:
        """Return a frame with what the networks say of it alone."""
        return self.encode_all([frame])[0]

    @torch.inference_mode()
    def encode_all(self, frames: Sequence[RectifiedFrame]) -> list[EncodedFrame]:
        """Return frames, of one camera or several, with what the networks say of each.

        Frames of one size go through in one forward pass.
        """
        encoded: dict[int, EncodedFrame] = {}
        sizes = [frame.size for frame in frames]
        for size in dict.fromkeys(sizes):
            places = [place for place, other in enumerate(sizes) if other == size]
            observation = self.observe(torch.cat([frames[place].image for place in places]))
            depth = self.depth(observation)
            for row, place in enumerate(places):
                encoded[place] = EncodedFrame(frames[place], _row(observation, row), depth[row : row + 1])
        return [encoded[place] for place in range(len(frames))]

    def observe(self, image: Tensor) -> Any:
        """Encode (B, 3, h, w) float32 RGB in [0, 1], on the device."""
        if self._shared:
            with self._autocast():
                maps = self._model.encode(image.contiguous(memory_format=torch.channels_last))
                return maps, self._model.coarse_depth(maps)
        return image

    def depth(self, observation: Any) -> Tensor:
        """Depth in network units at the finest scale, (B, 1, h / 2, w / 2) fp32."""
        with self._autocast():
            if self._shared:
                disparity = self._model.depth_from_features(*observation, all_scales=False)[0]
            else:
                disparity = self._model.depth(observation.contiguous(memory_format=torch.channels_last))[0]
        low, high = 1.0 / self.info.max_depth, 1.0 / self.info.min_depth
        depth: Tensor = 1.0 / (low + (high - low) * disparity.float())
        return depth

    def motion(self, earlier: Any, later: Any, camera: CameraModel | None, ratio: float) -> tuple[Tensor, Tensor]:
        """Motion of the camera between two frames.

        Args:
            earlier: what `observe` returned of the first frame.
            later: the same of the second.
            camera: pinhole camera of the observed images; None: the training camera.
            ratio: its focal length over the training camera's, see `inference.scale`.

        Returns:
            Axis-angle (3,) and translation (3,) of T_later_earlier, fp32 on the CPU; radians, units of the network's
            depth.
        """
        with self._autocast():
            if self._shared:
                (maps, coarse), (later_maps, later_coarse) = earlier, later
                intrinsics = None
                if camera is not None:
                    numbers = [camera.fx, camera.fy, camera.cx, camera.cy]
                    intrinsics = torch.tensor([numbers], dtype=torch.float32, device=self.device)
                motion = self._model.pose_from_features(maps, later_maps, coarse, later_coarse, intrinsics)
            else:
                size = self.info.pose_input_size
                pair = [F.interpolate(x, size=size, mode="bilinear", align_corners=False) for x in (earlier, later)]
                axisangle, translation = (x.float() for x in self._model.pose(*pair))
                motion = refocused_motion(axisangle, translation, torch.tensor([ratio], device=self.device))
        axisangle, translation = (x[0].float().cpu() for x in motion)
        return axisangle, translation


def _row(observation: Any, row: int) -> Any:
    """Return what `Networks.observe` says of one image of a batch, as a batch of one."""
    if isinstance(observation, Tensor):
        return observation[row : row + 1]
    maps, coarse = observation
    return [m[row : row + 1] for m in maps], coarse.select(lambda m: m[row : row + 1])
