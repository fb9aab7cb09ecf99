"""Link this source tree's ``share/`` and ``lib/`` files into the prefix of the running virtual environment.

An editable pip install has no data files, so ``ros2 launch`` and ``ros2 run`` would not find the package. The links are
the same as those of ``colcon build --symlink-install``. Run this script again to update them.

usage: .venv/bin/python tools/link_prefix.py
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

PACKAGE = "featdepth_ros"
ROOT = Path(__file__).resolve().parents[1]


def links(prefix: Path) -> dict[Path, Path]:
    """Return the file of the source tree for each link. Only files are linked: `ros2 launch` ignores linked folders."""
    share = prefix / "share" / PACKAGE
    targets = {
        prefix / "share" / "ament_index" / "resource_index" / "packages" / PACKAGE: ROOT / "resource" / PACKAGE,
        **{prefix / "lib" / PACKAGE / name: ROOT / "resource" / name for name in ("depth_node", "refine_node")},
        share / "package.xml": ROOT / "package.xml",
    }
    for folder in ("launch", "config"):
        files = (path for path in (ROOT / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts)
        targets.update({share / path.relative_to(ROOT): path for path in files})
    return targets


def main() -> None:
    """Create the links, and replace files of an earlier installation."""
    if sys.prefix == sys.base_prefix:
        sys.exit(f"{sys.executable} is not the Python of a virtual environment; run this script with .venv/bin/python")
    prefix = Path(sys.prefix)
    for folder in (prefix / "share" / PACKAGE, prefix / "lib" / PACKAGE):
        shutil.rmtree(folder, ignore_errors=True)
    for link, target in links(prefix).items():
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(target)


if __name__ == "__main__":
    main()
