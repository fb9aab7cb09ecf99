"""Calibration files, extrinsics and stereo rigs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from featdepth_ros.recordings.calibration.files import parse_camera

__all__ = ["parse_camera"]


def __getattr__(name: str) -> Any:
    if name != "parse_camera":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from featdepth_ros.recordings.calibration.files import parse_camera

    return parse_camera
