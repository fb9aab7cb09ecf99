"""How a parameter is described once and used three times: declaration, config/depth.yaml and the README's table."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node
from rclpy.parameter import Parameter as RclParameter

Value = bool | int | float | str

_TYPES: dict[type, tuple[str, RclParameter.Type]] = {
    bool: ("bool", RclParameter.Type.BOOL),
    int: ("int", RclParameter.Type.INTEGER),
    float: ("double", RclParameter.Type.DOUBLE),
    str: ("string", RclParameter.Type.STRING),
}


@dataclass(frozen=True)
class Parameter:
    """One parameter of the node.

    Attributes:
        name: as ROS knows it.
        default: its type is the parameter's type.
        description: what it does, one or two sentences.
        reason: why the default is what it is, or when to change it.
        choices: the strings allowed; empty: any.
        low, high: inclusive range of a number.
        live: True: takes effect while the node runs. False: read by `configure`.
    """

    name: str
    default: Value
    description: str
    reason: str
    choices: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    live: bool = False

    @property
    def type_name(self) -> str:
        """``bool``, ``int``, ``double`` or ``string``."""
        return _TYPES[type(self.default)][0]

    @property
    def range_text(self) -> str:
        """What values are allowed, in words; empty when any."""
        if self.choices:
            return " | ".join(self.choices)
        if self.low is not None and self.high is not None:
            return f"{self.low:g} to {self.high:g}"
        return ""

    def descriptor(self) -> ParameterDescriptor:
        """Return the ROS descriptor: description, constraints in words, numeric range."""
        when = "Can be changed while running." if self.live else "Read by configure."
        descriptor = ParameterDescriptor(
            name=self.name,
            description=f"{self.description} {self.reason} {when}",
            additional_constraints=f"one of: {', '.join(self.choices)}" if self.choices else "",
        )
        descriptor.type = _TYPES[type(self.default)][1].value
        if self.low is not None and self.high is not None:
            if isinstance(self.default, int):
                limits = IntegerRange(from_value=int(self.low), to_value=int(self.high), step=0)
                descriptor.integer_range = [limits]
            else:
                span = FloatingPointRange(from_value=float(self.low), to_value=float(self.high), step=0.0)
                descriptor.floating_point_range = [span]
        return descriptor

    def complaint(self, value: Any) -> str:
        """Return why ``value`` is not allowed, or an empty string. ROS itself checks types and numeric ranges too."""
        if self.choices and value not in self.choices:
            return f"'{self.name}' is '{value}'; expected one of {', '.join(self.choices)}"
        if self.low is not None and self.high is not None and not self.low <= value <= self.high:
            return f"'{self.name}' is {value}; expected {self.range_text}"
        return ""


def declare(node: Node, schema: Iterable[Parameter]) -> None:
    """Declare every parameter of the schema with its descriptor."""
    for parameter in schema:
        node.declare_parameter(parameter.name, parameter.default, parameter.descriptor())


def yaml_value(value: Value) -> str:
    """Return a value as YAML 1.1 reads it back with the same type."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        text = repr(value)
        return text if "." in text or "e" in text else f"{text}.0"
    return f'"{value}"' if isinstance(value, str) else str(value)


def to_yaml(sections: Sequence[tuple[str, Sequence[Parameter]]], head: str) -> str:
    """Return a parameter file: every parameter at its default, explained above.

    Args:
        sections: (title, parameters).
        head: comment at the top, plain text.
    """
    lines = [f"# {line}".rstrip() for line in head.strip().splitlines()]
    lines += ["/**:", "  ros__parameters:"]
    for title, parameters in sections:
        lines += ["", f"    # ---- {title} ----"]
        for parameter in parameters:
            lines.append("")
            text = f"{parameter.description} {parameter.reason}"
            lines += [f"    # {line}" for line in textwrap.wrap(text, 110)]
            facts = [parameter.type_name, parameter.range_text, "live" if parameter.live else "read by configure"]
            lines.append(f"    # [{'; '.join(fact for fact in facts if fact)}]")
            lines.append(f"    {parameter.name}: {yaml_value(parameter.default)}")
    return "\n".join(lines) + "\n"


def to_markdown(sections: Sequence[tuple[str, Sequence[Parameter]]]) -> str:
    """Return the table of all parameters for the README."""
    lines = ["| parameter | default | range | live | meaning |", "|---|---|---|---|---|"]
    for _, parameters in sections:
        for parameter in parameters:
            choices = parameter.range_text.replace(" | ", ", ") or parameter.type_name
            default = yaml_value(parameter.default)
            live = "yes" if parameter.live else ""
            text = f"{parameter.description} {parameter.reason}".replace("|", "\\|")
            lines.append(f"| `{parameter.name}` | `{default}` | {choices} | {live} | {text} |")
    return "\n".join(lines) + "\n"
