"""Reads calibrations from the files of common tools, or from four numbers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeAlias

from featdepth_ros.errors import CalibrationError
from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.messages.camera_info import camera_from_info, distortion_of, is_calibrated, matrix_fault
from featdepth_ros.messages.plausibility import implausible
from featdepth_ros.recordings.calibration.texts import load_mapping

#: Keys of image sizes and of distortion coefficients in the files of different tools.
_WIDTHS, _HEIGHTS = ("width", "image_width", "cols"), ("height", "image_height", "rows")
_COEFFICIENTS = ("distortion_coefficients", "distortion_coeffs", "distortion", "dist_coeff", "dist_coeffs", "d", "D")
#: Camera models by the names of ORB-SLAM, stella_vslam and VINS, with the names of their coefficients.
_NAMED_MODELS = {
    "pinhole": ("plumb_bob", ("k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6")),
    "perspective": ("plumb_bob", ("k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6")),
    "rectified": ("none", ()),
    "kannalabrandt8": ("equidistant", ("k1", "k2", "k3", "k4")),
    "kannala_brandt": ("equidistant", ("k2", "k3", "k4", "k5")),
    "fisheye": ("equidistant", ("k1", "k2", "k3", "k4")),
}

#: A camera model, or the text of ``--camera``.
CameraArgument: TypeAlias = "CameraModel | str | None"


def resolve_camera(camera: CameraArgument, size: tuple[int, int] | None) -> CameraModel | None:
    """Return the camera of a model or a text; None if ``camera`` is None.

    Raises:
        CalibrationError: the text is no calibration, or it needs an image size and ``size`` is None.
    """
    if camera is None or isinstance(camera, CameraModel):
        return camera
    return parse_camera(camera, size)


def parse_camera(text: str, size: tuple[int, int] | None = None) -> CameraModel:
    """Return the camera named by ``FILE`` or ``fx,fy,cx,cy``.

    Args:
        text: four comma-separated numbers, pixels of the image; or the path of a file. ``FILE#cam1`` picks an entry of
            a camchain or camera 1 of COLMAP's. For a stereo partner, plain keys may add ``T_partner_camera`` (see
            `extrinsics_of_files`). The file is one of these:
            - camera_info_manager's YAML or ini, as camera_calibration writes them;
            - an echoed camera_info;
            - OpenCV's, Kalibr's camchain, EuRoC's sensor.yaml;
            - ORB-SLAM's or stella_vslam's settings, VINS';
            - COLMAP's ``cameras.txt``, nerfstudio's ``transforms.json``;
            - Open3D's JSON, and librealsense's intrinsics;
            - any of these as ROS 2 parameters;
            - plain keys ``width height fx fy cx cy distortion_model distortion``.
        size: (width, height) of the images in pixels; needed for four numbers and for files without a size.

    Raises:
        CalibrationError: neither, a file that lacks something, or a calibration that no camera has (see
            `implausible`); the message says what.
    """
    camera = _parsed(text, size)
    reason = implausible(camera)
    if reason is not None:
        raise CalibrationError(f"the calibration '{text}' is implausible: {reason}")
    return camera


def _parsed(text: str, size: tuple[int, int] | None) -> CameraModel:
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
    except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
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
    content = load_mapping(path)
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
        raise CalibrationError("the calibration has no image size, and no image of the recording could be read")
    return size


def _size(content: Mapping[str, Any], size: tuple[int, int] | None) -> tuple[int, int]:
    width, height = (next((content[key] for key in keys if content.get(key)), None) for keys in (_WIDTHS, _HEIGHTS))
    return (int(width), int(height)) if width and height else _needed(size)


def _from_mapping(content: Mapping[str, Any], size: tuple[int, int] | None) -> CameraModel:
    camera = _find(content)
    if camera is None:
        raise CalibrationError(
            "no calibration found; expected camera_matrix (camera_info_manager, OpenCV), k (camera_info), intrinsics "
            "(Kalibr, EuRoC), projection_parameters (VINS) or fx fy cx cy (also Camera.fx, ...); keys are: "
            f"{', '.join(map(str, content))}"
        )
    if "intrinsics" in camera:
        return _from_kalibr(camera, size)
    if "projection_parameters" in camera:
        return _from_vins(camera, size)
    if "fx" in camera:
        shared = content.get("Camera")  # ORB-SLAM3 has a separate section for the keys common to its cameras
        return _from_plain({**(shared if isinstance(shared, Mapping) else {}), **camera}, size)
    return _from_info_file(camera, size)


def _find(content: Mapping[str, Any], deepest: int = 4) -> Mapping[str, Any] | None:
    """Return the first mapping, from the outside in, that holds intrinsics; see `_usual_names` for its keys."""
    content = _usual_names(content)
    matrix = next((content[key] for key in ("camera_matrix", "k", "K") if key in content), None)
    if matrix is not None and not isinstance(matrix, (int, float, str)):
        return content
    if "intrinsics" in content or "projection_parameters" in content or {"fx", "fy", "cx", "cy"} <= set(content):
        return content
    inner = [value for value in content.values() if isinstance(value, Mapping)] if deepest else []
    return next((camera for value in inner if (camera := _find(value, deepest - 1)) is not None), None)


def _usual_names(content: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the keys of librealsense's, nerfstudio's and Open3D's files under the names that are read here."""
    if {"ppx", "ppy"} <= set(content):
        model = str(content.get("model", "")).removeprefix("distortion.")
        lens = {"model": None, "distortion_model": model, "distortion": content.get("coeffs")}
        return {**content, **lens, "cx": content["ppx"], "cy": content["ppy"]}
    if {"fl_x", "fl_y", "cx", "cy"} <= set(content):
        size = {"width": content.get("w"), "height": content.get("h")}
        lens = {"type": "fisheye" if "FISHEYE" in str(content.get("camera_model")) else "pinhole"}
        # These files follow COLMAP, in which the centre of the first pixel is at 0.5.
        centre = {"cx": float(content["cx"]) - 0.5, "cy": float(content["cy"]) - 0.5}
        return {**content, **size, **lens, **centre, "fx": content["fl_x"], "fy": content["fl_y"]}
    if "intrinsic_matrix" in content:
        values = _data(content["intrinsic_matrix"])
        by_columns = len(values) == 9 and not (values[2] or values[5])  # as Open3D writes it
        order = (0, 3, 6, 1, 4, 7, 2, 5, 8)
        return {**content, "camera_matrix": [values[place] for place in order] if by_columns else values}
    return content


