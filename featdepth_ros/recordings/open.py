"""`open_recording`: detects the kind of an INPUT and opens it."""

from __future__ import annotations

from pathlib import Path

from featdepth_ros.errors import RecordingError
from featdepth_ros.recordings.bags.storage.files import is_bag
from featdepth_ros.recordings.calibration.files import CameraArgument
from featdepth_ros.recordings.calibration.stereo import PartnerRequest
from featdepth_ros.recordings.datasets.cityscapes import is_cityscapes, open_cityscapes
from featdepth_ros.recordings.datasets.eth3d import is_eth3d, open_eth3d
from featdepth_ros.recordings.datasets.euroc import euroc_root, open_euroc
from featdepth_ros.recordings.datasets.kitti import is_kitti_odometry, is_kitti_raw, open_kitti_odometry, open_kitti_raw
from featdepth_ros.recordings.datasets.rgbd import (
    is_nyu,
    is_seven_scenes,
    is_tum,
    open_nyu,
    open_seven_scenes,
    open_tum,
)
from featdepth_ros.recordings.datasets.singles import LabelledNyu, Make3d, is_make3d, is_nyu_labelled
from featdepth_ros.recordings.files.folders import is_suffixed, open_images, open_suffixed
from featdepth_ros.recordings.files.lists import is_list, open_list
from featdepth_ros.recordings.files.names import IMAGE_SUFFIXES, image_files
from featdepth_ros.recordings.files.video import VIDEO_SUFFIXES, VideoRecording
from featdepth_ros.recordings.recording import Recording


def open_recording(
    path: str | Path,
    topic: str | None = None,
    camera: CameraArgument = None,
    rate_hz: float | None = None,
    partner: str | None = None,
    partner_camera: CameraArgument = None,
) -> Recording:
    """Open images, a list of them, a video, a bag (ROS 1, ROS 2) or the folder of a data set (see `Recording.kind`).

    Args:
        path: the INPUT.
        topic: image topic of a bag; camera of a data set with several (``image_2``, ``image_02``, ``cam1``).
        camera: calibration that overrides the recording's own: a model, or text as `parse_camera` takes it.
        rate_hz: frames per second, for recordings without stamps (default 10).
        partner: the other camera of a stereo pair, named like ``topic`` (for a folder of images: the other folder).
            ``auto`` takes the one whose name says so: left/right, cam0/cam1, image_02/image_03, infra1/infra2. Frames
            then bring its image of the same time (`Frame.partner`); frames without one come too, counted in `notes`.
        partner_camera: calibration of the partner that overrides the recording's own. With files for both cameras
            the partner's pose comes from them (see `extrinsics_of_files`), else from the recording.

    Raises:
        RecordingError: the path does not exist, has an unknown kind, is empty or ambiguous; the message lists choices.
        CalibrationError: the calibration is malformed or belongs to another image size. Or a partner was requested,
            and the calibration or pose of one of the two cameras is unknown.
        MissingDependencyError: reading it needs a package that is not installed.
    """
    path = Path(path).expanduser()
    if rate_hz is not None and not 0 < rate_hz < float("inf"):
        raise RecordingError(f"the rate is {rate_hz} frames per second; expected a number above 0")
    request = None if partner is None else PartnerRequest(partner, partner_camera)
    if request is None and partner_camera is not None:
        raise RecordingError("partner_camera is given without a partner; name the partner, or give 'auto'")
    if not path.exists():
        raise RecordingError(f"there is no recording at '{path}'")
    return _open(path, topic, camera, rate_hz, request)


def _open(
    path: Path, topic: str | None, camera: CameraArgument, rate_hz: float | None, request: PartnerRequest | None
) -> Recording:
    if is_bag(path):
        from featdepth_ros.recordings.bags.recording import BagRecording

        return BagRecording(path, topic, camera, rate_hz, request)
    if path.is_dir():
        return _open_folder(path, topic, camera, rate_hz, request)
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return _alone(request, open_images("image", path.stem, [path], camera, rate_hz))
    if path.suffix.lower() in VIDEO_SUFFIXES:
        return _alone(request, VideoRecording(path, camera, rate_hz))
    if is_list(path):
        return _alone(request, open_list(path, camera, rate_hz))
    if is_nyu_labelled(path):
        return _alone(request, LabelledNyu(path, camera))
    raise RecordingError(
        f"'{path}' is not a known kind of recording; expected an image ({' '.join(IMAGE_SUFFIXES)}), a video "
        f"({' '.join(VIDEO_SUFFIXES)}), a bag (.bag .db3 .mcap or a rosbag2 folder) or a folder of images or a data set"
    )


def _alone(partner: PartnerRequest | None, recording: Recording) -> Recording:
    if partner is not None:
        raise RecordingError(
            f"recording '{recording.name}' ({recording.kind}) is of one camera; there is no partner '{partner.name}'"
        )
    return recording


def _open_folder(
    path: Path, topic: str | None, camera: CameraArgument, rate_hz: float | None, partner: PartnerRequest | None
) -> Recording:
    recording = _open_data_set(path, topic, camera, rate_hz, partner)
    if recording is not None:
        return recording
    files = image_files(path)
    if is_suffixed(files):
        return open_suffixed(path, files, topic, camera, rate_hz, partner)
    if files:
        return open_images("images", path.name, files, camera, rate_hz, partner)
    below = [p for p in sorted(path.rglob("*")) if p.is_dir() and (_is_data_set(p) or is_bag(p))]
    below = [p for p in below if p.parent not in below]
    if len(below) == 1:
        return _open(below[0], topic, camera, rate_hz, partner)
    if below:
        names = ", ".join(str(p.relative_to(path)) for p in below[:8])
        raise RecordingError(f"folder '{path}' holds {len(below)} recordings; name one: {names}")
    inside = ", ".join(sorted(p.name for p in path.iterdir())[:8])
    raise RecordingError(f"folder '{path}' holds no images and no data set known here; it holds: {inside or 'nothing'}")


def _is_data_set(path: Path) -> bool:
    known = (is_kitti_odometry, is_kitti_raw, euroc_root, is_tum, is_nyu, is_make3d, is_cityscapes)
    return any(recognised(path) for recognised in known)


def _open_data_set(
    path: Path, topic: str | None, camera: CameraArgument, rate_hz: float | None, partner: PartnerRequest | None
) -> Recording | None:
    if is_kitti_odometry(path):
        return open_kitti_odometry(path, topic, camera, rate_hz, partner)
    if is_kitti_raw(path):
        return open_kitti_raw(path, topic, camera, rate_hz, partner)
    root = euroc_root(path)
    if root is not None:
        return open_euroc(root, topic, camera, rate_hz, partner)
    if is_cityscapes(path):
        return open_cityscapes(path, topic, camera, rate_hz, partner)
    if is_eth3d(path):
        return open_eth3d(path, topic, camera, rate_hz, partner)
    if is_make3d(path):
        return _alone(partner, Make3d(path, camera))
    for recognised, opened in ((is_tum, open_tum), (is_seven_scenes, open_seven_scenes), (is_nyu, open_nyu)):
        if recognised(path):
            return _alone(partner, opened(path, camera, rate_hz))
    return None
