"""Rendered clips: random scenes, looks, cameras and paths into a cache (see `cache`)."""

from __future__ import annotations

import dataclasses
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.errors import ConfigError, nearest_name
from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.progress import ProgressBar
from featdepth_training.config.schema import RenderedConfig, TrainConfig
from featdepth_training.data.cache import ClipCache, write_cache
from featdepth_training.data.clip import Clip
from featdepth_training.data.store import Store

if TYPE_CHECKING:
    from featdepth_ros.simulation.render.scene import Scene

#: Clips that share one scene: putting a scene together costs as much as some frames.
CLIPS_PER_SCENE = 10
#: Scenes of validation are numbered from here on; no training scene reaches it.
VALIDATION_SCENES = 1_000_000
#: A view is drawn anew, this often at most, when something hides it.
ATTEMPTS = 6
#: Share of scenes whose textures have changed places: depth must then be read from shape, not from appearance.
SHUFFLED = 0.2
#: Harsh light: ranges of the factors on the sun and on what comes from sky and ground.
HARSH_SUN, HARSH_AMBIENT = (1.3, 3.5), (0.15, 0.7)


class ClipRenderer:
    """Makes clip ``n`` of one kind of scene; a pure function of the configuration's seed and ``n``.

    Args:
        config: sizes and seed.
        kind: a key of `scenes.SCENES`.
        group: number written into the clips.
        first_scene: number of the first scene; sets that shall share no scene start far apart.
    """

    def __init__(self, config: RenderedConfig, kind: str, group: int, first_scene: int) -> None:
        self.config, self.kind, self.group, self.first_scene = config, kind, group, first_scene
        self._scene = lru_cache(maxsize=1)(self._make_scene)

    def _make_scene(self, number: int) -> object:
        from featdepth_ros.simulation.render.shapes import ABOVE, SHADOW, SUN_COLOUR
        from featdepth_training.rendering.scenes import SCENES

        rng = np.random.default_rng([self.config.seed, 21, self.first_scene + number])
        scene = SCENES[self.kind].make(int(rng.integers(2**31)))
        if rng.random() < SHUFFLED:
            data = scene.data
            shuffled = data._replace(atlas=np.ascontiguousarray(data.atlas[rng.permutation(len(data.atlas))]))
            scene = dataclasses.replace(scene, data=shuffled)
        if rng.random() < self.config.harsh_light:
            numbers = scene.data.numbers.copy()
            numbers[SUN_COLOUR:ABOVE] *= rng.uniform(*HARSH_SUN)
            numbers[ABOVE:SHADOW] *= rng.uniform(*HARSH_AMBIENT)
            scene = dataclasses.replace(scene, data=scene.data._replace(numbers=numbers))
        return scene

    def __call__(self, index: int) -> Clip:
        """Render clip ``index``."""
        from featdepth_ros.simulation.render.renderer import Renderer
        from featdepth_ros.simulation.render.scene import Scene
        from featdepth_training.rendering.scenes import SCENES
        from featdepth_training.rendering.viewpoints import draw_camera, ride

        config, number = self.config, index // CLIPS_PER_SCENE
        scene = self._scene(number)
        assert isinstance(scene, Scene)
        kind = SCENES[self.kind]
        low, high = (f * config.width / 640 for f in kind.focal_px)
        best: tuple[float, Clip] | None = None
        for attempt in range(ATTEMPTS):
            rng = np.random.default_rng([config.seed, 22, self.first_scene, index, attempt])
            camera = draw_camera(rng, config.height, config.width, (low, high))
            if kind.cars and config.camera_height_m > 0:
                movement = ride(scene, rng, config.camera_height_m)
            else:
                movement = kind.move(scene, rng)
            poses = movement.poses(config.frames, rng)
            renderer = Renderer(scene, camera)
            image, depth = renderer.render(poses[0])
            hidden = hidden_share(depth)
            if best is not None and hidden >= best[0]:
                continue
            rest = [renderer.render(pose) for pose in poses[1:]]
            worst = max([hidden, *(hidden_share(d) for _, d in rest)])
            if best is None or worst < best[0]:
                frames = [(image, depth), *rest]
                images = np.stack([i for i, _ in frames])
                depths = np.stack([d for _, d in frames])
                # The renderer says NaN where a ray meets nothing; here NaN is unknown, and nothing is infinitely far.
                depths = np.where(np.isnan(depths), np.inf, np.minimum(depths, 1000.0)).astype(np.float16)
                intrinsics = np.array([camera.fx, camera.fy, camera.cx, camera.cy])
                best = worst, Clip(images, depths, poses, intrinsics, self.group)
            if best[0] < 0.25:
                break
        assert best is not None
        return best[1] if config.baseline_m == 0 else self._with_partner(best[1], scene)

    def _with_partner(self, clip: Clip, scene: Scene) -> Clip:
        from featdepth_ros.simulation.render.renderer import Renderer

        height, width = clip.images.shape[1:3]
        fx, fy, cx, cy = (float(v) for v in clip.camera)
        renderer = Renderer(scene, CameraModel(width=width, height=height, fx=fx, fy=fy, cx=cx, cy=cy))
        T_camera_partner, T_partner_camera = np.eye(4), np.eye(4)
        T_camera_partner[0, 3], T_partner_camera[0, 3] = self.config.baseline_m, -self.config.baseline_m
        partner = np.stack([renderer.render(pose @ T_camera_partner)[0] for pose in clip.poses])
        return dataclasses.replace(clip, partner=partner, T_partner_camera=T_partner_camera)


