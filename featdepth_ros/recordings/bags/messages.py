"""Messages of the standard ROS 2 store, built from arrays, cameras and poses."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.messages.camera_info import info_fields
from featdepth_ros.messages.encode import image_fields, jpeg_fields
from featdepth_ros.messages.stamps import stamp_fields
from featdepth_ros.recordings.bags.types import ros2_store


class Messages:
    """Builds messages of the standard store; attributes such as ``std_msgs__Header`` are the message types."""

    def __init__(self) -> None:
        self._types = ros2_store().types

    def __getattr__(self, name: str) -> Any:
        package, _, message = name.partition("__")
        return self._types[f"{package}/msg/{message}"]

    def header(self, stamp_ns: int, frame_id: str) -> Any:
        """Return a std_msgs/Header."""
        stamp = self.builtin_interfaces__Time(**stamp_fields(stamp_ns))
        return self.std_msgs__Header(stamp=stamp, frame_id=frame_id)

    def image(self, header: Any, array: NDArray[Any], encoding: str) -> Any:
        """Return a sensor_msgs/Image of an (H, W) or (H, W, C) array; see `image_fields`."""
        return self.sensor_msgs__Image(header=header, **_with_numpy(image_fields(array, encoding)))

    def jpeg(self, header: Any, image: NDArray[np.uint8], quality: int = 90) -> Any:
        """Return a sensor_msgs/CompressedImage of an (H, W, 3) uint8 RGB image; see `jpeg_fields`."""
        return self.sensor_msgs__CompressedImage(header=header, **_with_numpy(jpeg_fields(image, quality)))

    def camera_info(self, header: Any, camera: CameraModel) -> Any:
        """Return a sensor_msgs/CameraInfo."""
        fields = info_fields(camera)
        x_offset, y_offset, height, width, do_rectify = fields.pop("roi")
        region = self.sensor_msgs__RegionOfInterest(
            x_offset=x_offset, y_offset=y_offset, height=height, width=width, do_rectify=do_rectify
        )
        return self.sensor_msgs__CameraInfo(header=header, roi=region, **fields)

    def vector(self, values: NDArray[np.float64]) -> Any:
        """Return a geometry_msgs/Vector3 of (3,) numbers."""
        x, y, z = (float(v) for v in values)
        return self.geometry_msgs__Vector3(x=x, y=y, z=z)

    def pose(self, matrix: NDArray[np.float64]) -> Any:
        """Return a geometry_msgs/Pose of a 4x4 transform."""
        x, y, z, w = (float(v) for v in se3.quaternion_from_matrix(matrix))
        tx, ty, tz = (float(v) for v in matrix[:3, 3])
        return self.geometry_msgs__Pose(
            position=self.geometry_msgs__Point(x=tx, y=ty, z=tz),
            orientation=self.geometry_msgs__Quaternion(x=x, y=y, z=z, w=w),
        )

    def tf(self, header: Any, child: str, matrix: NDArray[np.float64]) -> Any:
        """Return a geometry_msgs/TransformStamped that maps ``child`` into the header's frame."""
        pose = self.pose(matrix)
        p = pose.position
        return self.geometry_msgs__TransformStamped(
            header=header,
            child_frame_id=child,
            transform=self.geometry_msgs__Transform(
                translation=self.geometry_msgs__Vector3(x=p.x, y=p.y, z=p.z), rotation=pose.orientation
            ),
        )

    def odometry(self, header: Any, child: str, pose: NDArray[np.float64], velocity: NDArray[np.float64]) -> Any:
        """Return a nav_msgs/Odometry; ``velocity`` is linear (m/s) and angular (rad/s) in the child frame."""
        covariance = np.diag(np.full(6, 1e-9)).reshape(-1)  # truth; zero would read as unknown
        twist = self.geometry_msgs__Twist(linear=self.vector(velocity[:3]), angular=self.vector(velocity[3:]))
        return self.nav_msgs__Odometry(
            header=header,
            child_frame_id=child,
            pose=self.geometry_msgs__PoseWithCovariance(pose=self.pose(pose), covariance=covariance),
            twist=self.geometry_msgs__TwistWithCovariance(twist=twist, covariance=covariance.copy()),
        )


def _with_numpy(fields: dict[str, Any]) -> dict[str, Any]:
    """Return fields whose bytes are a numpy array, as rosbags wants them; the memory stays the same."""
    return {**fields, "data": np.frombuffer(fields["data"], np.uint8)}
