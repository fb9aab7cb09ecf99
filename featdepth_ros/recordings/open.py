"""`open_recording`: find out what an INPUT is, and read it."""

from __future__ import annotations

from pathlib import Path

from featdepth_ros.errors import RecordingError
from featdepth_ros.recordings.calibration import CameraArgument, resolve_camera
from featdepth_ros.recordings.euroc import euroc_root, open_euroc
from featdepth_ros.recordings.images import (
    IMAGE_SUFFIXES,
    FileRecording,
    FrameFile,
    check_size,
    first_size,
    image_files,
)
from featdepth_ros.recordings.kitti import is_kitti_odometry, is_kitti_raw, open_kitti_odometry, open_kitti_raw
from featdepth_ros.recordings.recording import DEFAULT_RATE_HZ, Recording
from featdepth_ros.recordings.rgbd import is_seven_scenes, is_tum, open_seven_scenes, open_tum
from featdepth_ros.recordings.video import VIDEO_SUFFIXES, VideoRecording


def open_recording(
    path: str | Path,
    topic: str | None = None,
    camera: CameraArgument = None,
    rate_hz: float | None = None,
) -> Recording:
    """Open an image, a folder of images, a video, a bag (ROS 1, ROS 2) or a KITTI, EuRoC, TUM or 7-Scenes folder.

    Args:
        path: the INPUT.
        topic: image topic of a bag; camera of a data set with several (``image_2``, ``image_02``, ``cam1``).
        camera: calibration that overrides the recording's own: a model, or text as `parse_camera` takes it.
        rate_hz: frames per second, for recordings without stamps (default 10).

    Raises:
        RecordingError: nothing there, not understood, empty, or ambiguous; the message lists what can be chosen.
        CalibrationError: the calibration is malformed or is for another image size.
        MissingDependencyError: reading it needs a package that is not installed.
    """
    path = Path(path).expanduser()
    if rate_hz is not None and not 0 < rate_hz < float("inf"):
        raise RecordingError(f"the rate is {rate_hz} frames per second; expected a number above 0")
    if not path.exists():
        raise RecordingError(f"there is no recording at '{path}'")
    from featdepth_ros.recordings.bag_source import is_bag

    if is_bag(path):
        from featdepth_ros.recordings.bag import BagRecording

        return BagRecording(path, topic, camera, rate_hz)
    if path.is_dir():
        return _open_folder(path, topic, camera, rate_hz)
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return _open_images("image", path.stem, [path], camera, rate_hz)
    if path.suffix.lower() in VIDEO_SUFFIXES:
        return VideoRecording(path, camera, rate_hz)
    raise RecordingError(
        f"'{path}' is no recording known here; expected an image ({' '.join(IMAGE_SUFFIXES)}), a video "
        f"({' '.join(VIDEO_SUFFIXES)}), a bag (.bag .db3 .mcap or a rosbag2 folder) or a folder of images or a data set"
    )


def _open_folder(path: Path, topic: str | None, camera: CameraArgument, rate_hz: float | None) -> Recording:
    recording = _open_data_set(path, topic, camera, rate_hz)
    if recording is not None:
        return recording
    files = image_files(path)
    if files:
        return _open_images("images", path.name, files, camera, rate_hz)
    below = [p for p in sorted(path.rglob("*")) if p.is_dir() and _is_data_set(p)]
    below = [p for p in below if p.parent not in below]
    if len(below) == 1:
        return open_recording(below[0], topic, camera, rate_hz)
    if below:
        found = ", ".join(str(p.relative_to(path)) for p in below[:8])
        raise RecordingError(f"folder '{path}' holds {len(below)} recordings; name one: {found}")
    inside = ", ".join(sorted(p.name for p in path.iterdir())[:8])
    raise RecordingError(f"folder '{path}' holds no images and no data set known here; it holds: {inside or 'nothing'}")


def _is_data_set(path: Path) -> bool:
    return is_kitti_odometry(path) or is_kitti_raw(path) or bool(euroc_root(path)) or is_tum(path)


def _open_data_set(path: Path, topic: str | None, camera: CameraArgument, rate_hz: float | None) -> Recording | None:
    if is_kitti_odometry(path):
        return open_kitti_odometry(path, topic, camera, rate_hz)
    if is_kitti_raw(path):
        return open_kitti_raw(path, topic, camera, rate_hz)
    root = euroc_root(path)
    if root is not None:
        return open_euroc(root, topic, camera, rate_hz)
    if is_tum(path):
        return open_tum(path, camera, rate_hz)
    if is_seven_scenes(path):
        return open_seven_scenes(path, camera, rate_hz)
    return None


def _open_images(kind: str, name: str, files: list[Path], camera: CameraArgument, rate_hz: float | None) -> Recording:
    rate = rate_hz or DEFAULT_RATE_HZ
    size = first_size(files)
    if size is None:
        raise RecordingError(f"not one of the {len(files)} image files of '{name}' can be read")
    model = resolve_camera(camera, size)
    if model is not None:
        check_size(model, size, name)
    stems = [file.stem for file in files]
    unique = len(set(stems)) == len(stems)
    frames = [
        FrameFile(file, round(index * 1e9 / rate), file.stem if unique else file.name.replace(".", "_"))
        for index, file in enumerate(files)
    ]
    return FileRecording(kind, name, frames, model, rate)
