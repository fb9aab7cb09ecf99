"""The networks of FeatDepth (Shu et al., ECCV 2020), with the modules and keys of the original (docs/reference.md 2).

With equal weights, the outputs equal those of the published code. The attribute names (``DepthEncoder``, ``crp4``...)
are the keys of the published checkpoints.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from featdepth_ros.models.base import FeatDepthModel
from featdepth_ros.models.decoder_ops import chained_pool, conv3x3_of_upsampled
from featdepth_ros.models.info import ModelInfo
from featdepth_ros.models.resnet import ResNet, channels_of

#: Networks of each architecture in the published code.
NETS: dict[str, tuple[str, ...]] = {
    "mono_fm": ("depth", "pose", "features"),
    "mono_fm_joint": ("depth", "pose", "features", "reconstruction"),
    "autoencoder": ("features", "reconstruction"),
    "baseline": ("depth", "pose"),
}
#: Network of each module; the modules are the first parts of the keys.
PARTS: dict[str, str] = {
    "DepthEncoder": "depth",
    "DepthDecoder": "depth",
    "PoseEncoder": "pose",
    "PoseDecoder": "pose",
    "extractor": "features",
    "Encoder": "features",
    "Decoder": "reconstruction",
}
#: Least side of an image, pixels, because reflection padding at stride 32 needs two pixels there.
DECODER_MIN_SIDE_PX = 64
_WIDTH = 256
#: Levels of the depth decoder, deepest first; the input of level i is the encoder's map at stride 2^(i + 1).
_LEVELS = (4, 3, 2, 1)


class Encoder(nn.Module):
    """A ResNet with the key ``encoder``. With ``normalise``, its input in [0, 1] becomes ``(x - 0.45) / 0.225``.

    The depth and pose encoders normalise their input; the feature net does not.
    """

    def __init__(self, layers: int, normalise: bool, images: int = 1) -> None:
        super().__init__()
        self.normalise = normalise
        self.encoder = ResNet(layers, images)

    def forward(self, image: Tensor) -> list[Tensor]:
        """(B, 3 * images, H, W) in [0, 1] -> five maps at strides 2 to 32."""
        maps: list[Tensor] = self.encoder((image - 0.45) / 0.225 if self.normalise else image)
        return maps

    def first(self, image: Tensor) -> Tensor:
        """Return only the map at stride 2."""
        return self.encoder.first((image - 0.45) / 0.225 if self.normalise else image)


class Conv1x1(nn.Module):
    """1x1 convolution without bias, with the key ``conv``."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H, W)."""
        convolved: Tensor = self.conv(x)
        return convolved


class Conv3x3(nn.Module):
    """3x3 convolution with bias and reflection padding, with the key ``conv``."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H, W)."""
        convolved: Tensor = self.conv(F.pad(x, (1, 1, 1, 1), mode="reflect"))
        return convolved


class ConvElu(nn.Module):
    """3x3 convolution with reflection padding, and ELU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = Conv3x3(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H, W)."""
        return F.elu(self.conv(x), inplace=True)


