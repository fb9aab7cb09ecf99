"""Where samples come from and how they are taken: the part ``data`` of a configuration."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class RenderedConfig:
    """Rendered clips: a cache is written once and read from then on (see `rendered`).

    Attributes:
        cache: folder of the cache; empty: ``<output>/cache``.
        clips, validation_clips: numbers of clips; validation clips come from other seeds than any training clip.
        frames: frames a clip.
        height, width: size they are rendered at, pixels.
        scenes: kinds of scene.
        shares: of each kind in the clips; empty: equal.
        shard_clips: clips a file.
        seed: of scenes, cameras and paths.
        baseline_m: distance of a stereo partner to the right of the camera; 0: none.
        harsh_light: share of the scenes under a sun too strong for the camera: lit walls white, shade nearly black.
        camera_height_m: of every car's camera over the road, level ahead, as on one and the same car; nobody goes on
            foot on its streets. 0: heights and tilts of all kinds.
        other_heights: share of the clips with a road whose camera is anywhere beside or on it, 0.15 to 3 m high, and
            looks anywhere. It takes no account of ``camera_height_m``.
        traffic: share of the clips with a road in which vehicles drive, close around the camera, and people walk. What
            drives is marked: depth is learnt from it, motion is not.
        wide_lenses: share of the clips through a lens of 100 to 130 degrees.
        effects: share of the clips through a camera with vignetting, blur, noise, haze and JPEG artefacts.
        bad_weather: share of the clips outdoors by night or in rain.
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
        caches: folders; a cache, or a folder of caches.
        singles: names of those caches whose frames are taken one by one, each with its stereo partner. Their pairs are
            too far apart in time to have neighbours.
        shares: of each cache in the samples; empty: by number of clips.
        camera_heights_m: of each cache, in the order of ``shares``: height of the camera over the ground it drives on.
            The height then gives the depth its scale (``objective.ground``). 0: unknown. Empty: unknown everywhere.
        learned_cameras: names of caches whose focal length and distortion are learnt with the run. Those whose focal
            length ``prepare --camera guess`` could not find are among them anyway.
        held_out: share of each cache's clips, from its end, that is validated on and never trained on.
        held_outs: the same for each cache, in the order of ``shares``; 0: all of it is trained on. Empty: ``held_out``.
        validation: caches, or folders of caches, that are validated on and never trained on: a published split has
            such a part. ``held_out`` may then be 0.
        validation_clips: most clips that are validated on, evenly spaced over all that are held out; 0: all.
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
    """How samples are taken out of clips.

    Attributes:
        frames: images of a sample, in order of time; 1 for stereo alone and for autoencoders.
        stereo: take the partner image of a stereo pair along, where a cache holds it.
        max_gap: largest distance in frames of the clip between neighbours of a sample.
        standing: share of rendered samples whose images all show the same instant (differing in noise only).
        reverse: share of samples in reversed order of time.
    """

    frames: int = 2
    stereo: bool = False
    max_gap: int = 1
    standing: float = 0.08
    reverse: float = 0.15


@dataclass(frozen=True)
class AugmentConfig:
    """Changes to the samples; none at validation.

    Attributes:
        zoom: range of the zoom into the rendered frame (1: the whole frame as far as the aspect allows).
        shift: largest shift of the cut-out from the centre, share of the frame's side.
        flip: share of samples mirrored left to right.
        stretch: largest deviation from square pixels, as a share (0.1: aspect between 1/1.1 and 1.1).
        brightness, contrast, saturation: largest factor minus one, either way.
        hue: largest turn of the hue circle, share of it.
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
    """Where samples come from.

    Attributes:
        kind: the source: ``rendered``, ``prepared``, or ``mixed``, where rendered samples teach through their truth
            (the supervised terms) and prepared ones without (the others).
        rendered_share: of rendered samples in a mixed run.
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
