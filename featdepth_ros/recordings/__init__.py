"""Reads recordings of every kind as frames, and writes frames to bags and dataset folders."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from featdepth_ros.recordings.bags.export import write_ros2_bag
    from featdepth_ros.recordings.bags.trajectory import read_trajectory, read_twist_covariances
    from featdepth_ros.recordings.calibration.files import parse_camera
    from featdepth_ros.recordings.datasets.euroc_writer import write_euroc
    from featdepth_ros.recordings.datasets.kitti_writer import write_kitti_odometry
    from featdepth_ros.recordings.frame import Frame, Partner
    from featdepth_ros.recordings.open import open_recording
    from featdepth_ros.recordings.recording import Recording, SkippedFrame

__all__ = [
    "Frame",
    "Partner",
    "Recording",
    "SkippedFrame",
    "open_recording",
    "parse_camera",
    "read_trajectory",
    "read_twist_covariances",
    "write_euroc",
    "write_kitti_odometry",
    "write_ros2_bag",
]

#: Public name -> submodule that defines it.
_MODULES = {
    "Frame": "frame",
    "Partner": "frame",
    "Recording": "recording",
    "SkippedFrame": "recording",
    "open_recording": "open",
    "parse_camera": "calibration.files",
    "read_trajectory": "bags.trajectory",
    "read_twist_covariances": "bags.trajectory",
    "write_euroc": "datasets.euroc_writer",
    "write_kitti_odometry": "datasets.kitti_writer",
    "write_ros2_bag": "bags.export",
}


def __getattr__(name: str) -> Any:
    # Lazy, so that one module of this package does not import the dependencies of all (OpenCV, YAML).
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
