"""An exported graph as a back end, common to all runtimes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from featdepth_ros.errors import ImageError
from featdepth_ros.export.facts import GraphFacts
from featdepth_ros.export.graph import PREVIOUS
from featdepth_ros.export.parity import Array, Runner
from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.geometry.se3 import refocused_motion
from featdepth_ros.inference.backends.base import intrinsics_of

Observation = Mapping[str, Array]


@dataclass(frozen=True)
class Parts:
    """The two parts of a graph that is cut at its features: for a frame, and for a motion (None: no pose network)."""

    frame: Runner
    motion: Runner | None


class ExportedBackend:
    """Runs the two parts of an exported graph. See `Backend`.

    Args:
        name: name of the runtime.
        facts: description of the file.
        parts: the two parts of the graph.
        precision: precision of the networks.
        device: device of the returned depth.
    """

    def __init__(self, name: str, facts: GraphFacts, parts: Parts, precision: str, device: torch.device) -> None:
        self.name = name
        self.precision = precision
        self.has_pose = parts.motion is not None
        self._facts = facts
        self._parts = parts
        self._device = device
        self._features = [output for output in facts.outputs if output.startswith("features_")]

    def observe(self, image: Tensor) -> Observation:
        """See `Backend.observe`.

        Raises:
            ImageError: the size of the image is not that of the file.
        """
        if tuple(image.shape[-2:]) != self._facts.size:
            height, width = image.shape[-2:]
            raise ImageError(
                f"the image is {height}x{width}; this export only takes {self._facts.size[0]}x{self._facts.size[1]}"
            )
        pixels = np.ascontiguousarray(image.cpu().numpy())
        if len(pixels) == 1 or self._facts.batch == 0:
            return self._parts.frame({"image": pixels})
        rows = [self._parts.frame({"image": pixels[i : i + 1]}) for i in range(len(pixels))]
        return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}

    def row(self, observation: Observation, row: int) -> Observation:
        """See `Backend.row`."""
        return {name: values[row : row + 1] for name, values in observation.items()}

    def depth(self, observation: Observation) -> Tensor:
        """See `Backend.depth`; h' = h / 2, w' = w / 2."""
        disparity = torch.from_numpy(observation["disparity"]).to(self._device)
        return self._facts.info.depth_of(disparity)

    def motion(
        self, earlier: Observation, later: Observation, camera: CameraModel | None, ratio: float
    ) -> tuple[Tensor, Tensor]:
        """See `Backend.motion`."""
        assert self._parts.motion is not None, "the file has no pose network"
        inputs = {name: later[name] for name in self._features}
        inputs |= {PREVIOUS + name: earlier[name] for name in self._features}
        own_camera = "intrinsics" in self._facts.inputs
        if own_camera:
            inputs["intrinsics"] = np.array([intrinsics_of(camera, self._facts.info, self._facts.size)], np.float32)
        outputs = self._parts.motion(inputs)
        axisangle, translation = (torch.from_numpy(outputs[name]) for name in ("axisangle", "translation"))
        if not own_camera:
            axisangle, translation = refocused_motion(axisangle, translation, torch.tensor([ratio]))
        return axisangle[0].float(), translation[0].float()
