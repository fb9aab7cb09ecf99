"""Checks that the values of a configuration are valid and consistent; every error names the fix. It opens no files."""

from __future__ import annotations

import re

from featdepth_ros.errors import ConfigError, nearest_name
from featdepth_ros.models.build import architectures
from featdepth_ros.models.presets import PRESETS
from featdepth_training.config.optimisers import optimiser_class
from featdepth_training.config.schema import TrainConfig


def check(config: TrainConfig) -> None:
    """Raise ConfigError for the first contradiction found."""
    _check_stages(config)
    _check_model(config)
    _check_optimiser(config)
    _check_data(config)
    _check_augment(config)
    _check_objective(config)
    _check_architecture(config)
    _check_starting_points(config)


def _check_stages(config: TrainConfig) -> None:
    if not config.stages:
        raise ConfigError("stages is empty; give at least one stage with steps, sizes and batch_size")
    for number, stage in enumerate(config.stages):
        if min(stage.steps, stage.batch_size, stage.accumulate, len(stage.sizes)) < 1:
            raise ConfigError(
                f"stages[{number}] has steps {stage.steps}, batch_size {stage.batch_size}, accumulate "
                f"{stage.accumulate}, {len(stage.sizes)} sizes; expected at least 1 of each"
            )
        for height, width in stage.sizes:
            if height < 64 or width < 64 or height % 32 or width % 32:
                raise ConfigError(
                    f"stages[{number}].sizes holds {height}x{width}; expected height and width in multiples of 32, at "
                    "least 64"
                )


def _check_model(config: TrainConfig) -> None:
    model, engine = config.model, config.engine
    if not 0 < model.min_depth < model.max_depth:
        raise ConfigError(f"model depth range is {model.min_depth} to {model.max_depth}; expected 0 < min < max")
    if not 0 <= model.norm_momentum <= 1:
        raise ConfigError(
            f"model.norm_momentum is {model.norm_momentum}; expected 0 (the architecture's own) or a share up to 1"
        )
    if model.metres_per_unit <= 0:
        raise ConfigError(f"model.metres_per_unit is {model.metres_per_unit}; expected a number above 0")
    for name in ("input_size", "pose_size"):
        height, width = getattr(model, name)
        if height < 64 or width < 64 or height % 32 or width % 32:
            raise ConfigError(
                f"model.{name} is {height}x{width}; expected height and width in multiples of 32, at least 64"
            )
    if model.focal is not None and min(model.focal) <= 0:
        raise ConfigError(
            f"model.focal is {list(model.focal)}; expected fx / width and fy / height, for instance [0.58, 1.92]"
        )
    if model.focal is None and config.data.kind != "prepared":
        raise ConfigError(
            "model.focal is null; rendered cameras differ, so name the canonical one, for instance [0.58, 1.92]"
        )
    if not 0 <= engine.ema_decay < 1:
        raise ConfigError(f"engine.ema_decay is {engine.ema_decay}; expected 0 (none) up to below 1")
    if engine.keep_last < 1:
        raise ConfigError(f"engine.keep_last is {engine.keep_last}; expected at least 1, so that a run can be resumed")


def _check_optimiser(config: TrainConfig) -> None:
    optimiser, schedule = config.optimiser, config.schedule
    optimiser_class(optimiser.kind)
    if optimiser.lr <= 0:
        raise ConfigError(f"optimiser.lr is {optimiser.lr}; expected a positive number")
    for name in ("encoder_lr_factor", "pose_lr_factor", "camera_lr", "weight_decay", "clip_norm", "momentum"):
        if getattr(optimiser, name) < 0:
            raise ConfigError(f"optimiser.{name} is {getattr(optimiser, name)}; expected 0 or more")
    if not all(0 <= beta < 1 for beta in optimiser.betas):
        raise ConfigError(f"optimiser.betas is {list(optimiser.betas)}; expected two numbers from 0 to below 1")
    milestones = schedule.milestones
    if not all(0 < share < 1 for share in milestones) or list(milestones) != sorted(milestones):
        raise ConfigError(
            f"schedule.milestones is {list(milestones)}; expected shares of the run between 0 and 1, in rising order "
            "(epoch 20 of 40 is 0.5)"
        )
    for name in ("gamma", "final_ratio", "warmup_ratio"):
        if not 0 <= getattr(schedule, name) <= 1:
            raise ConfigError(f"schedule.{name} is {getattr(schedule, name)}; expected a factor from 0 to 1")
    if schedule.warmup_steps < 0:
        raise ConfigError(f"schedule.warmup_steps is {schedule.warmup_steps}; expected 0 (none) or more")


