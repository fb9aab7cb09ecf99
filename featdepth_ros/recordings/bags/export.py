"""Writes frames to a ROS 2 bag: image, calibration, depth, true odometry and transforms."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.errors import RecordingError
from featdepth_ros.recordings.bags.frame_messages import FrameMessages
from featdepth_ros.recordings.bags.sensor_messages import Reading, SensorMessages
from featdepth_ros.recordings.bags.writer import BagWriter
from featdepth_ros.recordings.frame import Frame


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
    T_base_camera: NDArray[np.float64] | None = None,
    readings: Iterable[Reading] = (),
    mounts: Mapping[str, NDArray[np.float64]] | None = None,
) -> int:
    """Write frames into a new ROS 2 bag, one at a time.

    Topics are:

    - ``image_topic`` (rgb8) and its sibling ``camera_info``.
    - With depth ``depth/image_rect`` (32FC1, metres, REP-118) and ``depth/camera_info`` beside it.
    - With poses ``/ground_truth/odom``: nav_msgs/Odometry, ``map_frame`` to ``base_frame``, twist in ``base_frame``.
    - With poses ``/tf``: ``map_frame`` to ``base_link_ground_truth``.
    - ``/tf_static``, transient local: ``base_frame`` to ``frame_id``.
      With poses also ``map_frame`` to ``odom_frame``, the identity.

    The map has its origin at the base's first pose, x forward (REP-103, REP-105). Messages carry the frames' stamps.

    Args:
        path: folder of the bag to create.
        frames: the frames, which are iterated once; stamps must not be negative.
        storage: ``sqlite3`` or ``mcap``.
        image_topic: topic of the images; the other camera topics are its siblings.
        frame_id: the camera's optical frame.
        base_frame: the robot's frame.
        odom_frame: frame in which a node under test publishes its odometry.
        map_frame: frame of the true poses.
        T_base_camera: (4, 4) pose of the camera's optical frame on the base; None: at its origin, looking along x.
        readings: readings of other sensors, in order of their stamps; see `SensorMessages` for their topics.
        mounts: frame of each other sensor -> its (4, 4) pose on the base, which is written to ``/tf_static``.

    Returns:
        The number of frames written.

    Raises:
        RecordingError: the path exists or cannot be written, or ``frames`` is empty.
    """
    count = 0
    with BagWriter(path, storage) as bag:
        export = FrameMessages(
            bag, image_topic, frame_id, base_frame, odom_frame, map_frame, T_base_camera, mounts=mounts
        )
        sensors, pending = SensorMessages(bag, base_frame), iter(readings)
        reading = next(pending, None)
        for frame in frames:
            while reading is not None and reading.stamp_ns < frame.stamp_ns:
                sensors.write(reading)
                reading = next(pending, None)
            export.write(frame)
            count += 1
        while reading is not None:
            sensors.write(reading)
            reading = next(pending, None)
    if count == 0:
        raise RecordingError(f"there is no frame to write into bag '{path}': the recording has no readable one")
    return count
