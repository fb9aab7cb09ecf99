"""Converts the delivered image to the networks' input in one step, and depth maps back to the delivered image.

Distortion, rectification, region of interest, binning and the resize to the networks' size are one sampling grid. It is
computed once per camera and kept on the device.
"""

from __future__ import annotations

from functools import cached_property
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from featdepth_ros.errors import CalibrationError, ImageError
from featdepth_ros.geometry import warp
from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.geometry.transfers import to_device

Resampling = Literal["inverse", "linear", "nearest"]

#: Least reduction factor for which the image is filtered before the bilinear sampling.
_SHRINK_WORTH_FILTERING = 1.1


class Rectification:
    """Converts delivered images of one camera to images of a pinhole camera without distortion, at a fixed size.

    Args:
        camera: the calibration; None for an uncalibrated camera, whose images are only resized.
        delivered_size: (width, height) of the delivered images, pixels.
        output_size: (height, width) of the output images, pixels.
        device: device of the grid and of the computation.
        view: the pinhole camera of the output, with ``output_size``; it needs a calibration. It gives a stereo partner
            the same intrinsics. None: the camera's own rectified view, resized.

    Attributes:
        camera: the pinhole camera of the output; None if uncalibrated. Resizing keeps pixel centres at integers.
        in_image: (h, w) bool tensor, False where the rectified view is outside the delivered image.

    Raises:
        CalibrationError: the calibration belongs to another image size, or ``view`` does not fit.
    """

    def __init__(
        self,
        camera: CameraModel | None,
        delivered_size: tuple[int, int],
        output_size: tuple[int, int],
        device: torch.device | str = "cpu",
        view: CameraModel | None = None,
    ) -> None:
        if camera is not None and camera.delivered_size != tuple(delivered_size):
            width, height = camera.delivered_size
            raise CalibrationError(
                f"the calibration is for images of {width}x{height} pixels, the image has "
                f"{delivered_size[0]}x{delivered_size[1]}; publish the camera_info that belongs to these images"
            )
        self._source = camera
        self._delivered = (int(delivered_size[0]), int(delivered_size[1]))
        self._output = (int(output_size[0]), int(output_size[1]))
        self._device = torch.device(device)
        self._grid: Tensor | None = None
        self._prefiltered = (self._delivered[1], self._delivered[0])
        height, width = self._output
        own = None if camera is None else camera.delivered_view.resized(width, height)
        if view is not None and (own is None or not view.is_pinhole or (view.width, view.height) != (width, height)):
            raise CalibrationError(
                f"the wanted view is {view}; expected a calibrated camera and a pinhole view of {width}x{height} pixels"
            )
        self.camera = own if view is None else view
        self._own_view = view is None or _same_intrinsics(view, own)
        if self.is_pure_resize:
            self.in_image = torch.ones(self._output, dtype=torch.bool, device=self._device)
        else:
            self._build_grid()

    @property
    def is_pure_resize(self) -> bool:
        """Whether only the size changes, because the delivered image is a pinhole image or uncalibrated."""
        camera = self._source
        if camera is None:
            return True
        if not self._own_view:
            return False
        same_view = camera.projection in (None, (camera.fx, camera.fy, camera.cx, camera.cy))
        return not camera.is_distorted and same_view and np.array_equal(camera.R, np.eye(3))

    def _build_grid(self) -> None:
        """Compute the position of each output pixel in the delivered image, and the filter before sampling."""
        assert self._source is not None and self.camera is not None
        height, width = self._output
        u, v = np.meshgrid(np.arange(width, dtype=np.float64), np.arange(height, dtype=np.float64))
        rays = np.stack(
            [(u - self.camera.cx) / self.camera.fx, (v - self.camera.cy) / self.camera.fy, np.ones_like(u)], -1
        )
        rays = rays @ self._source.R  # rows times R: R^T applied to columns, rectified frame to raw frame
        pixels = self._source.project(rays)
        seen = self._source.sees(rays)
        self.in_image = torch.from_numpy(seen).to(self._device)
        delivered_width, delivered_height = self._delivered
        step_x, step_y = _sampling_steps(pixels, seen)
        filtered_width = round(delivered_width / step_x) if step_x > _SHRINK_WORTH_FILTERING else delivered_width
        filtered_height = round(delivered_height / step_y) if step_y > _SHRINK_WORTH_FILTERING else delivered_height
        self._prefiltered = (filtered_height, filtered_width)
        self._grid = _grid(pixels, self._delivered).to(self._device)

    def apply(self, image: NDArray[np.uint8] | NDArray[np.float32] | Tensor) -> Tensor:
        """Rectify and resize images.

        Args:
            image: (H, W, 3) RGB array or (B, 3, H, W) tensor of the delivered size; uint8, or floating point in [0, 1].

        Returns:
            (B, 3, h, w) float32 in [0, 1] on the device, anti-aliased; the memory format is unspecified. Outside the
            delivered image, the border is repeated (see `in_image`).

        Raises:
            ImageError: the shape, size or type is wrong.
        """
        values = self.upload(image)
        height, width = self._output
        if self._grid is None:
            return _unit_range(warp.resize_antialiased(values, height, width))
        filtered = _unit_range(warp.resize_antialiased(values, *self._prefiltered))
        return warp.sample_grid(filtered, self._grid.expand(filtered.shape[0], -1, -1, -1))

    def apply_to_bytes(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Rectify and resize as `apply`, for storage: (H, W, 3) to (h, w, 3), both uint8 RGB, rounded.

        Raises:
            ImageError: the shape or size is wrong.
        """
        values = self.upload(image)
        if self._grid is None and values.dtype == torch.uint8:  # a pure resize works in uint8
            pixels = warp.resize_antialiased(values, *self._output)[0]
        else:
            pixels = self.apply(values)[0].mul(255.0).round_().clamp_(0, 255).byte()
        return np.array(pixels.permute(1, 2, 0).cpu().numpy(), order="C")

    def apply_nearest(self, values: NDArray[np.float32]) -> Tensor:
        """Resample a map of the delivered image (true depth) to the output by nearest neighbours.

        Args:
            values: (H, W) float32 of the delivered size. The values are not changed, which is right for z-depth unless
                the calibration rotates the camera (`CameraModel.rectification`).

        Returns:
            (h, w) float32 on the device; NaN outside the delivered image.

        Raises:
            ImageError: the size is wrong.
        """
        width, height = self._delivered
        if values.shape != (height, width):
            raise ImageError(f"map has shape {values.shape}; expected {(height, width)} (rows, columns)")
        tensor = torch.from_numpy(np.ascontiguousarray(values, np.float32))[None, None].to(self._device)
        if self._grid is None:
            return warp.resize_nearest(tensor, *self._output)[0, 0]
        sampled = warp.sample_grid(tensor, self._grid, mode="nearest")[0, 0]
        return sampled.masked_fill(~self.in_image, float("nan"))

    def upload(self, image: NDArray[np.uint8] | NDArray[np.float32] | Tensor) -> Tensor:
        """Copy an image to the device once, for `apply` of several views.

        Args:
            image: see `apply`.

        Returns:
            (B, 3, H, W); a uint8 image stays uint8 on the CPU, all others are float32 in [0, 1].

        Raises:
            ImageError: the shape, size or type is wrong.
        """
        width, height = self._delivered
        if isinstance(image, np.ndarray):
            if image.shape != (height, width, 3):
                raise ImageError(
                    f"image array has shape {image.shape}; expected {(height, width, 3)} (rows, columns, RGB)"
                )
            # torch shares memory with the array; it rejects negative strides and warns about read-only arrays
            array = image if image.flags.writeable and min(image.strides) > 0 else image.copy()
            image = to_device(torch.from_numpy(array), self._device).permute(2, 0, 1)[None]
        if image.ndim != 4 or image.shape[1:] != (3, height, width):
            raise ImageError(f"image tensor has shape {tuple(image.shape)}; expected (B, 3, {height}, {width})")
        if image.dtype != torch.uint8 and not image.is_floating_point():
            raise ImageError(f"image has type {image.dtype}; expected uint8, or floating point in [0, 1]")
        image = to_device(image, self._device)
        # only the CPU can resize uint8 directly (and fast)
        return image if image.dtype == torch.uint8 and image.device.type == "cpu" else _unit_range(image)

    def to_delivered(self, values: Tensor, resampling: Resampling = "inverse") -> Tensor:
        """Resample a map of the output's size to the pixels of the delivered (raw) image.

        Args:
            values: (h, w) or (B, C, h, w), on any device.
            resampling: ``inverse`` interpolates 1 / values (for depth, so that planes stay planes), ``linear``
                interpolates the values, ``nearest`` takes one of them (for masks; bool stays bool).

        Returns:
            (H, W) or (B, C, H, W) of the input's type. Outside the output's view its border is repeated (see
            `delivered_in_view`), so a finite positive map stays finite everywhere. Depth stays z-depth of the
            rectified camera.
        """
        flat = values.ndim == 2
        batch = values[None, None] if flat else values
        moved = batch.float()
        if resampling == "inverse":
            moved = 1.0 / moved
        if self._grid is None:
            width, height = self._delivered
            resize = warp.resize_nearest if resampling == "nearest" else warp.resize_bilinear
            moved = resize(moved, height, width)
        else:
            mode = "nearest" if resampling == "nearest" else "bilinear"
            grid = self._inverse[0].to(moved.device).expand(moved.shape[0], -1, -1, -1)
            moved = warp.sample_grid(moved, grid, mode=mode)
        if resampling == "inverse":
            moved = 1.0 / moved
        moved = moved.to(values.dtype)
        return moved[0, 0] if flat else moved

    @property
    def delivered_in_view(self) -> Tensor:
        """(H, W) bool mask of the delivered pixels in the output's view; all True for a pure resize."""
        if self._grid is None:
            return torch.ones(self._delivered[::-1], dtype=torch.bool, device=self._device)
        return self._inverse[1]

    @cached_property
    def _inverse(self) -> tuple[Tensor, Tensor]:
        """Grid of the delivered pixels in the output, and the mask of those inside the output."""
        assert self._source is not None and self.camera is not None
        width, height = self._delivered
        u, v = np.meshgrid(np.arange(width, dtype=np.float64), np.arange(height, dtype=np.float64))
        rays = self._source.unproject(np.stack([u, v], -1)) @ self._source.R.T
        z = np.maximum(rays[..., 2:], 1e-3)  # directions beside or behind the camera map far outside
        pixels = rays[..., :2] / z * (self.camera.fx, self.camera.fy) + (self.camera.cx, self.camera.cy)
        out_height, out_width = self._output
        inside = (
            (rays[..., 2] > 1e-3)
            & (np.abs(pixels[..., 0] - (out_width - 1) / 2) <= out_width / 2)
            & (np.abs(pixels[..., 1] - (out_height - 1) / 2) <= out_height / 2)
        )
        return _grid(pixels, (out_width, out_height)).to(self._device), torch.from_numpy(inside).to(self._device)


def _same_intrinsics(view: CameraModel, own: CameraModel | None) -> bool:
    """Return whether all pixels of the two views agree to a thousandth of a pixel, the accuracy of calibrations."""
    assert own is not None
    values = np.array([[c.fx / c.width, c.fy / c.height, c.cx / c.width, c.cy / c.height] for c in (view, own)])
    return bool(np.abs(values[0] - values[1]).max() * max(view.width, view.height) < 1e-3)


def _grid(pixels: NDArray[np.float64], size: tuple[int, int]) -> Tensor:
    """Return the sampling grid (1, h, w, 2) float32 of pixels, clipped near the image for float32's accuracy."""
    limits = np.array(size, dtype=np.float64)
    clipped = torch.from_numpy(np.clip(pixels, -1.0, limits))
    return warp.grid_from_pixels(clipped, *size)[None].float()


def _unit_range(values: Tensor) -> Tensor:
    return values.float().mul_(1 / 255) if values.dtype == torch.uint8 else values.float()


def _sampling_steps(pixels: NDArray[np.float64], seen: NDArray[np.bool_]) -> tuple[float, float]:
    """Return the median distance of neighbouring output pixels along x and y, in delivered pixels, at least 1."""
    across = np.abs(np.diff(pixels, axis=1))[seen[:, 1:] & seen[:, :-1]]
    down = np.abs(np.diff(pixels, axis=0))[seen[1:] & seen[:-1]]
    if not len(across) or not len(down):
        return 1.0, 1.0
    steps = np.maximum(np.median(across, axis=0), np.median(down, axis=0))
    return max(1.0, float(steps[0])), max(1.0, float(steps[1]))
