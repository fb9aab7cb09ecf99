"""Generates ROS declarations, config/depth.yaml and the table of docs/parameters.md from parameter definitions."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node
from rclpy.parameter import Parameter as RclParameter

from featdepth_ros.inference.options import Option, Value

_TYPES: dict[type, RclParameter.Type] = {
    bool: RclParameter.Type.BOOL,
    int: RclParameter.Type.INTEGER,
    float: RclParameter.Type.DOUBLE,
    str: RclParameter.Type.STRING,
    list: RclParameter.Type.STRING_ARRAY,
}


def descriptor(option: Option, read: str = "Read by configure.") -> ParameterDescriptor:
    """Return the ROS descriptor of a parameter: description, allowed words, numeric range.

    Args:
        option: the parameter.
        read: sentence that says when the value is read, for a parameter that is not live.
    """
    when = "Can be changed while running." if option.live else read
    made = ParameterDescriptor(
        name=option.name,
        description=f"{option.description} {option.reason} {when}",
        additional_constraints=f"one of: {', '.join(option.choices)}" if option.choices else "",
    )
    made.type = parameter_type(option).value
    if option.low is not None and option.high is not None:
        if isinstance(option.default, int):
            made.integer_range = [IntegerRange(from_value=int(option.low), to_value=int(option.high), step=0)]
        else:
            span = FloatingPointRange(from_value=float(option.low), to_value=float(option.high), step=0.0)
            made.floating_point_range = [span]
    return made


def parameter_type(option: Option) -> RclParameter.Type:
    """Return the ROS type of a parameter, which is the type of its default."""
    return _TYPES[type(option.default)]


def declare(node: Node, options: Iterable[Option], read: str = "Read by configure.") -> None:
    """Declare every parameter on the node, with its default and its descriptor; ``read`` as in `descriptor`."""
    for option in options:
        node.declare_parameter(option.name, option.default, descriptor(option, read))


def yaml_value(value: Value) -> str:
    """Return a value as YAML 1.1 reads it back with the same type."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        text = repr(value)
        return text if "." in text or "e" in text else f"{text}.0"
    if isinstance(value, list):
        return f"[{', '.join(yaml_value(entry) for entry in value)}]"
    return f'"{value}"' if isinstance(value, str) else str(value)


def to_yaml(sections: Sequence[tuple[str, Sequence[Option]]], head: str) -> str:
    """Return a parameter file: every parameter at its default, below a comment that explains it.

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


def to_markdown(sections: Sequence[tuple[str, Sequence[Option]]]) -> str:
    """Return the Markdown table of all parameters; ``sections`` as in `to_yaml`."""
    lines = ["| parameter | default | range | live | meaning |", "|---|---|---|---|---|"]
    for _, parameters in sections:
        for parameter in parameters:
            choices = parameter.range_text.replace(" | ", ", ") or parameter.type_name
            default = yaml_value(parameter.default)
            live = "yes" if parameter.live else ""
            text = f"{parameter.description} {parameter.reason}".replace("|", "\\|")
            lines.append(f"| `{parameter.name}` | `{default}` | {choices} | {live} | {text} |")
    return "\n".join(lines) + "\n"
