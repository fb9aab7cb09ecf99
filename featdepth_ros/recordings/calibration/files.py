"""Calibrations a user can give: a file of any of the usual tools, or four numbers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from featdepth_ros.errors import CalibrationError
from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.messages.camera_info import distortion_of

#: A camera model, or the text of ``--camera``.
CameraArgument: TypeAlias = "CameraModel | str | None"


def resolve_camera(camera: CameraArgument, size: tuple[int, int] | None) -> CameraModel | None:
    """Return the camera a caller gave as a model or as text, or None when none was given.

    Raises:
        CalibrationError: the text is no calibration, or needs an image size that is not known.
    """
    if camera is None or isinstance(camera, CameraModel):
        return camera
    return parse_camera(camera, size)


def parse_camera(text: str, size: tuple[int, int] | None = None) -> CameraModel:
    """Return the camera named by ``FILE`` or ``fx,fy,cx,cy``.

    Args:
        text: four comma-separated numbers, pixels of the image; or the path of a YAML file: camera_info_manager's
            (as camera_calibration writes it), OpenCV's, Kalibr's camchain, EuRoC's sensor.yaml, or plain keys
            ``width height fx fy cx cy distortion_model distortion``. ``FILE#cam1`` picks an entry of a camchain. For a
            stereo partner, plain keys may add ``T_partner_camera`` (see `extrinsics_of_files`).
        size: (width, height) of the images in pixels; needed for four numbers and for files without a size.

    Raises:
        CalibrationError: neither, or a file that lacks something; the message says what.
    """
    numbers = [part.strip() for part in text.split(",")]
    if len(numbers) > 1 and not Path(text).exists():
        return _from_numbers(numbers, text, size)
    path, entry, content = load_entry(text)
    if path is None:
        raise CalibrationError(f"'{text}' is neither a calibration file nor four numbers fx,fy,cx,cy")
    if entry:
        content = content[entry]
    try:
        return _from_mapping(content, size)
    except CalibrationError as error:
        raise CalibrationError(f"{path}: {error}") from error
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise CalibrationError(f"{path}: the calibration is malformed ({type(error).__name__}: {error})") from error


def load_entry(text: str) -> tuple[Path | None, str, dict[str, Any]]:
    """Return (file, entry, content of the whole file) of ``FILE`` or ``FILE#entry``; the file is None when not there.

    Raises:
        CalibrationError: the file cannot be read, is no YAML mapping, or lacks the entry.
    """
    name, _, entry = text.partition("#") if not Path(text).exists() else (text, "", "")
    path = Path(name).expanduser()
    if not path.is_file():
        return None, "", {}
    content = load_yaml(path)
    if entry and not isinstance(content.get(entry), Mapping):
        raise CalibrationError(f"{path} has no camera '{entry}'; it has: {', '.join(map(str, content))}")
    return path, entry, content


def _from_numbers(numbers: list[str], text: str, size: tuple[int, int] | None) -> CameraModel:
    try:
        values = [float(number) for number in numbers]
    except ValueError as error:
        raise CalibrationError(f"'{text}' is neither a calibration file nor four numbers fx,fy,cx,cy") from error
    if len(values) != 4:
        raise CalibrationError(f"'{text}' has {len(values)} numbers; expected four: fx,fy,cx,cy in pixels of the image")
    fx, fy, cx, cy = values
    return CameraModel(*_needed(size), fx, fy, cx, cy)


def _needed(size: tuple[int, int] | None) -> tuple[int, int]:
    if size is None:
        raise CalibrationError("the calibration has no image size and no image of the recording could be read")
    return size


def _size(width: Any, height: Any, size: tuple[int, int] | None) -> tuple[int, int]:
    return (int(width), int(height)) if width and height else _needed(size)


def load_yaml(path: Path) -> dict[str, Any]:
    """Return the content of a calibration file, OpenCV's flavour of YAML included.

    Raises:
        CalibrationError: it cannot be read, or is no YAML mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CalibrationError(f"calibration file {path} cannot be read: {error}") from error
    text = re.sub(r"^%YAML:?\s*1\.0\s*$", "", text, flags=re.MULTILINE)  # OpenCV's header is not YAML
    text = text.replace("!!opencv-matrix", "")
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise CalibrationError(f"calibration file {path} is not YAML: {error}") from error
    if not isinstance(content, dict):
        raise CalibrationError(f"calibration file {path} holds no calibration")
    return content


def _from_mapping(content: Mapping[str, Any], size: tuple[int, int] | None) -> CameraModel:
    if "camera_matrix" in content:
        return _from_camera_info_file(content, size)
    if "intrinsics" in content:
        return _from_kalibr(content, size)
    if {"fx", "fy", "cx", "cy"} <= set(content):
        width, height = _size(content.get("width"), content.get("height"), size)
        fx, fy, cx, cy = (float(content[key]) for key in ("fx", "fy", "cx", "cy"))
        model, coefficients = distortion_of(str(content.get("distortion_model", "")), content.get("distortion") or ())
        return CameraModel(width, height, fx, fy, cx, cy, distortion_model=model, distortion=coefficients)
    chains = [key for key, value in content.items() if isinstance(value, Mapping) and "intrinsics" in value]
    if chains:
        return _from_kalibr(content[chains[0]], size)
    raise CalibrationError(
        "no calibration found; expected camera_matrix (camera_info_manager), intrinsics (Kalibr, EuRoC) or "
        f"fx fy cx cy; keys are: {', '.join(map(str, content))}"
    )


def _data(value: Any) -> list[float]:
    return [float(v) for v in (value["data"] if isinstance(value, Mapping) else value)]


def _from_camera_info_file(content: Mapping[str, Any], size: tuple[int, int] | None) -> CameraModel:
    k = _data(content["camera_matrix"])
    if len(k) != 9:
        raise CalibrationError(f"camera_matrix has {len(k)} numbers; expected 9")
    d = _data(content.get("distortion_coefficients") or content.get("distortion") or [])
    model, coefficients = distortion_of(str(content.get("distortion_model", "plumb_bob")), d)
    r = tuple(_data(content["rectification_matrix"])) if "rectification_matrix" in content else ()
    p = _data(content["projection_matrix"]) if "projection_matrix" in content else []
    identity = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
    width, height = _size(content.get("image_width"), content.get("image_height"), size)
    projection = (p[0], p[5], p[2], p[6]) if len(p) == 12 and p[0] > 0 else None
    return CameraModel(
        width,
        height,
        fx=k[0],
        fy=k[4],
        cx=k[2],
        cy=k[5],
        distortion_model=model,
        distortion=coefficients,
        rectification=r if r and r != identity else None,
        projection=None if projection == (k[0], k[4], k[2], k[5]) else projection,
    )


def _from_kalibr(content: Mapping[str, Any], size: tuple[int, int] | None) -> CameraModel:
    kind = str(content.get("camera_model", "pinhole"))
    if kind != "pinhole":
        raise CalibrationError(f"camera model '{kind}' is not known; expected pinhole (with any of the distortions)")
    intrinsics = _data(content["intrinsics"])
    if len(intrinsics) != 4:
        raise CalibrationError(f"intrinsics has {len(intrinsics)} numbers; expected 4: fu fv cu cv")
    resolution = content.get("resolution") or (None, None)
    width, height = _size(resolution[0], resolution[1], size)
    fx, fy, cx, cy = intrinsics
    d = _data(content.get("distortion_coefficients") or content.get("distortion_coeffs") or [])
    model, coefficients = distortion_of(str(content.get("distortion_model", "")), d)
    return CameraModel(width, height, fx, fy, cx, cy, distortion_model=model, distortion=coefficients)
