"""A model as one function of tensors, for exported files and for the back ends.

A frame is encoded once: the graph returns the features of its frame, and its inputs include those of the earlier frame.

=========================  =======  ==================================================================================
input                      shape    meaning
=========================  =======  ==================================================================================
``image``                  B3HW     RGB in [0, 1], float32
``previous_features_<i>``  B...     ``features_<i>`` of the earlier frame (weights with a pose net)
``intrinsics``             B4       fx, fy, cx, cy in pixels of ``image`` (the compact model)
=========================  =======  ==================================================================================

=========================  =======  ==================================================================================
output                     shape    meaning
=========================  =======  ==================================================================================
``disparity``              B1hw     sigmoid map of the finest scale, h = H / 2, w = W / 2
``features_<i>``           B...     features of this frame for the next frame's motion
``axisangle``              B3       radians, rotation of T_later_earlier
``translation``            B3       network units, translation of T_later_earlier
=========================  =======  ==================================================================================

All are float32. For the published architectures, the features are the frame itself at the pose net's size. Their pose
net has no input for intrinsics, and its motion is that of the training camera (`geometry.se3.refocused_motion` converts
it). Motion is computed only from the outputs ``features_<i>``. So the graph can be split there, into a model for each
frame and a model for a motion.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from featdepth_ros.errors import FeatDepthError
from featdepth_ros.models.base import FeatDepthModel
from featdepth_ros.models.compact import Coarse, CompactModel
from featdepth_ros.models.inference_copy import inference_copy

PREVIOUS = "previous_"
MOTION_OUTPUTS = ("axisangle", "translation")


class ModelGraph(nn.Module):
    """Base of the graphs. Call it with tensors in the order of ``input_names``.

    Attributes:
        feature_strides: stride of each feature map, in pixels of ``image``; 0: the pose net's own size.
        feature_channels: channels of each feature map.
        takes_intrinsics: whether ``intrinsics`` is an input.
        half_precision: whether the networks compute in float16.
    """

    feature_strides: tuple[int, ...] = ()
    feature_channels: tuple[int, ...] = ()
    takes_intrinsics = False

    def __init__(self, model: FeatDepthModel, half: bool) -> None:
        super().__init__()
        self.model = model
        self.half_precision = half

    @property
    def has_pose(self) -> bool:
        """Whether the graph has motion as output."""
        return bool(self.feature_strides)

    @property
    def feature_names(self) -> list[str]:
        """Names of the features for the next frame."""
        return [f"features_{i}" for i in range(len(self.feature_strides))]

    @property
    def input_names(self) -> list[str]:
        """Names of the inputs, in order."""
        intrinsics = ["intrinsics"] if self.takes_intrinsics else []
        return ["image", *(PREVIOUS + name for name in self.feature_names), *intrinsics]

    @property
    def output_names(self) -> list[str]:
        """Names of the outputs, in order."""
        return ["disparity", *self.feature_names, *(MOTION_OUTPUTS if self.has_pose else ())]

    def feature_shape(self, index: int, batch: int, size: tuple[int, int]) -> tuple[int, int, int, int]:
        """Return (B, C, h, w) of one feature map for images of ``size`` (height, width)."""
        stride = self.feature_strides[index]
        height, width = (side // stride for side in size) if stride else self.model.info.pose_input_size
        return batch, self.feature_channels[index], height, width

    def _computed(self, x: Tensor) -> Tensor:
        return x.half() if self.half_precision else x


class DepthGraph(ModelGraph):
    """Depth alone, for any model."""

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Return ``disparity`` of ``image``."""
        return (self.model.depth(self._computed(image))[0].float(),)


class CompactGraph(ModelGraph):
    """Depth and motion of the compact model, which share an encoder.

    The features are the encoder's maps at strides 8 and 16, and the disparity at stride 8.
    """

    feature_strides = (8, 16, 8)
    feature_channels = (40, 112, 1)
    takes_intrinsics = True

    def forward(
        self, image: Tensor, previous8: Tensor, previous16: Tensor, previous_disparity: Tensor, intrinsics: Tensor
    ) -> tuple[Tensor, ...]:
        """See the module's tables."""
        model = self.model
        assert isinstance(model, CompactModel)
        maps = model.encode(self._computed(image))
        coarse = model.coarse_depth(maps)
        disparity = model.depth_from_features(maps, coarse, all_scales=False)[0]
        now = (maps[2].float(), maps[3].float(), coarse.disparities[0].float())
        axisangle, translation = model.pose_from_features(
            self._pyramid(previous8, previous16),
            self._pyramid(*now[:2]),
            Coarse(previous_disparity, [previous_disparity]),
            Coarse(now[2], [now[2]]),
            intrinsics,
        )
        return disparity.float(), *now, axisangle, translation

    def _pyramid(self, map8: Tensor, map16: Tensor) -> list[Tensor]:
        """Return the five maps of a frame, of which motion uses only the third and the fourth."""
        return [map8, map8, self._computed(map8), self._computed(map16), map16]


class PublishedGraph(ModelGraph):
    """Depth and motion of a published architecture, which has two encoders."""

    feature_strides = (0,)
    feature_channels = (3,)

    def forward(self, image: Tensor, previous: Tensor) -> tuple[Tensor, ...]:
        """See the module's tables."""
        later = F.interpolate(image, size=self.model.info.pose_input_size, mode="bilinear", align_corners=False)
        axisangle, translation = self.model.pose(self._computed(previous), self._computed(later))
        disparity = self.model.depth(self._computed(image))[0]
        return disparity.float(), later, axisangle.float(), translation.float()


def graph_of(model: FeatDepthModel, half: bool = False) -> ModelGraph:
    """Return the graph of a model: depth and motion, or depth alone if the weights have no pose net.

    Args:
        model: model of `load_model` in eval mode, which is not changed.
        half: compute the networks in float16. The least squares of motion and the layers of `keep_precise` stay
            float32.

    Raises:
        FeatDepthError: the weights hold no depth net.
    """
    if "depth" not in model.nets:
        raise FeatDepthError(f"the weights '{model.info.name}' hold no depth net; export weights with a depth net")
    kind: type[ModelGraph] = DepthGraph
    if "pose" in model.nets:
        kind = CompactGraph if isinstance(model, CompactModel) else PublishedGraph
    copied = inference_copy(model, torch.float16 if half else None)
    return kind(copied, half).eval().requires_grad_(False)


def example_inputs(graph: ModelGraph, batch: int, size: tuple[int, int]) -> dict[str, Tensor]:
    """Return inputs with the right names and shapes: a grey image, constant features, a camera of 58 degrees."""
    height, width = size
    inputs = {"image": torch.full((batch, 3, height, width), 0.5)}
    for i, name in enumerate(graph.feature_names):
        inputs[PREVIOUS + name] = torch.full(graph.feature_shape(i, batch, size), 0.5)
    if graph.takes_intrinsics:
        focal = 0.9 * width
        inputs["intrinsics"] = torch.tensor([[focal, focal, (width - 1) / 2, (height - 1) / 2]]).repeat(batch, 1)
    return inputs