def hidden_share(depth: NDArray[np.floating]) -> float:
    """Share of the picture with something right before the lens (nearer than 0.35 m); 1 when anything is at 0.1 m."""
    known = depth[~np.isnan(depth)]
    if known.size == 0 or float(known.min()) < 0.1:
        return 1.0
    return float((known < 0.35).sum() / depth.size)


def prepare_caches(config: TrainConfig, output: Path, silent: bool = False) -> tuple[ClipCache, ClipCache]:
    """Render what is missing of the training and the held-out clips; return both, in this order.

    The folder or URL is ``data.rendered.cache`` (else ``<output>/cache``), with one cache for each kind of scene below
    ``train`` and ``validation``; ``silent`` hides the progress.

    Raises:
        ConfigError: unknown scenes, too few clips, or a cache folder made from other settings.
    """
    from featdepth_training.rendering.scenes import SCENES

    rendered = config.data.rendered
    for name in rendered.scenes:
        if name not in SCENES:
            raise ConfigError(f"data.rendered.scenes holds '{name}'{nearest_name(name, SCENES)}")
    kinds = len(rendered.scenes)
    if kinds == 0 or rendered.clips < kinds or rendered.validation_clips < kinds:
        raise ConfigError(
            f"data.rendered has clips {rendered.clips}, validation_clips {rendered.validation_clips} and {kinds} kinds "
            "of scenes; expected at least 1 kind and 1 clip of each"
        )
    if rendered.shares and (len(rendered.shares) != kinds or min(rendered.shares) <= 0):
        raise ConfigError(f"data.rendered.shares is {list(rendered.shares)}; expected {kinds} numbers above 0, or none")
    root = Store(rendered.cache or output / "cache")
    held_out = _prepare(rendered, root.below("validation"), rendered.validation_clips, VALIDATION_SCENES, silent)
    return _prepare(rendered, root.below("train"), rendered.clips, 0, silent), held_out


def clip_counts(rendered: RenderedConfig, clips: int) -> list[int]:
    """Share ``clips`` among the kinds of scene, at least one each; they add up to ``clips``."""
    shares = np.array(rendered.shares or (1.0,) * len(rendered.scenes))
    ends = np.rint(np.cumsum(shares) / shares.sum() * (clips - len(shares))).astype(int)
    return [int(n) + 1 for n in np.diff(ends, prepend=0)]


def _prepare(rendered: RenderedConfig, root: Store, clips: int, first_scene: int, silent: bool) -> ClipCache:
    described = {key: getattr(rendered, key) for key in ("seed", "frames", "height", "width")}
    # Left out at 0: caches from before they could be chosen stay valid.
    for key in ("baseline_m", "harsh_light", "camera_height_m"):
        if getattr(rendered, key) > 0:
            described[key] = getattr(rendered, key)
    folders: list[tuple[str, int | None]] = []
    for group, (kind, count) in enumerate(zip(rendered.scenes, clip_counts(rendered, clips), strict=True)):
        renderer = ClipRenderer(rendered, kind, group, first_scene)
        described_as = f"{root.name}/{kind}"
        with ProgressBar(described_as, count, "clip", shown=not silent) as bar:
            folder = root.below(kind).location
            write_cache(folder, {**described, "kind": kind}, count, rendered.shard_clips, renderer, bar.update)
        folders.append((folder, count))
    return ClipCache(folders)