def _check_data(config: TrainConfig) -> None:
    data, sequence = config.data, config.data.sequence
    if sequence.frames < 1 or sequence.max_gap < 1:
        raise ConfigError(
            f"data.sequence has frames {sequence.frames} and max_gap {sequence.max_gap}; expected at least 1 of each"
        )
    if data.rendered.baseline_m < 0:
        raise ConfigError(f"data.rendered.baseline_m is {data.rendered.baseline_m}; expected 0 (no partner) or metres")
    if not 0 <= data.rendered.harsh_light <= 1:
        raise ConfigError(f"data.rendered.harsh_light is {data.rendered.harsh_light}; expected a share from 0 to 1")
    height_m = data.rendered.camera_height_m
    if height_m < 0:
        raise ConfigError(f"data.rendered.camera_height_m is {height_m}; expected 0 (all heights) or metres")
    if data.workers < 0:
        raise ConfigError(f"data.workers is {data.workers}; expected 0 (load in the training process) or more")
    if data.kind != "rendered":
        _check_prepared(config)
    elif data.prepared.caches:
        raise ConfigError(
            "data.prepared.caches names caches, and data.kind is rendered, which reads none; set data.kind=prepared "
            "(or mixed), or choose a recipe for recordings, for instance recording"
        )
    elif sequence.stereo and data.rendered.baseline_m == 0:
        raise ConfigError(
            "data.sequence.stereo is set, and data.rendered.baseline_m is 0, so that rendered clips hold no stereo "
            "partner; set it to metres, for instance 0.5, or set stereo to false, or choose data.kind prepared or mixed"
        )
    if data.kind != "prepared" and (sequence.frames - 1) * sequence.max_gap >= data.rendered.frames:
        raise ConfigError(
            f"data.sequence takes {sequence.frames} frames up to {sequence.max_gap} apart, the clips of data.rendered "
            f"have {data.rendered.frames}; render longer clips or take fewer, nearer frames"
        )
    if data.kind == "mixed" and not 0 < data.rendered_share < 1:
        raise ConfigError(f"data.rendered_share is {data.rendered_share}; expected a share between 0 and 1")


def _check_prepared(config: TrainConfig) -> None:
    objective, data = config.objective, config.data
    prepared = data.prepared
    if not prepared.caches:
        raise ConfigError(
            "data.prepared.caches is empty; run 'featdepth prepare INPUT --output CACHE' and name CACHE there"
        )
    if data.kind == "prepared" and max(objective.rotation, objective.translation, objective.flow) > 0:
        raise ConfigError(
            "objective.rotation, translation and flow need true motion, which prepared recordings may lack; "
            "set them to 0 and objective.photometric above 0"
        )
    least = prepared.validation or data.kind == "mixed"
    if not (0 < prepared.held_out < 1 or (prepared.held_out == 0 and least)):
        raise ConfigError(
            f"data.prepared.held_out is {prepared.held_out}; expected a share between 0 and 1, or 0 with caches to "
            "validate on (data.prepared.validation)"
        )
    if not all(0 <= share < 1 for share in prepared.held_outs):
        raise ConfigError(f"data.prepared.held_outs is {list(prepared.held_outs)}; expected shares from 0 to below 1")
    if prepared.validation_clips < 0:
        raise ConfigError(f"data.prepared.validation_clips is {prepared.validation_clips}; expected 0 (all) or more")
    if prepared.shares and min(prepared.shares) <= 0:
        raise ConfigError(f"data.prepared.shares is {list(prepared.shares)}; expected numbers above 0")
    heights = prepared.camera_heights_m
    if heights and min(heights) < 0:
        raise ConfigError(f"data.prepared.camera_heights_m is {list(heights)}; expected metres, 0 where unknown")
    if data.augment.haze > 0:
        raise ConfigError("data.augment.haze needs true depth at every pixel; set it to 0 for prepared recordings")


