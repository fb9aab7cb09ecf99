"""The node with the real estimator (random weights) behind a lens with distortion, region of interest and binning."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nav_msgs.msg import Odometry
from rcl_interfaces.msg import Log
from rclpy.logging import LoggingSeverity
from rclpy.parameter import Parameter
from ros_graph import Graph, Probe, cloud_arrays, graph, wait
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.inference import window_motion
from featdepth_ros.ros.calibration import info_from_camera
from featdepth_ros.ros.node import DepthNode

pytestmark = pytest.mark.ros

START = 1_700_000_000_000_000_000
CAMERA = CameraModel(
    640,
    480,
    400.0,
    405.0,
    321.0,
    238.0,
    "plumb_bob",
    (-0.2, 0.05, 0.001, -0.001, 0.0),
    roi=(40, 20, 560, 440),
    binning=(2, 2),
)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch

    from featdepth_ros.models.build import build_model
    from featdepth_ros.models.checkpoints import save_model
    from featdepth_ros.models.compact import CompactModel

    torch.manual_seed(0)
    model = build_model("compact")
    assert isinstance(model, CompactModel)
    for head in model.decoder.head:  # nearly flat maps: rough ones would be taken for edges, and not be valid
        torch.nn.init.normal_(head.weight, std=1e-4)
    return Path(save_model(tmp_path_factory.mktemp("weights") / "random.safetensors", model))


def start(ros: Graph, values: dict[str, Any]) -> DepthNode:
    """Add a node of its own networks that listens on /camera/image_raw."""
    node = DepthNode(
        context=ros.context,
        cli_args=["--ros-args", "-r", "image_raw:=/camera/image_raw"],
        parameter_overrides=[Parameter(n, value=v) for n, v in values.items()],
    )
    return ros.add(node)


@pytest.mark.parametrize("output_size", ["network", "input"])
def test_cloud_depth_and_info_agree_through_the_whole_chain(weights: Path, output_size: str) -> None:
    topics = ("/depth_node/depth/image_rect", "/depth_node/depth/camera_info", "/depth_node/points")
    with graph() as ros:
        probe = Probe(ros)
        heard: list[list[Any]] = [
            probe.hear(k, t) for k, t in zip((Image, CameraInfo, PointCloud2), topics, strict=True)
        ]
        values = {"weights": str(weights), "input_height": 64, "input_width": 96, "output_size": output_size}
        values |= {"extrinsics_timeout_s": 0.0, "min_depth": 0.001, "max_depth": 1000.0}
        start(ros, values)
        stamp = START
        width, height = CAMERA.delivered_size

        def sent() -> bool:
            nonlocal stamp
            stamp += 50_000_000
            probe.infos.publish(info_from_camera(CAMERA, stamp, "camera_optical"))
            probe.images.publish(probe.image(stamp, width, height))
            time.sleep(0.1)
            return all(len(messages) >= 2 for messages in heard)

        wait(sent, "depth, camera_info and cloud", 60.0)
        assert ros.failure is None
    by_stamp = [{m.header.stamp.nanosec: m for m in messages} for messages in heard]
    stamp_ = max(set(by_stamp[0]) & set(by_stamp[1]) & set(by_stamp[2]))
    image, info, cloud = (messages[stamp_] for messages in by_stamp)
    expected = (96, 64) if output_size == "network" else (width, height)
    assert (image.width, image.height) == (info.width, info.height) == (cloud.width, cloud.height) == expected
    assert not any(info.d) and info.roi.width == 0 and info.binning_x == 0
    k = np.reshape(info.k, (3, 3))
    np.testing.assert_array_equal(np.reshape(info.p, (3, 4))[:, :3], k)
    # 405 / 2 px focal length of the binned region, stretched to the output's size.
    assert k[1, 1] == pytest.approx(202.5 * expected[1] / height, rel=0.05)
    depth = np.frombuffer(image.data, "<f4").reshape(image.height, image.width)
    points, _ = cloud_arrays(cloud)
    good = np.isfinite(points).all(axis=-1)
    assert good.mean() > 0.5
    np.testing.assert_array_equal(points[good][:, 2], depth[good])
    pixel = points[good] @ k.T
    v, u = np.nonzero(good)
    np.testing.assert_allclose(pixel[:, :2] / pixel[:, 2:], np.stack([u, v], axis=1), atol=2e-3)


def test_without_numba_the_node_warns_and_goes_on_with_the_pose_network(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(window_motion, "window_is_available", lambda: False)
    with graph() as ros:
        probe = Probe(ros)
        logs, odoms = probe.hear(Log, "/rosout"), probe.hear(Odometry, "/odom")
        values = {"weights": str(weights), "input_height": 64, "input_width": 96, "extrinsics_timeout_s": 0.0}
        node = start(ros, values)
        probe.send_until(lambda: len(odoms) >= 3, "odometry", START, 60.0)
        assert ros.failure is None
        assert node._loaded.rig.cameras[""].motion_source == "network"
    (warning,) = [log.msg for log in logs if log.level == LoggingSeverity.WARN and "numba" in log.msg]
    assert "pip install numba" in warning and "pose network" in warning
