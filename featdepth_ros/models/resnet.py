"""ResNet-18/34/50/101 feature pyramids with the keys of torchvision (He et al., CVPR 2016).

The stride of a bottleneck is on its 3x3 convolution ("v1.5"). The classifier ``fc`` is never used, but published
FeatDepth checkpoints contain it, so it stays in the state.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

#: Number of blocks in each of the four stages.
BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
#: Least number of layers with bottleneck blocks.
BOTTLENECK_FROM = 50
#: Channels of the four stages, before a bottleneck's expansion.
PLANES = (64, 128, 256, 512)


class BasicBlock(nn.Module):
    """Residual block of two 3x3 convolutions."""

    expansion = 1

    def __init__(self, inputs: int, planes: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, planes, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.downsample = _shortcut(inputs, planes * self.expansion, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H / stride, W / stride)."""
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = self.bn2(self.conv2(y))
        y += x if self.downsample is None else self.downsample(x)
        return F.relu(y, inplace=True)


class Bottleneck(nn.Module):
    """Residual block of 1x1, 3x3 and 1x1 convolutions."""

    expansion = 4

    def __init__(self, inputs: int, planes: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, planes * self.expansion, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(planes * self.expansion)
        self.downsample = _shortcut(inputs, planes * self.expansion, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H / stride, W / stride)."""
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = F.relu(self.bn2(self.conv2(y)), inplace=True)
        y = self.bn3(self.conv3(y))
        y += x if self.downsample is None else self.downsample(x)
        return F.relu(y, inplace=True)


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Sequential | None:
    if stride == 1 and inputs == outputs:
        return None
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))


def channels_of(layers: int) -> tuple[int, ...]:
    """Return the channels of the five maps of a ResNet."""
    expansion = Bottleneck.expansion if layers >= BOTTLENECK_FROM else BasicBlock.expansion
    return (64, *(planes * expansion for planes in PLANES))


class ResNet(nn.Module):
    """ResNet with its five maps as output.

    ``forward``: (B, 3 * images, H, W) -> maps at strides 2, 4, 8, 16, 32. The caller must normalise the input as in the
    training of the weights.

    Attributes:
        channels: channels of the five maps.
    """

    def __init__(self, layers: int, images: int = 1) -> None:
        super().__init__()
        block: type[BasicBlock] | type[Bottleneck] = Bottleneck if layers >= BOTTLENECK_FROM else BasicBlock
        self.channels = channels_of(layers)
        self.conv1 = nn.Conv2d(3 * images, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        inputs = 64
        for stage, (count, planes) in enumerate(zip(BLOCKS[layers], PLANES, strict=True), start=1):
            blocks: list[nn.Module] = []
            for i in range(count):
                blocks.append(block(inputs, planes, 2 if stage > 1 and i == 0 else 1))
                inputs = planes * block.expansion
            setattr(self, f"layer{stage}", nn.Sequential(*blocks))
        self.fc = nn.Linear(inputs, 1000)
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and not module.weight.is_meta:  # meta tensors are about to be loaded
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def first(self, x: Tensor) -> Tensor:
        """Return only the map at stride 2, (B, 64, H / 2, W / 2), after batch norm and ReLU."""
        return F.relu(self.bn1(self.conv1(x)), inplace=True)

    def forward(self, x: Tensor) -> list[Tensor]:
        """See the class."""
        maps = [self.first(x)]
        x = F.max_pool2d(maps[0], 3, 2, 1)
        for stage in ("layer1", "layer2", "layer3", "layer4"):
            x = getattr(self, stage)(x)
            maps.append(x)
        return maps