def _check_augment(config: TrainConfig) -> None:
    augment, sequence = config.data.augment, config.data.sequence
    least, most = augment.zoom
    if not 1 <= least <= most:
        raise ConfigError(f"data.augment.zoom is {[least, most]}; expected [least, most], from 1 (the whole frame) on")
    for name in ("flip", "grey", "blur", "haze", "hue", "shift"):
        if not 0 <= getattr(augment, name) <= 1:
            raise ConfigError(f"data.augment.{name} is {getattr(augment, name)}; expected a share from 0 to 1")
    for name in ("stretch", "brightness", "contrast", "saturation", "gamma", "noise", "pair_jitter"):
        if getattr(augment, name) < 0:
            raise ConfigError(f"data.augment.{name} is {getattr(augment, name)}; expected 0 (none) or more")
    if min(sequence.standing, sequence.reverse) < 0 or sequence.standing + sequence.reverse > 1:
        raise ConfigError(
            f"data.sequence.standing is {sequence.standing} and reverse {sequence.reverse}; expected shares adding up "
            "to at most 1"
        )


def _check_objective(config: TrainConfig) -> None:
    objective, sequence = config.objective, config.data.sequence
    for name, value in vars(objective).items():
        if isinstance(value, float) and value < 0:
            raise ConfigError(f"objective.{name} is {value}; expected 0 or more")
    if not (objective.supervised or objective.selfsupervised or objective.regularised):
        raise ConfigError(
            "objective has no term to learn from; set objective.depth (rendered truth) or objective.photometric above 0"
        )
    if config.data.kind == "mixed" and not (objective.supervised and objective.selfsupervised):
        raise ConfigError(
            "data.kind mixed learns from rendered truth and from recordings without; set objective.depth and "
            "objective.photometric above 0, or choose data.kind rendered or prepared"
        )
    if len(objective.scale_weights) != 4:
        raise ConfigError(f"objective.scale_weights has {len(objective.scale_weights)} numbers; expected 4")
    if objective.selfsupervised and sequence.frames < 2 and not sequence.stereo:
        raise ConfigError(
            "objective.photometric and objective.features compare frames, and data.sequence takes one; set "
            "data.sequence.frames=3, or data.sequence.stereo=true with a cache of stereo pairs"
        )
    if sequence.stereo and not objective.selfsupervised:
        raise ConfigError(
            "data.sequence.stereo brings the partner's images, and only objective.photometric and objective.features "
            "use them; set one above 0, or stereo to false"
        )
    _check_terms(config)
    _check_trained(config)
    if max(objective.rotation, objective.translation, objective.flow) > 0 and sequence.frames < 2:
        raise ConfigError("objective.rotation, translation and flow need two frames; set data.sequence.frames=2")


def _check_trained(config: TrainConfig) -> None:
    """Check that the terms reach the parts that are trained."""
    objective, trained = config.objective, config.model.trained
    motion = max(objective.rotation, objective.translation, objective.flow, objective.photometric, objective.features)
    if trained == ("pose_head",) and (motion == 0 or config.data.sequence.frames < 2):
        raise ConfigError(
            "model.trained is [pose_head], and nothing teaches motion; set objective.rotation, translation or flow "
            "(rendered truth) or objective.photometric above 0, with data.sequence.frames=2"
        )
    if objective.flow > 0 and trained == ("decoder",):
        raise ConfigError("objective.flow does not reach the decoder, which model.trained names alone; set it to 0")


def _check_terms(config: TrainConfig) -> None:
    """Check the terms that need other terms or certain data."""
    objective = config.objective
    scales = objective.warp_scales
    if not scales or len(set(scales)) != len(scales) or not set(scales) <= {0, 1, 2, 3}:
        raise ConfigError(f"objective.warp_scales is {list(scales)}; expected one or more of 0, 1, 2, 3, each once")
    if objective.discriminative > 0 and objective.reconstruction == 0:
        raise ConfigError(
            "objective.discriminative alone diverges: it rewards large differences, and only reconstruction limits "
            "the features; set objective.reconstruction=1 and objective.convergent=1e-3"
        )
    for name in ("pseudo_depth", "sensor_depth", "recorded_motion"):
        if getattr(objective, name) > 0 and (not objective.selfsupervised or config.data.kind == "rendered"):
            raise ConfigError(
                f"objective.{name} is for recordings, beside objective.photometric; set photometric above 0 (and "
                f"data.kind to prepared or mixed), or {name} to 0"
            )
    heights = config.data.prepared.camera_heights_m
    if objective.ground > 0 and not (objective.selfsupervised and max(heights, default=0)):
        raise ConfigError(
            "objective.ground compares the camera's height over the ground with the known one; name the heights with "
            "data.prepared.camera_heights_m and set objective.photometric above 0, or set ground to 0"
        )
    _check_reference(config)


