from __future__ import annotations

from dataclasses import fields

import pytest
import yaml
from rclpy.parameter import Parameter as RclParameter

from featdepth_ros.errors import ConfigError
from featdepth_ros.inference.config import EstimatorConfig
from featdepth_ros.resources import config_file
from featdepth_ros.ros.parameters.definitions import SCHEMA, SECTIONS, markdown_table, yaml_text
from featdepth_ros.ros.parameters.settings import Settings, changed_live, complaints, refusal, unknown_names

DEFAULTS = Settings(**{name: p.default for name, p in SCHEMA.items()})


def test_the_committed_file_is_the_generated_one() -> None:
    committed = config_file("depth.yaml").read_text(encoding="utf-8")
    assert committed == yaml_text(), "run: python -m featdepth_ros.ros.parameters config/depth.yaml"


def test_yaml_reads_back_with_every_default_and_type() -> None:
    read = yaml.safe_load(yaml_text())["/**"]["ros__parameters"]
    assert read == {name: p.default for name, p in SCHEMA.items()}
    assert all(type(read[name]) is type(p.default) for name, p in SCHEMA.items())


def test_no_name_twice_and_every_one_explained() -> None:
    assert sum(len(parameters) for _, parameters in SECTIONS) == len(SCHEMA)
    for parameter in SCHEMA.values():
        assert parameter.description.endswith((".", "...")) and parameter.reason.endswith(".")
        assert not parameter.complaint(parameter.default)
        if isinstance(parameter.default, (int, float)) and not isinstance(parameter.default, bool):
            assert parameter.range_text, f"{parameter.name} has no range"


def test_settings_and_schema_name_the_same() -> None:
    assert {f.name for f in fields(Settings)} == set(SCHEMA)


def test_every_setting_of_the_estimator_is_a_parameter() -> None:
    names = {f.name for f in fields(EstimatorConfig)} - {"input_size"}
    assert names <= set(SCHEMA)
    config = DEFAULTS.estimator_config()
    assert config == EstimatorConfig()


def with_(**changes: object) -> Settings:
    return Settings(**{**{name: p.default for name, p in SCHEMA.items()}, **changes})


def test_input_size_reaches_the_estimator() -> None:
    assert with_(input_height=96, input_width=320).estimator_config().input_size == (96, 320)
    with pytest.raises(ConfigError, match="input_size"):
        with_(input_height=96).estimator_config()
    with pytest.raises(ConfigError, match="depth range"):
        with_(min_depth=90.0).estimator_config()


def test_descriptors_carry_ranges_and_choices() -> None:
    descriptor = SCHEMA["max_depth"].descriptor()
    assert descriptor.floating_point_range[0].to_value == 10000.0
    assert "+Inf" in descriptor.description
    assert SCHEMA["input_width"].descriptor().integer_range[0].to_value == 4096
    assert "best_effort" in SCHEMA["reliability"].descriptor().additional_constraints


def test_table_has_a_row_a_parameter() -> None:
    rows = markdown_table().splitlines()
    assert len(rows) == len(SCHEMA) + 2
    assert all(row.count("|") - row.count("\\|") == 6 for row in rows)


def change(name: str, value: object) -> list[RclParameter]:
    return [RclParameter(name, value=value)]


def test_changes_that_need_configure_are_refused_in_words() -> None:
    reason = refusal(change("weights", "other"), "active")
    assert "'weights' is read by configure" in reason and "deactivate" in reason
    assert refusal(change("weights", "other"), "unconfigured") == ""
    assert refusal(change("depth_encoding", "16UC1"), "active") == ""
    assert "expected one of 32FC1, 16UC1" in refusal(change("depth_encoding", "mono8"), "active")
    assert "0 to 3600" in refusal(change("watchdog_s", -1.0), "active")
    assert refusal(change("use_sim_time", True), "active") == ""


def test_live_changes_are_picked_out() -> None:
    changes = change("publish_tf", False) + change("lazy", True) + change("use_sim_time", True)
    assert changed_live(DEFAULTS, changes) == {"publish_tf": False}


def test_misspelt_names_are_told_with_the_nearest() -> None:
    (text,) = unknown_names(["max_depht", "use_sim_time", "lazy", "qos_overrides./tf.publisher.depth"])
    assert "'max_depht'" in text and "did you mean 'max_depth'" in text


def test_complaints_about_start_values() -> None:
    assert complaints(DEFAULTS) == []
    assert "scale" in complaints(with_(scale="metric"))[0]
