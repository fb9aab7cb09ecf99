"""Contradictions of a configuration, refused with the fix named, before anything is opened."""

from __future__ import annotations

from typing import TYPE_CHECKING

from featdepth_ros.errors import ConfigError

if TYPE_CHECKING:
    from featdepth_training.config import TrainConfig


def check(config: TrainConfig) -> None:
    """Raise ConfigError for the first contradiction found."""
    _check_stages(config)
    _check_model(config)
    _check_data(config)
    _check_objective(config)
    _check_architecture(config)


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
    if model.metres_per_unit <= 0:
        raise ConfigError(f"model.metres_per_unit is {model.metres_per_unit}; expected a number above 0")
    if config.optimiser.lr <= 0:
        raise ConfigError(f"optimiser.lr is {config.optimiser.lr}; expected a positive number")
    if model.focal is None and config.data.kind != "prepared":
        raise ConfigError(
            "model.focal is null; rendered cameras differ, so name the canonical one, for instance [0.58, 1.92]"
        )
    if not 0 <= engine.ema_decay < 1:
        raise ConfigError(f"engine.ema_decay is {engine.ema_decay}; expected 0 (none) up to below 1")


def _check_data(config: TrainConfig) -> None:
    data, sequence = config.data, config.data.sequence
    if sequence.frames < 1 or sequence.max_gap < 1:
        raise ConfigError(
            f"data.sequence has frames {sequence.frames} and max_gap {sequence.max_gap}; expected at least 1 of each"
        )
    if data.kind != "rendered":
        _check_prepared(config)
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
    if data.kind == "prepared" and max(objective.rotation, objective.translation) > 0:
        raise ConfigError(
            "objective.rotation and objective.translation need true motion, which prepared recordings do not promise; "
            "set them to 0 and objective.photometric above 0"
        )
    if not 0 < prepared.held_out < 1:
        raise ConfigError(f"data.prepared.held_out is {prepared.held_out}; expected a share between 0 and 1")
    if prepared.shares and min(prepared.shares) <= 0:
        raise ConfigError(f"data.prepared.shares is {list(prepared.shares)}; expected numbers above 0")
    if data.augment.haze > 0:
        raise ConfigError("data.augment.haze needs true depth at every pixel; set it to 0 for prepared recordings")


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
    if max(objective.rotation, objective.translation) > 0 and sequence.frames < 2:
        raise ConfigError("objective.rotation and objective.translation need two frames; set data.sequence.frames=2")


def _check_architecture(config: TrainConfig) -> None:
    """What each architecture can be trained with."""
    objective, model = config.objective, config.model
    kind = model.architecture.rpartition("_r")[0]  # empty for the compact model
    if model.frozen_blocks and model.architecture != "compact":
        raise ConfigError("model.frozen_blocks is for the compact model; set it to 0")
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
            "objective.features compares the map of the compact encoder's first block, which must not change; set "
            "model.frozen_blocks=1"
        )
