from __future__ import annotations

from pathlib import Path

import pytest

from featdepth_ros.errors import ConfigError
from featdepth_training.config.loading import from_dict, load_config, to_dict


def test_unknown_key_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"optimiser\.lrr.*did you mean 'lr'"):
        from_dict({"optimiser": {"lrr": 1e-3}})
    with pytest.raises(ConfigError, match=r"unknown key 'optimizer'; did you mean 'optimiser'"):
        from_dict({"optimizer": {}})


def test_overrides_reach_nested_keys_lists_and_scientific_numbers() -> None:
    raw = {"stages": [{"steps": 1}]}
    changes = ["optimiser.lr=1e-4", "stages.0.steps=7", "model.input_size=[64, 128]", "engine.compile=true"]
    config = from_dict(raw, changes)
    assert config.optimiser.lr == 1e-4
    assert config.stages[0].steps == 7
    assert config.model.input_size == (64, 128)
    assert config.engine.compile is True
    assert raw == {"stages": [{"steps": 1}]}


#: A self-supervised configuration of prepared recordings without fault, that the refusals below break.
SELF = (
    *(
        "data.kind=prepared",
        "data.prepared.caches=[x]",
        "data.augment.haze=0",
        "model.focal=null",
        "data.sequence.frames=3",
    ),
    *("objective={photometric: 1, smoothness: 1e-3}", "data.sequence.standing=0"),
)
JOINT = (*SELF, "model.architecture=mono_fm_joint_r18", "objective.features=1e-3", "objective.reconstruction=1")
AUTO = (
    *SELF,
    *("model.architecture=autoencoder_r18", "data.sequence.frames=1"),
    "objective={reconstruction: 1, discriminative: 1e-3, convergent: 1e-3}",
)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        # values of the wrong kind
        (["optimiser.lr=fast"], "optimiser.lr is 'fast'; expected a number"),
        (["optimiser.kind=adamx"], "did you mean 'Adam"),
        (["engine.compile=1"], "engine.compile is 1; expected bool"),
        (["engine.threads=true"], "engine.threads is True; expected int"),
        (["model.input_size=[64]"], "model.input_size has 1 entries; expected 2"),
        (["stages=3"], "stages is 3; expected a list"),
        (["model=3"], "model is 3; expected keys with values"),
        (["optimiser.lr"], "expected key=value"),
        (["optimiser.lr=["], "is not YAML"),
        (["seed=1", "seed.x=1"], "'seed' has no keys below it"),
        # keys that are no keys
        (["optimizer.lr=1"], "unknown key 'optimizer'; did you mean 'optimiser'?"),
        (["optimiser.lrr=1"], "unknown key 'optimiser.lrr'; did you mean 'lr'?"),
        (["model.architektur=compact"], "did you mean 'architecture'?"),
        (["model.architecture=mono_fm_r5"], "did you mean 'mono_fm_r50'?"),
        (["model.preset=kiti"], "did you mean 'kitti'?"),
        (["data.augment.brightnes=0"], "did you mean 'brightness'?"),
        (["data.prepared.cache=[x]"], "did you mean 'caches'?"),
        (["stages=[{step: 3}]"], "unknown key 'stages[0].step'; did you mean 'steps'?"),
        (["objective.photometrik=1"], "did you mean 'photometric'?"),
        (["engine.check_point_every=1"], "did you mean 'checkpoint_every'?"),
        # sizes and ranges
        (["stages=[]"], "stages is empty"),
        (["stages=[{steps: 0}]"], "stages[0] has steps 0"),
        (["stages=[{sizes: [[100, 64]]}]"], "stages[0].sizes holds 100x64"),
        (["model.input_size=[240, 320]"], "model.input_size is 240x320; expected height and width in multiples of 32"),
        (["model.pose_size=[32, 64]"], "model.pose_size is 32x64"),
        (["model.min_depth=5", "model.max_depth=1"], "0 < min < max"),
        (["model.norm_momentum=2"], "model.norm_momentum is 2.0; expected 0"),
        (["model.metres_per_unit=0"], "model.metres_per_unit is 0.0; expected a number above 0"),
        (["model.focal=[0, 1]"], "for instance [0.58, 1.92]"),
        (["engine.ema_decay=1"], "expected 0 (none) up to below 1"),
        (["engine.keep_last=0"], "engine.keep_last is 0"),
        (["optimiser.lr=0"], "optimiser.lr is 0.0"),
        (["optimiser.clip_norm=-1"], "optimiser.clip_norm is -1.0; expected 0 or more"),
        (["optimiser.betas=[0.9, 1]"], "optimiser.betas is [0.9, 1.0]"),
        (["schedule.milestones=[20, 30]"], "epoch 20 of 40 is 0.5"),
        (["schedule.milestones=[0.7, 0.5]"], "in rising order"),
        (["schedule.gamma=2"], "schedule.gamma is 2.0; expected a factor from 0 to 1"),
        (["schedule.warmup_steps=-1"], "schedule.warmup_steps is -1"),
        (["data.workers=-1"], "data.workers is -1"),
        (["data.augment.zoom=[0.5, 1]"], "data.augment.zoom is [0.5, 1.0]"),
        (["data.augment.flip=2"], "data.augment.flip is 2.0; expected a share from 0 to 1"),
        (["data.augment.contrast=-0.1"], "data.augment.contrast is -0.1"),
        (["data.sequence.standing=0.9", "data.sequence.reverse=0.2"], "to at most 1"),
        (["data.sequence.frames=0"], "data.sequence has frames 0"),
        (["objective.photometric=-1"], "objective.photometric is -1.0; expected 0 or more"),
        (["objective={depth: 1, scale_weights: [1]}"], "objective.scale_weights has 1 numbers; expected 4"),
        (["objective={depth: 1, warp_scales: [0, 4]}"], "objective.warp_scales is [0, 4]"),
        # data that does not serve the objective
        (["data.sequence.frames=3", "data.sequence.max_gap=2"], "render longer clips"),
        (["objective={smoothness: 1e-3}"], "no term to learn from"),
        (["data.kind=prepared"], "run 'featdepth prepare INPUT --output CACHE'"),
        (["data.kind=prepared", "data.prepared.caches=[x]"], "set them to 0 and objective.photometric above 0"),
        ([*SELF, "objective={depth: 1, flow: 1}"], "set them to 0 and objective.photometric above 0"),
        (["data.prepared.caches=[x]"], "set data.kind=prepared"),
        (["data.sequence.stereo=true"], "rendered clips hold no stereo partner"),
        (["data.rendered.baseline_m=-0.1"], "data.rendered.baseline_m is -0.1; expected 0"),
        (["data.rendered.camera_height_m=-1"], "camera_height_m is -1.0; expected 0 (all heights) or metres"),
        (["data.rendered.harsh_light=2"], "data.rendered.harsh_light is 2.0; expected a share from 0 to 1"),
        (["model.focal=null"], "name the canonical one"),
        (["objective={depth: 1, rotation: 1}", "data.sequence.frames=1"], "set data.sequence.frames=2"),
        ([*SELF, "data.augment.haze=0.1"], "set it to 0 for prepared recordings"),
        ([*SELF, "data.prepared.held_out=0"], "data.prepared.held_out is 0.0"),
        ([*SELF, "data.prepared.shares=[0]"], "data.prepared.shares is [0.0]"),
        ([*SELF, "data.prepared.camera_heights_m=[-1]"], "is [-1.0]; expected metres, 0 where unknown"),
        ([*SELF, "objective.ground=1"], "name the heights with data.prepared.camera_heights_m"),
        (["objective={photometric: 1, pseudo_depth: 1}"], "pseudo_depth is for recordings"),
        (["objective={photometric: 1, sensor_depth: 1}"], "sensor_depth is for recordings"),
        (["objective={photometric: 1, recorded_motion: 1}"], "recorded_motion is for recordings"),
        (["objective={depth: 1, pseudo_depth: 1}"], "beside objective.photometric; set photometric above 0"),
        (["objective={depth: 1, ground: 1}"], "name the heights with data.prepared.camera_heights_m"),
        ([*JOINT, "objective.reference=true", "objective.mask_outside=true"], "compares with a repeated border"),
        ([*SELF, "data.sequence.frames=1"], "set data.sequence.frames=3, or data.sequence.stereo=true"),
        ([*SELF, "objective={depth: 1}", "data.sequence.stereo=true"], "set one above 0, or stereo to false"),
        ([*SELF, "data.kind=mixed", "model.focal=[1, 1]", "data.rendered.frames=3"], "data.kind mixed learns from"),
        (
            [
                *SELF,
                "data.kind=mixed",
                "model.focal=[1, 1]",
                "objective.depth=1",
                "data.rendered_share=1",
                "data.rendered.frames=3",
            ],
            "data.rendered_share is 1.0",
        ),
        (["objective={depth: 1, flow: 1}", "data.sequence.frames=1"], "set data.sequence.frames=2"),
        # architectures
        (["objective={depth: 1, flow: 1}", "model.architecture=baseline_r18"], "or choose the compact model"),
        ([*SELF, "objective.features=1e-3"], "set model.frozen_blocks=1"),
        ([*SELF, "model.frozen_blocks=1", "model.architecture=baseline_r18"], "model.frozen_blocks is for the compact"),
        ([*SELF, "model.architecture=baseline_r18", "objective.features=1e-3"], "set objective.features=0"),
        ([*SELF, "model.architecture=mono_fm_r18", "objective.reconstruction=1"], "or choose an autoencoder or"),
        ([*JOINT, "objective.reconstruction=0"], "set objective.reconstruction=1"),
        ([*JOINT, "objective.reconstruction=0", "objective.discriminative=1e-3"], "diverges"),
        (
            [*JOINT, "objective.convergent=1e-3", "objective.reference=true", "stages=[{sizes: [[64, 96]]}]"],
            "at least 96",
        ),
        ([*AUTO, "objective.smoothness=1"], "an autoencoder predicts no depth"),
        (["objective={depth: 1, rotation: 0}", "model.trained=[pose_head]"], "above 0, with data.sequence.frames=2"),
        ([*SELF, "data.sequence={frames: 1, stereo: true}", "model.trained=[pose_head]"], "nothing teaches motion"),
        (["objective={depth: 0, flow: 1}", "model.trained=[decoder]"], "does not reach the decoder"),
        # starting points
        ([*SELF, "model.resnet_file=a.pth"], "the compact model starts from the installed"),
        ([*JOINT, "model.initial=none", "model.pose_resnet_file=a.pth"], "set model.initial=imagenet, or leave"),
        ([*AUTO, "model.pose_resnet_file=a.pth"], "an autoencoder has no pose net"),
        ([*JOINT, "model.feature_net=a"], "or choose mono_fm"),
        ([*SELF, "model.architecture=mono_fm_r18", "model.feature_net=a"], "set objective.features=1e-3"),
    ],
)
def test_refusals_say_what_was_found_and_what_to_do(overrides: list[str], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        from_dict({}, overrides)
    assert words in str(caught.value)


@pytest.mark.parametrize("overrides", [SELF, JOINT, AUTO, (*SELF, "model.architecture=baseline_r18_p34")])
def test_what_the_refusals_break_is_accepted(overrides: tuple[str, ...]) -> None:
    config = from_dict({}, overrides)
    assert from_dict(to_dict(config)) == config


def test_resolved_configuration_goes_round() -> None:
    config = from_dict({"seed": 5, "optimiser": {"betas": [0.8, 0.9]}})
    again = from_dict(to_dict(config))
    assert again == config
    assert again.optimiser.betas == (0.8, 0.9)


def test_stages_follow_each_other() -> None:
    stages = [{"steps": 3, "batch_size": 4}, {"steps": 2, "batch_size": 2}]
    config = from_dict({"stages": stages})
    assert config.total_steps == 5
    assert [config.stage_at(s).batch_size for s in range(6)] == [4, 4, 4, 2, 2, 2]


def test_missing_recipe_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'compact_rendered'"):
        load_config("compact_renderd")


def test_a_file_that_is_no_yaml(tmp_path: Path) -> None:
    file = tmp_path / "broken.yaml"
    file.write_text("a: [1, 2")
    with pytest.raises(ConfigError, match="is not YAML"):
        load_config(str(file))
