"""The interface of all back ends."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor

from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.models.compact import DEFAULT_FOCAL_PX
from featdepth_ros.models.info import ModelInfo

#: Floating-point precision of the networks.
PRECISIONS = ("fp32", "bf16", "fp16")


class Backend(Protocol):
    """Computes the networks of one model, at one image size or at any.

    An observation is opaque: it holds the encoding of one image for depth and motion, so that each image is encoded
    once. Only the back end that made it can use it.

    Attributes:
        name: ``torch``, ``onnxruntime``, ``openvino``, ``tensorrt``.
        precision: precision of the networks: ``fp32``, ``bf16``, ``fp16`` or ``int8``.
        has_pose: whether `motion` can be called.
    """

    name: str
    precision: str
    has_pose: bool

    def observe(self, image: Tensor) -> Any:
        """Return the observation of images (B, 3, h, w), float32 RGB in [0, 1], on the device."""

    def row(self, observation: Any, row: int) -> Any:
        """Return the observation of one image of a batch, as a batch of one."""

    def depth(self, observation: Any) -> Tensor:
        """Return z-depth in network units, (B, 1, h', w') float32 on the device, finite and above 0."""

    def motion(self, earlier: Any, later: Any, camera: CameraModel | None, ratio: float) -> tuple[Tensor, Tensor]:
        """Return the motion of the camera between two images.

        Args:
            earlier: observation of the first image, a batch of one.
            later: observation of the second image, a batch of one.
            camera: pinhole camera of the images; None: the training camera.
            ratio: focal length of the camera over that of the training camera, see `inference.scale`.

        Returns:
            Axis-angle (3,) and translation (3,) of T_later_earlier, float32 on the CPU; radians, network units.
        """


def intrinsics_of(camera: CameraModel | None, info: ModelInfo, size: tuple[int, int]) -> list[float]:
    """Return fx, fy, cx, cy in pixels of images of ``size`` (height, width); those of the training camera if None."""
    if camera is not None:
        return [camera.fx, camera.fy, camera.cx, camera.cy]
    height, width = size
    focal_px = info.focal_px or DEFAULT_FOCAL_PX
    return [focal_px, focal_px, (width - 1) / 2, (height - 1) / 2]
