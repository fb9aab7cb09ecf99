"""Several cameras in one node, in a real ROS graph over DDS; the networks are stood in for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from diagnostic_msgs.msg import DiagnosticArray
from fake_model import FakeEstimator, fake_loaded_model
from lifecycle_msgs.srv import ChangeState
from nav_msgs.msg import Odometry
from rcl_interfaces.msg import Log
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from ros_graph import Graph, Probe, call, wait
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_srvs.srv import SetBool, Trigger
from tf2_msgs.msg import TFMessage

from featdepth_ros.messages.stamps import stamp_ns
from featdepth_ros.ros.inputs import ImageInput
from featdepth_ros.ros.node import DepthNode
from featdepth_ros.ros.running.spin import StartError

pytestmark = pytest.mark.ros

START = 1_700_000_000_000_000_000
STEP = 50_000_000
SIZES = {"front": (64, 48), "left": (80, 40)}


def start(ros: Graph, estimators: dict[str, FakeEstimator], **parameters: Any) -> DepthNode:
    """Add a node of these cameras that waits for nothing."""
    settings = {"cameras": list(estimators), "extrinsics_timeout_s": 0.0, "camera_info_timeout_s": 0.3, **parameters}
    settings = {"diagnostics_period_s": 0.1, **settings}
    loaded = fake_loaded_model(None, **estimators)
    node = DepthNode(
        load=lambda _: loaded,
        context=ros.context,
        parameter_overrides=[Parameter(name, value=value) for name, value in settings.items()],
    )
    return ros.add(node)


def probes(ros: Graph, *names: str) -> dict[str, Probe]:
    return {name: Probe(ros, name=f"{name}_probe", camera=name) for name in names}


def send_until(cameras: dict[str, Probe], condition: Callable[[], Any], what: str, start_ns: int = START) -> int:
    """Publish frames of all cameras, a millisecond apart, until a condition holds. Returns the next stamp."""
    stamp = start_ns

    def once() -> Any:
        nonlocal stamp
        for index, (name, probe) in enumerate(cameras.items()):
            probe.send(stamp + index * 1_000_000, *SIZES[name])
        stamp += STEP
        time.sleep(0.03)
        return condition()

    wait(once, what)
    return stamp


def told(messages: list[DiagnosticArray], camera: str) -> dict[str, str]:
    """Return the values of the newest status of a camera, with its level and text."""
    title = f"depth_node: {camera}"
    status = wait(lambda: [s for m in messages for s in m.status if s.name == title], "diagnostics")[-1]
    return {**{v.key: v.value for v in status.values}, "level": status.level.hex(), "message": status.message}


def both() -> dict[str, FakeEstimator]:
    return {"front": FakeEstimator(), "left": FakeEstimator()}


def test_every_camera_has_its_topics_its_calibration_and_its_size(ros: Graph) -> None:
    cameras, estimators = probes(ros, "front", "left"), both()
    hearing = cameras["front"]
    heard = {
        (name, kind): hearing.hear(message, f"/depth_node/{name}/{topic}")
        for name in cameras
        for kind, message, topic in (
            ("depth", Image, "depth/image_rect"),
            ("info", CameraInfo, "depth/camera_info"),
            ("sigma", Image, "depth/sigma"),
            ("points", PointCloud2, "points"),
            ("image", Image, "image_rect"),
            ("tracks", Image, "tracks"),
        )
    }
    start(ros, estimators)
    send_until(cameras, lambda: all(len(messages) >= 2 for messages in heard.values()), "all topics of both")
    for (name, _), messages in heard.items():
        assert {m.header.frame_id for m in messages} == {f"{name}_optical"}
        late = 0 if name == "front" else 1_000_000
        assert {stamp_ns(m.header.stamp) % STEP for m in messages} == {(START + late) % STEP}
    for name, estimator in estimators.items():
        assert estimator.cameras[-1].delivered_size == SIZES[name]
        width, height = SIZES[name]
        assert heard[name, "info"][-1].k[0] == pytest.approx(50.0 * 32 / width)
        assert heard[name, "info"][-1].k[4] == pytest.approx(50.0 * 24 / height)
    names = {name for name, _ in hearing.node.get_topic_names_and_types()}
    assert not {"/image_raw", "/depth_node/depth/image_rect", "/depth_node/points"} & names


@pytest.mark.parametrize("chosen", ["", "left"])
def test_motion_comes_from_the_odometry_camera_alone(ros: Graph, chosen: str) -> None:
    cameras = probes(ros, "front", "left")
    hearing = cameras["front"]
    odoms, tfs = hearing.hear(Odometry, "/odom"), hearing.hear(TFMessage, "/tf")
    depths = hearing.hear(Image, "/depth_node/left/depth/image_rect")
    node_cameras = both()
    loaded = fake_loaded_model(None, **node_cameras)
    loaded.rig.odometry_camera = chosen or "front"  # type: ignore[misc]
    settings = {"cameras": list(node_cameras), "odometry_camera": chosen, "extrinsics_timeout_s": 0.0}
    overrides = [Parameter(name, value=value) for name, value in settings.items()]
    ros.add(DepthNode(load=lambda _: loaded, context=ros.context, parameter_overrides=overrides))
    send_until(cameras, lambda: len(odoms) >= 4 and len(tfs) >= 4 and len(depths) >= 4, "motion and depth")
    frame = f"{chosen or 'front'}_optical"
    late = 1_000_000 if chosen == "left" else 0
    assert {m.child_frame_id for m in odoms} == {t.child_frame_id for m in tfs for t in m.transforms} == {frame}
    assert {stamp_ns(m.header.stamp) % STEP for m in odoms} == {(START + late) % STEP}


def test_a_batch_is_what_waits_when_the_worker_is_free(ros: Graph) -> None:
    gate = threading.Event()
    gate.set()
    cameras, estimators = probes(ros, "front", "left"), {"front": FakeEstimator(gate=gate), "left": FakeEstimator()}
    node = start(ros, estimators)
    stamp = send_until(cameras, lambda: min(e.steps for e in estimators.values()) >= 2, "frames of both")
    time.sleep(0.2)
    assert node._loaded is not None
    batches: list[list[str]] = node._loaded.rig.batches  # type: ignore[attr-defined]
    gate.clear()
    cameras["front"].send(stamp, *SIZES["front"])
    count = len(batches)
    wait(lambda: len(batches) > count or gate.wait(0.0), "the first batch to be in work")
    for _ in range(4):
        stamp += STEP
        for name, probe in cameras.items():
            probe.send(stamp, *SIZES[name])
        time.sleep(0.05)
    gate.set()
    wait(lambda: len(batches) >= count + 2, "the second batch")
    time.sleep(0.2)
    assert batches[count] == ["front"] and sorted(batches[count + 1]) == ["front", "left"]
    assert len(batches) == count + 2, "the newest of each camera, and nothing in between"


def test_a_silent_camera_holds_up_nobody_and_is_named(ros: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageInput, "GRAPH_CHECK_S", 0.05)
    cameras, estimators = probes(ros, "front", "left"), both()
    reports = cameras["front"].hear(DiagnosticArray, "/diagnostics")
    start(ros, estimators, watchdog_s=0.5)
    stamp = send_until(cameras, lambda: estimators["left"].steps >= 2, "frames of both")
    steps = estimators["front"].steps
    only = {"front": cameras["front"]}
    send_until(only, lambda: told(reports, "left")["level"] == "02", "an error about the silent camera", stamp)
    assert "/left/image_raw has a publisher but nothing arrives" in told(reports, "left")["message"]
    assert told(reports, "front")["level"] == "00" and estimators["front"].steps > steps
    cameras["left"].node.destroy_publisher(cameras["left"].images)
    told_so = lambda: "nobody publishes /left/image_raw" in told(reports, "left")["message"]  # noqa: E731
    send_until(only, told_so, "the cause", stamp + 10**12)


def test_rubbish_of_one_camera_is_counted_there_alone(ros: Graph) -> None:
    cameras, estimators = probes(ros, "front", "left"), both()
    reports = cameras["front"].hear(DiagnosticArray, "/diagnostics")
    start(ros, estimators)
    stamp = send_until(cameras, lambda: estimators["left"].steps >= 2, "frames of both")

    def rejected() -> bool:
        nonlocal stamp
        msg = cameras["left"].image(stamp := stamp + STEP, *SIZES["left"])
        msg.encoding = "rbg8"
        cameras["left"].images.publish(msg)
        cameras["front"].send(stamp, *SIZES["front"])
        time.sleep(0.03)
        return int(told(reports, "left")["rejected"]) >= 2

    wait(rejected, "counted rejections")
    assert told(reports, "left")["level"] == "02" and "rbg8" in told(reports, "left")["message"]
    assert told(reports, "front")["level"] == "00" and told(reports, "front")["rejected"] == "0"


def test_stamps_that_go_back_concern_one_camera_and_a_reset_the_odometry(ros: Graph) -> None:
    cameras, estimators = probes(ros, "front", "left"), both()
    odoms = cameras["front"].hear(Odometry, "/odom")
    start(ros, estimators)
    stamp = send_until(cameras, lambda: len(odoms) >= 3 and estimators["left"].steps >= 3, "frames of both")
    time.sleep(0.2)
    resets = {name: estimator.resets for name, estimator in estimators.items()}
    steps = estimators["left"].steps
    send_until({"left": cameras["left"]}, lambda: estimators["left"].steps > steps, "the jump back")
    assert estimators["left"].resets == resets["left"] + 1 and estimators["front"].resets == resets["front"]
    assert call(cameras["front"], Trigger, "/depth_node/reset_odometry", Trigger.Request()).success
    seen = len(odoms)
    send_until(cameras, lambda: len(odoms) > seen, "odometry after the reset", stamp + 10**12)
    assert odoms[seen].pose.pose.position.x == 0.0


def test_enable_and_lifecycle_and_live_parameters_hold_for_every_camera(ros: Graph) -> None:
    cameras, estimators = probes(ros, "front", "left"), both()
    front = cameras["front"]
    depths = {name: front.hear(Image, f"/depth_node/{name}/depth/image_rect") for name in cameras}
    node = start(ros, estimators)
    stamp = send_until(cameras, lambda: all(depths.values()), "depth of both")

    def listeners() -> set[int]:
        return {front.node.count_subscribers(f"/{name}/image_raw") for name in cameras}

    assert listeners() == {1}
    assert call(front, SetBool, "/depth_node/enable", SetBool.Request(data=False)).success
    wait(lambda: listeners() == {0}, "nobody to listen")
    assert call(front, SetBool, "/depth_node/enable", SetBool.Request(data=True)).success
    wait(lambda: listeners() == {1}, "both to be listened to")
    for name, value in (("depth_encoding", "16UC1"), ("reliability", "best_effort")):
        request = SetParameters.Request(parameters=[Parameter(name, value=value).to_parameter_msg()])
        assert call(front, SetParameters, "/depth_node/set_parameters", request).results[0].successful
    millimetres = lambda: all(m[-1].encoding == "16UC1" for m in depths.values())  # noqa: E731
    stamp = send_until(cameras, millimetres, "millimetres of both", stamp)
    request = ChangeState.Request()
    for transition in (4, 2):  # deactivate, clean up
        request.transition.id = transition
        assert call(front, ChangeState, "/depth_node/change_state", request).success
    assert listeners() == {0} and front.node.count_publishers("/depth_node/left/depth/image_rect") == 0
    # Configured anew, with another camera: its topics take the place of the old ones.
    one = fake_loaded_model(None, right=FakeEstimator())
    node._load = lambda _: one
    change = Parameter("cameras", value=["right"]).to_parameter_msg()
    reply = call(front, SetParameters, "/depth_node/set_parameters", SetParameters.Request(parameters=[change]))
    assert reply.results[0].successful
    for transition in (1, 3):  # configure, activate
        request.transition.id = transition
        assert call(front, ChangeState, "/depth_node/change_state", request).success
    assert front.node.count_subscribers("/right/image_raw") == 1 and listeners() == {0}


@pytest.mark.parametrize(
    ("parameters", "cause"),
    [
        ({"cameras": ["front", "front"]}, "more than once"),
        ({"cameras": ["front", "2nd"]}, "letters, digits and underscores"),
        ({"odometry_camera": "rear"}, "'odometry_camera' names 'rear'"),
        ({"window_cameras": ["lef"]}, "did you mean 'left'"),
        ({"cameras": [""], "odometry_camera": "front"}, "cameras is empty"),
        ({"camera_frame": "front_optical"}, "set front.camera_frame"),
        ({"left.rectified_input": "perhaps"}, "expected one of auto, yes, no"),
    ],
)
def test_names_that_cannot_be_are_refused_in_words(ros: Graph, parameters: dict[str, Any], cause: str) -> None:
    node = start(ros, both(), autostart=False, **parameters)
    with pytest.raises(StartError, match=cause):
        node._configure()


def test_a_camera_may_have_parameters_of_its_own(ros: Graph, tmp_path: Any) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(
        "/**:\n  ros__parameters:\n    cameras: [front, left]\n    camera_height_m: 1.4\n    left:\n"
        "      camera_frame: mast_optical\n      camera_height_m: 2.1\n      camera_hieght_m: 2.0\n",
        encoding="utf-8",
    )
    given: list[Any] = []
    cameras, loaded = probes(ros, "front", "left"), fake_loaded_model(None, **both())
    depths = {name: cameras["front"].hear(Image, f"/depth_node/{name}/depth/image_rect") for name in cameras}
    logs = cameras["front"].hear(Log, "/rosout")
    words = ["--ros-args", "--params-file", str(file)]
    node = DepthNode(load=lambda settings: (given.append(settings), loaded)[1], context=ros.context, cli_args=words)
    ros.add(node)
    send_until(cameras, lambda: all(depths.values()), "depth of both")
    assert {name: own.camera_height_m for name, own in given[0].items()} == {"front": 1.4, "left": 2.1}
    assert {name: messages[-1].header.frame_id for name, messages in depths.items()} == {
        "front": "front_optical",
        "left": "mast_optical",
    }
    refused = node._on_set_parameters([Parameter("left.camera_frame", value="other")])
    assert not refused.successful and "'left.camera_frame' is read by configure" in refused.reason
    wait(lambda: any("'left.camera_hieght_m' is unknown" in log.msg for log in logs), "the misspelt name")


def test_an_empty_list_in_a_file_is_one_camera(ros: Graph, tmp_path: Any) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("/**:\n  ros__parameters:\n    cameras: []\n    window_cameras: []\n", encoding="utf-8")
    estimator = FakeEstimator()
    loaded = fake_loaded_model(estimator)
    words = ["--ros-args", "--params-file", str(file), "-r", "image_raw:=/front/image_raw"]
    node = ros.add(DepthNode(load=lambda _: loaded, context=ros.context, cli_args=words))
    send_until(probes(ros, "front"), lambda: estimator.steps >= 1, "a frame of the only camera")
    assert (node._settings.camera_names, node._settings.own_windows) == (("",), ())
