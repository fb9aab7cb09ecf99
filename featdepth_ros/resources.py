"""Locations of the package's own files, for all ways to install it.

In a source tree (``pip install -e .``, ``colcon build --symlink-install``), `config/`, `launch/` and `docs/` are beside
the package. After an installation (``pip install .``, ``colcon build``) they are in ``<prefix>/share/featdepth_ros``.
Weights are package data. All other modules use this one to find such files.
"""

from __future__ import annotations

import os
import site
import sys
from collections.abc import Iterator
from pathlib import Path

from featdepth_ros.errors import FeatDepthError, nearest_name

PACKAGE = "featdepth_ros"
#: The weights that the name ``compact`` stands for. Their licence is printed when they are loaded.
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
    """Return the folder with ``package.xml``, ``config/`` and ``launch/``.

    Raises:
        FeatDepthError: the folder was not found; the message lists the searched folders.
    """
    sought: list[str] = []
    for candidate in _share_candidates():
        if (candidate / "package.xml").is_file() and (candidate / "config").is_dir():
            return candidate
        sought.append(str(candidate))
    raise FeatDepthError(
        f"the shared files of {PACKAGE} (package.xml, config/) were not found; searched in: {', '.join(sought)}; "
        "install the package again with pip or colcon"
    )


def config_file(name: str) -> Path:
    """Return ``config/<name>``, for instance ``depth.yaml`` or ``train/kitti_fm.yaml``.

    Raises:
        FeatDepthError: the file does not exist; the message names the most similar one.
    """
    folder = share_dir() / "config"
    path = folder / name
    if not path.is_file():
        known = [p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()]
        raise FeatDepthError(f"there is no configuration file '{name}' in {folder}{nearest_name(name, known)}")
    return path


def weights_dir() -> Path:
    """Return the folder of the shipped weights."""
    return Path(__file__).resolve().parent / "weights"


def weights_file(name: str) -> Path:
    """Return the path of weights, given as a path or by the name of a shipped model.

    ``compact`` is the better of the compact models, see `DEFAULT_WEIGHTS`.

    Raises:
        FeatDepthError: ``name`` is neither a file nor a known name.
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
        f"no weights at '{name}': it is neither a file nor the name of a shipped model{nearest_name(name, shipped)}"
    )