def _check_reference(config: TrainConfig) -> None:
    """Check for settings for which the terms of the original FeatDepth are undefined."""
    objective = config.objective
    if objective.reference and objective.mask_outside:
        raise ConfigError(
            "objective.reference compares with a repeated border, which objective.mask_outside excludes; set one of "
            "them to false"
        )
    if not objective.reference or objective.convergent == 0:
        return
    smallest = min(min(size) for stage in config.stages for size in stage.sizes)
    if smallest < 96:
        raise ConfigError(
            f"objective.reference computes second differences of maps at 1/32 of the image, which a side of {smallest} "
            "pixels does not have; take sizes of at least 96, or set objective.reference=false"
        )


def _check_architecture(config: TrainConfig) -> None:
    """Check that the architecture supports the objective."""
    objective, model = config.objective, config.model
    # `architectures` leaves out the suffix that names another pose ResNet.
    if re.sub(r"(?<=\d)_p(18|34|50|101)$", "", model.architecture) not in architectures():
        raise ConfigError(
            f"model.architecture is '{model.architecture}'{nearest_name(model.architecture, architectures())}"
        )
    kind = model.architecture.rpartition("_r")[0]  # empty for the compact model
    if model.frozen_blocks and model.architecture != "compact":
        raise ConfigError("model.frozen_blocks is for the compact model; set it to 0")
    if objective.flow > 0 and model.architecture != "compact":
        raise ConfigError("objective.flow needs the compact model's matching; set it to 0, or choose the compact model")
    if kind == "autoencoder":
        if objective.supervised or objective.selfsupervised or objective.smoothness > 0:
            raise ConfigError(
                "an autoencoder predicts no depth; set every weight of objective to 0 but reconstruction, "
                "discriminative and convergent"
            )
    elif objective.regularised and kind != "mono_fm_joint":
        raise ConfigError(
            f"objective.reconstruction, discriminative and convergent train a feature net, and {model.architecture} "
            "trains none; set them to 0, or choose an autoencoder or mono_fm_joint"
        )
    if kind == "baseline" and objective.features > 0:
        raise ConfigError("the baseline has no feature net; set objective.features=0, or choose mono_fm")
    if kind == "mono_fm_joint" and objective.features > 0 and not objective.regularised:
        raise ConfigError(
            "mono_fm_joint trains its feature net by reconstruction; set objective.reconstruction=1, "
            "discriminative=1e-3 and convergent=1e-3"
        )
    if model.architecture == "compact" and objective.features > 0 and model.frozen_blocks < 1:
        raise ConfigError(
            "objective.features compares the map of the compact encoder's first block, which must be frozen; set "
            "model.frozen_blocks=1"
        )


def _check_starting_points(config: TrainConfig) -> None:
    """Raise ConfigError for weight files that the run would not read."""
    model, objective = config.model, config.objective
    kind = model.architecture.rpartition("_r")[0]
    for name in ("resnet_file", "pose_resnet_file"):
        if getattr(model, name) and model.initial != "imagenet":
            raise ConfigError(
                f"model.{name} is named, and model.initial is '{model.initial}', which does not read it; set "
                f"model.initial=imagenet, or leave {name} out"
            )
        if getattr(model, name) and not kind:
            raise ConfigError(
                f"model.{name} is for the published architectures; the compact model starts from the installed "
                "EfficientNet-Lite0 package. Leave it out, or choose another model.architecture"
            )
    if model.pose_resnet_file and kind == "autoencoder":
        raise ConfigError("model.pose_resnet_file is named, and an autoencoder has no pose net; leave it out")
    if model.feature_net and kind != "mono_fm":
        raise ConfigError(
            f"model.feature_net is for mono_fm, whose feature net is trained beforehand, not for {model.architecture}; "
            "leave it out, or choose mono_fm"
        )
    if model.feature_net and objective.features == 0:
        raise ConfigError(
            "model.feature_net is named, and objective.features is 0; set objective.features=1e-3, or leave the net out"
        )
    if model.preset and model.preset not in PRESETS:
        raise ConfigError(f"model.preset is '{model.preset}'{nearest_name(model.preset, PRESETS)}")
