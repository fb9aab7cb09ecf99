"""The networks of one target frame and its sources, run no more often than the objective needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from featdepth_ros.errors import ConfigError
from featdepth_ros.geometry.se3 import pose_matrix
from featdepth_ros.geometry.warp import resize_bilinear
from featdepth_ros.losses import ObjectiveConfig, feature_maps
from featdepth_ros.losses.features import BatchNormMode
from featdepth_ros.models.base import FeatDepthModel


def run_networks(
    model: FeatDepthModel,
    inputs: Mapping[Any, Tensor],
    config: ObjectiveConfig,
    feature_mode: BatchNormMode = "running_statistics",
    pose_size: tuple[int, int] | None = None,
) -> dict[Any, Tensor]:
    """Give `featdepth_ros.losses.objective` what it asks of the networks.

    Depth of frame 0 alone, motion once for each source that is no stereo partner, and the first layers of the feature
    net once for each image, without a graph. Pairs go through the pose net one by one, as the reference does: in
    training the statistics of its BatchNorm depend on what shares a batch.

    Args:
        model: in the mode wanted (BatchNorm, dropout).
        inputs: ("color", f, 0) (B, 3, H, W) and, where colours are augmented for the networks, ("color_aug", f, 0).
        config: names the frames, and which nets are needed.
        feature_mode: BatchNorm of the feature net, see `losses.features.batch_norm_mode`.
        pose_size: (height, width) the pose net's images are resized to; None: as they are. The reference: 192x640.

    Returns:
        ("disp", 0, s), ("cam_T_cam", 0, f) and, with ``feature_weight``, ("feature", f, 0).
    """
    outputs: dict[Any, Tensor] = {}
    for scale, disparity in enumerate(model.depth(_seen(inputs, 0))):
        outputs["disp", 0, scale] = disparity
    if not config.warps:
        return outputs
    moving = [f for f in config.sources if isinstance(f, int)]
    pose_images = {f: _seen(inputs, f) for f in (0, *moving)}
    if pose_size is not None:
        pose_images = {f: resize_bilinear(image, *pose_size) for f, image in pose_images.items()}
    for source in moving:
        earlier, later = (source, 0) if source < 0 else (0, source)
        axisangle, translation = model.pose(pose_images[earlier], pose_images[later])
        outputs["cam_T_cam", 0, source] = pose_matrix(axisangle, translation, invert=source < 0)
    if config.feature_weight > 0:
        images = {f: inputs["color", f, 0] for f in config.frame_ids}
        outputs.update(feature_maps(images, model.features, model, feature_mode))
    return outputs


def _seen(inputs: Mapping[Any, Tensor], frame: int) -> Tensor:
    image = inputs.get(("color_aug", frame, 0), inputs.get(("color", frame, 0)))
    if image is None:
        raise ConfigError(f"the networks need ('color', {frame}, 0), which the inputs do not hold")
    return image
