"""Builds a model with new weights from the name of an architecture."""

from __future__ import annotations

import re

from featdepth_ros.errors import FeatDepthError, nearest_name
from featdepth_ros.models.base import FeatDepthModel
from featdepth_ros.models.compact import CompactModel
from featdepth_ros.models.info import ModelInfo
from featdepth_ros.models.reference import NETS, ReferenceModel
from featdepth_ros.models.resnet import BLOCKS

#: Names such as ``mono_fm_r50``, or ``mono_fm_r50_p34`` if the pose net is not a ResNet-18.
_REFERENCE = re.compile(rf"({'|'.join(NETS)})_r(\d+)(?:_p(\d+))?")


def architectures() -> list[str]:
    """Return the names for `build_model`; the suffix ``_p34`` of a reference network selects another pose ResNet."""
    return ["compact", *(reference_name(kind, layers) for kind in NETS for layers in BLOCKS)]


def reference_name(kind: str, layers: int, pose_layers: int = 18) -> str:
    """Return the name of a reference network, for instance ``mono_fm_r50``."""
    return f"{kind}_r{layers}" + ("" if pose_layers == 18 else f"_p{pose_layers}")


def build_model(architecture: str, info: ModelInfo | None = None) -> FeatDepthModel:
    """Build a model with newly initialised float32 weights, on the CPU, in training mode.

    Args:
        architecture: ``compact``, or a reference network (see `architectures`).
        info: description of the model; its ``architecture`` is replaced.

    Raises:
        FeatDepthError: the architecture is unknown; the message names the most similar one.
    """
    described = (info or ModelInfo(name=architecture)).with_(architecture=architecture)
    if architecture == "compact":
        return CompactModel(described)
    match = _REFERENCE.fullmatch(architecture)
    if match:
        kind, layers, pose_layers = match[1], int(match[2]), int(match[3] or 18)
        if layers in BLOCKS and pose_layers in BLOCKS:
            return ReferenceModel(described, kind, layers, pose_layers)
    raise FeatDepthError(f"unknown architecture '{architecture}'{nearest_name(architecture, architectures())}")
