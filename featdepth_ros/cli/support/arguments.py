"""Argument types for argparse. A wrong value ends with the verb's usage and exit code 2."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable
from typing import Any


def with_example(example: str) -> dict[str, Any]:
    """Return keyword arguments of ``add_parser`` that put an example at the end of the help."""
    return {"epilog": f"example:\n  {example}", "formatter_class": argparse.RawDescriptionHelpFormatter}


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def positive(text: str) -> float:
    """Read a finite number above 0."""
    value = _number(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"'{text}' is not a finite number above 0")
    return value


def not_negative(text: str) -> float:
    """Read a finite number that is at least 0."""
    value = _number(text)
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"'{text}' is not a finite number of at least 0")
    return value


def whole(least: int) -> Callable[[str], int]:
    """Return a reader of whole numbers of at least ``least`` and at most nine digits."""

    def read(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", text) or int(text) < least:
            raise argparse.ArgumentTypeError(f"'{text}' is not a whole number of at least {least}")
        return int(text)

    return read


def part_or_whole(text: str) -> int | tuple[int, int]:
    """Read ``A:B`` as (A, B), a half-open range of frames with A below B, or a whole number of at least 1."""
    if ":" not in text:
        return whole(1)(text)
    match = re.fullmatch(r"([0-9]{0,9}):([0-9]{1,9})", text)
    first, end = (int(match[1] or 0), int(match[2])) if match else (0, 0)
    if not first < end:
        raise argparse.ArgumentTypeError(f"'{text}' is not a range of frames; expected A:B with A below B")
    return first, end


def one_of_or_positive(*words: str) -> Callable[[str], str | float]:
    """Return a reader of one of ``words`` or of a finite number above 0."""

    def read(text: str) -> str | float:
        return text if text in words else positive(text)

    return read


def image_size(text: str) -> tuple[int, int]:
    """Read ``HxW`` as (height, width), pixels, at least 16 each."""
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text.lower())
    if not match or min(map(int, match.groups())) < 16:
        raise argparse.ArgumentTypeError(f"'{text}' is not a size; expected HxW such as 192x640, at least 16 each")
    return int(match[1]), int(match[2])


def topic_name(text: str) -> str:
    """Read the name of a ROS topic: parts of letters, digits and ``_`` between slashes, none begins with a digit."""
    if not re.fullmatch(r"/?[A-Za-z_][A-Za-z0-9_]*(/[A-Za-z_][A-Za-z0-9_]*)*", text):
        raise argparse.ArgumentTypeError(f"'{text}' is not a topic name; expected one such as /camera/image_raw")
    return text


def lengths(text: str) -> tuple[float, ...]:
    """Read lengths such as ``10,20,50``: metres, all above 0."""
    try:
        values = tuple(float(word) for word in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"'{text}' is not a list of metres; expected one such as 10,20,50") from error
    if not all(0 < value < float("inf") for value in values):
        raise argparse.ArgumentTypeError(f"'{text}' contains a length that is not above 0; expected finite metres")
    return values


def add_stereo_recording(parser: argparse.ArgumentParser, stereo: str) -> None:
    """Declare the flags that say how INPUT and its stereo partner are read; ``stereo`` is the help of --stereo."""
    parser.add_argument("--topic", metavar="T", help="image topic of a bag, or camera of a dataset, that has several")
    parser.add_argument(
        "--camera", metavar="FILE|fx,fy,cx,cy", help="calibration file, or intrinsics in pixels of the input"
    )
    parser.add_argument("--stereo", nargs="?", const="auto", metavar="PARTNER", help=stereo)
    parser.add_argument("--partner-camera", metavar="FILE", help="calibration of the stereo partner")
    parser.add_argument("--rate", type=positive, metavar="HZ", help="frames per second of inputs without stamps (10)")
