"""Values of flags: what is read, what is refused, and that a refusal is wrong usage."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import pytest

from featdepth_ros.cli import infer
from featdepth_ros.cli.main import main
from featdepth_ros.cli.support import arguments, simulation_options
from featdepth_ros.inference.options import OPTIONS


@pytest.mark.parametrize(
    ("read", "text", "value"),
    [
        (arguments.positive, "2.5", 2.5),
        (arguments.not_negative, "0", 0.0),
        (arguments.whole(1), "12", 12),
        (arguments.whole(0), "0", 0),
        (arguments.image_size, "192x640", (192, 640)),
        (arguments.image_size, "192X640", (192, 640)),
        (arguments.one_of_or_positive("none", "median"), "median", "median"),
        (arguments.one_of_or_positive("none", "median"), "36", 36.0),
        (arguments.topic_name, "/camera/image_raw", "/camera/image_raw"),
        (arguments.topic_name, "image_raw", "image_raw"),
        (simulation_options.fault, "dark:50-60", ("dark", (50, 60))),
        (simulation_options.fault, "blur:100-120:25", ("blur", (100, 120, 25))),
        (simulation_options.fault, "cut:150:2.5", ("cut", (150, 2.5))),
        (simulation_options.stretches, "2-4,8-10.5", ((2.0, 4.0), (8.0, 10.5))),
        (simulation_options.three_numbers, "0.1,-2,0", (0.1, -2.0, 0.0)),
    ],
)
def test_good_values(read: Callable[[str], Any], text: str, value: Any) -> None:
    assert read(text) == value


@pytest.mark.parametrize(
    ("read", "texts"),
    [
        (arguments.positive, ["0", "-1", "nan", "inf", "many", ""]),
        (arguments.not_negative, ["-0.1", "nan", "inf", "x"]),
        (arguments.whole(1), ["0", "-3", "1.5", "x", "", "10000000000"]),
        (arguments.image_size, ["192", "0x0", "-1x5", "8x640", "192x", "axb", "192x640x3"]),
        (arguments.one_of_or_positive("none"), ["some", "nan", "0"]),
        (arguments.topic_name, ["", "/", "a b", "/a//b", "/a/", "/1a", "a!"]),
        (simulation_options.fault, ["", "dark", "dark:5", "dusk:1-2", "blur:1-2", "exposure:1-2:.", "cut:5"]),
        (simulation_options.stretches, ["", "2", "2-", "4-5,", "a-b"]),
        (simulation_options.three_numbers, ["", "1,2", "1,2,x", "1,2,nan"]),
    ],
)
def test_bad_values(read: Callable[[str], Any], texts: list[str]) -> None:
    for text in texts:
        with pytest.raises(argparse.ArgumentTypeError, match=r"expected|number"):
            read(text)


@pytest.mark.parametrize(
    "line",
    [
        ["infer", "x", "--output", "y", "--rate", "nan"],
        ["infer", "x", "--output", "y", "--input-size", "33x64"],
        ["infer", "x", "--output", "y", "--min-depth", "90"],
        ["infer", "x", "--output", "y", "--camera-height", "101"],
        ["infer", "x", "--output", "y", "--scale-factor", "nan"],
        ["simulate", "--output", "y", "--frames", "0"],
        ["simulate", "--output", "y", "--seed", "-1"],
        ["prepare", "x", "--output", "y", "--frames", "0"],
        ["eval", "depth", "--pred", "x", "--gt", "y", "--scale", "nan"],
        ["eval", "recording", "x", "--cap", "-1"],
        ["play", "x", "--image-topic", "no topic"],
        ["record", "--output", "y", "--topics", "no topic"],
    ],
)
def test_they_are_wrong_usage(line: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(line)
    assert stopped.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_the_flags_of_infer_are_the_estimators_options() -> None:
    parser = argparse.ArgumentParser()
    infer.add_arguments(parser)
    parsed = vars(parser.parse_args(["x", "--output", "y"]))
    shared = {name: option.default for name, option in OPTIONS.items() if name in parsed}
    assert {name: parsed[name] for name in shared} == shared
    assert set(OPTIONS) - set(shared) == {
        "input_height",
        "input_width",
        "output_size",
        "focal_compensation",
        "estimate_motion",
        "standing_gate",
        "max_gap_s",
    }
    flags = {flag for action in parser._actions for flag in action.option_strings}
    assert flags >= {"--weights", "--preset", "--device", "--precision", "--motion", "--scale", "--scale-factor"}
    assert flags >= {"--camera-height", "--min-depth", "--max-depth"}
    assert parser.parse_args(["x", "--output", "y", "--camera-height", "1.2"]).camera_height_m == 1.2
