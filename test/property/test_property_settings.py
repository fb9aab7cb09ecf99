"""Settings of any content: recipes, overrides, parameters of the node. A value is taken or refused in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from damage import WORDS, answered, damaged
from hypothesis import given
from hypothesis import strategies as st

from featdepth_ros.inference.config import EstimatorConfig
from featdepth_ros.inference.options import OPTIONS
from featdepth_ros.resources import config_file
from featdepth_training.config.loading import from_dict, load_config, to_dict

RECIPES = ("kitti_fm", "compact_open", "recording", "learning")
#: A recipe lacks what is the user's to name.
BASE = ("data.prepared.caches=[cache]",)
TEXTS = [word.decode(errors="replace") for word in WORDS]
ANY = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(TEXTS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("recipes")


@pytest.mark.parametrize("name", RECIPES)
@given(data=st.data())
def test_recipes(folder: Path, name: str, data: st.DataObject) -> None:
    path = folder / f"{name}.yaml"
    path.write_bytes(data.draw(damaged(config_file(f"train/{name}.yaml").read_bytes())))
    config = answered(lambda: load_config(str(path), BASE))
    if config is not None:
        assert from_dict(to_dict(config)) == config


def keys(values: dict[str, Any], before: str = "") -> list[str]:
    found = []
    for key, value in values.items():
        found += keys(value, f"{before}{key}.") if isinstance(value, dict) else [f"{before}{key}"]
    return found


KEYS = keys(to_dict(load_config("kitti_fm", BASE)))


@given(key=st.sampled_from(KEYS) | st.text(max_size=12), value=ANY)
def test_overrides(key: str, value: Any) -> None:
    answered(lambda: load_config("kitti_fm", [*BASE, f"{key}={value}"]))


def value_of(name: str) -> st.SearchStrategy[Any]:
    """Draw values of an option's own type, as ROS and argparse hand them over."""
    kinds = {bool: st.booleans(), int: st.integers(), float: st.floats(), str: st.text(max_size=8)}
    return kinds[type(OPTIONS[name].default)]


FIELDS = sorted(name for name in OPTIONS if name in EstimatorConfig.__dataclass_fields__)


@given(data=st.data(), names=st.lists(st.sampled_from(FIELDS), min_size=1, max_size=3, unique=True))
def test_options_of_the_estimator(data: st.DataObject, names: list[str]) -> None:
    values = {name: data.draw(value_of(name)) for name in names}
    config = answered(lambda: EstimatorConfig(**values))
    assert config is None or config.min_depth < config.max_depth
