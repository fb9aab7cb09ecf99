"""The configuration of a training run as frozen dataclasses; recipes are YAML files with the same structure.

`loading` reads the files. Every checkpoint contains the resolved configuration.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from featdepth_training.config.data_schema import AugmentConfig as AugmentConfig
from featdepth_training.config.data_schema import DataConfig as DataConfig
from featdepth_training.config.data_schema import PreparedConfig as PreparedConfig
from featdepth_training.config.data_schema import RenderedConfig as RenderedConfig
from featdepth_training.config.data_schema import SequenceConfig as SequenceConfig


@dataclass(frozen=True)
class ModelConfig:
    """The networks that are trained.

    Attributes:
        architecture: name of an architecture, see `featdepth_ros.models.build_model`.
        name: name that is stored in the weights.
        initial: source of the initial weights.
            - ``imagenet``: the compact encoder from the installed EfficientNet-Lite0 package, ResNets from the files
              named below.
            - ``none``: random.
            - a weights file, or the name of shipped weights, to start from.
        resnet_file, pose_resnet_file: ResNets in torchvision's format for ``initial: imagenet`` of the published
            architectures; without the second the pose net starts from random weights.
        preset: depth range and unit of published weights in ``--finetune`` (or ``initial``), which do not store them:
            a name of `featdepth_ros.models.presets`. They must equal those given here.
        feature_net: weights of a trained autoencoder, whose frozen feature network ``mono_fm`` uses.
        min_depth, max_depth: ends of the disparity mapping, network units.
        input_size: (height, width) of the canonical camera's image, pixels.
        pose_size: (height, width) of the pose network's input in the published architectures. The compact model uses
            the size of its depth network.
        focal: (fx / width, fy / height) of the canonical camera; null: that of the first prepared cache.
        metres_per_unit: metres per network unit, if the scale is known (36 in the published stereo weights).
        licence: licence of the weights, which is stored in them.
        frozen_blocks: number of the compact encoder's blocks (with the stem) that keep their initial weights. These
            detect colours and edges of photographs, which rendered images would degrade. The feature-metric term
            compares the output of the first one.
        trained: parts of the model that are trained (``pose_head``...); empty: all. The others keep their initial
            weights and running statistics. Where only the pose head is trained, use clips that depth was not trained
            on. There, depth has the errors that it will have in use.
        frozen_statistics: parts of the model (``encoder``, ``decoder``, ``pose_head``...) whose BatchNorm keeps its
            initial running statistics. Use it for small batches of different images, whose statistics differ from those
            of a single image.
        feature_statistics: mode of BatchNorm in a frozen feature network: ``running_statistics`` is really frozen,
            ``batch_statistics`` is what the original does.
        norm_momentum: share of a batch in the running statistics of every BatchNorm; 0: the architecture's own. That of
            the compact encoder, 0.01, assumes pretrained statistics. From random weights a short run needs 0.1, or
            evaluation uses outdated statistics.
        dropout: keep the dropout of the published depth decoder.
    """

    architecture: str = "compact"
    name: str = "compact"
    initial: str = "imagenet"
    resnet_file: str = ""
    pose_resnet_file: str = ""
    preset: str = ""
    feature_net: str = ""
    min_depth: float = 0.1
    max_depth: float = 100.0
    input_size: tuple[int, int] = (192, 640)
    pose_size: tuple[int, int] = (192, 640)
    focal: tuple[float, float] | None = (0.58, 1.92)
    metres_per_unit: float = 1.0
    licence: str = "Apache-2.0"
    frozen_blocks: int = 0
    trained: tuple[str, ...] = ()
    frozen_statistics: tuple[str, ...] = ()
    feature_statistics: Literal["running_statistics", "batch_statistics"] = "running_statistics"
    norm_momentum: float = 0.0
    dropout: bool = True


@dataclass(frozen=True)
class StageConfig:
    """A stage of the run with one batch size and one set of image sizes.

    Attributes:
        steps: optimiser steps.
        sizes: (height, width) pairs; every batch uses a random one.
        batch_size: samples per micro-batch.
        accumulate: micro-batches per step in every process: a step has ``processes * accumulate * batch_size`` samples.
    """

    steps: int = 1000
    sizes: tuple[tuple[int, int], ...] = ((128, 416),)
    batch_size: int = 8
    accumulate: int = 1


@dataclass(frozen=True)
class TermsConfig:
    """Weights of the terms that training adds up (key ``objective``); 0 leaves a term out.

    Attributes:
        depth, gradient, rotation, translation, flow: supervised by truth (see `supervised`); flow is that of the
            compact model's matching.
        scale_weights: of the four disparity maps in ``depth``, finest first.
        far_weight: weight of pixels beyond ``max_depth`` (sky) relative to the others.
        photometric, features, smoothness: without truth (see `selfsupervised`). ``features`` does not train the map
            that it compares.
        warp_scales: of the decoder's scales, those that ``photometric`` and ``smoothness`` act on; 0 is the finest.
        disp_norm: divide disparities by their mean before their smoothness is measured, so that a small scale is no way
            to be smooth. None: yes, unless a stereo partner takes part.
        automask: leave out what does not move relative to the camera; None: yes, unless a stereo partner takes part.
        mask_outside: leave out what no source sees, instead of comparing it with a repeated border; wanted where a
            target has one source only.
        pseudo_depth: difference to the depth of classical matching (see `pseudo_depth`), which caches must hold.
        sensor_depth: difference, in metres, to the depth that recordings have themselves (RGB-D, LiDAR); the others
            are left out.
        recorded_motion: difference, in metres, to the motion between a recording's own poses (KITTI odometry, RGB-D
            with a tracker); recordings without poses are left out.
        ground: scale of the depth, by the known height of the camera over the ground (see `ground`).
        reconstruction, discriminative, convergent: of the autoencoder and the joint model.
        reference: compute the terms with all that is odd about the original's, see
            `featdepth_ros.losses.ObjectiveConfig.reference`: to go on with its checkpoints, or to compare.
    """

    depth: float = 0.0
    gradient: float = 0.0
    rotation: float = 0.0
    translation: float = 0.0
    flow: float = 0.0
    scale_weights: tuple[float, ...] = (1.0, 0.5, 0.25, 0.125)
    far_weight: float = 0.3
    photometric: float = 0.0
    features: float = 0.0
    smoothness: float = 0.0
    warp_scales: tuple[int, ...] = (0, 1, 2, 3)
    automask: bool | None = None
    disp_norm: bool | None = None
    mask_outside: bool = False
    pseudo_depth: float = 0.0
    sensor_depth: float = 0.0
    recorded_motion: float = 0.0
    ground: float = 0.0
    reconstruction: float = 0.0
    discriminative: float = 0.0
    convergent: float = 0.0
    reference: bool = False

    @property
    def supervised(self) -> bool:
        """Whether any term needs truth."""
        return max(self.depth, self.gradient, self.rotation, self.translation, self.flow) > 0

    @property
    def selfsupervised(self) -> bool:
        """Whether any term warps neighbouring frames or the stereo partner."""
        return max(self.photometric, self.features) > 0

    @property
    def regularised(self) -> bool:
        """Whether any term trains a feature net."""
        return max(self.reconstruction, self.discriminative, self.convergent) > 0


#: What a configuration without an ``objective`` trains with.
SUPERVISED = TermsConfig(depth=1.0, gradient=0.5, rotation=0.1, translation=0.1)


@dataclass(frozen=True)
class OptimiserConfig:
    """The optimiser.

    Attributes:
        kind: ``adam``, ``adamw``, ``sgd``, or the name of any other class of ``torch.optim`` (``RMSprop``, ``RAdam``).
        lr: learning rate of the decoder; the encoder's is ``lr * encoder_lr_factor``, that of the compact model's pose
            head ``lr * pose_lr_factor``.
        camera_lr: of the logarithm of learnt focal lengths and of distortions.
        weight_decay: of matrices and kernels; norms and biases are not decayed.
        betas: of Adam and its kin.
        momentum: of SGD and RMSprop.
        clip_norm: largest L2 norm of the gradient; 0 for none.
        options: further arguments of the class by name, for instance ``{nesterov: true}``.
    """

    kind: str = "adamw"
    lr: float = 1e-3
    encoder_lr_factor: float = 0.3
    pose_lr_factor: float = 1.0
    camera_lr: float = 3e-4
    weight_decay: float = 1e-2
    betas: tuple[float, float] = (0.9, 0.999)
    momentum: float = 0.9
    clip_norm: float = 10.0
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ScheduleConfig:
    """Learning rate over the whole run.

    Attributes:
        kind: ``cosine`` down to ``final_ratio``, ``step`` (times ``gamma`` at each milestone, shares of the run),
            ``constant``.
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
    objective: TermsConfig = field(default_factory=lambda: SUPERVISED)
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    engine: EngineConfig = field(default_factory=EngineConfig)
    check: CheckConfig = field(default_factory=CheckConfig)

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
