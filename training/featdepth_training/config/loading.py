"""Loads a `TrainConfig` from a recipe (YAML) and overrides, and converts it back to plain values.

An unknown key is an error that names the nearest known one.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

from featdepth_ros.errors import ConfigError, nearest_name
from featdepth_ros.resources import config_file
from featdepth_training.config.checks import check
from featdepth_training.config.schema import TrainConfig

T = TypeVar("T")


def _convert(value: Any, annotation: Any, where: str) -> Any:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if dataclasses.is_dataclass(annotation):
        return _build(annotation, value, where)  # type: ignore[arg-type]
    if origin is Literal:
        if value not in arguments:
            raise ConfigError(f"{where} is {value!r}; expected one of {', '.join(map(repr, arguments))}")
        return value
    if origin in (Union, types.UnionType):
        inner = [a for a in arguments if a is not type(None)]
        return None if value is None else _convert(value, inner[0], where)
    if origin in (tuple, dict):
        return (_convert_tuple if origin is tuple else _convert_dict)(value, arguments, where)
    if annotation is float and isinstance(value, str):
        # YAML 1.1 reads 1e-4 (no point) as text.
        try:
            return float(value)
        except ValueError:
            raise ConfigError(f"{where} is {value!r}; expected a number") from None
    if annotation is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if annotation is str and isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, bool) is not (annotation is bool) or not isinstance(value, annotation):
        raise ConfigError(f"{where} is {value!r}; expected {annotation.__name__}")
    return value


def _convert_tuple(value: Any, arguments: tuple[Any, ...], where: str) -> tuple[Any, ...]:
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise ConfigError(f"{where} is {value!r}; expected a list")
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        arguments = (arguments[0],) * len(value)
    if len(arguments) != len(value):
        raise ConfigError(f"{where} has {len(value)} entries; expected {len(arguments)}")
    return tuple(_convert(v, a, f"{where}[{i}]") for i, (v, a) in enumerate(zip(value, arguments, strict=True)))


def _convert_dict(value: Any, _arguments: tuple[Any, ...], where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ConfigError(f"{where} is {value!r}; expected keys with values")
    return {str(key): entry for key, entry in value.items()}


def _build(kind: type[T], raw: Any, where: str) -> T:
    if raw is None:
        raw = {}
    if not isinstance(raw, dict):
        raise ConfigError(f"{where or 'the configuration'} is {raw!r}; expected keys with values")
    hints = get_type_hints(kind)
    prefix = f"{where}." if where else ""
    for key in raw:
        if key not in hints:
            raise ConfigError(f"unknown key '{prefix}{key}'{nearest_name(str(key), hints)}")
    return kind(**{key: _convert(value, hints[key], f"{prefix}{key}") for key, value in raw.items()})


def _override(raw: dict[str, Any], assignment: str) -> None:
    key, separator, text = assignment.partition("=")
    if not separator or not key:
        raise ConfigError(f"override '{assignment}' has no value; expected key=value, for instance optimiser.lr=1e-4")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"the value of override '{assignment}' is not YAML: {error}") from error
    node: Any = raw
    *parents, last = key.split(".")
    for depth, name in enumerate(parents):
        if isinstance(node, list) and name.isdecimal() and int(name) < len(node):
            node = node[int(name)]
            continue
        if isinstance(node, dict) and node.get(name) is None:
            node[name] = {}
        node = node[name] if isinstance(node, dict) else None
        if not isinstance(node, (dict, list)):
            raise ConfigError(f"override '{assignment}': '{'.'.join(parents[: depth + 1])}' has no keys below it")
    if isinstance(node, list):
        raise ConfigError(f"override '{assignment}': '{key}' is an entry of a list; override the whole list")
    node[last] = value


def from_dict(raw: dict[str, Any], overrides: Sequence[str] = ()) -> TrainConfig:
    """Build a configuration from plain values, with ``key=value`` overrides (dotted keys, YAML values) on top.

    Raises:
        ConfigError: an unknown key (the nearest known one is named), a value of the wrong kind, a contradiction.
    """
    if not isinstance(raw, dict):
        raise ConfigError(f"the configuration is {type(raw).__name__}; expected keys with values")
    raw = yaml.safe_load(yaml.safe_dump(raw))  # a deep copy, which also checks that the values are plain
    for assignment in overrides:
        _override(raw, assignment)
    config = _build(TrainConfig, raw, "")
    check(config)
    return config


def from_overrides(kind: type[T], overrides: Sequence[str]) -> T:
    """Build any frozen dataclass of settings from its defaults and ``key=value`` overrides.

    Raises:
        ConfigError: as `from_dict`.
    """
    raw: dict[str, Any] = {}
    for assignment in overrides:
        _override(raw, assignment)
    return _build(kind, raw, "")


def to_dict(config: TrainConfig) -> dict[str, Any]:
    """Return plain values (lists for tuples) from which `from_dict` builds an equal configuration."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: plain(v) for k, v in value.items()}
        if isinstance(value, (list, tuple)):
            return [plain(v) for v in value]
        return value

    result: dict[str, Any] = plain(dataclasses.asdict(config))
    return result


def find_config(name: str) -> Path:
    """Return the file of a configuration given by path, or by recipe name (a file of ``config/train``).

    Raises:
        ConfigError: neither a file nor a recipe.
    """
    path = Path(name).expanduser()
    if path.is_file():
        return path
    if path.suffix in (".yaml", ".yml") or "/" in name:
        raise ConfigError(f"no configuration file at '{name}'; name an existing file, or a recipe")
    folder = config_file("train/compact_rendered.yaml").parent
    recipes = {p.stem: p for p in folder.glob("*.yaml")}
    if name not in recipes:
        raise ConfigError(f"no recipe '{name}' and no file of that name{nearest_name(name, recipes)}")
    return recipes[name]


def load_config(name: str, overrides: Sequence[str] = ()) -> TrainConfig:
    """Load a configuration file or recipe and put ``key=value`` overrides on top.

    Raises:
        ConfigError: see `find_config` and `from_dict`; or the file is not YAML.
    """
    path = find_config(name)
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not YAML: {error}") from error
    return from_dict(raw or {}, overrides)
