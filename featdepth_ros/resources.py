"""Where the package's own files lie, in every way it can be installed.

`config/`, `launch/` and `docs/` sit beside the package in a source tree (``pip install -e .``, ``colcon build
--symlink-install``) and under ``<prefix>/share/featdepth_ros`` once installed (``pip install .``, ``colcon build``).
Weights are package data. Nothing else in the package looks for files by itself.
"""

from __future__ import annotations

import os
import site
import sys
from collections.abc import Iterator
from pathlib import Path

from featdepth_ros.errors import FeatDepthError, nearest_name

PACKAGE = "featdepth_ros"
#: What the name ``compact`` stands for. Its licence is printed when it is loaded.
DEFAULT_WEIGHTS = "compact-nc"


def _share_candidates() -> Iterator[Path]:
    here = Path(__file__).resolve()
    yield here.parents[1]
    for parent in here.parents:
        yield parent / "share" / PACKAGE
    for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep):
        if prefix:
            yield Path(prefix) / "share" / PACKAGE
    yield Path(sys.prefix) / "share" / PACKAGE
    if site.USER_BASE:
        yield Path(site.USER_BASE) / "share" / PACKAGE


def share_dir() -> Path:
    """Return the folder that holds ``package.xml``, ``config/`` and ``launch/``.

    Raises:
        FeatDepthError: no such folder; the message lists where it was sought.
    """
    sought: list[str] = []
    for candidate in _share_candidates():
        if (candidate / "package.xml").is_file() and (candidate / "config").is_dir():
            return candidate
        sought.append(str(candidate))
    raise FeatDepthError(
        f"the shared files of {PACKAGE} (package.xml, config/) were not found; sought in: {', '.join(sought)}. "
        "Install the package again with pip or colcon."
    )


def config_file(name: str) -> Path:
    """Return ``config/<name>``, for instance ``depth.yaml`` or ``train/kitti_fm.yaml``.

    Raises:
        FeatDepthError: no such file; the message names the nearest one.
    """
    folder = share_dir() / "config"
    path = folder / name
    if not path.is_file():
        known = [p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()]
        raise FeatDepthError(f"no configuration file '{name}' in {folder}{nearest_name(name, known)}")
    return path


def weights_dir() -> Path:
    """Return the folder of the weights that ship with the package."""
    return Path(__file__).resolve().parent / "weights"


def weights_file(name: str) -> Path:
    """Return the path of weights given as a path, or by the name of a model that ships.

    ``compact`` is the better one of the compact models, see `DEFAULT_WEIGHTS`.

    Raises:
        FeatDepthError: neither a file nor a known name.
    """
    path = Path(name).expanduser()
    if path.is_file():
        return path
    shipped = {p.stem: p for p in weights_dir().glob("*.safetensors")}
    if DEFAULT_WEIGHTS in shipped:
        shipped["compact"] = shipped[DEFAULT_WEIGHTS]
    if name in shipped:
        return shipped[name]
    raise FeatDepthError(
        f"no weights at '{name}': neither a file nor the name of a model that ships{nearest_name(name, shipped)}"
    )
