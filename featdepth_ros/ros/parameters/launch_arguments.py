"""Values of launch arguments, which are text. This module needs neither ROS nor launch."""

from __future__ import annotations

_TRUE, _FALSE = ("true", "1", "yes", "on"), ("false", "0", "no", "off")


def switch(name: str, text: str) -> bool:
    """Return the value of a boolean launch argument.

    Args:
        name: name of the argument, for the message.
        text: its value, in any case: true, 1, yes, on, false, 0, no or off.

    Raises:
        ValueError: the text is none of these.
    """
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise ValueError(f"launch argument '{name}' is '{text}'; expected true or false")
