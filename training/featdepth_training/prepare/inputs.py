"""What `featdepth prepare` reads: an input opened for one cache, wherever it lies."""

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

#: Focal length that is assumed of a camera that does not tell, in image widths: a field of view of 62 degrees.
USUAL_FOCAL = 0.83


@dataclass(frozen=True)
class Input:
    """One recording that becomes one cache; plain values, so that another process may do it.

    Attributes:
        path: of the recording, or its URL.
        output: folder or URL of the cache; with ``below`` the folder it lies in.
        config: of the cache.
        topic, camera, rate_hz, partner, partner_camera: see `open_recording`.
        guess: find a camera for a recording that has no calibration, or start from a usual one.
        pseudo_depth: find depth by matching too.
        laser: keep the depth of KITTI's laser, where it is there.
        below: the cache gets a folder of its own below ``output``, by the name of the recording.
        name: of that folder; empty: that of the recording.
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
        """Whether it has to be fetched first."""
        return "://" in self.path

    @property
    def cache(self) -> str:
        """Folder or URL of the cache; the name must be known."""
        return f"{self.output.rstrip('/')}/{self.name}" if self.below else self.output


def expanded(path: str) -> list[str]:
    """Return the inputs that a URL names, with ``*`` in it several, in order; what is no URL is itself.

    Raises:
        RecordingError: none, or the store cannot be read.
    """
    if "://" not in path:
        return [path]
    from fsspec.core import url_to_fs

    with _fetching(path):
        fs, pattern = url_to_fs(path)
        entries = fs.glob(pattern) if "*" in path else [pattern]
        locations = sorted(str(fs.unstrip_protocol(entry)) for entry in entries)
    if not locations:
        raise RecordingError(f"nothing at {path}")
    return locations


@contextmanager
def local_copy(given: Input) -> Iterator[Path]:
    """The input on a disk of this machine: itself, or a copy for as long as the block lasts (TMPDIR says where).

    Raises:
        RecordingError: it cannot be fetched.
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

    A calibration that replaces the recording's own is named in its notes.

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
    """Give a recording without calibration a camera: centred, free of distortion, of the focal length that it tells.

    Returns:
        ``found``, or ``usual`` where it tells none: then training is to learn it.

    Raises:
        ConfigError: it has a calibration, or a stereo partner.
        RecordingError: no frame can be read.
    """
    if recording.camera is not None or recording.partner_name is not None:
        raise ConfigError(f"'{recording.name}' has a calibration of its own; leave out --camera guess")
    frame = next(iter(recording), None)
    if frame is None:
        raise RecordingError(f"no frame of '{recording.name}' can be read")
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
    """Give each input that lies below its output the name of its recording; equal ones get numbers, in order."""
    taken: set[str] = set()
    result = []
    for given, own in zip(inputs, names, strict=True):
        name, number = given.name or own, 2
        while name in taken:
            name, number = f"{given.name or own}_{number}", number + 1
        taken.add(name)
        result.append(replace(given, name=name))
    return result