class ChainedPooling(nn.Module):
    """Chained residual pooling (RefineNet, Lin et al. 2017): four times 5x5 max pooling, 1x1 convolution and sum."""

    stages = 4

    def __init__(self, channels: int) -> None:
        super().__init__()
        for i in range(1, self.stages + 1):
            self.add_module(f"{i}_pointwise", Conv1x1(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H, W)."""
        return chained_pool(x, [c.conv.weight for c in self.children() if isinstance(c, Conv1x1)])


def _up(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


class DepthDecoder(nn.Module):
    """Four levels like in RefineNet. The inputs of each are the encoder's map, the deeper level and its disparity.

    Dropout is active in training.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        # The order of the published code, because Adam's state in its checkpoints refers to parameters by number.
        for level in _LEVELS:
            setattr(self, f"reduce{level}", Conv1x1(channels[level], 512 if level == 4 else _WIDTH))
        for level in _LEVELS:
            setattr(self, f"iconv{level}", Conv3x3(512 if level == 4 else 2 * _WIDTH + 1, _WIDTH))
        for level in _LEVELS:
            setattr(self, f"crp{level}", nn.Sequential(ChainedPooling(_WIDTH)))
        for level in _LEVELS:
            setattr(self, f"merge{level}", Conv3x3(_WIDTH, _WIDTH))
        for level in _LEVELS:
            setattr(self, f"disp{level}", nn.Sequential(Conv3x3(_WIDTH, 1), nn.Sigmoid()))

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Return disparities at strides 2, 4, 8, 16 from maps at strides 2 to 32, the first of which is not used."""
        disparities: list[Tensor] = []
        x = maps[4]
        for level in _LEVELS:
            skip = F.dropout(maps[level], 0.5, self.training) if level >= 3 else maps[level]
            reduced = getattr(self, f"reduce{level}")(skip)
            conv = getattr(self, f"iconv{level}")
            x = self._fuse(conv.conv, reduced, x, disparities[-1]) if disparities else conv(reduced)
            x = F.leaky_relu(x, inplace=True)
            x = F.leaky_relu(getattr(self, f"merge{level}")(getattr(self, f"crp{level}")(x)), inplace=True)
            head = getattr(self, f"disp{level}")[0].conv
            disparities.append(self._disparity(head, x))
        return disparities[::-1]

    @staticmethod
    def _disparity(head: nn.Conv2d, x: Tensor) -> Tensor:
        """Return the disparity; without gradients in float32, because half precision is too coarse for the logits."""
        if torch.is_grad_enabled():
            return torch.sigmoid(conv3x3_of_upsampled(x, head.weight, head.bias))
        bias = None if head.bias is None else head.bias.float()
        with torch.autocast(x.device.type, enabled=False):
            return torch.sigmoid(conv3x3_of_upsampled(x.float(), head.weight.float(), bias))

    @staticmethod
    def _fuse(conv: nn.Conv2d, reduced: Tensor, below: Tensor, disparity: Tensor) -> Tensor:
        """Convolve the concatenation of ``reduced``, ``below`` upsampled by 2, and ``disparity``."""
        first, second, third = conv.weight.split((_WIDTH, _WIDTH, 1), 1)
        near = F.pad(torch.cat((reduced, disparity.to(reduced.dtype)), 1), (1, 1, 1, 1), mode="reflect")
        bias = None if conv.bias is None else conv.bias.to(near.dtype)
        fused = F.conv2d(near, torch.cat((first, third), 1).to(near.dtype), bias)
        return fused.add_(conv3x3_of_upsampled(below, second))


class PoseDecoder(nn.Module):
    """Predicts six numbers from the deepest map: their mean over the image, times 0.01."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels[-1], _WIDTH, 1)
        self.conv1 = nn.Conv2d(_WIDTH, _WIDTH, 3, padding=1)
        self.conv2 = nn.Conv2d(_WIDTH, _WIDTH, 3, padding=1)
        self.conv3 = nn.Conv2d(_WIDTH, 6, 1)

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Return axisangle and translation, (B, 3) float32 each, from five maps of both frames."""
        x = F.relu(self.reduce(maps[-1]))
        x = F.relu(self.conv1(x))
        x = F.relu(self.conv2(x))
        motion = 0.01 * self.conv3(x).float().mean(3).mean(2)
        return motion[:, :3], motion[:, 3:]


class ImageDecoder(nn.Module):
    """Decoder of the autoencoder: five levels without skip connections, with an image at each of the four finest."""

    widths = (16, 32, 64, 128, 256)

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        inputs = (channels[-1], *reversed(self.widths))
        for level, before in zip((5, 4, 3, 2, 1), inputs, strict=False):
            setattr(self, f"upconv{level}", ConvElu(before, self.widths[level - 1]))
        for level in (5, 4, 3, 2, 1):
            setattr(self, f"iconv{level}", ConvElu(self.widths[level - 1], self.widths[level - 1]))
        for level in (4, 3, 2, 1):
            setattr(self, f"disp{level}", Conv3x3(self.widths[level - 1], 3))

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Return images at strides 1, 2, 4, 8 from maps at strides 2 to 32, of which only the last is used."""
        x = maps[-1]
        images: list[Tensor] = []
        for level in (5, 4, 3, 2, 1):
            x = getattr(self, f"iconv{level}")(_up(getattr(self, f"upconv{level}")(x)))
            if level < 5:
                images.append(torch.sigmoid(getattr(self, f"disp{level}")(x)))
        return images[::-1]


class ReferenceModel(FeatDepthModel):
    """One of the published architectures. See `FeatDepthModel` for shapes and conventions.

    Args:
        info: description of the weights.
        kind: ``mono_fm``, ``mono_fm_joint``, ``autoencoder`` or ``baseline``.
        layers: number of layers of the depth and feature nets' ResNets.
        pose_layers: number of layers of the pose net's ResNet; 18 in all published weights.
        nets: networks to build, if a checkpoint has only some; None: all of ``kind``.
    """

    def __init__(
        self, info: ModelInfo, kind: str, layers: int, pose_layers: int = 18, nets: tuple[str, ...] | None = None
    ) -> None:
        super().__init__(info)
        self.nets = NETS[kind] if nets is None else nets
        self._feature_net = "extractor" if kind == "mono_fm" else "Encoder"
        if "depth" in self.nets:
            self.DepthEncoder = Encoder(layers, normalise=True)
            self.DepthDecoder = DepthDecoder(self.DepthEncoder.encoder.channels)
        if "pose" in self.nets:
            self.PoseEncoder = Encoder(pose_layers, normalise=True, images=2)
            self.PoseDecoder = PoseDecoder(self.PoseEncoder.encoder.channels)
        if "features" in self.nets:
            setattr(self, self._feature_net, Encoder(layers, normalise=False))
        if "reconstruction" in self.nets:
            self.Decoder = ImageDecoder(channels_of(layers))

    def depth(self, image: Tensor) -> list[Tensor]:
        """See `FeatDepthModel.depth`."""
        if "depth" not in self.nets:
            raise self._lacking("depth")
        self._check_image(image, least_px=DECODER_MIN_SIDE_PX)
        return [disparity.float() for disparity in self.DepthDecoder(self.DepthEncoder(image))]

    def pose(self, earlier: Tensor, later: Tensor) -> tuple[Tensor, Tensor]:
        """See `FeatDepthModel.pose`; the published pose nets were trained at 192x640."""
        if "pose" not in self.nets:
            raise self._lacking("pose")
        self._check_pair(earlier, later)
        axisangle, translation = self.PoseDecoder(self.PoseEncoder(torch.cat((earlier, later), 1)))
        return axisangle, translation

    def features(self, image: Tensor) -> Tensor:
        """See `FeatDepthModel.features`; 64 channels."""
        net = self._features_of(image)
        return net.first(image)

    def feature_pyramid(self, image: Tensor) -> list[Tensor]:
        """Return all five maps of the feature net, at strides 2 to 32, for the autoencoder's regularisers.

        Raises:
            FeatDepthError, ImageError: as for `features`.
        """
        maps: list[Tensor] = self._features_of(image)(image)
        return maps

    def reconstruct(self, pyramid: Sequence[Tensor]) -> list[Tensor]:
        """Return images (B, 3, H / 2^k, W / 2^k), k = 0..3, in [0, 1], from the maps of `feature_pyramid`.

        Raises:
            FeatDepthError: the model has no reconstruction net.
        """
        if "reconstruction" not in self.nets:
            raise self._lacking("reconstruction")
        images: list[Tensor] = self.Decoder(pyramid)
        return images

    def _features_of(self, image: Tensor) -> Encoder:
        if "features" not in self.nets:
            raise self._lacking("features")
        self._check_image(image)
        net = getattr(self, self._feature_net)
        assert isinstance(net, Encoder)
        return net
