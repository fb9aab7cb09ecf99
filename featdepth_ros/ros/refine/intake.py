"""Stores images of depth_node's topics with their poses in the buffer, on a separate thread."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from nav_msgs.msg import Odometry
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, Image

from featdepth_ros.errors import FeatDepthError
from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.inference.odometry import UNKNOWN_VARIANCE
from featdepth_ros.messages.images import rgb_from_message
from featdepth_ros.messages.stamps import header_stamp_ns
from featdepth_ros.recordings.buffer.writer import BufferFigures, BufferWriter
from featdepth_ros.ros.calibration import Calibration
from featdepth_ros.ros.cameras.pace import Pace
from featdepth_ros.ros.frames.tree import FrameTree

#: Largest numbers of images that wait for their odometry, and of joined ones that wait for the disk.
_WAITING, _QUEUED = 8, 4
#: Seconds without odometry after which images are stored without poses, and until the next try after a disk error.
_NO_ODOMETRY_S, _DISK_AGAIN_S = 2.0, 10.0
#: A pose has jumped if it moved further than this factor times its speed allows, plus this many units.
_FASTER, _JUMP = 3.0, 0.2


@dataclass(frozen=True, eq=False)
class Joined:
    """An image with its camera_info and odometry; without odometry its pose is unknown."""

    image: Image
    info: CameraInfo
    odometry: Odometry | None


class Joiner:
    """Pairs images and odometry by stamp, on the executor's thread, without computations.

    Args:
        emit: receives each pair.
        rate_hz: returns the largest number of images per second.
    """

    def __init__(self, emit: Callable[[Joined], None], rate_hz: Callable[[], float]) -> None:
        self._emit, self._rate_hz = emit, rate_hz
        self._pace = Pace()
        self._images: OrderedDict[int, Image] = OrderedDict()
        self._odometry: OrderedDict[int, Odometry] = OrderedDict()
        self._info: CameraInfo | None = None
        self._odometry_s = -_NO_ODOMETRY_S

    def on_info(self, msg: CameraInfo) -> None:
        """Store the camera_info of the images."""
        self._info = msg

    def on_image(self, msg: Image) -> None:
        """Add an image."""
        stamp = header_stamp_ns(msg)
        if not self._pace.is_due(stamp, self._rate_hz()) or self._info is None:
            return
        odometry = self._odometry.pop(stamp, None)
        if odometry is not None:
            self._emit(Joined(msg, self._info, odometry))
        elif time.monotonic() - self._odometry_s > _NO_ODOMETRY_S:
            self._emit(Joined(msg, self._info, None))
        else:
            self._images[stamp] = msg
            while len(self._images) > _WAITING:
                self._images.popitem(last=False)

    def on_odometry(self, msg: Odometry) -> None:
        """Add an odometry message."""
        self._odometry_s = time.monotonic()
        stamp = header_stamp_ns(msg)
        image = self._images.pop(stamp, None)
        if image is not None and self._info is not None:
            self._emit(Joined(image, self._info, msg))
            return
        self._odometry[stamp] = msg
        while len(self._odometry) > _WAITING:
            self._odometry.popitem(last=False)


class Filler:
    """Fills the buffer on a separate thread; if it is too slow, images are left out.

    Args:
        open_writer: opens the buffer.
        tree: transforms of the robot, for the mounting of the camera.
        is_metric: returns whether poses are currently in metres.
    """

    def __init__(self, open_writer: Callable[[], BufferWriter], tree: FrameTree, is_metric: Callable[[], bool]) -> None:
        self._open_writer, self._tree, self._is_metric = open_writer, tree, is_metric
        self._condition = threading.Condition()
        self._queue: deque[Joined] = deque(maxlen=_QUEUED)
        self._stopping = False
        self._calibration = Calibration()
        self._writer: BufferWriter | None = None
        self._again_s = 0.0
        self._before: Odometry | None = None
        self.trouble = ""
        self.wanted = True
        self.figures: BufferFigures | None = None
        self.newest_ns = 0
        self._thread = threading.Thread(target=self._run, name="buffer", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def offer(self, joined: Joined) -> None:
        """Queue an image without blocking."""
        with self._condition:
            if self.wanted:
                self._queue.append(joined)
                self._condition.notify()

    def stop(self, timeout_s: float) -> None:
        """Complete the current segment and end the thread, within ``timeout_s`` seconds."""
        with self._condition:
            self._stopping = True
            self._condition.notify()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def _run(self) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._stopping or bool(self._queue))
                joined = None if self._stopping else self._queue.popleft()
            if joined is not None and time.monotonic() < self._again_s:
                continue
            try:
                if self._writer is None:
                    self._writer = self._open_writer()
                if joined is None:
                    self._writer.close()
                    return
                self._store(self._writer, joined)
                self.figures, self.newest_ns = self._writer.figures, self._writer.newest_ns
            except Exception as error:  # noqa: BLE001 - whatever one picture does, the next ones get their chance
                known = isinstance(error, (FeatDepthError, OSError))
                words = str(error) if known else f"{type(error).__name__}: {error}"
                self.trouble = f"the buffer cannot store images: {words}"
                self._writer = None
                self._again_s = time.monotonic() + _DISK_AGAIN_S
                if joined is None:
                    return

    def _store(self, writer: BufferWriter, joined: Joined) -> None:
        image = rgb_from_message(joined.image)
        camera, reason = self._calibration.camera(joined.info, True, (image.shape[1], image.shape[0]))
        if camera is None or (camera.width, camera.height) != (image.shape[1], image.shape[0]):
            self.trouble = f"the images have no calibration, which learning needs {reason}".strip()
            return
        self.trouble = ""
        odometry, before = joined.odometry, self._before
        self._before = odometry
        lost = odometry is not None and odometry.twist.covariance[0] >= UNKNOWN_VARIANCE
        if lost or (odometry is not None and before is not None and _jumped(before, odometry)):
            writer.interrupt()
            if lost:
                return
        stamp = header_stamp_ns(joined.image)
        pose = None if odometry is None else self._pose(odometry, joined.image.header.frame_id, stamp)
        writer.add(image, camera, stamp, pose, self._is_metric() and pose is not None)

    def _pose(self, odometry: Odometry, camera_frame: str, stamp_ns: int) -> NDArray[np.float64] | None:
        """Return T_odom_camera (4, 4) of the optical frame; None if the mounting is unknown."""
        p, q = odometry.pose.pose.position, odometry.pose.pose.orientation
        T_odom_base = se3.from_quaternion((p.x, p.y, p.z), (q.x, q.y, q.z, q.w))
        base = odometry.child_frame_id
        if base == camera_frame:
            return np.asarray(T_odom_base)
        extrinsics = self._tree.extrinsics(camera_frame, base, odometry.header.frame_id, stamp_ns)
        if extrinsics is None or extrinsics.base != base or extrinsics.missing or extrinsics.T_base_camera is None:
            return None
        return np.asarray(T_odom_base @ extrinsics.T_base_camera)


def _jumped(before: Odometry, after: Odometry) -> bool:
    """Return whether the pose moved further than its speed allows: it was set, or comes from another odometry."""
    seconds = (header_stamp_ns(after) - header_stamp_ns(before)) * 1e-9
    places = [(m.pose.pose.position.x, m.pose.pose.position.y, m.pose.pose.position.z) for m in (before, after)]
    moved = float(np.linalg.norm(np.subtract(places[0], places[1])))
    speeds = [(m.twist.twist.linear.x, m.twist.twist.linear.y, m.twist.twist.linear.z) for m in (before, after)]
    fastest = max(float(np.linalg.norm(speed)) for speed in speeds)
    return seconds <= 0 or moved > _FASTER * fastest * seconds + _JUMP
