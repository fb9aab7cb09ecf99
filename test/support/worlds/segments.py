"""Segments in the buffer of the online learner, as the node writes them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from plane_world import Wall

from featdepth_ros.recordings.buffer.segments import DESCRIPTION, OpenSegment
from featdepth_ros.recordings.frame import Frame

SECOND_NS = 1_000_000_000
#: Stamp of the first frame, nanoseconds.
FIRST_NS = 1_700_000_000 * SECOND_NS


def write_segment(buffer: Path, frames: Sequence[Frame], held_out: bool = False, complete: bool = True) -> Path:
    """Write one segment, named by its first stamp; an incomplete one has no description."""
    camera = frames[0].camera
    assert camera is not None
    buffer.mkdir(exist_ok=True)
    folder = buffer / str(frames[0].stamp_ns)
    segment = OpenSegment(folder, "held_out" if held_out else "train", camera, metric=True)
    for frame in frames:
        segment.add(frame.image, frame.stamp_ns, frame.T_world_camera)
    segment.finish()
    if not complete:
        (folder / DESCRIPTION).unlink()
    return folder


def wall(number: int, frames: int = 8, **changes: Any) -> list[Frame]:
    """Return the frames of section ``number`` along the wall of `plane_world`; sections are ten seconds apart."""
    first = FIRST_NS + number * SECOND_NS * 10
    every = list(Wall(frames + number % 16, **changes))[number % 16 :]
    return [replace(frame, stamp_ns=first + k * SECOND_NS // 10) for k, frame in enumerate(every)]


def wall_segments(buffer: Path, numbers: Iterable[int]) -> list[Path]:
    """Write segments along the wall; every third one is held out."""
    return [write_segment(buffer, wall(number), held_out=number % 3 == 2) for number in numbers]


def darkened(frames: Sequence[Frame]) -> list[Frame]:
    """Return darkened copies of the frames."""
    return [replace(frame, image=frame.image // 32) for frame in frames]
