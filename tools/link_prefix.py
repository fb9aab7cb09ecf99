"""Link this source tree's ``share/`` and ``lib/`` files into the prefix of the running virtual environment.

An editable pip install brings no data files, so ``ros2 launch`` and ``ros2 run`` would not find the package. The
links are what ``colcon build --symlink-install`` makes; running this again refreshes them.

usage: .venv/bin/python tools/link_prefix.py
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

PACKAGE = "featdepth_ros"
ROOT = Path(__file__).resolve().parents[1]


def links(prefix: Path) -> dict[Path, Path]:
    """Return link -> file or folder of the source tree."""
    share = prefix / "share" / PACKAGE
    return {
        prefix / "share/ament_index/resource_index/packages" / PACKAGE: ROOT / "resource" / PACKAGE,
        share / "package.xml": ROOT / "package.xml",
        share / "launch": ROOT / "launch",
        share / "config": ROOT / "config",
        prefix / "lib" / PACKAGE / "depth_node": ROOT / "resource" / "depth_node",
    }


def main() -> None:
    """Make the links, in the place of whatever an earlier install left there."""
    if sys.prefix == sys.base_prefix:
        sys.exit("run this with the Python of a virtual environment")
    for link, target in links(Path(sys.prefix)).items():
        if not target.exists():
            sys.exit(f"{target} is missing from the source tree")
        link.parent.mkdir(parents=True, exist_ok=True)
        if link.is_dir() and not link.is_symlink():
            shutil.rmtree(link)
        elif link.exists() or link.is_symlink():
            link.unlink()
        link.symlink_to(target)


if __name__ == "__main__":
    main()
