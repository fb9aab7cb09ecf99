"""Rendered clips in a cache (see `cache`), with random scenes, appearance, cameras and paths."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.errors import ConfigError, nearest_name
from featdepth_ros.progress import ProgressBar
from featdepth_training.config.schema import RenderedConfig, TrainConfig
from featdepth_training.data.cache import ClipCache, write_cache
from featdepth_training.data.clip import Clip
from featdepth_training.data.store import Store

if TYPE_CHECKING:
    from featdepth_ros.simulation.render.camera_effects import CameraEffects
    from featdepth_ros.simulation.render.scene import Scene
    from featdepth_ros.simulation.shutter import Exposure
    from featdepth_training.rendering.views import View

#: Number of clips per scene, because building a scene takes as long as rendering several frames.
CLIPS_PER_SCENE = 10
#: Number of the first validation scene, above those of all training scenes.
VALIDATION_SCENES = 1_000_000
#: Largest number of views that are tried for a clip, if objects right before the camera hide them.
ATTEMPTS = 6
#: Settings that are shares of the clips; a cache's description omits them at 0.
SHARES = ("other_heights", "traffic", "wide_lenses", "effects", "bad_weather")
#: Largest share of the image that objects right before the camera may cover.
HIDDEN = 0.25


class ClipRenderer:
    """Renders clip ``n`` of one kind of scene, which depends only on the configuration and ``n``.

    Args:
        config: sizes and seed.
        kind: a key of `scenes.SCENES`.
        group: number written into the clips.
        first_scene: number of the first scene; sets without common scenes need distant numbers.
    """

    def __init__(self, config: RenderedConfig, kind: str, group: int, first_scene: int) -> None:
        self.config, self.kind, self.group, self.first_scene = config, kind, group, first_scene
        self._scene = lru_cache(maxsize=1)(self._make_scene)

    def _make_scene(self, number: int) -> Scene:
        from featdepth_training.rendering.looks import relit
        from featdepth_training.rendering.scenes import SCENES

        rng = np.random.default_rng([self.config.seed, 21, self.first_scene + number])
        return relit(SCENES[self.kind].make(int(rng.integers(2**31))), rng, self.config.harsh_light)

    def __call__(self, index: int) -> Clip:
        """Render clip ``index``."""
        from featdepth_training.rendering.looks import draw_look
        from featdepth_training.rendering.scenes import SCENES
        from featdepth_training.rendering.views import draw_view, draw_wishes

        config, kind = self.config, SCENES[self.kind]
        scene = self._scene(index // CLIPS_PER_SCENE)
        of_clip = np.random.default_rng([config.seed, 23, self.first_scene, index])
        wishes, look = draw_wishes(of_clip, config, kind), draw_look(of_clip, config, kind.outdoors)
        best: tuple[float, View, list[Exposure]] | None = None
        for attempt in range(ATTEMPTS):
            rng = np.random.default_rng([config.seed, 22, self.first_scene, index, attempt])
            view = draw_view(rng, scene, kind, config, wishes)
            taken: list[Exposure] = []
            worst = 0.0
            for exposure in exposures(view):
                taken.append(exposure)
                worst = max(worst, hidden_share(exposure.depth))
                if best is not None and worst >= best[0]:
                    break
            else:
                best = worst, view, taken
            if best is not None and best[0] < HIDDEN:
                break
        assert best is not None
        return self._clip(best[1], best[2], look)

    def _clip(self, view: View, taken: list[Exposure], look: CameraEffects | None) -> Clip:
        depths = np.stack([exposure.depth for exposure in taken])
        # The renderer gives NaN for the sky. In a clip NaN means unknown, so the sky becomes infinitely far.
        depths = np.where(np.isnan(depths), np.inf, np.minimum(depths, 1000.0)).astype(np.float16)
        masks = [exposure.moving for exposure in taken if exposure.moving is not None]
        camera = view.camera
        clip = Clip(
            images=_seen(taken, look, 0),
            depth=depths,
            poses=view.poses,
            camera=np.array([camera.fx, camera.fy, camera.cx, camera.cy]),
            group=self.group,
            moving=np.stack(masks) if masks else None,
        )
        if self.config.baseline_m == 0:
            return clip
        T_camera_partner, T_partner_camera = np.eye(4), np.eye(4)
        T_camera_partner[0, 3], T_partner_camera[0, 3] = self.config.baseline_m, -self.config.baseline_m
        partner = _seen(list(exposures(view, T_camera_partner)), look, 1)
        return dataclasses.replace(clip, partner=partner, T_partner_camera=T_partner_camera)


def exposures(view: View, T_camera_other: NDArray[np.float64] | None = None) -> Iterator[Exposure]:
    """Yield the exposures of a view in order, from its camera or from one that is mounted beside it."""
    from featdepth_ros.simulation.shutter import Shutter
    from featdepth_training.rendering.views import FRAME_S

    shutter = Shutter(view.scene, view.camera, view.traffic, None, True)
    for k, pose in enumerate(view.poses):
        yield shutter.expose(k, pose if T_camera_other is None else pose @ T_camera_other, k * FRAME_S)


def _seen(taken: list[Exposure], look: CameraEffects | None, side: int) -> NDArray[np.uint8]:
    """Return the (F, H, W, 3) uint8 images with camera effects; side 0 is the camera, 1 is the partner."""
    if look is None:
        return np.stack([exposure.image for exposure in taken])
    return np.stack([look.apply(exposure.image, exposure.depth, k, side) for k, exposure in enumerate(taken)])


def hidden_share(depth: NDArray[np.floating]) -> float:
    """Return the share of the image with depth below 0.35 m; 1 if any depth is below 0.1 m."""
    known = depth[~np.isnan(depth)]
    if known.size == 0 or float(known.min()) < 0.1:
        return 1.0
    return float((known < 0.35).sum() / depth.size)


def prepare_caches(config: TrainConfig, output: Path, silent: bool = False) -> tuple[ClipCache, ClipCache]:
    """Render the missing training and held-out clips, and return both caches in this order.

    The folder or URL is ``data.rendered.cache`` (else ``<output>/cache``). It has one cache for each kind of scene in
    ``train`` and in ``validation``. ``silent`` hides the progress.

    Raises:
        ConfigError: a scene is unknown, there are too few clips, or the cache was made with other settings.
    """
    from featdepth_training.rendering.scenes import SCENES

    rendered = config.data.rendered
    for name in rendered.scenes:
        if name not in SCENES:
            raise ConfigError(f"data.rendered.scenes holds the unknown scene '{name}'{nearest_name(name, SCENES)}")
    kinds = len(rendered.scenes)
    if kinds == 0 or rendered.clips < kinds or rendered.validation_clips < kinds:
        raise ConfigError(
            f"data.rendered has clips {rendered.clips}, validation_clips {rendered.validation_clips} and {kinds} kinds "
            "of scenes; expected at least 1 kind and 1 clip of each"
        )
    if rendered.shares and (len(rendered.shares) != kinds or min(rendered.shares) <= 0):
        raise ConfigError(f"data.rendered.shares is {list(rendered.shares)}; expected {kinds} numbers above 0, or none")
    for name in SHARES:
        if not 0 <= getattr(rendered, name) <= 1:
            raise ConfigError(f"data.rendered.{name} is {getattr(rendered, name)}; expected a share from 0 to 1")
    root = Store(rendered.cache or output / "cache")
    held_out = _prepare(rendered, root.below("validation"), rendered.validation_clips, VALIDATION_SCENES, silent)
    return _prepare(rendered, root.below("train"), rendered.clips, 0, silent), held_out


def clip_counts(rendered: RenderedConfig, clips: int) -> list[int]:
    """Return the number of clips for each kind of scene, at least one; their sum is ``clips``."""
    shares = np.array(rendered.shares or (1.0,) * len(rendered.scenes))
    ends = np.rint(np.cumsum(shares) / shares.sum() * (clips - len(shares))).astype(int)
    return [int(n) + 1 for n in np.diff(ends, prepend=0)]


def _prepare(rendered: RenderedConfig, root: Store, clips: int, first_scene: int, silent: bool) -> ClipCache:
    described = {key: getattr(rendered, key) for key in ("seed", "frames", "height", "width")}
    # Settings at 0 are omitted, so that caches from before these settings existed stay valid.
    for key in ("baseline_m", "harsh_light", "camera_height_m", *SHARES):
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
