"""A rendered world with known depth, motion and calibration: the camera of whoever has none. Needs numba."""

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

__all__ = [
    "SCENES",
    "CameraEffects",
    "Renderer",
    "Scene",
    "Simulation",
    "SimulationConfig",
    "default_camera",
    "make_scene",
    "random_effects",
    "random_scene_config",
    "simulate",
]
