"""Name what this machine lacks for `make demo` and `make test`, before anything is installed.

usage: python3 tools/check_machine.py --ros wheels|sourced
"""

from __future__ import print_function

import argparse
import os
import platform
import shutil
import sys
import sysconfig

# This file alone must run on the oldest Python 3, to say that it is too old.
OLDEST = (3, 10)
NEWEST_WITH_WHEELS = (3, 14)
FREE_GIB = 4


def version(pair):
    return "%d.%d" % tuple(pair[:2])


def module_problems():
    missing = []
    for name in ("venv", "ensurepip"):
        try:
            __import__(name)
        except ImportError:
            missing.append("the Python module '%s' (Debian, Ubuntu: apt install python3-venv)" % name)
    return missing


def wheel_problems():
    """Return what stands against the ROS 2 wheels and the build of tf2_msgs against them."""
    problems = []
    if sys.version_info[:2] > NEWEST_WITH_WHEELS:
        problems.append(
            "a Python up to %s: the ROS 2 wheels have none for %s (name one: make demo PYTHON=python3.12)"
            % (version(NEWEST_WITH_WHEELS), version(sys.version_info))
        )
    if sys.platform != "linux" or platform.machine() != "x86_64":
        problems.append(
            "Linux on x86_64, for the ROS 2 wheels; this is %s on %s. On other machines install ROS 2, source it, and "
            "run make again" % (sys.platform, platform.machine())
        )
    elif platform.libc_ver()[0] != "glibc":
        problems.append("a Linux with glibc (2.28 or later), for the ROS 2 wheels")
    header = os.path.join(sysconfig.get_paths()["include"], "Python.h")
    if not os.path.isfile(header):
        problems.append("the Python headers, %s (Debian, Ubuntu: apt install python3-dev)" % header)
    if shutil.which("g++") is None:
        problems.append("the C++ compiler g++ (Debian, Ubuntu: apt install g++)")
    return problems


def found_problems(ros):
    if sys.version_info[:2] < OLDEST:
        return [
            "Python %s or later; %s is %s (name a newer one: make demo PYTHON=python3.12)"
            % (version(OLDEST), sys.executable, version(sys.version_info))
        ]
    problems = module_problems()
    if ros == "wheels":
        problems += wheel_problems()
        if os.environ.get("ROS_DISTRO"):
            problems.append(
                "a Python that can import rclpy: ROS 2 %s is sourced, but %s cannot (use that ROS's own: "
                "make demo PYTHON=/usr/bin/python3, or a shell in which no ROS is sourced)"
                % (os.environ["ROS_DISTRO"], sys.executable)
            )
    free_gib = shutil.disk_usage(os.path.dirname(os.path.abspath(__file__))).free / 2.0**30
    if free_gib < FREE_GIB:
        problems.append("%d GiB of free disk; %.1f GiB are free here" % (FREE_GIB, free_gib))
    return problems


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ros", choices=["wheels", "sourced"], required=True)
    problems = found_problems(parser.parse_args().ros)
    if problems:
        sys.exit("\n".join(["this machine lacks:"] + ["  - " + problem for problem in problems]))


if __name__ == "__main__":
    main()
