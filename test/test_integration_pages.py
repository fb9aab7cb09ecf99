"""Configurations and pages for other packages: their parameters' names, and topics that the node has."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from featdepth_ros.resources import config_file

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted((ROOT / "docs" / "integration").glob("*.md"))

#: As declared in nav2_costmap_2d: costmap_2d_ros.cpp, obstacle_layer.cpp, voxel_layer.cpp, inflation_layer.cpp.
COSTMAP = set(
    "global_frame robot_base_frame update_frequency publish_frequency rolling_window width height resolution "
    "transform_tolerance plugins".split()
)
VOXEL_LAYER = set(
    "plugin enabled footprint_clearing_enabled min_obstacle_height max_obstacle_height z_voxels origin_z z_resolution "
    "unknown_threshold mark_threshold combination_method publish_voxel_map observation_sources".split()
)
SOURCE = set(
    "topic sensor_frame observation_persistence expected_update_rate data_type min_obstacle_height max_obstacle_height "
    "inf_is_valid marking clearing obstacle_max_range obstacle_min_range raytrace_max_range raytrace_min_range".split()
)
INFLATION_LAYER = {"plugin", "enabled", "cost_scaling_factor", "inflation_radius"}


def costmap() -> dict[str, Any]:
    content = yaml.safe_load(config_file("nav2_costmap.yaml").read_text(encoding="utf-8"))
    return dict(content["local_costmap"]["local_costmap"]["ros__parameters"])


def test_nav2s_parameters_have_its_names_and_types() -> None:
    parameters = costmap()
    layers = {name: parameters.pop(name) for name in parameters["plugins"]}
    assert set(parameters) <= COSTMAP
    assert set(layers["inflation_layer"]) <= INFLATION_LAYER
    voxels = dict(layers["voxel_layer"])
    sources = {name: voxels.pop(name) for name in voxels["observation_sources"].split()}
    assert set(voxels) <= VOXEL_LAYER
    for source in sources.values():
        assert set(source) <= SOURCE and source["data_type"] == "PointCloud2"
        # nav2 refuses a whole number where it declares a double
        assert all(isinstance(v, float) for k, v in source.items() if k.endswith(("range", "height", "rate")))
    assert sources["marks"]["marking"] and sources["clears"]["clearing"]


#: Names that the pages give to other packages, as their sources declare them: rtabmap_slam (CommonDataSubscriber.cpp,
#: CoreWrapper.cpp, Parameters.h), foxglove_bridge (param_utils.hpp), depth_image_proc (point_cloud_xyzrgb.cpp).
RTABMAP = {"frame_id", "subscribe_depth", "subscribe_odom_info", "approx_sync"}
RTABMAP_TOPICS = {"rgb/image", "rgb/camera_info", "depth/image", "odom"}
RTABMAP_LIMITS = {"Kp/MaxDepth", "Grid/RangeMax"}
FOXGLOVE = {"port", "topic_whitelist"}
DEPTH_IMAGE_PROC = {"exact_sync", "queue_size"}
DEPTH_IMAGE_PROC_TOPICS = {"rgb/image_rect_color", "rgb/camera_info", "depth_registered/image_rect", "points"}


def page(name: str) -> str:
    return (ROOT / "docs" / "integration" / f"{name}.md").read_text(encoding="utf-8")


def test_pages_give_other_packages_the_names_that_they_have() -> None:
    assert set(re.findall(r"-p ([\w/]+):=", page("rtabmap"))) == RTABMAP
    assert set(re.findall(r"-r ([\w/]+):=", page("rtabmap"))) == RTABMAP_TOPICS
    assert set(re.findall(r"`((?:Kp|Grid|Rtabmap)/\w+)`", page("rtabmap"))) == RTABMAP_LIMITS
    command = page("foxglove").split("```")[1]
    assert set(re.findall(r"(\w+):=", command)) == FOXGLOVE
    composable = page("depth_image_proc").split("```python")[1].split("```")[0]
    assert set(re.findall(r'"(\w+)": ', composable)) == DEPTH_IMAGE_PROC
    assert set(re.findall(r'\("([\w/]+)", "/', composable)) == DEPTH_IMAGE_PROC_TOPICS


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_every_page_says_what_was_not_run(path: Path) -> None:
    assert re.search(r"\b(was not run|None of the images was built)\b", path.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "path", [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))], ids=lambda path: path.stem
)
def test_launch_arguments_of_pages_are_those_of_the_launch_file(path: Path) -> None:
    launch = (ROOT / "launch" / "depth.launch.py").read_text(encoding="utf-8")
    text = path.read_text(encoding="utf-8").replace("\\\n", " ")
    for command in re.findall(r"depth\.launch\.py ([^\n`]*)", text):
        for name in re.findall(r"(\w+):=", command):
            assert f'("{name}",' in launch.replace("(\n        ", "("), f"{path.name}: {name}"


def mentioned(text: str) -> set[str]:
    """Return the topics of depth_node in a text, without patterns."""
    return {name for name in re.findall(r"/depth_node/[A-Za-z_/]+", text) if not name.endswith("/")}


def topics(node: Any) -> set[str]:
    """Return what a node publishes and subscribes to; the graph may still know an older node of the same name."""
    return {end.topic_name for end in (*node.publishers, *node.subscriptions)}


@pytest.mark.ros
def test_pages_and_configurations_name_topics_that_the_node_has() -> None:
    import rclpy
    from fake_model import FakeEstimator, fake_loaded_model
    from rclpy.parameter import Parameter

    from featdepth_ros.ros.node import DepthNode

    context = rclpy.Context()
    rclpy.init(context=context)
    node = DepthNode(
        load=lambda _: fake_loaded_model(FakeEstimator()),
        context=context,
        parameter_overrides=[Parameter("autostart", value=False)],
    )
    try:
        node.trigger_configure()
        named = set().union(*(mentioned(page.read_text(encoding="utf-8")) for page in PAGES))
        named |= mentioned(config_file("nav2_costmap.yaml").read_text(encoding="utf-8"))
        named |= mentioned(config_file("depth.rviz").read_text(encoding="utf-8"))
        known = topics(node)
        assert len(named) > 8 and named <= known, named - known
    finally:
        node.release()
        node.destroy_node()
        rclpy.shutdown(context=context)
