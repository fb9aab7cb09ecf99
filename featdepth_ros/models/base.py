"""Base class of the models: three methods, an `info`, and checks of their inputs."""

from __future__ import annotations

from torch import Tensor, nn

from featdepth_ros.errors import FeatDepthError, ImageError
from featdepth_ros.models.info import ModelInfo


class FeatDepthModel(nn.Module):
    """Base of all architectures.

    The methods use the tensors exactly as given, without resizing and without changes of device or dtype. Images are
    RGB in [0, 1].

    Legend of shapes: B is the batch size; H and W are the image's height and width in pixels, both multiples of 32.

    Attributes:
        info: description of the weights.
        nets: the networks of this model, out of ``depth``, ``pose``, ``features``, ``reconstruction``.
    """

    nets: tuple[str, ...] = ()

    def __init__(self, info: ModelInfo) -> None:
        super().__init__()
        self.info = info

    def depth(self, image: Tensor) -> list[Tensor]:
        """Predict disparity.

        Args:
            image: (B, 3, H, W) float, RGB in [0, 1].

        Returns:
            Four sigmoid maps (B, 1, H / 2^k, W / 2^k), k = 1..4, finest first. Depth in network units is
            ``1 / (1 / info.max_depth + (1 / info.min_depth - 1 / info.max_depth) * disparity)`` (docs/reference.md 2).

        Raises:
            FeatDepthError: the model has no depth net.
            ImageError: the shape or type is wrong.
        """
        raise self._lacking("depth")

    def pose(self, earlier: Tensor, later: Tensor) -> tuple[Tensor, Tensor]:
        """Predict the camera motion between two frames.

        With ``T = [R(axisangle) | translation]`` (Rodrigues), ``T`` is ``T_later_earlier``: it maps points from the
        earlier camera's coordinates to the later camera's (docs/reference.md 2: the reference's ``cam_T_cam``, not
        inverted).

        Args:
            earlier: (B, 3, H, W) float, RGB in [0, 1], the earlier frame.
            later: as ``earlier``, the later frame.

        Returns:
            axisangle (B, 3) in radians and translation (B, 3) in network units. Both assume that the frames are from
            the training camera. For another one see `geometry.se3.refocused_motion`, or the argument ``camera`` of
            `CompactModel.pose_from_features`.

        Raises:
            FeatDepthError: the model has no pose net.
            ImageError: the shape or type is wrong, or the shapes differ.
        """
        raise self._lacking("pose")

    def features(self, image: Tensor) -> Tensor:
        """Compute the feature map for the feature-metric loss.

        Args:
            image: (B, 3, H, W) float, RGB in [0, 1].

        Returns:
            (B, C, H / 2, W / 2), not normalised; C is 64 for the reference.

        Raises:
            FeatDepthError: the model has no feature net.
            ImageError: the shape or type is wrong.
        """
        raise self._lacking("features")

    def parameter_counts(self) -> dict[str, int]:
        """Return the number of parameters of each direct submodule, in the order of construction."""
        return {name: sum(p.numel() for p in part.parameters()) for name, part in self.named_children()}

    def _lacking(self, net: str) -> FeatDepthError:
        has = ", ".join(self.nets) or "nothing"
        return FeatDepthError(
            f"these weights ('{self.info.name}', {self.info.architecture}) hold no {net} net; they hold: {has}; "
            f"load weights with a {net} net"
        )

    def _check_image(self, image: Tensor, what: str = "image", least_px: int = 32) -> None:
        if not isinstance(image, Tensor):
            raise ImageError(f"{what} is a {type(image).__name__}; expected a torch tensor (B, 3, H, W)")
        if image.ndim != 4 or image.shape[1] != 3:
            raise ImageError(f"{what} has shape {tuple(image.shape)}; expected (B, 3, H, W), RGB")
        if not image.is_floating_point():
            raise ImageError(f"{what} is {image.dtype}; expected floating point in [0, 1] (divide bytes by 255)")
        height, width = image.shape[-2:]
        if height % 32 or width % 32 or min(height, width) < least_px:
            raise ImageError(
                f"{what} is {height}x{width} pixels (height x width); expected multiples of 32, at least "
                f"{least_px}; resize it first"
            )

    def _check_pair(self, earlier: Tensor, later: Tensor) -> None:
        self._check_image(earlier, "earlier image")
        self._check_image(later, "later image")
        if earlier.shape != later.shape:
            raise ImageError(
                f"earlier image is {tuple(earlier.shape)}, later image {tuple(later.shape)}; expected one shape"
            )
