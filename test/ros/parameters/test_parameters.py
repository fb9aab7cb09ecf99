from __future__ import annotations

import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
import yaml
from rclpy.parameter import Parameter as RclParameter

from featdepth_ros.errors import ConfigError
from featdepth_ros.inference.config import EstimatorConfig
from featdepth_ros.resources import config_file
from featdepth_ros.ros.parameters.definitions import SCHEMA, SECTIONS, page_text, yaml_text
from featdepth_ros.ros.parameters.schema import descriptor
from featdepth_ros.ros.parameters.settings import (
    Settings,
    changed_live,
    invalid_values,
    rejection_reason,
    unknown_names,
)
from featdepth_ros.ros.refine.settings import SCHEMA as REFINE_SCHEMA
from featdepth_ros.ros.refine.settings import yaml_text as refine_yaml

DEFAULTS = Settings(**{name: p.default for name, p in SCHEMA.items()})


def test_the_committed_file_is_the_generated_one() -> None:
    committed = config_file("depth.yaml").read_text(encoding="utf-8")
    assert committed == yaml_text(), "run: python -m featdepth_ros.ros.parameters config/depth.yaml"


def test_the_committed_page_is_the_generated_one() -> None:
    committed = (Path(__file__).resolve().parents[3] / "docs" / "parameters.md").read_text(encoding="utf-8")
    assert committed == page_text(), "run: python -m featdepth_ros.ros.parameters > docs/parameters.md"


def test_refine_yaml_is_what_the_settings_say() -> None:
    committed = config_file("refine.yaml").read_text(encoding="utf-8")
    assert committed == refine_yaml(), "run: python -m featdepth_ros.ros.refine.settings config/refine.yaml"
    read = yaml.safe_load(committed)["/**"]["ros__parameters"]
    assert read == {name: option.default for name, option in REFINE_SCHEMA.items()}


def test_the_module_writes_both(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "featdepth_ros.ros.parameters"]
    page = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert page.stdout == page_text()
    subprocess.run([*command, str(tmp_path / "depth.yaml")], check=True, timeout=60)
    assert (tmp_path / "depth.yaml").read_text(encoding="utf-8") == yaml_text()


def test_yaml_reads_back_with_every_default_and_type() -> None:
    read = yaml.safe_load(yaml_text())["/**"]["ros__parameters"]
    assert read == {name: p.default for name, p in SCHEMA.items()}
    assert all(type(read[name]) is type(p.default) for name, p in SCHEMA.items())


def test_no_name_twice_and_every_one_explained() -> None:
    assert sum(len(parameters) for _, parameters in SECTIONS) == len(SCHEMA)
    for parameter in SCHEMA.values():
        assert parameter.description.endswith((".", "...")) and parameter.reason.endswith(".")
        assert not parameter.invalid_reason(parameter.default)
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
    maximum = descriptor(SCHEMA["max_depth"])
    assert maximum.floating_point_range[0].to_value == 10000.0
    assert "+Inf" in maximum.description
    assert descriptor(SCHEMA["input_width"]).integer_range[0].to_value == 4096
    assert "best_effort" in descriptor(SCHEMA["reliability"]).additional_constraints


def test_table_has_a_row_a_parameter() -> None:
    rows = [line for line in page_text().splitlines() if line.startswith("|")]
    assert len(rows) == len(SCHEMA) + len(REFINE_SCHEMA) + 4
    assert all(row.count("|") - row.count("\\|") == 6 for row in rows)


def change(name: str, value: object) -> list[RclParameter]:
    return [RclParameter(name, value=value)]


def test_changes_that_need_configure_are_refused_in_words() -> None:
    reason = rejection_reason(change("device", "cpu"), "active")
    assert "'device' is read by configure" in reason and "deactivate" in reason
    assert rejection_reason(change("device", "cpu"), "unconfigured") == ""
    assert rejection_reason(change("weights", "other"), "active") == ""
    assert rejection_reason(change("depth_encoding", "16UC1"), "active") == ""
    assert "expected one of 32FC1, 16UC1" in rejection_reason(change("depth_encoding", "mono8"), "active")
    assert "0 to 3600" in rejection_reason(change("watchdog_s", -1.0), "active")
    assert rejection_reason(change("use_sim_time", True), "active") == ""


def test_live_changes_are_picked_out() -> None:
    changes = change("publish_tf", False) + change("lazy", True) + change("use_sim_time", True)
    assert changed_live(DEFAULTS, changes) == {"publish_tf": False}


def test_misspelt_names_are_told_with_the_nearest() -> None:
    (text,) = unknown_names(["max_depht", "use_sim_time", "lazy", "qos_overrides./tf.publisher.depth"])
    assert "'max_depht'" in text and "did you mean 'max_depth'" in text
    (text,) = unknown_names(["budgt"], REFINE_SCHEMA.get, REFINE_SCHEMA)
    assert "did you mean 'budget'" in text


def test_invalid_start_values_are_named() -> None:
    assert invalid_values(DEFAULTS) == []
    assert "scale" in invalid_values(with_(scale="metric"))[0]
    (text,) = invalid_values(with_(max_rate_hz=0.5, max_gap_s=1.0))
    assert "'max_rate_hz' is 0.5 and 'max_gap_s' is 1" in text and not invalid_values(with_(max_rate_hz=5.0))
    assert "use 'window' instead" in invalid_values(with_(motion="aligned"))[0]
    assert "expected one of auto, network, fused" in invalid_values(with_(depth="window"))[0]
    assert "use 'window' instead" in rejection_reason(change("motion", "aligned"), "unconfigured")
