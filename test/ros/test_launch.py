from __future__ import annotations

import ast
import importlib.util
import shutil
import subprocess
import sys
import tempfile
import types
from pathlib import Path
from typing import Any

import pytest
import yaml

from featdepth_ros.resources import config_file, share_dir
from featdepth_ros.ros.middleware import profile_environment
from featdepth_ros.ros.parameters.definitions import SCHEMA

#: What design and README promise.
PROMISED = {
    "image",
    "camera_info",
    "weights",
    "params_file",
    "device",
    "namespace",
    "use_sim_time",
    "rviz",
    "publish_tf",
    "odom_frame",
    "respawn",
    "scale",
    "speed_topic",
    "camera_height_m",
    "refine",
    "refine_budget",
    "refine_folder",
}


def arguments() -> list[tuple[str, str, str]]:
    """Return ARGUMENTS of the launch file without importing launch."""
    for statement in ast.parse((share_dir() / "launch" / "depth.launch.py").read_text(encoding="utf-8")).body:
        if isinstance(statement, ast.Assign) and getattr(statement.targets[0], "id", "") == "ARGUMENTS":
            return list(ast.literal_eval(statement.value))
    raise AssertionError("no ARGUMENTS")


def test_arguments_are_unique_explained_and_complete() -> None:
    names = [name for name, _, _ in arguments()]
    assert len(names) == len(set(names))
    assert set(names) >= PROMISED
    assert all(text.endswith(".") for _, _, text in arguments())


def test_arguments_that_set_parameters_name_real_ones() -> None:
    strings = {"weights", "device", "base_frame", "odom_frame", "image_transport", "scale", "speed_topic"}
    parameters = strings | {"publish_tf", "autostart", "camera_height_m", "max_rate_hz"}
    assert parameters <= set(SCHEMA)
    assert all(default == "" for name, default, _ in arguments() if name in parameters), "params_file decides"


def load() -> types.ModuleType:
    pytest.importorskip("launch.actions")
    pytest.importorskip("launch_ros.actions")
    spec = importlib.util.spec_from_file_location("depth_launch", share_dir() / "launch" / "depth.launch.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["depth_launch"] = module
    spec.loader.exec_module(module)
    return module


def description(**given: str) -> tuple[Any, Any, dict[str, str]]:
    """Return the actions before the node's, the node's, and the environment they would get."""
    module = load()
    from launch import LaunchContext

    context = LaunchContext()
    for name, default, _ in module.ARGUMENTS:
        context.launch_configurations[name] = given.get(name, default)
    environment = {}
    for action in module._environment(context):
        environment["".join(s.text for s in action.name)] = "".join(s.text for s in action.value)
    *others, node = module._nodes(context)
    return others, node, environment


def test_description_visits() -> None:
    module = load()
    entities = module.generate_launch_description().entities
    assert len(entities) == len(module.ARGUMENTS) + 2


def test_node_and_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE"):
        monkeypatch.delenv(name, raising=False)
    _, node, environment = description(image="/camera/image_raw", publish_tf="false")
    assert node.node_package == "featdepth_ros" and node.node_executable == "depth_node"
    assert list(environment.values()) == [str(config_file("dds/fastdds_shm.xml"))]
    monkeypatch.setenv("FASTDDS_DEFAULT_PROFILES_FILE", "/mine.xml")
    assert description()[2] == {}


@pytest.mark.parametrize(
    ("distribution", "variable"),
    [
        ("jazzy", "FASTDDS_DEFAULT_PROFILES_FILE"),
        ("lyrical", "FASTDDS_DEFAULT_PROFILES_FILE"),
        ("humble", "FASTRTPS_DEFAULT_PROFILES_FILE"),
        ("iron", "FASTRTPS_DEFAULT_PROFILES_FILE"),
    ],
)
def test_the_profile_variable_fits_the_distribution(distribution: str, variable: str) -> None:
    profile = str(config_file("dds/fastdds_shm.xml"))
    assert profile_environment({"ROS_DISTRO": distribution}) == {variable: profile}
    for own in ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE"):
        assert profile_environment({"ROS_DISTRO": distribution, own: "/mine.xml"}) == {}


def test_the_launch_file_loads_no_rclpy_for_the_profile() -> None:
    code = "import sys, featdepth_ros.ros.middleware; sys.exit('rclpy' in sys.modules or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


def test_rviz_is_started_when_asked() -> None:
    assert description()[0] == []
    (rviz,) = description(rviz="true", namespace="robot")[0]
    assert rviz.node_package == "rviz2"
    with pytest.raises(ValueError, match=r"max_rate_hz.*expected a number"):
        description(max_rate_hz="fast")


def test_refine_node_is_started_beside_it_when_asked() -> None:
    assert description()[0] == []
    (refine,) = description(refine="true", namespace="robot", refine_budget="0.25")[0]
    assert refine.node_package == "featdepth_ros" and refine.node_executable == "refine_node"
    with pytest.raises(ValueError, match=r"refine_budget.*expected a number"):
        description(refine="true", refine_budget="half")


def launch_functions(*names: str) -> dict[str, Any]:
    """Return functions of the launch file that need nothing of launch."""
    tree = ast.parse((share_dir() / "launch" / "depth.launch.py").read_text(encoding="utf-8"))
    wanted = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name in names]
    space: dict[str, Any] = {"config_file": config_file, "tempfile": tempfile, "Path": Path}
    exec(compile(ast.Module(wanted, []), "depth.launch.py", "exec"), space)
    return space


def test_rvizs_view_follows_the_frames_of_the_arguments() -> None:
    view = launch_functions("_view")["_view"]
    assert view("", "") == ["-d", str(config_file("depth.rviz"))]
    copy = Path(view("robot/odom", "robot/base")[1])
    manager = yaml.safe_load(copy.read_text(encoding="utf-8"))["Visualization Manager"]
    assert manager["Global Options"]["Fixed Frame"] == "robot/odom"
    assert manager["Views"]["Current"]["Target Frame"] == "robot/base"
    shipped = yaml.safe_load(config_file("depth.rviz").read_text(encoding="utf-8"))["Visualization Manager"]
    assert manager["Displays"] == shipped["Displays"]
    shutil.rmtree(copy.parent)


def test_a_switch_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match=r"publish_tf.*expected true or false"):
        description(publish_tf="perhaps")


def test_rviz_configuration_shows_the_nodes_topics_in_odom() -> None:
    config = yaml.safe_load(config_file("depth.rviz").read_text(encoding="utf-8"))
    manager = config["Visualization Manager"]
    assert manager["Global Options"]["Fixed Frame"] == "odom"
    topics = {d["Class"].split("/")[1]: d["Topic"]["Value"] for d in manager["Displays"] if "Topic" in d}
    assert topics["PointCloud2"] == "/depth_node/points" and topics["Odometry"] == "/odom"
    images = {d["Topic"]["Value"]: d for d in manager["Displays"] if d["Class"].endswith("/Image")}
    assert images["/depth_node/depth/image_rect"]["Normalize Range"] is True
    assert topics["Path"] == "/depth_node/path" and manager["Views"]["Current"]["Target Frame"] == "base_link"
    assert any(d["Class"].endswith("/TF") for d in manager["Displays"])


def test_dds_profile_is_well_formed() -> None:
    from xml.etree import ElementTree

    root = ElementTree.parse(Path(config_file("dds/fastdds_shm.xml"))).getroot()
    space = "{http://www.eprosima.com}"
    sizes = [int(e.text or 0) for e in root.iter() if e.tag in (f"{space}segment_size", f"{space}maxMessageSize")]
    assert sizes == [64 * 2**20] * 2
