"""Import of optional packages, with an error that names the extra to install."""

from __future__ import annotations

import importlib
from typing import Any

from featdepth_ros.errors import MissingDependencyError


def needed(module: str, extra: str) -> Any:
    """Import a module of an optional package.

    Raises:
        MissingDependencyError: the package is not installed; the message names the extra.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"this needs the package '{error.name}', which is not installed; "
            f"install it: pip install 'featdepth_ros[{extra}]'"
        ) from error