def _data(value: Any) -> list[float]:
    """Return the numbers of a list, of nested lists, or of a mapping with them under ``data``."""
    if isinstance(value, Mapping):
        value = value["data"]
    return [number for part in value for number in (_data(part) if isinstance(part, (list, tuple)) else [float(part)])]


def _coefficients(content: Mapping[str, Any]) -> list[float]:
    return next((_data(content[key]) for key in _COEFFICIENTS if content.get(key)), [])


def _from_info_file(content: Mapping[str, Any], size: tuple[int, int] | None) -> CameraModel:
    """Read the fields of a CameraInfo, under the names of camera_info_manager's files or of the message."""

    def numbers(expected: int, *keys: str) -> list[float]:
        key = next((key for key in keys if content.get(key)), "")
        values = _data(content[key]) if key else [0.0] * expected
        if len(values) != expected:
            raise CalibrationError(f"{key} has {len(values)} numbers; expected {expected}")
        return values

    width, height = _size(content, size)
    roi = {"x_offset": 0, "y_offset": 0, "height": 0, "width": 0, **(content.get("roi") or {})}
    # OpenCV's calibration program says so where the coefficients are those of cv::fisheye.
    usual = "equidistant" if content.get("fisheye_model") else "plumb_bob"
    info = SimpleNamespace(
        width=width,
        height=height,
        distortion_model=str(content.get("distortion_model") or usual),
        d=_coefficients(content),
        k=numbers(9, "camera_matrix", "k", "K"),
        r=numbers(9, "rectification_matrix", "r", "R"),
        p=numbers(12, "projection_matrix", "p", "P"),
        binning_x=content.get("binning_x") or 0,
        binning_y=content.get("binning_y") or 0,
        roi=SimpleNamespace(**roi),
    )
    reason = (
        matrix_fault(info) if is_calibrated(info) else "the camera matrix is zero: this camera was never calibrated"
    )
    if reason is not None:
        raise CalibrationError(reason)
    camera = camera_from_info(info)
    assert camera is not None
    return camera


def _from_plain(content: Mapping[str, Any], size: tuple[int, int] | None) -> CameraModel:
    fx, fy, cx, cy = (float(content[key]) for key in ("fx", "fy", "cx", "cy"))
    name, values = str(content.get("distortion_model") or "plumb_bob"), _coefficients(content)
    if not values:
        name, values = _named_distortion(content, content.get("type") or content.get("model"), name)
    model, coefficients = distortion_of(name, values)
    return CameraModel(*_size(content, size), fx, fy, cx, cy, distortion_model=model, distortion=coefficients)


def _named_distortion(content: Mapping[str, Any], kind: Any, otherwise: str) -> tuple[str, list[float]]:
    """Return the distortion model and its coefficients, which have one key each (``k1``, ``p1``, ...)."""
    if kind is not None and str(kind).lower() not in _NAMED_MODELS:
        raise CalibrationError(f"camera model '{kind}' is not known; expected one of {', '.join(_NAMED_MODELS)}")
    name, keys = _NAMED_MODELS["pinhole" if kind is None else str(kind).lower()]
    values = [float(content.get(key) or 0.0) for key in keys]
    if kind is None and not any(values):
        return otherwise, []
    return name, values


def _from_vins(content: Mapping[str, Any], size: tuple[int, int] | None) -> CameraModel:
    parameters = content["projection_parameters"]
    fisheye = "mu" in parameters
    fx, fy, cx, cy = (
        float(parameters[key]) for key in (("mu", "mv", "u0", "v0") if fisheye else ("fx", "fy", "cx", "cy"))
    )
    lens = parameters if fisheye else content.get("distortion_parameters") or {}
    kind = content.get("model_type") or ("kannala_brandt" if fisheye else "pinhole")
    model, coefficients = distortion_of(*_named_distortion(lens, kind, "none"))
    return CameraModel(*_size(content, size), fx, fy, cx, cy, distortion_model=model, distortion=coefficients)


def _from_kalibr(content: Mapping[str, Any], size: tuple[int, int] | None) -> CameraModel:
    kind = str(content.get("camera_model", "pinhole"))
    if kind != "pinhole":
        raise CalibrationError(f"camera model '{kind}' is not known; expected pinhole (with any of the distortions)")
    intrinsics = _data(content["intrinsics"])
    if len(intrinsics) != 4:
        raise CalibrationError(f"intrinsics has {len(intrinsics)} numbers; expected 4: fu fv cu cv")
    resolution = content.get("resolution") or (None, None)
    width, height = _size({"width": resolution[0], "height": resolution[1]}, size)
    fx, fy, cx, cy = intrinsics
    model, coefficients = distortion_of(str(content.get("distortion_model") or "plumb_bob"), _coefficients(content))
    return CameraModel(width, height, fx, fy, cx, cy, distortion_model=model, distortion=coefficients)
