"""Segments of a learner's buffer, as the node writes them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from plane_world import Wall

from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.geometry.se3_numpy import quaternion_from_matrix
from featdepth_ros.recordings.frame import Frame
from featdepth_ros.simulation import Simulation, SimulationConfig
from featdepth_ros.simulation.render.camera_effects import CameraEffects

#: Of the rendered pictures: small, and of a size that networks take.
HEIGHT, WIDTH = 64, 96
CAMERA = CameraModel(WIDTH, HEIGHT, 80.0, 80.0, WIDTH / 2 - 0.5, HEIGHT / 2 - 0.5)
#: Another light than that of the shipped weights.
DUSK = CameraEffects(exposure=0.6, gamma=1.5, cast=(1.1, 0.95, 0.8), vignette=0.4, noise=0.01)
SECOND_NS = 1_000_000_000
#: Stamp of the first frame.
FIRST_NS = 1_700_000_000 * SECOND_NS


def rendered(seed: int, frames: int = 10, start_ns: int = FIRST_NS, scene: str = "room") -> list[Frame]:
    """Render a stretch of a dim room, at five frames a second."""
    config = SimulationConfig(
        scene=scene, seed=seed, frames=frames, rate_hz=5.0, camera=CAMERA, start_ns=start_ns, effects=DUSK
    )
    return list(Simulation(config, threads=1))


def write_segment(
    buffer: Path, frames: Sequence[Frame], held_out: bool = False, metric: bool = True, complete: bool = True
) -> Path:
    """Write one segment, named by its first stamp; its description last, unless it shall stay incomplete."""
    folder = buffer / str(frames[0].stamp_ns)
    folder.mkdir(parents=True)
    lines: list[str] = []
    for frame in frames:
        cv2.imwrite(str(folder / f"{frame.stamp_ns}.png"), frame.image[..., ::-1])
        if frame.T_world_camera is not None:
            lines.append(_line(frame.stamp_ns, frame.T_world_camera))
    (folder / "poses.txt").write_text("".join(lines))
    camera = frames[0].camera
    assert camera is not None
    description = {
        "split": "held_out" if held_out else "train",
        "frames": len(frames),
        "size": list(frames[0].image.shape[:2]),
        "camera": [camera.fx, camera.fy, camera.cx, camera.cy],
        "metric": metric,
        "first_ns": frames[0].stamp_ns,
        "last_ns": frames[-1].stamp_ns,
        "bytes": sum(path.stat().st_size for path in folder.iterdir()),
    }
    if complete:
        (folder / "segment.json").write_text(json.dumps(description))
    return folder


def _line(stamp_ns: int, pose: NDArray[np.float64]) -> str:
    numbers = [*pose[:3, 3], *quaternion_from_matrix(pose)]
    return f"{stamp_ns // SECOND_NS}.{stamp_ns % SECOND_NS:09d} {' '.join(f'{value:.9g}' for value in numbers)}\n"


def rendered_segments(buffer: Path, segments: int, seed: int = 3, frames: int = 10) -> None:
    """Write stretches of one dim room in order of time; every third is held out."""
    every = rendered(seed, segments * frames)
    for k in range(segments):
        write_segment(buffer, every[k * frames : (k + 1) * frames], held_out=k % 3 == 2)


def wall(number: int, frames: int = 8, **changes: Any) -> list[Frame]:
    """Stretch ``number`` along the wall of `plane_world`, ten seconds after the one before; see its size there."""
    first = FIRST_NS + number * SECOND_NS * 10
    every = list(Wall(frames + number % 16, **changes))[number % 16 :]
    return [replace(frame, stamp_ns=first + k * SECOND_NS // 10) for k, frame in enumerate(every)]


def wall_segments(buffer: Path, numbers: Iterable[int]) -> list[Path]:
    """Write stretches along the wall; every third is held out."""
    return [write_segment(buffer, wall(number), held_out=number % 3 == 2) for number in numbers]


def darkened(frames: Sequence[Frame]) -> list[Frame]:
    """The same frames at night."""
    return [replace(frame, image=frame.image // 32) for frame in frames]
