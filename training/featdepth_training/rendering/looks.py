"""Variation of the appearance of a clip: harsh light, shuffled textures, weather, and camera effects."""

from __future__ import annotations

import dataclasses

import numpy as np

from featdepth_ros.simulation.render.camera_effects import CameraEffects, random_effects
from featdepth_ros.simulation.render.scene import Scene
from featdepth_ros.simulation.render.shapes import ABOVE, SHADOW, SUN_COLOUR
from featdepth_training.config.data_schema import RenderedConfig

#: Share of scenes with shuffled textures, in which depth must be inferred from shape, not from appearance.
SHUFFLED = 0.2
#: Harsh light: ranges of the factors on the sun, and on ambient light from sky and ground.
HARSH_SUN, HARSH_AMBIENT = (1.3, 3.5), (0.15, 0.7)
#: Shares among the clips in bad weather: clips at night, and clips at night that also have rain. The others have rain.
NIGHTS, BOTH = 0.55, 0.1


def relit(scene: Scene, rng: np.random.Generator, harsh_light: float) -> Scene:
    """Shuffle the textures of some scenes, and give a share of ``harsh_light`` a sun that overexposes the image."""
    if rng.random() < SHUFFLED:
        data = scene.data
        shuffled = data._replace(atlas=np.ascontiguousarray(data.atlas[rng.permutation(len(data.atlas))]))
        scene = dataclasses.replace(scene, data=shuffled)
    if rng.random() < harsh_light:
        numbers = scene.data.numbers.copy()
        numbers[SUN_COLOUR:ABOVE] *= rng.uniform(*HARSH_SUN)
        numbers[ABOVE:SHADOW] *= rng.uniform(*HARSH_AMBIENT)
        scene = dataclasses.replace(scene, data=scene.data._replace(numbers=numbers))
    return scene


def draw_look(rng: np.random.Generator, config: RenderedConfig, outdoors: bool) -> CameraEffects | None:
    """Return random effects of weather and camera for one clip; None: images as rendered."""
    seed = int(rng.integers(2**31))
    poor, bad = rng.random() < config.effects, outdoors and rng.random() < config.bad_weather
    if not (poor or bad):
        return None
    # Brightness, contrast and colour are augmented anew for each sample (`data.augment`).
    effects = CameraEffects(seed=seed)
    if poor:
        effects = dataclasses.replace(
            random_effects(seed), exposure=1.0, gamma=1.0, cast=(1.0, 1.0, 1.0), saturation=1.0
        )
    if not bad:
        return effects
    by_night = rng.random() < NIGHTS
    if by_night:
        noise = effects.noise + float(rng.uniform(0.01, 0.05))
        gain = float(rng.uniform(1.6, 3.2))
        effects = dataclasses.replace(effects, night=float(rng.uniform(0.7, 0.95)), noise=noise, exposure=gain)
    if not by_night or rng.random() < BOTH:
        effects = dataclasses.replace(
            effects,
            rain=float(rng.uniform(0.2, 1.0)),
            haze=effects.haze + float(rng.uniform(0.1, 0.6)) * (1.0 - effects.haze),
            saturation=float(rng.uniform(0.3, 0.8)),
        )
    return effects
