"""``featdepth eval recording``."""

from __future__ import annotations

import argparse

DESCRIPTION = """\
Judge a recording of the node: depth, odometry, rate, latency and drops, against whatever truth the bag holds.
"""
EXAMPLE = """\
  featdepth eval recording out/bag --html report.html --json figures.json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the verb's flags."""
    parser.add_argument("bag", metavar="BAG", help="ROS 1 or ROS 2 bag")


def run(args: argparse.Namespace) -> int:
    """Evaluate, print, and write what was asked for."""
    return 0
