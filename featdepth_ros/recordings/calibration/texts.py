"""Parses calibration files to mappings: YAML of any tool, camera_calibration's ini, COLMAP's list."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from featdepth_ros.errors import CalibrationError

#: COLMAP's camera models: number of focal lengths, and distortion model of the numbers after the principal point.
_COLMAP = {
    "SIMPLE_PINHOLE": (1, "none"),
    "PINHOLE": (2, "none"),
    "SIMPLE_RADIAL": (1, "plumb_bob"),
    "RADIAL": (1, "plumb_bob"),
    "OPENCV": (2, "plumb_bob"),
    "FULL_OPENCV": (2, "rational_polynomial"),
    "SIMPLE_RADIAL_FISHEYE": (1, "equidistant"),
    "RADIAL_FISHEYE": (1, "equidistant"),
    "OPENCV_FISHEYE": (2, "equidistant"),
}
_COLMAP_LINE = re.compile(r"(\d+)\s+([A-Z][A-Z0-9_]+)\s+(\d+)\s+(\d+)((?:\s+[-+.\deE]+)+)\s*")
#: camera_calibration's ini: its headings, and camera_info_manager's keys for them.
_INI_KEYS = {
    "camera matrix": "camera_matrix",
    "distortion": "distortion_coefficients",
    "rectification": "rectification_matrix",
    "projection": "projection_matrix",
    "width": "image_width",
    "height": "image_height",
}


def load_mapping(path: Path) -> dict[str, Any]:
    """Return the content of a calibration file.

    YAML may have OpenCV's dialect, several documents and dotted keys (``Camera.fx``). An ini file of
    camera_calibration gets the keys of its YAML. COLMAP's ``cameras.txt`` has one entry of plain keys per camera.

    Raises:
        CalibrationError: it cannot be read, or holds no mapping.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise CalibrationError(f"calibration file {path} cannot be read: {error}") from error
    try:
        return _mapping(path, text)
    except yaml.YAMLError as error:
        raise CalibrationError(f"calibration file {path} is not YAML: {error}") from error
    except ValueError as error:  # invalid numbers and dates, in ini files and in YAML
        raise CalibrationError(f"calibration file {path} has an invalid number or date: {error}") from error


def _mapping(path: Path, text: str) -> dict[str, Any]:
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith(("#", ";"))]
    if lines and all(_COLMAP_LINE.fullmatch(line) for line in lines):
        return dict(_colmap_camera(path, line) for line in lines)
    if "camera matrix" in lines:
        return _ini(lines)
    text = re.sub(r"^%YAML:?\s*1\.0\s*$", "", text, flags=re.MULTILINE)  # OpenCV's header is not YAML
    text = text.replace("!!opencv-matrix", "")
    if text.lstrip().startswith("{"):
        text = text.replace("\t", " ")  # JSON may be indented by tabs, YAML may not
    documents = [document for document in yaml.safe_load_all(text) if isinstance(document, dict)]
    if not documents:
        raise CalibrationError(f"calibration file {path} holds no calibration; expected YAML, ini or COLMAP's list")
    return _nested(documents[0])


def _nested(content: Mapping[Any, Any]) -> dict[str, Any]:
    """Convert dotted keys, as in ORB-SLAM's files and ROS 2 parameters, to nested mappings."""
    result: dict[str, Any] = {}
    for key, value in content.items():
        *rooms, name = str(key).split(".") if re.fullmatch(r"\w+(\.\w+)+", str(key)) else [str(key)]
        room = result
        for part in rooms:
            known = room.setdefault(part, {})
            if not isinstance(known, dict):
                known = room[part] = {}
            room = known
        room[name] = _nested(value) if isinstance(value, Mapping) else value
    return result


def _ini(lines: list[str]) -> dict[str, Any]:
    content: dict[str, Any] = {}
    key = ""
    for line in lines:
        if line in _INI_KEYS:
            key = _INI_KEYS[line]
        elif line.startswith("["):
            key = ""
        elif key:
            values = [float(word) for word in line.split()] if re.fullmatch(r"[-+.\deE\s]+", line) else [line]
            content[key] = [*content.get(key, []), *values]
    return {key: values[0] if key.startswith("image_") else values for key, values in content.items()}


def _colmap_camera(path: Path, line: str) -> tuple[str, dict[str, Any]]:
    match = _COLMAP_LINE.fullmatch(line)
    assert match is not None
    identity, kind, width, height, text = match.groups()
    if kind not in _COLMAP:
        raise CalibrationError(f"{path}: camera model '{kind}' is not known; expected one of {', '.join(_COLMAP)}")
    focals, model = _COLMAP[kind]
    numbers = [float(word) for word in text.split()]
    if len(numbers) < focals + 2:
        raise CalibrationError(f"{path}: camera {identity} has {len(numbers)} parameters; {kind} has more")
    centre, distortion = numbers[focals : focals + 2], numbers[focals + 2 :]
    distortion += [0.0] * (4 - len(distortion)) if model != "none" else []
    return identity, {
        "width": int(width),
        "height": int(height),
        "fx": numbers[0],
        "fy": numbers[focals - 1],
        "cx": centre[0] - 0.5,  # COLMAP's pixel centres are at half-integers
        "cy": centre[1] - 0.5,
        "distortion_model": model,
        "distortion": distortion,
    }
