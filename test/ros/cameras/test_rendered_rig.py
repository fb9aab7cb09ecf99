"""Two rendered cameras of different sizes through the node and over DDS: mounting, one motion, one scale."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from nav_msgs.msg import Odometry
from rclpy.parameter import Parameter
from rclpy.qos import ReliabilityPolicy
from rendered_rig import RenderedRig, front, side
from ros_graph import Graph, Probe, graph, wait
from sensor_msgs.msg import CameraInfo, Image
from tf2_msgs.msg import TFMessage

from featdepth_ros.messages.stamps import stamp_ns
from featdepth_ros.models.compact import CompactModel
from featdepth_ros.recordings.frame import Frame
from featdepth_ros.ros.calibration import info_from_camera
from featdepth_ros.ros.compat import keep_last
from featdepth_ros.ros.images import image_message
from featdepth_ros.ros.node import DepthNode
from featdepth_ros.ros.transforms import transform_message

pytest.importorskip("numba")
pytestmark = pytest.mark.ros

RIG = RenderedRig({"front": front(448, 128), "right": side(320, 192)}, frames=8)
#: The front camera looks along the base's x axis, 1.2 m before and 1.5 m above it.
T_BASE_FRONT = np.array([[0, 0, 1, 1.2], [-1, 0, 0, 0], [0, -1, 0, 1.5], [0, 0, 0, 1.0]])


@pytest.fixture(scope="module")
def frames() -> list[tuple[str, Frame]]:
    return list(RIG)


def play(ros: Graph, frames: list[tuple[str, Frame]], mounted: bool, **parameters: Any) -> dict[str, list[Any]]:
    """Play the frames one by one, each after the depth of the one before. Returns what the node published."""
    cameras = {name: Probe(ros, reliable=True, name=f"{name}_probe", camera=name) for name in RIG.names}
    hearing = cameras["front"]
    heard = {
        "odom": hearing.hear(Odometry, "/odom"),
        "diagnostics": hearing.hear(DiagnosticArray, "/diagnostics"),
        **{name: hearing.hear(Image, f"/depth_node/{name}/depth/image_rect") for name in cameras},
        "info": hearing.hear(CameraInfo, "/depth_node/right/depth/camera_info"),
    }
    static = hearing.node.create_publisher(
        TFMessage, "/tf_static", keep_last(1, ReliabilityPolicy.RELIABLE, transient_local=True)
    )
    transforms = [transform_message(T_BASE_FRONT, 0, "base_link", "front_optical")]
    if mounted:
        T = T_BASE_FRONT @ RIG.cameras["right"].T_first_camera
        transforms.append(transform_message(T, 0, "base_link", "right_optical"))
    static.publish(TFMessage(transforms=transforms))
    settings = {"cameras": list(RIG.names), "device": "cpu", "diagnostics_period_s": 0.1, **parameters}
    overrides = [Parameter(name, value=value) for name, value in settings.items()]
    node = ros.add(DepthNode(context=ros.context, parameter_overrides=overrides))
    for probe in cameras.values():
        wait(lambda p=probe: p.images.get_subscription_count() and p.infos.get_subscription_count(), "the node", 90.0)
    wait(lambda: node._listener.tree.extrinsics("front_optical", "base_link", "odom"), "extrinsics")
    topics = ("/odom", *(f"/depth_node/{name}/depth/image_rect" for name in cameras))
    wait(lambda: all(node.count_subscribers(topic) for topic in topics), "the listeners")
    for name, frame in frames:
        cameras[name].infos.publish(info_from_camera(frame.camera, frame.stamp_ns, f"{name}_optical"))
        time.sleep(0.02)
        cameras[name].images.publish(image_message(frame.image, "rgb8", frame.stamp_ns, f"{name}_optical"))
        count = len(heard[name])
        wait(lambda name=name, count=count: len(heard[name]) > count, f"depth of {frame.name}", 30.0)
    wait(lambda: len(heard["odom"]) >= RIG.frames, "odometry of the front camera")
    time.sleep(0.3)
    assert ros.failure is None
    return heard


def last_status(heard: dict[str, list[Any]], camera: str) -> Any:
    return [s for m in heard["diagnostics"] for s in m.status if s.name == f"depth_node: {camera}"][-1]


def told(heard: dict[str, list[Any]], camera: str) -> dict[str, str]:
    return {v.key: v.value for v in last_status(heard, camera).values}


def relative_errors(messages: list[Any], frames: list[tuple[str, Frame]], camera: str) -> list[float]:
    """Return the median relative error of the depth of every frame of a camera, common scale taken out."""
    errors = []
    for msg, frame in zip(messages, [f for name, f in frames if name == camera], strict=True):
        assert stamp_ns(msg.header.stamp) == frame.stamp_ns
        depth = np.frombuffer(msg.data, "<f4").reshape(msg.height, msg.width)
        rows = ((np.arange(msg.height) + 0.5) * frame.depth.shape[0] / msg.height).astype(int)
        columns = ((np.arange(msg.width) + 0.5) * frame.depth.shape[1] / msg.width).astype(int)
        true = frame.depth[np.ix_(rows, columns)]
        known = np.isfinite(true) & np.isfinite(depth)
        ratio = depth[known] / true[known]
        errors.append(float(np.median(np.abs(ratio / np.median(ratio) - 1))))
    return errors


def test_a_mounted_camera_has_fused_depth_by_the_odometry_cameras_motion(
    frames: list[tuple[str, Frame]], monkeypatch: pytest.MonkeyPatch
) -> None:
    batches: list[int] = []
    real = CompactModel.encode
    monkeypatch.setattr(CompactModel, "encode", lambda net, x: (batches.append(len(x)), real(net, x))[1])
    with graph() as ros:
        heard = play(ros, frames, mounted=True)
    with graph() as ros:
        alone = play(ros, frames, mounted=False, extrinsics_timeout_s=0.0)
    assert set(batches) == {1}, "each image came when the worker was free"
    assert {stamp_ns(m.header.stamp) for m in heard["odom"]} == {f.stamp_ns for name, f in frames if name == "front"}
    assert {m.child_frame_id for m in heard["odom"]} == {"base_link"}
    x = [m.pose.pose.position.x for m in heard["odom"]]
    assert (np.diff(x[1:]) > 0).all(), "forward is +x (REP-103)"

    right, front_told = told(heard, "right"), told(heard, "front")
    assert (right["depth"], right["motion_state"], right["mounting"]) == (
        "fused",
        "tracked",
        "known from front_optical",
    )
    assert front_told["base"] == "base_link" and right["base"] == "" and int(right["tracks"]) > 50
    assert heard["info"][-1].width == heard["right"][-1].width != heard["front"][-1].width
    unmounted = told(alone, "right")
    assert (unmounted["depth"], unmounted["motion_state"]) == ("network", "unavailable")
    assert unmounted["mounting"] == "no transform front_optical <- right_optical on /tf_static"
    warning = last_status(alone, "right")
    assert warning.level == DiagnosticStatus.WARN
    assert unmounted["mounting"] in warning.message and "static_transform_publisher" in warning.message
    assert last_status(alone, "front").level == DiagnosticStatus.OK, last_status(alone, "front").message
    assert "/tf_static" not in last_status(heard, "right").message
    # The front camera's depth is the same; the right one's is better for the motion that came through its mounting.
    fused, network = (relative_errors(messages["right"], frames, "right")[4:] for messages in (heard, alone))
    assert np.median(fused) < 0.9 * np.median(network)


def test_a_window_camera_measures_for_itself(frames: list[tuple[str, Frame]]) -> None:
    with graph() as ros:
        heard = play(ros, frames, mounted=False, window_cameras=["right"], odometry_camera="front")
    right = told(heard, "right")
    assert (right["depth"], right["motion_state"]) == ("fused", "tracked") and int(right["tracks"]) > 50
    assert "mounting" not in right and len(heard["odom"]) == RIG.frames
