"""Losses for self-supervised depth and motion. They are pure functions in fp32, for any precision of the networks."""

from featdepth_ros.losses.config import ObjectiveConfig
from featdepth_ros.losses.features import batch_norm_mode, feature_maps
from featdepth_ros.losses.objective import depth_from_disparity, objective
from featdepth_ros.losses.photometric import TargetImage, feature_metric, photometric
from featdepth_ros.losses.smoothness import ImageEdges, smoothness

__all__ = [
    "ImageEdges",
    "ObjectiveConfig",
    "TargetImage",
    "batch_norm_mode",
    "depth_from_disparity",
    "feature_maps",
    "feature_metric",
    "objective",
    "photometric",
    "smoothness",
]
