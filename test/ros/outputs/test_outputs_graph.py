"""The further topics in a live graph: only for those who hear them, and what they hold."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from fake_model import FakeEstimator, fake_loaded_model
from nav_msgs.msg import Odometry, Path
from rclpy.parameter import Parameter
from rclpy.qos import ReliabilityPolicy
from ros_graph import Graph, Probe, cloud_arrays, wait
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2
from std_srvs.srv import Trigger
from tf2_msgs.msg import TFMessage

from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.ros.compat import keep_last
from featdepth_ros.ros.node import DepthNode
from featdepth_ros.ros.transforms import transform_message

pytestmark = pytest.mark.ros

START = 1_700_000_000_000_000_000
MOUNT = se3.make(se3.T_BODY_OPTICAL[:3, :3], np.array([0.0, 0.0, 1.0]))


def start(ros: Graph, probe: Probe, fake: FakeEstimator | None = None, **parameters: Any) -> Any:
    latched = keep_last(1, ReliabilityPolicy.RELIABLE, transient_local=True)
    static = probe.node.create_publisher(TFMessage, "/tf_static", latched)
    static.publish(TFMessage(transforms=[transform_message(MOUNT, 0, "base_link", "camera_optical")]))
    settings = {"extrinsics_timeout_s": 5.0, "diagnostics_period_s": 0.1, **parameters}
    loaded = fake_loaded_model(fake or FakeEstimator())
    return ros.add(
        DepthNode(
            load=lambda _: loaded,
            context=ros.context,
            cli_args=["--ros-args", "-r", "image_raw:=/camera/image_raw"],
            parameter_overrides=[Parameter(name, value=value) for name, value in settings.items()],
        )
    )


def test_pictures_and_clouds_for_people_networks_and_costmaps(ros: Graph) -> None:
    probe = Probe(ros)
    topics = {
        "camera_info": CameraInfo,
        "image_rect": Image,
        "image_rect/compressed": CompressedImage,
        "depth/image_rect": Image,
        "depth/camera_info": CameraInfo,
        "depth/color": Image,
        "depth/color/compressed": CompressedImage,
        "depth/image_rect/compressedDepth": CompressedImage,
        "points_filtered": PointCloud2,
    }
    heard = {name: probe.hear(kind, f"/depth_node/{name}") for name, kind in topics.items()}
    start(ros, probe, cloud_voxel_m=0.0)
    probe.send_until(lambda: all(len(messages) > 1 for messages in heard.values()), "all topics", START)
    newest = {name: messages[-1] for name, messages in heard.items()}
    assert {m.header.frame_id for m in newest.values()} == {"camera_optical"}
    # the sibling of image_rect is the camera of depth, which has the same pixels
    assert list(newest["camera_info"].k) == list(newest["depth/camera_info"].k)
    assert (newest["camera_info"].width, newest["image_rect"].width) == (32, 32)
    picture = cv2.imdecode(np.frombuffer(newest["image_rect/compressed"].data, np.uint8), cv2.IMREAD_COLOR)
    sent = np.frombuffer(newest["image_rect"].data, np.uint8).reshape(24, 32, 3)
    assert np.abs(picture[..., ::-1].astype(int) - sent).mean() < 20  # JPEG blurs the noise in blue
    colours = np.frombuffer(newest["depth/color"].data, np.uint8).reshape(24, 32, 3).astype(int).sum(axis=2)
    assert newest["depth/color"].encoding == "rgb8"
    assert colours[2].mean() > colours[12].mean() > colours[20].mean()  # the ramp goes from near to far, top to bottom
    assert colours[10, 5] == 0 or colours[10, 5] < colours[10, 6]  # no value: black
    assert newest["depth/image_rect/compressedDepth"].format == "32FC1; compressedDepth png"
    points, _ = cloud_arrays(newest["points_filtered"])
    cloud = newest["points_filtered"]
    assert cloud.is_dense and cloud.height == 1 and cloud.width == points.shape[1] > 10
    height = 1.0 - points[0, :, 1]  # the camera sits 1 m above the base, y points down
    assert height.min() >= 0.1 - 1e-5 and height.max() <= 2.0 + 1e-5
    assert np.linalg.norm(points[0], axis=1).max() <= 10.0 + 1e-3


def test_the_filtered_cloud_keeps_its_rows_when_asked(ros: Graph) -> None:
    probe = Probe(ros)
    clouds = probe.hear(PointCloud2, "/depth_node/points_filtered")
    start(ros, probe, cloud_dense=False, cloud_voxel_m=0.2)
    # The first ones may come before the mounting is known.
    probe.send_until(lambda: clouds and np.isfinite(cloud_arrays(clouds[-1])[0]).any(), "a cloud", START)
    points, _ = cloud_arrays(clouds[-1])
    assert points.shape == (24, 32, 3) and not clouds[-1].is_dense
    good = np.isfinite(points).all(axis=-1)
    assert 5 < good.sum() < good.size / 2
    assert np.isnan(points[~good]).all()


def test_the_path_grows_with_the_drive_and_begins_anew_after_a_reset(ros: Graph) -> None:
    probe = Probe(ros)
    paths, odoms = probe.hear(Path, "/depth_node/path"), probe.hear(Odometry, "/odom")
    start(ros, probe)
    stamp = probe.send_until(lambda: paths and len(paths[-1].poses) >= 5, "a path", START)
    path = paths[-1]
    assert path.header.frame_id == "odom" and {p.header.frame_id for p in path.poses} == {"odom"}
    by_stamp = {(m.header.stamp.sec, m.header.stamp.nanosec): m.pose.pose.position.x for m in odoms}
    for pose in path.poses[1:]:
        assert pose.pose.position.x == by_stamp[pose.header.stamp.sec, pose.header.stamp.nanosec]
    client = probe.node.create_client(Trigger, "/depth_node/reset_odometry")
    assert client.wait_for_service(timeout_sec=10.0)
    future = client.call_async(Trigger.Request())
    wait(future.done, "an answer")
    probe.send_until(lambda: len(paths[-1].poses) < 3, "a new path", stamp)


def test_a_wanted_rate_holds(ros: Graph) -> None:
    probe, fake = Probe(ros), FakeEstimator()
    odoms = probe.hear(Odometry, "/odom")
    start(ros, probe, fake, max_rate_hz=5.0)
    probe.send_until(lambda: len(odoms) >= 5, "odometry", START)  # stamps are 50 ms apart
    stamps = [m.header.stamp.sec * 10**9 + m.header.stamp.nanosec for m in odoms]
    assert min(np.diff(stamps)) >= 150_000_000


def test_picture_depth_info_and_odometry_of_a_frame_have_one_stamp(ros: Graph) -> None:
    """So that users may join them exactly (depth_image_proc's exact_sync, RTAB-Map without approx_sync)."""
    probe = Probe(ros)
    topics = {
        "image_rect": Image,
        "depth/image_rect": Image,
        "camera_info": CameraInfo,
        "depth/camera_info": CameraInfo,
    }
    heard = [probe.hear(kind, f"/depth_node/{name}") for name, kind in topics.items()]
    heard.append(probe.hear(Odometry, "/odom"))
    start(ros, probe)
    stamps = [set() for _ in heard]

    def together() -> set[tuple[int, int]]:
        for found, messages in zip(stamps, heard, strict=True):
            found |= {(m.header.stamp.sec, m.header.stamp.nanosec) for m in messages}
        return set.intersection(*stamps)

    probe.send_until(lambda: len(together()) >= 3, "frames that came whole", START)
    sizes = {(m[-1].width, m[-1].height) for m in heard[:4]}
    assert sizes == {(32, 24)} and {m[-1].header.frame_id for m in heard[:4]} == {"camera_optical"}
