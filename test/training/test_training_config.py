from __future__ import annotations

from pathlib import Path

import pytest

from featdepth_ros.errors import ConfigError
from featdepth_training.loading import from_dict, load_config, to_dict


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


def _with_stage(raw: dict[str, object]) -> dict[str, object]:
    return {"stages": [{"steps": 1, "sizes": [[64, 64]], "batch_size": 1, **raw}]}


@pytest.mark.parametrize(
    ("raw", "overrides", "words"),
    [
        ({"optimiser": {"lr": "fast"}}, [], "optimiser.lr is 'fast'; expected a number"),
        ({"optimiser": {"kind": "sgd"}}, [], "expected one of 'adam', 'adamw'"),
        ({"engine": {"compile": 1}}, [], "engine.compile is 1; expected bool"),
        ({"engine": {"threads": True}}, [], "engine.threads is True; expected int"),
        ({"stages": []}, [], "stages is empty"),
        (_with_stage({"sizes": [[100, 64]]}), [], "100x64"),
        ({"data": {"sequence": {"frames": 3, "max_gap": 2}}}, [], "render longer clips"),
        ({"objective": {"smoothness": 1e-3}}, [], "no term to learn from"),
        ({"objective": {"photometric": -1}}, [], "objective.photometric is -1"),
        ({"data": {"kind": "prepared"}}, [], "featdepth prepare"),
        ({"data": {"kind": "prepared", "prepared": {"caches": ["x"]}}}, [], "set them to 0"),
        ({"model": {"focal": None}}, [], "name the canonical one"),
        ({}, ["optimiser.lr"], "expected key=value"),
        ({}, ["seed.x=1"], "'seed' has no keys below it"),
        ({"model": {"min_depth": 5, "max_depth": 1}}, [], "0 < min < max"),
    ],
)
def test_refusals_say_what_was_found(raw: dict[str, object], overrides: list[str], words: str) -> None:
    if overrides == ["seed.x=1"]:
        raw = {"seed": 1}
    with pytest.raises(ConfigError) as caught:
        from_dict(raw, overrides)
    assert words in str(caught.value)


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
