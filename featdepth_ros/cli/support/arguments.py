"""What the values of flags may be: a wrong one ends with the verb's usage and exit code 2."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable
from typing import Any


def with_example(example: str) -> dict[str, Any]:
    """Return what a parser of a verb's part takes so that its help ends with an example, as a verb's own does."""
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
        raise argparse.ArgumentTypeError(f"'{text}' is not a number above 0")
    return value


def not_negative(text: str) -> float:
    """Read a finite number from 0 on."""
    value = _number(text)
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number from 0 on")
    return value


def whole(least: int) -> Callable[[str], int]:
    """Return a reader of whole numbers from ``least`` on, up to nine digits."""

    def read(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", text) or int(text) < least:
            raise argparse.ArgumentTypeError(f"'{text}' is no whole number from {least} on")
        return int(text)

    return read


def part_or_whole(text: str) -> int | tuple[int, int]:
    """Read ``A:B`` as (A, B), a half-open range of frames with A below B, or a whole number from 1 on."""
    if ":" not in text:
        return whole(1)(text)
    match = re.fullmatch(r"([0-9]{0,9}):([0-9]{1,9})", text)
    first, end = (int(match[1] or 0), int(match[2])) if match else (0, 0)
    if not first < end:
        raise argparse.ArgumentTypeError(f"'{text}' is no part of a recording; expected A:B, from A up to before B")
    return first, end


def one_of_or_positive(*words: str) -> Callable[[str], str | float]:
    """Return a reader of one of some words or a finite number above 0."""

    def read(text: str) -> str | float:
        return text if text in words else positive(text)

    return read


def image_size(text: str) -> tuple[int, int]:
    """Read ``HxW`` as (height, width), pixels, at least 16 each."""
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text.lower())
    if not match or min(map(int, match.groups())) < 16:
        raise argparse.ArgumentTypeError(f"'{text}' is no size; expected HxW, for instance 192x640, at least 16 each")
    return int(match[1]), int(match[2])


def topic_name(text: str) -> str:
    """Read the name of a ROS topic: words of letters, digits and ``_`` with ``/`` between, none led by a digit."""
    if not re.fullmatch(r"/?[A-Za-z_][A-Za-z0-9_]*(/[A-Za-z_][A-Za-z0-9_]*)*", text):
        raise argparse.ArgumentTypeError(f"'{text}' is no topic name; expected such as /camera/image_raw")
    return text


def lengths(text: str) -> tuple[float, ...]:
    """Read ``10,20,50``, metres above 0."""
    try:
        values = tuple(float(word) for word in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"'{text}' is no list of metres such as 10,20,50") from error
    if not all(0 < value < float("inf") for value in values):
        raise argparse.ArgumentTypeError(f"'{text}' holds a length that is not above 0 m")
    return values


def add_stereo_recording(parser: argparse.ArgumentParser, stereo: str) -> None:
    """Declare how INPUT is read, its stereo partner included; ``stereo`` says what --stereo does with the partner."""
    parser.add_argument("--topic", metavar="T", help="image topic of a bag, camera of a data set with several")
    parser.add_argument(
        "--camera", metavar="FILE|fx,fy,cx,cy", help="calibration file, or intrinsics in pixels of the input"
    )
    parser.add_argument("--stereo", nargs="?", const="auto", metavar="PARTNER", help=stereo)
    parser.add_argument("--partner-camera", metavar="FILE", help="calibration of the stereo partner")
    parser.add_argument("--rate", type=positive, metavar="HZ", help="frames per second of inputs without stamps (10)")
