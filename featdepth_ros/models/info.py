"""Description of a model's weights, stored as JSON in the safetensors header."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from featdepth_ros.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor

#: Type of focal lengths in arithmetic: one number, or a tensor of numbers.
Number = TypeVar("Number", float, "Tensor")
ScaleKind = Literal["relative", "metric"]


@dataclass(frozen=True)
class ModelInfo:
    """Facts about the networks that are not in the tensors.

    Attributes:
        name: name of the weights, such as ``compact`` or ``featdepth-r50-kitti``.
        architecture: architecture by the keys: ``mono_fm``, ``mono_fm_joint``, ``autoencoder``, ``baseline`` with the
            depth of the ResNets (``mono_fm_r50``), or ``compact``.
        min_depth, max_depth: limits of the disparity mapping, network units.
        input_size: (height, width) of the depth net's training images, pixels.
        pose_input_size: (height, width) of the pose net's training images, pixels.
        focal: (fx / width, fy / height) of the training camera; None: unknown, and focal lengths are not compensated.
        scale_kind: ``metric`` if network depth times ``scale_factor`` is in metres for the training camera.
        scale_factor: 36 for the published stereo weights, 1 otherwise.
        metric_height_m: camera height over the ground in training, at which the metres hold; 0: several or unknown.
        metric_place: description of the places where the metres hold; empty: unknown.
        scale_sigma: standard deviation of the natural logarithm of the scale in such places.
        licence: terms of the weights, printed when they are loaded.
        training: free text about data, command and seed.
    """

    name: str = "unnamed"
    architecture: str = "unknown"
    min_depth: float = 0.1
    max_depth: float = 100.0
    input_size: tuple[int, int] = (192, 640)
    pose_input_size: tuple[int, int] = (192, 640)
    focal: tuple[float, float] | None = None
    scale_kind: ScaleKind = "relative"
    scale_factor: float = 1.0
    metric_height_m: float = 0.0
    metric_place: str = ""
    scale_sigma: float = 0.2
    licence: str = "unknown"
    training: str = ""

    @property
    def focal_px(self) -> float | None:
        """Focal length of the training camera, pixels at ``input_size`` (mean of fx and fy); None: unknown."""
        if self.focal is None:
            return None
        height, width = self.input_size
        return float((self.focal[0] * width * self.focal[1] * height) ** 0.5)

    def focal_ratio(self, fx: Number, fy: Number) -> Number:
        """Return r = f_live / f_train, both as the mean of fx and fy in pixels of the networks' input.

        The ratio is in pixels of the input, because a convolutional network responds to the size of objects in pixels.
        Its input is what the training camera would see of a world whose depth axis is shrunk by r. So depth in metres
        is network depth times r.

        Args:
            fx: focal length of the live camera in pixels of the networks' input; a number or a tensor.
            fy: the same for the vertical axis.

        Raises:
            CheckpointError: the training camera is unknown (``focal`` is None).
        """
        trained = self.focal_px
        if trained is None:
            raise CheckpointError(f"the focal length of the training camera of '{self.name}' is unknown")
        ratio: Number = (fx * fy) ** 0.5 / trained
        return ratio

    def depth_of(self, disparity: Tensor) -> Tensor:
        """Return the z-depth in network units, float32, for sigmoid disparities in [0, 1] of any shape."""
        low, high = 1.0 / self.max_depth, 1.0 / self.min_depth
        depth: Tensor = 1.0 / (low + (high - low) * disparity)
        return depth

    def with_(self, **changes: Any) -> ModelInfo:
        """Return a copy with the given fields changed."""
        return replace(self, **changes)

    def to_json(self) -> str:
        """Return the JSON text for the safetensors header."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> ModelInfo:
        """Return the description in a text of `to_json`; keys of newer versions are ignored.

        Raises:
            CheckpointError: it is not JSON, or a field has a wrong type or a value out of range.
        """
        try:
            raw = json.loads(text)
            known = {k: v for k, v in raw.items() if k in cls.__dataclass_fields__}
            for key in ("input_size", "pose_input_size", "focal"):
                if known.get(key) is not None:
                    known[key] = tuple(known[key])
            info = cls(**known)
            sound = 0 < info.min_depth < info.max_depth and info.scale_factor > 0
            sound = sound and 0 <= info.metric_height_m < math.inf and 0 < info.scale_sigma < math.inf
            sound = sound and all(len(size) == 2 and min(size) > 0 for size in (info.input_size, info.pose_input_size))
            sound = sound and (info.focal is None or (len(info.focal) == 2 and min(info.focal) > 0))
            if not sound or info.scale_kind not in ("relative", "metric"):
                raise ValueError(f"a value is out of range in {text}")
            return info
        except (ValueError, TypeError, AttributeError) as error:
            raise CheckpointError(f"the model description in the file's header cannot be read: {error}") from error
