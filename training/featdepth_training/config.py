"""What a training run is made of, as frozen dataclasses; recipes are YAML files of the same shape.

The files are read by `loading`. The resolved configuration travels inside every checkpoint.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from featdepth_ros.errors import ConfigError


@dataclass(frozen=True)
class ModelConfig:
    """The networks that are trained.

    Attributes:
        architecture: as `featdepth_ros.models.build_model` knows it.
        name: name written into the weights.
        initial: ``imagenet`` (encoder from the installed EfficientNet-Lite0 package), ``none`` (random), or a
            weights file to start from.
        min_depth, max_depth: ends of the disparity mapping, network units.
        input_size: (height, width) of the canonical camera's image, pixels.
        focal: (fx / width, fy / height) of the canonical camera; null: that of the first prepared cache.
        licence: terms of the weights, written into them.
        frozen_blocks: blocks of the compact model's encoder (with the stem) that keep their first weights: colours
            and edges of photographs, which rendered pictures would only make worse.
    """

    architecture: str = "compact"
    name: str = "compact"
    initial: str = "imagenet"
    min_depth: float = 0.1
    max_depth: float = 100.0
    input_size: tuple[int, int] = (192, 640)
    focal: tuple[float, float] | None = (0.58, 1.92)
    licence: str = "Apache-2.0"
    frozen_blocks: int = 0


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


@dataclass(frozen=True)
class PreparedConfig:
    """Caches that ``featdepth prepare`` wrote.

    Attributes:
        caches: folders; a cache, or a folder of caches.
        held_out: share of each cache's clips, from its end, that is validated on and never trained on.
    """

    caches: tuple[str, ...] = ()
    held_out: float = 0.05


@dataclass(frozen=True)
class SequenceConfig:
    """How samples are taken out of clips.

    Attributes:
        frames: images of a sample, in order of time.
        max_gap: largest distance in frames of the clip between neighbours of a sample.
        standing: share of samples whose images all show the same instant (differing in noise only).
        reverse: share of samples in reversed order of time.
    """

    frames: int = 2
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
        kind: the source, ``rendered`` or ``prepared``.
        rendered, prepared, sequence, augment: their settings.
        workers: loader processes; 0 loads in the training process.
    """

    kind: Literal["rendered", "prepared"] = "rendered"
    rendered: RenderedConfig = field(default_factory=RenderedConfig)
    prepared: PreparedConfig = field(default_factory=PreparedConfig)
    sequence: SequenceConfig = field(default_factory=SequenceConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    workers: int = 0


@dataclass(frozen=True)
class StageConfig:
    """A stretch of the run at one batch size and one set of image sizes.

    Attributes:
        steps: optimiser steps.
        sizes: (height, width) pairs; every batch draws one of them.
        batch_size: samples a step.
    """

    steps: int = 1000
    sizes: tuple[tuple[int, int], ...] = ((128, 416),)
    batch_size: int = 8


@dataclass(frozen=True)
class ObjectiveConfig:
    """Weights of the terms; 0 leaves a term out.

    Attributes:
        depth, gradient, rotation, translation: supervised by truth (see `supervised`).
        scale_weights: of the four disparity maps in ``depth``, finest first.
        far_weight: weight of pixels beyond ``max_depth`` (sky) relative to the others.
        photometric, features, smoothness: without truth (see `selfsupervised`). The map that ``features`` compares is
            the model's own; it is not trained by this term.
        automask: leave out what does not move relative to the camera; None: as the reference does.
    """

    depth: float = 0.0
    gradient: float = 0.0
    rotation: float = 0.0
    translation: float = 0.0
    scale_weights: tuple[float, ...] = (1.0, 0.5, 0.25, 0.125)
    far_weight: float = 0.3
    photometric: float = 0.0
    features: float = 0.0
    smoothness: float = 0.0
    automask: bool | None = None

    @property
    def supervised(self) -> bool:
        """Whether any term needs truth."""
        return max(self.depth, self.gradient, self.rotation, self.translation) > 0

    @property
    def selfsupervised(self) -> bool:
        """Whether any term warps neighbouring frames."""
        return max(self.photometric, self.features) > 0


#: What a configuration without an ``objective`` trains with.
SUPERVISED = ObjectiveConfig(depth=1.0, gradient=0.5, rotation=0.1, translation=0.1)


@dataclass(frozen=True)
class OptimiserConfig:
    """The optimiser.

    Attributes:
        kind: ``adam`` or ``adamw``.
        lr: learning rate of the decoder; the encoder's is ``lr * encoder_lr_factor``, that of the compact model's pose
            head ``lr * pose_lr_factor``.
        weight_decay: of matrices and kernels; norms and biases are not decayed.
        betas: of Adam.
        clip_norm: largest L2 norm of the gradient; 0 for none.
    """

    kind: Literal["adam", "adamw"] = "adamw"
    lr: float = 1e-3
    encoder_lr_factor: float = 0.3
    pose_lr_factor: float = 1.0
    weight_decay: float = 1e-2
    betas: tuple[float, float] = (0.9, 0.999)
    clip_norm: float = 10.0


@dataclass(frozen=True)
class ScheduleConfig:
    """Learning rate over the whole run.

    Attributes:
        kind: ``cosine`` down to ``final_ratio``, ``step`` (times ``gamma`` at each milestone, shares of the run), ``constant``.
        warmup_steps, warmup_ratio: linear warm-up from ``warmup_ratio`` times the rate.
    """

    kind: Literal["cosine", "step", "constant"] = "cosine"
    warmup_steps: int = 100
    warmup_ratio: float = 0.05
    milestones: tuple[float, ...] = (0.5, 0.75)
    gamma: float = 0.5
    final_ratio: float = 0.01


@dataclass(frozen=True)
class EngineConfig:
    """How the run is carried out.

    Attributes:
        precision: of the networks; losses are fp32 always.
        channels_last: memory format of the networks.
        compile: torch.compile the networks.
        threads: of torch; 0 leaves its default.
        ema_decay: of the averaged weights that are validated and shipped; 0 for none.
        max_nonfinite: steps in a row that may be skipped for a non-finite loss or gradient before the run stops.
        keep_last: checkpoints kept beside the best.
        tensorboard: write scalars and pictures under ``<output>/tensorboard``.
    """

    precision: Literal["fp32", "bf16"] = "fp32"
    channels_last: bool = True
    compile: bool = False
    threads: int = 0
    ema_decay: float = 0.998
    max_nonfinite: int = 20
    log_every: int = 20
    validate_every: int = 250
    checkpoint_every: int = 100
    keep_last: int = 3
    tensorboard: bool = True


@dataclass(frozen=True)
class CheckConfig:
    """What a run must reach to count as a success, for install checks; 0 asks for nothing.

    Attributes:
        loss_share: the loss of the last steps over that of the first ones, at most.
        abs_rel: relative error of depth on the validation clips, at most.
    """

    loss_share: float = 0.0
    abs_rel: float = 0.0


@dataclass(frozen=True)
class TrainConfig:
    """The whole of a run. ``seed`` decides initialisation, order, augmentation and noise."""

    seed: int = 0
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    stages: tuple[StageConfig, ...] = (StageConfig(),)
    objective: ObjectiveConfig = field(default_factory=lambda: SUPERVISED)
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    engine: EngineConfig = field(default_factory=EngineConfig)
    check: CheckConfig = field(default_factory=CheckConfig)

    def __post_init__(self) -> None:
        _check(self)

    @property
    def total_steps(self) -> int:
        """Optimiser steps of all stages."""
        return sum(stage.steps for stage in self.stages)

    def stage_at(self, step: int) -> StageConfig:
        """Return the stage that holds optimiser step ``step`` (from 0); the last one beyond the end."""
        for stage in self.stages:
            if step < stage.steps:
                return stage
            step -= stage.steps
        return self.stages[-1]


def _check(config: TrainConfig) -> None:
    if not config.stages:
        raise ConfigError("stages is empty; give at least one stage with steps, sizes and batch_size")
    for number, stage in enumerate(config.stages):
        if stage.steps < 1 or stage.batch_size < 1 or not stage.sizes:
            raise ConfigError(
                f"stages[{number}] has steps {stage.steps}, batch_size {stage.batch_size}, {len(stage.sizes)} sizes; "
                "expected at least 1 of each"
            )
        for height, width in stage.sizes:
            if height < 64 or width < 64 or height % 32 or width % 32:
                raise ConfigError(
                    f"stages[{number}].sizes holds {height}x{width}; expected height and width in multiples of 32, at least 64"
                )
    if not 0 < config.model.min_depth < config.model.max_depth:
        raise ConfigError(
            f"model depth range is {config.model.min_depth} to {config.model.max_depth}; expected 0 < min < max"
        )
    if config.optimiser.lr <= 0:
        raise ConfigError(f"optimiser.lr is {config.optimiser.lr}; expected a positive number")
    if config.model.focal is None and config.data.kind != "prepared":
        raise ConfigError("model.focal is null; rendered cameras differ, so name the canonical one, for instance [0.58, 1.92]")
    if not 0 <= config.engine.ema_decay < 1:
        raise ConfigError(f"engine.ema_decay is {config.engine.ema_decay}; expected 0 (none) up to below 1")
    sequence = config.data.sequence
    if sequence.frames < 2 or sequence.max_gap < 1:
        raise ConfigError(
            f"data.sequence has frames {sequence.frames} and max_gap {sequence.max_gap}; expected at least 2 and 1"
        )
    if config.data.kind == "prepared":
        _check_prepared(config)
    elif (sequence.frames - 1) * sequence.max_gap >= config.data.rendered.frames:
        raise ConfigError(
            f"data.sequence takes {sequence.frames} frames up to {sequence.max_gap} apart, the clips of data.rendered "
            f"have {config.data.rendered.frames}; render longer clips or take fewer, nearer frames"
        )
    objective = config.objective
    for name, value in vars(objective).items():
        if isinstance(value, float) and value < 0:
            raise ConfigError(f"objective.{name} is {value}; expected 0 or more")
    if not objective.supervised and not objective.selfsupervised:
        raise ConfigError(
            "objective has no term to learn from; set objective.depth (rendered truth) or objective.photometric above 0"
        )
    if len(config.objective.scale_weights) != 4:
        raise ConfigError(f"objective.scale_weights has {len(config.objective.scale_weights)} numbers; expected 4")


def _check_prepared(config: TrainConfig) -> None:
    objective, prepared = config.objective, config.data.prepared
    if not prepared.caches:
        raise ConfigError("data.prepared.caches is empty; run 'featdepth prepare INPUT --output CACHE' and name CACHE there")
    if max(objective.rotation, objective.translation) > 0:
        raise ConfigError(
            "objective.rotation and objective.translation need true motion, which prepared recordings do not promise; "
            "set them to 0 and objective.photometric above 0"
        )
    if not 0 < prepared.held_out < 1:
        raise ConfigError(f"data.prepared.held_out is {prepared.held_out}; expected a share between 0 and 1")
    if config.data.augment.haze > 0:
        raise ConfigError("data.augment.haze needs true depth at every pixel; set it to 0 for prepared recordings")
