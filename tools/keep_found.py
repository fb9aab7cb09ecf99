"""Print pip constraints that keep the packages a sourced ROS brings, at the versions found.

A ROS distribution's messages and cv_bridge are compiled against its own numpy and OpenCV; pip must not put newer ones
before them. The pins of constraints.txt are for machines without a ROS; here everything else goes by setup.py's ranges.

usage: .venv/bin/python tools/keep_found.py > FILE   (in a venv with --system-site-packages)
"""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path

KEEP = ("numpy", "torch", "PyYAML", "matplotlib", "scipy", "opencv-python", "opencv-python-headless")


def main() -> None:
    """Print one pin for each package of KEEP that lies outside this virtual environment."""
    own = Path(sys.prefix).resolve()
    print("setuptools<80")
    for name in KEEP:
        try:
            found = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        if own not in Path(str(found.locate_file(""))).resolve().parents:
            print(f"{name}=={found.version}")


if __name__ == "__main__":
    main()
