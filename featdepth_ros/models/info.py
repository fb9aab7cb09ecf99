"""What a checkpoint says of itself beside its tensors. Travels as JSON in the safetensors header."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from featdepth_ros.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor

#: What arithmetic on focal lengths takes and gives: one number, or a tensor of them.
Number = TypeVar("Number", float, "Tensor")
ScaleKind = Literal["relative", "metric"]


@dataclass(frozen=True)
class ModelInfo:
    """Facts a user of the networks needs and tensors cannot tell.

    Attributes:
        name: ``compact``, ``featdepth-r50-kitti``...
        architecture: as inferred from the keys: ``mono_fm``, ``mono_fm_joint``, ``autoencoder``, ``baseline``
            with the depth of the ResNets (``mono_fm_r50``), or ``compact``.
        min_depth, max_depth: ends of the disparity mapping, in the networks' own unit.
        input_size: (height, width) in pixels the depth net was trained at.
        pose_input_size: (height, width) in pixels the pose net was trained at.
        focal: (fx / width, fy / height) of the training camera, None when unknown (then nothing is compensated).
        scale_kind: ``metric`` when network depth times ``scale_factor`` is metres for the training camera.
        scale_factor: 36 for the published stereo weights, 1 otherwise.
        metric_height_m: height of the camera over the ground in training, at which metres hold; 0: not one, or unknown.
        metric_place: kind of place where they hold, in words; empty: unknown.
        scale_sigma: standard deviation of the natural logarithm of the scale in places like that.
        licence: terms of the weights, printed at load.
        training: free text: data, command, seed.
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

        Pixels count whatever the size of the images: a convolutional network sees how many pixels a thing covers. So
        it sees the picture that its training camera would take of a world whose depth axis is shrunk by r. Metres are
        network depth times r.

        Args:
            fx: focal length of the live camera in pixels of the networks' input; a number or a tensor.
            fy: the same down the image.

        Raises:
            CheckpointError: the training camera is unknown (``focal`` is None).
        """
        trained = self.focal_px
        if trained is None:
            raise CheckpointError(f"the focal length of the training camera of '{self.name}' is unknown")
        ratio: Number = (fx * fy) ** 0.5 / trained
        return ratio

    def depth_of(self, disparity: Tensor) -> Tensor:
        """Return z-depth in network units, float32, of sigmoid disparities in [0, 1] of any shape."""
        low, high = 1.0 / self.max_depth, 1.0 / self.min_depth
        depth: Tensor = 1.0 / (low + (high - low) * disparity)
        return depth

    def with_(self, **changes: Any) -> ModelInfo:
        """Return a copy with the given fields changed."""
        return replace(self, **changes)

    def to_json(self) -> str:
        """Serialise for the safetensors header."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> ModelInfo:
        """Read back `to_json`. Keys of a newer version are ignored.

        Raises:
            CheckpointError: not JSON, or a field of the wrong kind or out of range.
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
