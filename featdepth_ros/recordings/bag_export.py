"""Frames into a ROS 2 bag: image, calibration, depth, true odometry and the transforms between them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.errors import RecordingError
from featdepth_ros.recordings import bag_types
from featdepth_ros.recordings.bag import sibling_topic
from featdepth_ros.recordings.bag_messages import Messages
from featdepth_ros.recordings.bag_writer import BagWriter
from featdepth_ros.recordings.frame import Frame
from featdepth_ros.recordings.poses import R_BODY_OPTICAL, inverse, rotation_vector, transform

GROUND_TRUTH_TOPIC = "/ground_truth/odom"
#: TF child of the true pose; not ``base_link``, which the node under test publishes (a frame has one parent).
GROUND_TRUTH_FRAME = "base_link_ground_truth"


def write_ros2_bag(
    path: str | Path,
    frames: Iterable[Frame],
    storage: str = "sqlite3",
    *,
    image_topic: str = "/camera/image_raw",
    frame_id: str = "camera_optical_frame",
    base_frame: str = "base_link",
    odom_frame: str = "odom",
    map_frame: str = "map",
    T_base_camera: NDArray[np.float64] | None = None,  # noqa: N803 - the house's names of transforms
) -> int:
    """Write frames into a new ROS 2 bag, one at a time.

    Topics: ``image_topic`` (rgb8) and its sibling ``camera_info``; with depth ``depth/image_rect`` (32FC1, metres,
    REP-118) and ``depth/camera_info`` beside it; with poses ``/ground_truth/odom`` (nav_msgs/Odometry, ``map_frame`` to
    ``base_frame``, twist in ``base_frame``) and ``/tf`` (``map_frame`` to `GROUND_TRUTH_FRAME`); always ``/tf_static``
    (``base_frame`` to ``frame_id``; with poses also ``map_frame`` to ``odom_frame``, the identity), transient local.
    The map has its origin at the base's first pose, x forward (REP-103, REP-105). Messages carry the frames' stamps.

    Args:
        path: folder of the bag to create.
        frames: read once, in order; stamps must not be negative.
        storage: ``sqlite3`` or ``mcap``.
        image_topic: topic of the images; the other camera topics are its siblings.
        frame_id: the camera's optical frame.
        base_frame: the robot's frame.
        odom_frame: frame in which a node under test publishes its odometry.
        map_frame: frame of the true poses.
        T_base_camera: (4, 4) pose of the camera's optical frame on the base; None: at its origin, looking along x.

    Returns:
        The number of frames written.

    Raises:
        RecordingError: the path exists, cannot be written, or there was no frame at all.
    """
    count = 0
    with BagWriter(path, storage) as bag:
        export = _BagExport(bag, image_topic, frame_id, base_frame, odom_frame, map_frame, T_base_camera)
        for frame in frames:
            export.write(frame)
            count += 1
    if count == 0:
        raise RecordingError(f"no frame to write into bag '{path}'")
    return count


class _BagExport:
    """Adds topics when the first frame that has them comes, then writes frame after frame."""

    def __init__(
        self,
        bag: BagWriter,
        image_topic: str,
        frame_id: str,
        base_frame: str,
        odom_frame: str,
        map_frame: str,
        T_base_camera: NDArray[np.float64] | None,  # noqa: N803
    ) -> None:
        self._bag = bag
        self._make = Messages()
        self._image_topic, self._frame_id = image_topic, frame_id
        self._base_frame, self._odom_frame, self._map_frame = base_frame, odom_frame, map_frame
        self._T_base_camera = transform(R_BODY_OPTICAL, np.zeros(3)) if T_base_camera is None else T_base_camera
        self._T_start_world: NDArray[np.float64] | None = None
        self._previous: tuple[int, NDArray[np.float64]] | None = None

    def write(self, frame: Frame) -> None:
        """Write everything a frame has."""
        if frame.stamp_ns < 0:
            raise RecordingError(f"frame {frame.name} has stamp {frame.stamp_ns} ns; a bag needs stamps from 0 on")
        self._write_static(frame)
        header = self._make.header(frame.stamp_ns, self._frame_id)
        self._put(self._image_topic, frame.stamp_ns, self._make.image(header, frame.image, "rgb8"))
        if frame.camera is not None:
            info = self._make.camera_info(header, frame.camera)
            self._put(sibling_topic(self._image_topic), frame.stamp_ns, info)
        if frame.depth is not None:
            depth = self._make.image(header, np.asarray(frame.depth, np.float32), "32FC1")
            self._put(sibling_topic(self._image_topic, "depth/image_rect"), frame.stamp_ns, depth)
            if frame.camera is not None:
                info = self._make.camera_info(header, frame.camera)
                self._put(sibling_topic(self._image_topic, "depth/camera_info"), frame.stamp_ns, info)
        if frame.T_world_camera is not None:
            self._write_truth(frame.stamp_ns, frame.T_world_camera)

    def _put(self, topic: str, stamp_ns: int, message: object) -> None:
        if topic not in self._bag.counts:
            self._bag.add_topic(topic, message.__msgtype__)  # type: ignore[attr-defined]
        self._bag.write_message(topic, stamp_ns, message)

    def _write_static(self, frame: Frame) -> None:
        if "/tf_static" in self._bag.counts:
            return
        make, stamp = self._make, frame.stamp_ns
        transforms = [make.tf(make.header(stamp, self._base_frame), self._frame_id, self._T_base_camera)]
        if frame.T_world_camera is not None:
            transforms.append(make.tf(make.header(stamp, self._map_frame), self._odom_frame, np.eye(4)))
        self._bag.add_topic("/tf_static", bag_types.TF_MESSAGE, transient_local=True)
        self._bag.write_message("/tf_static", stamp, make.tf2_msgs__TFMessage(transforms=transforms))

    def _write_truth(self, stamp_ns: int, T_world_camera: NDArray[np.float64]) -> None:  # noqa: N803
        if self._T_start_world is None:
            self._T_start_world = self._T_base_camera @ inverse(T_world_camera)
        pose = self._T_start_world @ T_world_camera @ inverse(self._T_base_camera)
        velocity = np.zeros(6)
        if self._previous is not None and stamp_ns > self._previous[0]:
            velocity = _velocity(self._previous[1], pose, (stamp_ns - self._previous[0]) * 1e-9)
        self._previous = (stamp_ns, pose)
        header = self._make.header(stamp_ns, self._map_frame)
        self._put(GROUND_TRUTH_TOPIC, stamp_ns, self._make.odometry(header, self._base_frame, pose, velocity))
        moving = self._make.tf(header, GROUND_TRUTH_FRAME, pose)
        self._put("/tf", stamp_ns, self._make.tf2_msgs__TFMessage(transforms=[moving]))


def _velocity(earlier: NDArray[np.float64], later: NDArray[np.float64], seconds: float) -> NDArray[np.float64]:
    """Return the mean linear and angular velocity between two poses, in the later pose's own axes."""
    motion = inverse(later) @ earlier  # where the earlier pose lies, seen from the later one
    return np.concatenate([-motion[:3, 3], -rotation_vector(motion[:3, :3])]) / seconds
