"""List what this machine lacks for `make demo` and `make test`, before anything is installed.

usage: python3 tools/check_machine.py --ros wheels|sourced
"""

import argparse
import os
import platform
import shutil
import sys
import sysconfig

# This file must run on an unsupported Python in order to report it, so it uses no syntax newer than Python 3.6.
OLDEST = (3, 10)
NEWEST_WITH_WHEELS = (3, 14)
FREE_GIB = 4


def version(pair):
    return f"{pair[0]}.{pair[1]}"


def module_problems():
    missing = []
    for name in ("venv", "ensurepip"):
        try:
            __import__(name)
        except ImportError:
            missing.append(f"the Python module '{name}' (Debian, Ubuntu: apt install python3-venv)")
    return missing


def wheel_problems():
    """Return the problems with installing the ROS 2 wheels and with building tf2_msgs."""
    problems = []
    if sys.version_info[:2] > NEWEST_WITH_WHEELS:
        problems.append(
            f"a Python up to {version(NEWEST_WITH_WHEELS)}: there are no ROS 2 wheels for "
            f"{version(sys.version_info)} (choose another Python: make demo PYTHON=python3.12)"
        )
    if sys.platform != "linux" or platform.machine() != "x86_64":
        problems.append(
            f"Linux on x86_64, for the ROS 2 wheels; this is {sys.platform} on {platform.machine()}. On other machines "
            "install ROS 2, source it, and run make again"
        )
    elif platform.libc_ver()[0] != "glibc":
        problems.append("a Linux with glibc (2.28 or later), for the ROS 2 wheels")
    header = os.path.join(sysconfig.get_paths()["include"], "Python.h")
    if not os.path.isfile(header):
        problems.append(f"the Python headers, {header} (Debian, Ubuntu: apt install python3-dev)")
    if shutil.which("g++") is None:
        problems.append("the C++ compiler g++ (Debian, Ubuntu: apt install g++)")
    return problems


def found_problems(ros):
    if sys.version_info[:2] < OLDEST:
        return [
            f"Python {version(OLDEST)} or later; {sys.executable} is {version(sys.version_info)} (choose a newer one: "
            "make demo PYTHON=python3.12)"
        ]
    problems = module_problems()
    if ros == "wheels":
        problems += wheel_problems()
        if os.environ.get("ROS_DISTRO"):
            problems.append(
                f"a Python that can import rclpy: ROS 2 {os.environ['ROS_DISTRO']} is sourced, but {sys.executable} "
                "cannot import it (use the Python of that ROS: make demo PYTHON=/usr/bin/python3, or a shell in which "
                "no ROS is sourced)"
            )
    free_gib = shutil.disk_usage(os.path.dirname(os.path.abspath(__file__))).free / 2.0**30
    if free_gib < FREE_GIB:
        problems.append(f"{FREE_GIB} GiB of free disk space; only {free_gib:.1f} GiB are free")
    return problems


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ros", choices=["wheels", "sourced"], required=True)
    problems = found_problems(parser.parse_args().ros)
    if problems:
        sys.exit("\n".join(["this machine lacks:"] + [f"  - {problem}" for problem in problems]))


if __name__ == "__main__":
    main()
