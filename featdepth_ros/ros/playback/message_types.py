"""Python classes and bag definitions of message types, by name."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Any

from featdepth_ros.recordings.bags.types import ros2_store


def message_class(msgtype: str) -> Any | None:
    """Return the Python class of ``package/msg/Name``, or None when that type is not installed."""
    package, _, name = msgtype.partition("/msg/")
    try:
        return getattr(importlib.import_module(f"{package}.msg"), name, None)
    except (ImportError, ValueError):
        return None


def register_installed_type(msgtype: str) -> bool:
    """Register a type and its field types in the bag type store, from the ``.msg`` files of installed packages.

    Returns:
        False if one of them has no such file.
    """
    from rosbags.interfaces import Nodetype
    from rosbags.typesys import get_types_from_msg

    store = ros2_store()
    definitions: dict[str, Any] = {}
    todo = [msgtype]
    while todo:
        name = todo.pop()
        if name in definitions or name in store.fielddefs:
            continue
        file = _definition_file(name)
        if file is None:
            return False
        types = get_types_from_msg(file.read_text(encoding="utf-8"), name)
        definitions.update(types)
        for _, (kind, content) in types[name][1]:
            inner_kind, inner = content[0] if kind in (Nodetype.ARRAY, Nodetype.SEQUENCE) else (kind, content)
            if inner_kind == Nodetype.NAME:
                todo.append(inner)
    store.register(definitions)
    return True


def _definition_file(msgtype: str) -> Path | None:
    package, _, name = msgtype.partition("/msg/")
    for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep):
        file = Path(prefix) / "share" / package / "msg" / f"{name}.msg"
        if prefix and file.is_file():
            return file
    return None
