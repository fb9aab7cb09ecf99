"""The pose of a stereo partner from the calibration files of the two cameras."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.errors import CalibrationError
from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.recordings.calibration.files import CameraArgument, load_entry, resolve_camera
from featdepth_ros.recordings.calibration.stereo import PartnerRequest, Rig, between_rectified, projection_offset

#: The accepted kinds of calibration, for error messages.
WHAT_TO_GIVE = (
    "give the calibration files of both cameras (camera and partner_camera): EuRoC's sensor.yaml (T_BS), entries of "
    "one Kalibr camchain (FILE#cam0, FILE#cam1), camera_info_manager's pair (projection_matrix), or T_partner_camera "
    "(16 numbers, metres) in the partner's file"
)

#: Returns the recorded T_partner_camera (4, 4) between the rectified frames of two models; None if not recorded.
RecordedExtrinsics: TypeAlias = Callable[[CameraModel, CameraModel], "NDArray[np.float64] | None"]


def make_rig(
    name: str,
    request: PartnerRequest,
    camera: CameraArgument,
    model: CameraModel | None,
    size: tuple[int, int] | None,
    recorded: CameraModel | None,
    extrinsics: RecordedExtrinsics,
) -> Rig:
    """Return the partner's calibration and pose: from the given files, else as recorded.

    Args:
        name: name of the partner camera.
        request: name and calibration that the caller gave for the partner.
        camera: calibration that the caller gave for the camera itself, if any.
        model: calibration in use for the camera itself.
        size: (width, height) in pixels of the partner's images.
        recorded: calibration of the partner in the recording.
        extrinsics: returns the pose in the recording; used only if the given files have none.

    Raises:
        CalibrationError: a calibration or the pose is missing; the message says what to give.
    """
    given = partner_argument(camera, request.camera)
    partner_model = resolve_camera(given, size) or recorded
    if model is None or partner_model is None:
        missing = " and ".join(
            what for what, have in (("the camera", model), (f"its partner '{name}'", partner_model)) if have is None
        )
        raise CalibrationError(f"a stereo pair needs two calibrations, and there is none of {missing}; {WHAT_TO_GIVE}")
    T_partner_camera = extrinsics_of_files(camera, given, model, partner_model)
    if T_partner_camera is None:
        T_partner_camera = extrinsics(model, partner_model)
    if T_partner_camera is None:
        raise CalibrationError(f"the pose of the partner '{name}' is not known; {WHAT_TO_GIVE}")
    return Rig(name, partner_model, T_partner_camera)


def partner_argument(camera: CameraArgument, partner: CameraArgument) -> CameraArgument:
    """Return the given calibration of the partner, else the other entry of a camchain of two cameras."""
    if partner is not None or not isinstance(camera, str):
        return partner
    path, entry, content = load_entry(camera)
    if path is None:
        return None
    chain = _chain(content)
    others = [name for name in chain if name != (entry or next(iter(chain)))]
    return f"{path}#{others[0]}" if len(chain) == 2 else None


def extrinsics_of_files(
    camera: CameraArgument, partner: CameraArgument, model: CameraModel, partner_model: CameraModel
) -> NDArray[np.float64] | None:
    """Return T_partner_camera (4, 4), metres, between the rectified frames, as the given files have it, else None.

    The partner's file may state it (``T_partner_camera``, between the cameras as mounted). Otherwise both files must
    give their camera's pose in one common frame, which is one of these:

    - the body of ``T_BS`` (EuRoC);
    - the IMU of ``T_cam_imu`` or the chain of ``T_cn_cnm1`` of one camchain (Kalibr);
    - the rectified pair of two ``projection_matrix`` (camera_info_manager).

    Raises:
        CalibrationError: a matrix is no rigid motion.
    """
    of_partner = _known_poses(partner)
    if "partner" in of_partner:
        return between_rectified(of_partner["partner"], model, partner_model)
    of_camera = _known_poses(camera)
    for frame in of_camera:
        if frame in of_partner and frame != "projection":
            return between_rectified(se3.inverse(of_partner[frame]) @ of_camera[frame], model, partner_model)
    if "projection" in of_camera and "projection" in of_partner:
        return projection_offset(of_camera["projection"], of_partner["projection"])
    return None


def _known_poses(argument: CameraArgument) -> dict[str, NDArray[np.float64]]:
    """Return T_frame_camera by the name of the frame, the 3x4 ``projection``, and a stated T of the ``partner``."""
    if not isinstance(argument, str):
        return {}
    path, entry, content = load_entry(argument)
    if path is None:
        return {}
    poses: dict[str, NDArray[np.float64]] = {}
    chain = _chain(content)
    if chain:
        name = entry or next(iter(chain))
        T_camera_first = _along(path, chain, name)
        if T_camera_first is not None:
            poses[f"chain {path.resolve()}"] = se3.inverse(T_camera_first)
        content = dict(chain[name])
    elif entry:
        content = content[entry]
    if "T_partner_camera" in content:
        poses["partner"] = rigid_motion(content["T_partner_camera"], f"{path}: T_partner_camera")
    if "T_BS" in content:
        poses["body"] = rigid_motion(content["T_BS"], f"{path}: T_BS")
    if "T_cam_imu" in content:
        poses["imu"] = se3.inverse(rigid_motion(content["T_cam_imu"], f"{path}: T_cam_imu"))
    projection = content.get("projection_matrix")
    if isinstance(projection, Mapping) and len(projection.get("data", ())) == 12 and projection["data"][0]:
        poses["projection"] = np.array(projection["data"], dtype=np.float64).reshape(3, 4)
    return poses


def _chain(content: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {str(key): value for key, value in content.items() if isinstance(value, Mapping) and "intrinsics" in value}


def _along(path: Path, chain: Mapping[str, Mapping[str, Any]], name: str) -> NDArray[np.float64] | None:
    motion = np.eye(4)
    for key, entry in chain.items():
        if key != next(iter(chain)):
            if "T_cn_cnm1" not in entry:
                return None
            motion = rigid_motion(entry["T_cn_cnm1"], f"{path}: T_cn_cnm1 of {key}") @ motion
        if key == name:
            return motion
    return None


def rigid_motion(value: Any, what: str) -> NDArray[np.float64]:
    """Return a (4, 4) rigid motion from 16 numbers, 4 rows, or a mapping with them under ``data``.

    Raises:
        CalibrationError: no 16 finite numbers, or no rotation and translation.
    """
    try:
        matrix = np.array(value["data"] if isinstance(value, Mapping) else value, dtype=np.float64).reshape(4, 4)
    except (KeyError, TypeError, ValueError) as error:
        raise CalibrationError(f"{what} is not a matrix of 4x4 numbers: {error}") from error
    rotation = matrix[:3, :3]
    if (
        not np.isfinite(matrix).all()
        or not np.allclose(matrix[3], (0.0, 0.0, 0.0, 1.0))
        or not np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-3)
        or np.linalg.det(rotation) < 0
    ):
        raise CalibrationError(
            f"{what} is not a rigid motion; expected a rotation and a translation in metres, last row 0 0 0 1, found "
            f"{matrix.tolist()}"
        )
    return matrix
