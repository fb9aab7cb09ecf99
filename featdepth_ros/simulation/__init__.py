"""A rendered world with known depth, motion and calibration, for use without a camera. It needs numba and scipy."""

from featdepth_ros.simulation.camera_path import Motion, TurnStyle, stop_and_go
from featdepth_ros.simulation.faults import Faults
from featdepth_ros.simulation.render.camera_effects import CameraEffects, random_effects
from featdepth_ros.simulation.render.renderer import Renderer
from featdepth_ros.simulation.render.scene import Scene
from featdepth_ros.simulation.simulate import (
    SCENES,
    Simulation,
    SimulationConfig,
    default_camera,
    make_scene,
    random_scene_config,
    simulate,
)
from featdepth_ros.simulation.traffic.style import TRAFFIC, TrafficStyle, traffic_style

__all__ = [
    "SCENES",
    "TRAFFIC",
    "CameraEffects",
    "Faults",
    "Motion",
    "Renderer",
    "Scene",
    "Simulation",
    "SimulationConfig",
    "TrafficStyle",
    "TurnStyle",
    "default_camera",
    "make_scene",
    "random_effects",
    "random_scene_config",
    "simulate",
    "stop_and_go",
    "traffic_style",
]
