"""Print pip constraints that keep the packages of a sourced ROS at their installed versions.

The messages and cv_bridge of a ROS distribution are compiled against its own numpy and OpenCV, so pip must not install
newer versions over them. The pins of constraints.txt are for machines without ROS. With ROS, all other packages follow
the version ranges of setup.py.

usage: .venv/bin/python tools/keep_found.py > FILE   (in a venv with --system-site-packages)
"""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path

PINS = Path(__file__).resolve().parent / "constraints.txt"
#: Pinned on every machine, to avoid a build of torch that needs CUDA, and a setuptools that colcon cannot use.
CARRY = {"torch", "setuptools"}
KEEP = ("numpy", "torch", "PyYAML", "matplotlib", "scipy", "opencv-python", "opencv-python-headless")


def main() -> None:
    """Print one pin for each package of KEEP that lies outside this virtual environment."""
    own = Path(sys.prefix).resolve()
    pins = PINS.read_text(encoding="utf-8").splitlines()
    versions = {}
    for name in KEEP:
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        if own not in Path(str(distribution.locate_file(""))).resolve().parents:
            versions[name] = f"{name}=={distribution.version}"
    carried = (line for line in pins if line.partition("==")[0] in CARRY and line.partition("==")[0] not in versions)
    print("\n".join([*versions.values(), *carried]))


if __name__ == "__main__":
    main()
