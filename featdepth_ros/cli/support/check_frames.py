"""Frames at the networks' input size, to compare exported files with PyTorch and to calibrate int8."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.errors import RecordingError

if TYPE_CHECKING:
    from featdepth_ros.export.parity import CheckFrames
    from featdepth_ros.recordings import Frame

#: Seeds of the rendered drives; 8 is the demo's street.
_SEED = 8


def rendered_frames(size: tuple[int, int], count: int) -> CheckFrames:
    """Render consecutive frames of a street with their true depth.

    Args:
        size: (height, width) in pixels of the networks' input.
        count: number of frames.

    Raises:
        MissingDependencyError: the extra ``simulation`` is not installed.
    """
    from featdepth_ros.simulation import Simulation, SimulationConfig

    return _seen(Simulation(SimulationConfig(frames=count, seed=_SEED)), size, "the rendered street")


def recording_frames(
    source: str, size: tuple[int, int], count: int, *, topic: str | None = None, camera: str | None = None
) -> CheckFrames:
    """Return ``count`` frames spread over a recording, in pairs of consecutive ones.

    Args:
        source: the recording.
        size: (height, width) in pixels of the networks' input.
        count: number of frames.
        topic: image topic of a bag that has several.
        camera: calibration, for a recording without one.

    Raises:
        RecordingError: it cannot be opened, or holds fewer than two readable frames.
    """
    from featdepth_ros.recordings import open_recording

    recording = open_recording(source, topic=topic, camera=camera)
    stride = max(len(recording) // count, 1)
    chosen = (frame for i, frame in enumerate(recording) if i % (2 * stride) < 2 and i < stride * count)
    return _seen(chosen, size, f"'{source}'")


def _seen(frames: Iterable[Frame], size: tuple[int, int], source: str) -> CheckFrames:
    import torch

    from featdepth_ros.export.parity import CheckFrames
    from featdepth_ros.inference.frame import Rectifier

    rectifier = Rectifier(lambda _width, _height: size, torch.device("cpu"))
    images, depths = [], []
    camera = None
    for frame in frames:
        seen = rectifier.rectify(frame.image, frame.camera, frame.stamp_ns)
        images.append(seen.image[0].numpy())
        camera = seen.camera
        if frame.depth is not None and seen.views.network.is_pure_resize:
            depths.append(_at_half(frame.depth, size))
    if len(images) < 2:
        raise RecordingError(f"{source} holds {len(images)} readable frames; expected at least two to compare")
    numbers = None if camera is None else np.array([camera.fx, camera.fy, camera.cx, camera.cy], np.float32)
    return CheckFrames(images, numbers, depths if len(depths) == len(images) else None)


def _at_half(depth: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Return the true depth at the size of a disparity map, half of ``size``, by nearest neighbours."""
    rows, columns = (
        np.minimum((np.arange(side // 2) + 0.5) * 2 * full / side, full - 1).astype(int)
        for side, full in zip(size, depth.shape, strict=True)
    )
    return np.asarray(depth[rows[:, None], columns], dtype=np.float32)
