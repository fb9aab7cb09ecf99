"""Sources of samples and their sampling: the section ``data`` of a configuration."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class RenderedConfig:
    """Rendered clips. They are written to a cache once, and then read from it (see `rendered`).

    Attributes:
        cache: folder of the cache; empty: ``<output>/cache``.
        clips, validation_clips: numbers of clips; validation clips have other seeds than all training clips.
        frames: frames per clip.
        height, width: size of the rendered images, pixels.
        scenes: kinds of scene.
        shares: share of each kind in the clips; empty: equal shares.
        shard_clips: clips per file.
        seed: random seed of scenes, cameras and paths.
        baseline_m: distance of a stereo partner to the right of the camera, metres; 0: no partner.
        harsh_light: share of the scenes with overexposed sunlight, in which lit walls are white and shade is nearly
            black.
        camera_height_m: height of the camera over the road, metres. All street clips then have a level, forward-looking
            car camera at this height, and none has a walking camera. 0: varied heights and tilts.
        other_heights: share of the clips with a road in which the camera is anywhere on or beside it. Its height is
            0.15 to 3 m, and it looks in any direction. ``camera_height_m`` does not apply to them.
        traffic: share of the clips with a road in which vehicles drive close to the camera, and people walk. Moving
            pixels are marked: they train depth, but not motion.
        wide_lenses: share of the clips with a lens of 100 to 130 degrees.
        effects: share of the clips with vignetting, blur, noise, haze and JPEG artefacts.
        bad_weather: share of the outdoor clips by night or in rain.
    """

    cache: str = ""
    clips: int = 1000
    validation_clips: int = 40
    frames: int = 3
    height: int = 256
    width: int = 640
    scenes: tuple[str, ...] = ("street", "room")
    shares: tuple[float, ...] = ()
    shard_clips: int = 20
    seed: int = 0
    baseline_m: float = 0.0
    harsh_light: float = 0.0
    camera_height_m: float = 0.0
    other_heights: float = 0.0
    traffic: float = 0.0
    wide_lenses: float = 0.0
    effects: float = 0.0
    bad_weather: float = 0.0


@dataclass(frozen=True)
class PreparedConfig:
    """Caches that ``featdepth prepare`` wrote.

    Attributes:
        caches: folders of caches; each is a cache, or a folder of caches.
        singles: names of the caches whose frames are single samples with their stereo partner. Their pairs are too far
            apart in time to have neighbours.
        shares: share of each cache in the samples, in the order of the caches; empty: by number of clips.
        camera_heights_m: height of the camera over the ground for each cache, metres, in the order of the caches. It
            sets the scale of depth (``objective.ground``). 0: unknown. Empty: unknown for all.
        learned_cameras: names of the caches whose focal length and distortion are learned in the run. Caches whose
            focal length ``prepare --camera guess`` could not find are always included.
        held_out: share of each cache's clips, from its end, for validation only.
        held_outs: the same for each cache, in the order of the caches; 0: no clips. Empty: ``held_out`` for all.
        validation: caches, or folders of caches, for validation only, such as that part of a published split.
            ``held_out`` may then be 0.
        validation_clips: largest number of validation clips, evenly spaced over the held-out ones; 0: all.
    """

    caches: tuple[str, ...] = ()
    singles: tuple[str, ...] = ()
    shares: tuple[float, ...] = ()
    camera_heights_m: tuple[float, ...] = ()
    learned_cameras: tuple[str, ...] = ()
    held_out: float = 0.05
    held_outs: tuple[float, ...] = ()
    validation: tuple[str, ...] = ()
    validation_clips: int = 400


@dataclass(frozen=True)
class SequenceConfig:
    """Sampling from clips.

    Attributes:
        frames: images per sample, in order of time; 1 for stereo alone and for autoencoders.
        stereo: add the partner image of a stereo pair, if a cache has it.
        max_gap: largest distance between neighbouring images of a sample, in frames of the clip.
        standing: share of rendered samples whose images all show the same instant and differ only in noise.
        reverse: share of samples in reversed order of time.
    """

    frames: int = 2
    stereo: bool = False
    max_gap: int = 1
    standing: float = 0.08
    reverse: float = 0.15


@dataclass(frozen=True)
class AugmentConfig:
    """Augmentation of the training samples; validation has none.

    Attributes:
        zoom: range of the zoom into the frame (1: the whole frame as far as the aspect ratio allows).
        shift: largest shift of the crop from the centre, as a share of the frame's side.
        flip: share of samples mirrored left to right.
        stretch: largest deviation from square pixels, as a share (0.1: aspect between 1/1.1 and 1.1).
        brightness, contrast, saturation: largest factor minus one, either way.
        hue: largest rotation of the hue, as a share of the full circle.
        gamma: largest factor minus one of the exponent, either way.
        grey: share of samples turned grey.
        blur: share of samples blurred.
        haze: share of samples with distance-dependent haze.
        noise: largest standard deviation of pixel noise, of 1.
        pair_jitter: part of brightness and contrast changes that differs between the two images of a pair.
    """

    zoom: tuple[float, float] = (1.0, 1.6)
    shift: float = 0.04
    flip: float = 0.5
    stretch: float = 0.12
    brightness: float = 0.35
    contrast: float = 0.35
    saturation: float = 0.5
    hue: float = 0.1
    gamma: float = 0.3
    grey: float = 0.15
    blur: float = 0.2
    haze: float = 0.15
    noise: float = 0.03
    pair_jitter: float = 0.15


@dataclass(frozen=True)
class DataConfig:
    """Sources of the samples.

    Attributes:
        kind: ``rendered``, ``prepared`` or ``mixed``. In a mixed run, rendered samples have the supervised terms and
            prepared ones the others.
        rendered_share: share of rendered samples in a mixed run.
        rendered, prepared, sequence, augment: their settings.
        workers: loader processes; 0 loads in the training process.
    """

    kind: Literal["rendered", "prepared", "mixed"] = "rendered"
    rendered_share: float = 0.5
    rendered: RenderedConfig = field(default_factory=RenderedConfig)
    prepared: PreparedConfig = field(default_factory=PreparedConfig)
    sequence: SequenceConfig = field(default_factory=SequenceConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    workers: int = 0
