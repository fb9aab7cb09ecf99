"""The inputs of `featdepth prepare`: local recordings and URLs, one for each cache."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from featdepth_ros.errors import CalibrationError, ConfigError, FeatDepthError, MissingDependencyError, RecordingError
from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.recordings.open import open_recording
from featdepth_ros.recordings.recording import Recording
from featdepth_training.prepare.config import PrepareConfig
from featdepth_training.prepare.laser import with_laser_depth
from featdepth_training.prepare.self_calibration import focal_of

#: Assumed focal length of a camera for which none is found, in image widths: a field of view of 62 degrees.
USUAL_FOCAL = 0.83


@dataclass(frozen=True)
class Input:
    """One recording for one cache, as plain values that can be sent to another process.

    Attributes:
        path: path of the recording, or its URL.
        output: folder or URL of the cache; with ``below``, its parent folder.
        config: settings of the cache.
        topic, camera, rate_hz, partner, partner_camera: see `open_recording`.
        guess: estimate the camera of a recording without calibration, or start from a usual one.
        pseudo_depth: also compute depth by matching.
        laser: keep the depth of KITTI's laser, if it exists.
        below: whether the cache is a subfolder of ``output`` with the name of the recording.
        name: name of that folder; empty: the name of the recording.
    """

    path: str
    output: str
    config: PrepareConfig
    topic: str | None = None
    camera: str | None = None
    rate_hz: float | None = None
    partner: str | None = None
    partner_camera: str | None = None
    pseudo_depth: bool = False
    laser: bool = True
    guess: bool = False
    below: bool = False
    name: str = ""

    @property
    def remote(self) -> bool:
        """Whether the input must be downloaded first."""
        return "://" in self.path

    @property
    def cache(self) -> str:
        """Folder or URL of the cache; ``name`` must be set."""
        return f"{self.output.rstrip('/')}/{self.name}" if self.below else self.output


def expanded(path: str) -> list[str]:
    """Return the inputs of a URL, which may contain ``*``, in order; a local path is returned unchanged.

    Raises:
        RecordingError: there is no such input, or the store cannot be read.
    """
    if "://" not in path:
        return [path]
    from fsspec.core import url_to_fs

    with _fetching(path):
        fs, pattern = url_to_fs(path)
        entries = fs.glob(pattern) if "*" in path else [pattern]
        locations = sorted(str(fs.unstrip_protocol(entry)) for entry in entries)
    if not locations:
        raise RecordingError(f"there is nothing at {path}; check the URL")
    return locations


@contextmanager
def local_copy(given: Input) -> Iterator[Path]:
    """Yield the path of the input on a local disk: its own, or a temporary copy in TMPDIR inside the block.

    Raises:
        RecordingError: the input cannot be downloaded.
    """
    if not given.remote:
        yield Path(given.path)
        return
    from fsspec.core import url_to_fs

    with tempfile.TemporaryDirectory(prefix="featdepth_input_") as folder:
        target = Path(folder, given.path.rstrip("/").rpartition("/")[2])
        with _fetching(given.path):
            fs, root = url_to_fs(given.path)
            root = root.rstrip("/")
            if not fs.exists(root):
                raise FileNotFoundError("there is nothing")
            if fs.isdir(root):
                fs.get(f"{root}/", f"{target}/", recursive=True)
            else:
                fs.get_file(root, str(target))
        yield target


@contextmanager
def _fetching(path: str) -> Iterator[None]:
    try:
        yield
    except FeatDepthError:
        raise
    except ImportError as error:
        raise MissingDependencyError(f"reading {path}: {error}; pip install 'featdepth_ros[s3]' reads s3://") from error
    except Exception as error:  # each object store raises errors of its own kind
        raise RecordingError(f"could not fetch {path}: {error or type(error).__name__}") from error


def open_input(given: Input, path: Path) -> Recording:
    """Open an input whose files lie at ``path``.

    If a calibration replaces the recording's own, a note says so.

    Raises:
        FeatDepthError: see `open_recording`.
    """
    recording = open_recording(
        path, given.topic, given.camera, given.rate_hz, partner=given.partner, partner_camera=given.partner_camera
    )
    if given.camera is not None and recording.camera is not None:
        own = _own_camera(given, path)
        if own is not None and own != recording.camera:
            recording.note(
                f"--camera ({_words(recording.camera)}) takes the place of the recording's own calibration "
                f"({_words(own)}); without --camera that one counts"
            )
    if given.laser:
        recording = with_laser_depth(recording, path, given.topic)
    return recording


def guess_camera(recording: Recording) -> str:
    """Set the camera of a recording without calibration: centred, no distortion, with an estimated focal length.

    Returns:
        ``found``, or ``usual`` if the focal length cannot be estimated; training should then learn it.

    Raises:
        ConfigError: the recording has a calibration, or a stereo partner.
        RecordingError: no frame can be read.
    """
    if recording.camera is not None or recording.partner_name is not None:
        raise ConfigError(f"'{recording.name}' has a calibration of its own; leave out --camera guess")
    frame = next(iter(recording), None)
    if frame is None:
        raise RecordingError(f"no frame of '{recording.name}' can be read, so its camera cannot be estimated")
    height, width = frame.image.shape[:2]
    matched = focal_of(recording)
    focal = (matched or USUAL_FOCAL) * width
    recording.camera = CameraModel(width, height, focal, focal, (width - 1) / 2, (height - 1) / 2)
    how = "comes from how the pictures move" if matched else "is the usual one, as the pictures do not tell it"
    recording.note(f"the focal length of {focal:.6g} pixels {how}")
    return "found" if matched else "usual"


def _own_camera(given: Input, path: Path) -> CameraModel | None:
    try:
        return open_recording(path, given.topic, None, given.rate_hz).camera
    except (RecordingError, CalibrationError):
        return None


def _words(camera: CameraModel) -> str:
    values = f"{camera.fx:.6g},{camera.fy:.6g},{camera.cx:.6g},{camera.cy:.6g}"
    return f"{values} for {camera.width}x{camera.height}"


def named(inputs: list[Input], names: list[str]) -> list[Input]:
    """Name each input with ``below`` by its recording; equal names get numbers, in order."""
    taken: set[str] = set()
    result = []
    for given, own in zip(inputs, names, strict=True):
        name, number = given.name or own, 2
        while name in taken:
            name, number = f"{given.name or own}_{number}", number + 1
        taken.add(name)
        result.append(replace(given, name=name))
    return result
