"""A frame in the estimator: first rectified, then with the results of the networks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from featdepth_ros.errors import ImageError
from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.geometry.rectification import Rectification
from featdepth_ros.geometry.transfers import HostCopy


class RectifiedViews:
    """The two pinhole views of one camera's images: at the networks' size and at the delivered size.

    Args:
        camera: the calibration; None for an uncalibrated camera.
        delivered_size: (width, height) in pixels of the delivered images.
        size: (height, width) in pixels of the networks' input.
        device: device of the sampling grids.

    Attributes:
        size: (height, width) in pixels of the networks' input.
        network: rectification to that size.
        rotation: (3, 3) rotation from the camera's axes to those of the rectified views.

    Raises:
        CalibrationError: the calibration is for images of another size.
    """

    def __init__(
        self,
        camera: CameraModel | None,
        delivered_size: tuple[int, int],
        size: tuple[int, int],
        device: torch.device,
    ) -> None:
        self.size = size
        self.rotation = np.eye(3) if camera is None else camera.R
        self.network = Rectification(camera, delivered_size, size, device)
        self._source = (camera, delivered_size, (delivered_size[1], delivered_size[0]), device)

    @cached_property
    def full(self) -> Rectification:
        """Rectification to the delivered size. It is created at the first access."""
        return Rectification(*self._source)

    @cached_property
    def in_image(self) -> Tensor:
        """(h, w) bool on the processor, see `Rectification.in_image`."""
        return self.network.in_image.cpu()

    @cached_property
    def full_in_image(self) -> Tensor:
        """(H, W) bool on the processor, of the full view."""
        return self.full.in_image.cpu()

    @cached_property
    def full_seen(self) -> NDArray[np.bool_] | None:
        """``full_in_image`` as an array; None where it is True everywhere."""
        in_image = np.asarray(self.full_in_image.numpy())
        return None if in_image.all() else in_image


@dataclass(frozen=True, eq=False)
class RectifiedFrame:
    """A delivered image, rectified to a pinhole camera without distortion.

    Attributes:
        stamp_ns: time of exposure, nanoseconds.
        delivered: (H, W, 3) uint8 RGB as the camera delivered it.
        views: rectification of the camera's images; the same object for all frames of one camera and size.
        image: (1, 3, h, w) float32 RGB in [0, 1] on the device: rectified, at the networks' size.
        uploaded: ``delivered`` on the device, see `Rectification.upload`.
    """

    stamp_ns: int
    delivered: NDArray[np.uint8]
    views: RectifiedViews
    image: Tensor
    uploaded: Tensor

    def __post_init__(self) -> None:
        object.__setattr__(self, "_host_image", HostCopy(self.image))  # the copy to the CPU begins here

    @property
    def host_image(self) -> Tensor:
        """``image`` on the processor."""
        copy: HostCopy = self._host_image  # type: ignore[attr-defined]
        return copy.get()

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels of ``image``."""
        return self.views.size

    @property
    def camera(self) -> CameraModel | None:
        """Pinhole camera of ``image``; None when the input was uncalibrated."""
        return self.views.network.camera

    @property
    def in_image(self) -> Tensor:
        """(h, w) bool on the processor; False where ``image`` reaches outside the delivered image."""
        return self.views.in_image

    @property
    def full_camera(self) -> CameraModel | None:
        """Pinhole camera of ``full_image``; None when the input was uncalibrated."""
        return self.views.full.camera

    @property
    def full_in_image(self) -> Tensor:
        """(H, W) bool on the processor; False where ``full_image`` reaches outside the delivered image."""
        return self.views.full_in_image

    @cached_property
    def full_image(self) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB, rectified at the delivered size; without distortion it is the delivered image itself."""
        full = self.views.full
        return self.delivered if full.is_pure_resize else to_bytes(full.apply(self.uploaded))


@dataclass(frozen=True, eq=False)
class Encoding:
    """Results of the networks for one frame alone.

    Attributes:
        observation: encoding of the frame by the back end, which the pose network takes.
        depth: (1, 1, h / 2, w / 2) float32 on the processor, z-depth in network units.
        ms: duration in milliseconds for all frames of the same forward pass.
    """

    observation: Any
    depth: Tensor
    ms: float


class EncodedFrame:
    """A rectified frame with the results of the networks, which may still be running: access to them then waits.

    Args:
        rectified: the frame.
        encoding: returns the results of the networks; it is called repeatedly.
    """

    def __init__(self, rectified: RectifiedFrame, encoding: Callable[[], Encoding]) -> None:
        self.rectified = rectified
        self._encoding = encoding

    @property
    def observation(self) -> Any:
        """See `Encoding`."""
        return self._encoding().observation

    @property
    def network_depth(self) -> Tensor:
        """(1, 1, h / 2, w / 2) float32 on the processor, z-depth in network units."""
        return self._encoding().depth

    @property
    def networks_ms(self) -> float:
        """Milliseconds that the networks took."""
        return self._encoding().ms

    @cached_property
    def host_depth(self) -> NDArray[np.float32]:
        """(h / 2, w / 2) float32, `network_depth` as an array."""
        return np.asarray(self.network_depth[0, 0].numpy())

    @property
    def depth_camera(self) -> CameraModel | None:
        """Pinhole camera of ``network_depth``; None when the input was uncalibrated."""
        camera = self.rectified.camera
        height, width = self.network_depth.shape[-2:]
        return None if camera is None else camera.resized(width, height)


class Rectifier:
    """Rectifies the images of one camera. New sampling grids are computed when calibration or image size change.

    Args:
        choose_size: returns the networks' size (height, width) for images of (width, height).
        device: device of the rectified images.

    Attributes:
        views: views of the last image; None before the first.
    """

    def __init__(self, choose_size: Callable[[int, int], tuple[int, int]], device: torch.device) -> None:
        self._choose_size = choose_size
        self._device = device
        self._source: tuple[CameraModel | None, tuple[int, int]] | None = None
        self.views: RectifiedViews | None = None

    def rectify(self, image: NDArray[np.uint8], camera: CameraModel | None, stamp_ns: int) -> RectifiedFrame:
        """Return the frame of one delivered image, (H, W, 3) uint8 RGB.

        Raises:
            ImageError: the image is no (H, W, 3) uint8 array.
            CalibrationError: the calibration belongs to images of another size.
        """
        check_image(image)
        delivered_size = (image.shape[1], image.shape[0])
        if self.views is None or self._source != (camera, delivered_size):
            self.views = RectifiedViews(camera, delivered_size, self._choose_size(*delivered_size), self._device)
            self._source = (camera, delivered_size)
        uploaded = self.views.network.upload(image)
        return RectifiedFrame(stamp_ns, image, self.views, self.views.network.apply(uploaded), uploaded)


def check_image(image: object) -> None:
    """Check that ``image`` is an image.

    Raises:
        ImageError: it is not an (H, W, 3) uint8 array of at least 2 by 2 pixels.
    """
    if not isinstance(image, np.ndarray):
        raise ImageError(f"image is a {type(image).__name__}; expected a uint8 array (H, W, 3), RGB")
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or min(image.shape[:2]) < 2:
        raise ImageError(f"image is {image.dtype} of shape {image.shape}; expected uint8 (H, W, 3), RGB")


def to_bytes(image: Tensor) -> NDArray[np.uint8]:
    """Return (1, 3, h, w) floating point in [0, 1] as (h, w, 3) uint8."""
    return np.asarray(image[0].mul(255.0).round_().to(torch.uint8).permute(1, 2, 0).contiguous().cpu().numpy())
