"""Compile ``tf2_msgs/msg/TFMessage`` into the virtual environment that runs this file.

The ROS 2 wheels on PyPI contain everything that a node needs except ``tf2_msgs``. This script builds the message from
``tf2_msgs/`` beside this file with CMake, Ninja and g++, against the headers and generators of the wheels. It installs
the message into the environment, which is a merged ament prefix. If the message can already be imported, it does
nothing.

usage: .venv/bin/python tools/bare_ros/build_tf2_msgs.py [--force]
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

SOURCE = Path(__file__).resolve().parent / "tf2_msgs"

#: Check of import, type support and (de)serialisation in a new interpreter, which detects an incomplete build.
CHECK = """
from geometry_msgs.msg import TransformStamped
from rclpy.serialization import deserialize_message, serialize_message
from tf2_msgs.msg import TFMessage

message = TFMessage(transforms=[TransformStamped(child_frame_id="base_link")])
assert deserialize_message(serialize_message(message), TFMessage) == message
"""


def works() -> bool:
    """Return whether TFMessage can be imported and serialised in this environment."""
    return subprocess.run([sys.executable, "-c", CHECK], capture_output=True, check=False).returncode == 0


def repair_exports(prefix: Path) -> int:
    """Point the wheels' exported CMake targets to the Python and numpy headers of this machine.

    The exports hold the include folders of the container that built the wheels (``/opt/python/cp3XX-cp3XX/...``).
    Returns the number of changed files.
    """
    import numpy

    python_include = sysconfig.get_path("include")
    replacements = [
        (re.compile(r'/opt/python/[^";]*/site-packages/numpy/_?core/include'), numpy.get_include()),
        (re.compile(r'/opt/python/[^";]*/include/python3\.\d+'), python_include),
    ]
    changed = 0
    for path in sorted(prefix.glob("share/*/cmake/*Export.cmake")):
        text = original = path.read_text(encoding="utf-8")
        for pattern, replacement in replacements:
            text = pattern.sub(lambda _, replacement=replacement: replacement, text)
        if text != original:
            path.write_text(text, encoding="utf-8")
            changed += 1
    return changed


def build(prefix: Path) -> None:
    """Configure, compile and install the message package into ``prefix``."""
    environment = dict(
        os.environ,
        PATH=os.pathsep.join([str(prefix / "bin"), os.environ.get("PATH", "")]),
        AMENT_PREFIX_PATH=str(prefix),
        CMAKE_PREFIX_PATH=str(prefix),
    )
    with tempfile.TemporaryDirectory(prefix="featdepth_tf2_msgs_") as folder:
        configure = ["cmake", "-S", str(SOURCE), "-B", folder, "-G", "Ninja"]
        configure += ["-DCMAKE_BUILD_TYPE=Release", "-DBUILD_TESTING=OFF", f"-DCMAKE_INSTALL_PREFIX={prefix}"]
        configure += [f"-DPython3_EXECUTABLE={sys.executable}", f"-DPYTHON_EXECUTABLE={sys.executable}"]
        # The wheels' packages are older than CMake 4, which rejects policies below 3.5 without this option.
        configure += ["-DPython3_FIND_VIRTUALENV=ONLY", "-DCMAKE_POLICY_VERSION_MINIMUM=3.5"]
        for command in (configure, ["cmake", "--build", folder], ["cmake", "--install", folder]):
            result = subprocess.run(
                command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
            )
            if result.returncode != 0:
                sys.exit(f"{result.stdout}\nbuilding tf2_msgs failed at: {' '.join(command)}")


def main() -> None:
    """Build tf2_msgs, unless it already works."""
    parser = argparse.ArgumentParser(description="Compile tf2_msgs into this virtual environment.")
    parser.add_argument("--force", action="store_true", help="build even if tf2_msgs already works")
    if not parser.parse_args().force and works():
        print("tf2_msgs already works")
        return
    prefix = Path(sys.prefix)
    if sys.prefix == sys.base_prefix:
        sys.exit(
            f"{sys.executable} is not the Python of a virtual environment, into which this script installs; run it "
            "with .venv/bin/python"
        )
    repaired = repair_exports(prefix)
    print(f"building tf2_msgs ({repaired} CMake exports repaired) ...", flush=True)
    build(prefix)
    if not works():
        sys.exit(
            "tf2_msgs was built but cannot be imported or serialised; see the output above and run again with --force"
        )
    print(f"tf2_msgs installed into {prefix}")


if __name__ == "__main__":
    main()
