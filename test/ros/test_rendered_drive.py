"""A rendered drive through the node: axes, frames and their composition, first with true depth and motion, then with
the weights that ship.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from fake_model import FakeRig
from nav_msgs.msg import Odometry
from rclpy.parameter import Parameter
from rclpy.qos import ReliabilityPolicy
from ros_graph import Graph, Probe, cloud_arrays, graph, wait
from sensor_msgs.msg import Image, PointCloud2
from tf2_msgs.msg import TFMessage

from featdepth_ros.errors import FeatDepthError
from featdepth_ros.inference.odometry import Odometry as OdometryIntegrator
from featdepth_ros.inference.types import Estimate, Motion, MotionState, ScaleState
from featdepth_ros.messages.stamps import stamp_ns
from featdepth_ros.models.info import ModelInfo
from featdepth_ros.recordings.frame import Frame
from featdepth_ros.resources import weights_file
from featdepth_ros.ros.calibration import info_from_camera
from featdepth_ros.ros.compat import keep_last
from featdepth_ros.ros.images import image_message
from featdepth_ros.ros.loading import LoadedModel, load_networks
from featdepth_ros.ros.node import DepthNode
from featdepth_ros.ros.transforms import matrix_from_transform, transform_message

pytest.importorskip("numba")
pytestmark = pytest.mark.ros

FRAMES = 8
#: Camera 1.2 m before and 1.5 m above the base, tilted down by 3 degrees.
TILT = np.deg2rad(3.0)
T_BASE_CAMERA = np.array(
    [
        [0.0, -np.sin(TILT), np.cos(TILT), 1.2],
        [-1.0, 0.0, 0.0, 0.0],
        [0.0, -np.cos(TILT), -np.sin(TILT), 1.5],
        [0.0, 0.0, 0.0, 1.0],
    ]
)


@pytest.fixture(scope="module")
def drive() -> list[Frame]:
    from featdepth_ros.simulation import SimulationConfig, default_camera, simulate

    return list(simulate(SimulationConfig(frames=FRAMES, seed=3, camera=default_camera(640, 192))))


class TrueEstimator:
    """Knows the answer of every stamp."""

    depth_source = "network"

    def __init__(self, frames: list[Frame]) -> None:
        self.frames = {frame.stamp_ns: frame for frame in frames}
        self.previous: Frame | None = None

    def warm_up(self, delivered_size: tuple[int, int], camera: Any) -> None:
        """Nothing to warm."""

    def reset(self) -> None:
        """Forget the earlier frame."""
        self.previous = None

    def step(self, image: np.ndarray, camera: Any, stamp: int) -> Estimate:
        frame, earlier = self.frames[stamp], self.previous
        self.previous = frame
        known = np.isfinite(frame.depth)
        motion = Motion(MotionState.FIRST, np.eye(4), 0, np.eye(6))
        if earlier is not None:
            T = np.linalg.inv(earlier.T_world_camera) @ frame.T_world_camera
            motion = Motion(MotionState.TRACKED, T, stamp - earlier.stamp_ns, np.eye(6) * 1e-6)
        depth = np.where(known, frame.depth, 1e3).astype(np.float32)
        scale = ScaleState("metric", "model", 1.0, 0.0)
        return Estimate(stamp, image, camera, depth, known, np.ones_like(known), 0.1, 80.0, None, motion, scale)


def send_drive(ros: Graph, frames: list[Frame], load: Any, **parameters: Any) -> dict[str, dict[int, Any]]:
    """Play the frames one by one, each after the odometry of the one before. Returns messages by topic and stamp."""
    probe = Probe(ros, reliable=True)
    heard = {
        "odom": probe.hear(Odometry, "/odom"),
        "points": probe.hear(PointCloud2, "/depth_node/points"),
        "tf": probe.hear(TFMessage, "/tf"),
        "depth": probe.hear(Image, "/depth_node/depth/image_rect"),
        "sigma": probe.hear(Image, "/depth_node/depth/sigma"),
        "image": probe.hear(Image, "/depth_node/image_rect"),
        "tracks": probe.hear(Image, "/depth_node/tracks"),
    }
    static = probe.node.create_publisher(
        TFMessage, "/tf_static", keep_last(1, ReliabilityPolicy.RELIABLE, transient_local=True)
    )
    static.publish(TFMessage(transforms=[transform_message(T_BASE_CAMERA, 0, "base_link", "camera_optical")]))
    node = ros.add(
        DepthNode(
            load=load,
            context=ros.context,
            cli_args=["--ros-args", "-r", "image_raw:=/camera/image_raw"],
            parameter_overrides=[Parameter(n, value=v) for n, v in parameters.items()],
        )
    )
    wait(
        lambda: node._listener is not None and node._listener.tree.extrinsics("camera_optical", "base_link", "odom"),
        "extrinsics",
        60.0,
    )
    wait(lambda: probe.images.get_subscription_count() and probe.infos.get_subscription_count(), "the node", 60.0)
    topics = ("/odom", *(f"/depth_node/{name}" for name in ("points", "depth/image_rect", "depth/sigma", "tracks")))
    wait(lambda: all(node.count_subscribers(topic) for topic in topics), "the listeners")
    for index, frame in enumerate(frames):
        probe.infos.publish(info_from_camera(frame.camera, frame.stamp_ns, "camera_optical"))
        time.sleep(0.02)

        def sent(index: int = index, frame: Frame = frame) -> bool:
            probe.images.publish(image_message(frame.image, "rgb8", frame.stamp_ns, "camera_optical"))
            end = time.monotonic() + 2.0
            while time.monotonic() < end and len(heard["odom"]) <= index:
                time.sleep(0.005)
            return len(heard["odom"]) > index

        wait(sent, f"odometry of frame {index}", 60.0)
    wait(lambda: len(heard["points"]) >= len(frames) and len(heard["tf"]) >= len(frames), "clouds and transforms")
    assert ros.failure is None
    by_stamp: dict[str, dict[int, Any]] = {
        name: {stamp_ns(m.header.stamp): m for m in heard[name]} for name in heard if name != "tf"
    }
    by_stamp["tf"] = {stamp_ns(t.header.stamp): t for m in heard["tf"] for t in m.transforms}
    return by_stamp


def test_truth_in_truth_out(drive: list[Frame]) -> None:
    loaded = LoadedModel(FakeRig({"": TrueEstimator(drive)}), OdometryIntegrator, ModelInfo(name="truth"), "cpu")
    with graph() as ros:
        heard = send_drive(ros, drive, lambda _: loaded)
    first = drive[0].T_world_camera
    for frame in drive:
        expected = T_BASE_CAMERA @ np.linalg.inv(first) @ frame.T_world_camera @ np.linalg.inv(T_BASE_CAMERA)
        np.testing.assert_allclose(matrix_from_transform(heard["tf"][frame.stamp_ns]), expected, atol=1e-6)
    last = heard["odom"][drive[-1].stamp_ns]
    length = np.linalg.norm(drive[-1].T_world_camera[:3, 3] - first[:3, 3])
    assert last.pose.pose.position.x > 0.9 * length > 1.0, "forward is +x (REP-103)"
    seconds = (drive[-1].stamp_ns - drive[-2].stamp_ns) * 1e-9
    step = np.linalg.norm(drive[-1].T_world_camera[:3, 3] - drive[-2].T_world_camera[:3, 3])
    assert last.twist.twist.linear.x == pytest.approx(step / seconds, rel=0.05)

    # The cloud of one frame, put into odom by /tf and /tf_static and seen by the camera of another, is what it sees.
    early, late = drive[0], drive[4]
    points, _ = cloud_arrays(heard["points"][early.stamp_ns])
    points = points[np.isfinite(points).all(axis=-1)].astype(np.float64)
    T_odom_early = matrix_from_transform(heard["tf"][early.stamp_ns]) @ T_BASE_CAMERA
    T_odom_late = matrix_from_transform(heard["tf"][late.stamp_ns]) @ T_BASE_CAMERA
    seen = (points @ T_odom_early[:3, :3].T + T_odom_early[:3, 3] - T_odom_late[:3, 3]) @ T_odom_late[:3, :3]
    seen = seen[seen[:, 2] > 1.0]
    camera = late.camera
    u = np.rint(camera.fx * seen[:, 0] / seen[:, 2] + camera.cx).astype(int)
    v = np.rint(camera.fy * seen[:, 1] / seen[:, 2] + camera.cy).astype(int)
    inside = (u >= 0) & (u < camera.width) & (v >= 0) & (v < camera.height)
    true = late.depth[v[inside], u[inside]]
    error = np.abs(seen[inside, 2] - true) / true
    assert inside.sum() > 20_000
    assert np.nanmedian(error) < 0.01
    assert np.nanmean(error < 0.05) > 0.8


def test_shipped_weights_drive_forward(drive: list[Frame]) -> None:
    try:
        weights = weights_file("compact")
    except FeatDepthError:
        pytest.skip("no weights ship yet")
    with graph() as ros:
        heard = send_drive(ros, drive, load_networks, weights=str(weights), device="cpu")
    poses = [heard["odom"][frame.stamp_ns].pose.pose.position for frame in drive]
    x = np.array([p.x for p in poses])
    assert (np.diff(x[1:]) > 0).all(), "every step goes forward"
    assert x[-1] > 3.0 * abs(poses[-1].y) and x[-1] > 3.0 * abs(poses[-1].z)
    assert heard["odom"][drive[-1].stamp_ns].twist.twist.linear.x > 0

    def pixels(name: str, kind: str, *channels: int) -> np.ndarray:
        msg = heard[name][drive[-2].stamp_ns]
        return np.frombuffer(msg.data, kind).reshape(msg.height, msg.width, *channels)

    depth, sigma = pixels("depth", "<f4"), pixels("sigma", "<f4")
    finite = np.isfinite(depth)
    np.testing.assert_array_equal(np.isfinite(sigma), finite)
    assert finite.mean() > 0.3 and 0.01 < np.median(sigma[finite] / depth[finite]) < 0.5
    # A hundred dots or more, well spread over the picture of the depth.
    drawn = (pixels("tracks", "u1", 3) != pixels("image", "u1", 3)).any(axis=-1)
    assert drawn.sum() > 500 and drawn[:, : drawn.shape[1] // 2].any() and drawn[:, drawn.shape[1] // 2 :].any()


@pytest.mark.slow
def test_a_camera_that_stands_stays_where_it_is(drive: list[Frame]) -> None:
    """A still picture under noise and flicker; `test/benchmarks/field/standing_camera.py` does it for a minute."""
    random, still = np.random.default_rng(4), drive[2]
    frames = []
    for index in range(16):
        seen = still.image * (1.0 + 0.03 * random.standard_normal()) + random.normal(0.0, 6.0, still.image.shape)
        image = np.clip(seen, 0, 255).astype(np.uint8)
        frames.append(replace(still, image=image, stamp_ns=still.stamp_ns + index * 100_000_000))
    with graph() as ros:
        heard = send_drive(ros, frames, load_networks, weights=str(weights_file("compact")), device="cpu")
    poses = np.array([pose_of(heard["odom"][frame.stamp_ns]) for frame in frames])
    assert np.abs(poses - poses[0]).max() < 1e-9
    assert abs(heard["odom"][frames[-1].stamp_ns].twist.twist.linear.x) < 1e-9  # rounding of the lever arm


def pose_of(odometry: Odometry) -> list[float]:
    """Position and quaternion."""
    at, turned = odometry.pose.pose.position, odometry.pose.pose.orientation
    return [at.x, at.y, at.z, turned.x, turned.y, turned.z, turned.w]
