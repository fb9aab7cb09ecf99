"""The launch example of several cameras. `launch` itself is stood in for where it is not installed."""

from __future__ import annotations

import importlib.util
import sys
import types
from typing import Any

import numpy as np
import pytest
import yaml

from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.resources import config_file, share_dir
from featdepth_ros.ros.parameters.definitions import SCHEMA
from featdepth_ros.ros.parameters.per_camera import per_camera_option


class Recorded:
    """Stands for any class of launch: keeps what it was given."""

    def __init__(self, *values: Any, **named: Any) -> None:
        self.values, self.named = values, named

    def perform(self, context: dict[str, str]) -> str:
        """Return the value of a launch argument."""
        return context[self.values[0]]


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    for name in ("launch", "launch.actions", "launch.substitutions", "launch_ros", "launch_ros.actions"):
        module = types.ModuleType(name)
        module.__getattr__ = lambda _: Recorded  # type: ignore[method-assign]
        monkeypatch.setitem(sys.modules, name, module)
    spec = importlib.util.spec_from_file_location("four_cameras", share_dir() / "launch" / "four_cameras.launch.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def nodes(example: types.ModuleType, **given: str) -> list[dict[str, Any]]:
    defaults = {name: default for name, default, _ in example.ARGUMENTS}
    return [node.named for node in example._nodes({**defaults, **given})]


def test_names_are_those_of_the_parameter_file_and_all_parameters_exist(example: types.ModuleType) -> None:
    given = yaml.safe_load(config_file("four_cameras.yaml").read_text(encoding="utf-8"))["/**"]["ros__parameters"]
    names = [camera[0] for camera in example.CAMERAS]
    assert given["cameras"] == names and len(names) == 4 and given["odometry_camera"] in names
    for key, value in given.items():
        if isinstance(value, dict):
            assert all(per_camera_option(f"{key}.{name}", names) for name in value)
        else:
            assert type(value) is type(SCHEMA[key].default)


def test_one_node_and_a_mounting_for_every_camera(example: types.ModuleType) -> None:
    depth, *mountings = nodes(example, device="cpu")
    assert (depth["package"], depth["executable"], depth["remappings"]) == ("featdepth_ros", "depth_node", [])
    assert depth["parameters"][1] == {"device": "cpu", "use_sim_time": False}
    assert [m["arguments"][-1] for m in mountings] == [camera[2] for camera in example.CAMERAS]
    assert len(nodes(example, mountings="false")) == 1
    assert nodes(example, rviz="true")[-1]["executable"] == "rviz2"
    with pytest.raises(ValueError, match="expected true or false"):
        nodes(example, rviz="perhaps")


@pytest.mark.parametrize(("text", "on"), [("1", True), ("Yes", True), ("on", True), ("0", False), ("off", False)])
def test_a_switch_has_the_same_spellings_as_in_depth_launch(example: types.ModuleType, text: str, on: bool) -> None:
    assert nodes(example, use_sim_time=text)[0]["parameters"][1]["use_sim_time"] is on
    assert len(nodes(example, mountings=text)) == (1 + len(example.CAMERAS) if on else 1)


@pytest.mark.parametrize(("name", "ahead"), [("front", (1, 0, 0)), ("left", (0, 1, 0)), ("rear", (-1, 0, 0))])
def test_the_optical_axis_of_a_mounting_points_where_its_yaw_says(
    example: types.ModuleType, name: str, ahead: tuple[int, int, int]
) -> None:
    (camera,) = [camera for camera in example.CAMERAS if camera[0] == name]
    words = example.mounting_arguments(camera)
    value = {word[2:]: words[i + 1] for i, word in enumerate(words) if word.startswith("--")}
    roll, pitch, yaw = (float(value[a]) * np.eye(3)[i] for i, a in enumerate(("roll", "pitch", "yaw")))
    turn = se3.rotation_from_vector(yaw) @ se3.rotation_from_vector(pitch) @ se3.rotation_from_vector(roll)
    np.testing.assert_allclose(turn[:, 2], ahead, atol=1e-6)
    np.testing.assert_allclose(turn[:, 1], (0, 0, -1), atol=1e-6)
    if name == "front":
        np.testing.assert_allclose(turn, se3.T_BODY_OPTICAL[:3, :3], atol=1e-6)


def test_rviz_shows_every_camera_of_the_example(example: types.ModuleType) -> None:
    shown = yaml.safe_load(config_file("four_cameras.rviz").read_text(encoding="utf-8"))
    topics = {d["Topic"]["Value"] for d in shown["Visualization Manager"]["Displays"] if "Topic" in d}
    for name, *_ in example.CAMERAS:
        assert {f"/depth_node/{name}/points", f"/depth_node/{name}/depth/image_rect"} <= topics
    assert "/odom" in topics
