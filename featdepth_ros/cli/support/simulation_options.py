"""Flags of ``featdepth simulate`` for traffic, motion, faults of the camera and other sensors."""

from __future__ import annotations

import argparse
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from featdepth_ros.cli.support.arguments import not_negative, positive
from featdepth_ros.errors import ConfigError

if TYPE_CHECKING:
    from featdepth_ros.simulation import Faults, Motion
    from featdepth_ros.simulation.sensors import GyroscopeStyle, TwistStyle

MOTIONS = ("path", "turn", "turn-all-axes", "stop-and-go")
#: For each kind of fault: the pattern after the colon, and an example.
FAULTS: dict[str, tuple[str, str]] = {
    "dark": (r"(\d+)-(\d+)", "dark:50-60"),
    "blur": (r"(\d+)-(\d+):(\d+)", "blur:100-120:25 (pixels)"),
    "exposure": (r"(\d+)-(\d+):(\d*\.?\d+)", "exposure:30-40:0.4 (factor)"),
    "frozen": (r"(\d+)-(\d+)", "frozen:30-34"),
    "cut": (r"(\d+):(\d*\.?\d+)", "cut:150:20 (seconds)"),
}


def fault(text: str) -> tuple[str, tuple[float, ...]]:
    """Read one fault such as ``dark:50-60``: its kind and its numbers."""
    kind, _, rest = text.partition(":")
    match = re.fullmatch(FAULTS[kind][0], rest) if kind in FAULTS else None
    if match is None:
        examples = ", ".join(example for _, example in FAULTS.values())
        raise argparse.ArgumentTypeError(f"'{text}' is not a fault; expected one such as {examples}")
    return kind, tuple(float(number) if "." in number else int(number) for number in match.groups())


def stretches(text: str) -> tuple[tuple[float, float], ...]:
    """Read intervals of time such as ``2-4,8-10.5``, seconds."""
    number = r"(\d+\.?\d*)"
    matches = [re.fullmatch(f"{number}-{number}", word) for word in text.split(",")]
    if not all(matches):
        raise argparse.ArgumentTypeError(f"'{text}' is not a list of intervals; expected such as 2-4,8-10 (seconds)")
    return tuple((float(match[1]), float(match[2])) for match in matches if match)


def three_numbers(text: str) -> tuple[float, float, float]:
    """Read ``x,y,z``."""
    try:
        x, y, z = (float(word) for word in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"'{text}' is not three numbers; expected such as 0.01,-0.02,0") from error
    if not all(math.isfinite(value) for value in (x, y, z)):
        raise argparse.ArgumentTypeError(f"'{text}' is not three finite numbers; expected such as 0.01,0,0")
    return x, y, z


def add_world_options(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of traffic, motion, shutter and faults."""
    world = parser.add_argument_group("world and camera")
    world.add_argument("--traffic", metavar="KIND",
                       help="vehicles on the road: flow (along and against) or jam (lorries alongside)")  # fmt: skip
    world.add_argument(
        "--moving", type=Path, metavar="DIR", help="write masks of moving vehicles: DIR/<frame>.png, 0 or 255"
    )
    world.add_argument("--motion", choices=MOTIONS, default="path",
                       help="path: the scene's own (default); turn: on the spot; turn-all-axes: on the spot, to and "
                            "fro; stop-and-go")  # fmt: skip
    world.add_argument("--turn-rate", type=positive, default=0.5, metavar="RAD/S", help="turn rate (default: 0.5)")
    world.add_argument("--stand", type=stretches, metavar="S-S[,S-S]", help="stand still in these intervals of seconds")
    world.add_argument("--rolling-shutter", type=not_negative, default=0.0, metavar="S",
                       help="seconds from first to last row; stamp and truth belong to the middle row")  # fmt: skip
    examples = ", ".join(example for _, example in FAULTS.values())
    world.add_argument("--fault", type=fault, action="append", default=[], metavar="KIND:...",
                       help=f"fault of single frames, which are counted from 0; repeatable: {examples}")  # fmt: skip


def add_sensor_options(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of other sensors, which only bags can hold."""
    group = parser.add_argument_group("other sensors (bag and mcap)")
    group.add_argument("--twist", nargs="?", const="odometry", choices=("odometry", "stamped"),
                       help="velocity on /wheel/odom (Odometry, default) or /wheel/twist (TwistStamped)")  # fmt: skip
    group.add_argument(
        "--twist-rate", type=positive, default=50.0, metavar="HZ", help="messages per second (default: 50)"
    )
    group.add_argument(
        "--twist-noise", type=not_negative, default=0.0, metavar="M/S", help="standard deviation (default: 0)"
    )
    group.add_argument(
        "--twist-scale", type=positive, default=1.0, metavar="FACTOR", help="factor on the velocity (default: 1)"
    )
    group.add_argument("--imu", action="store_true", help="gyroscope on /imu/data (Imu, frame imu_link)")
    group.add_argument(
        "--imu-rate", type=positive, default=200.0, metavar="HZ", help="messages per second (default: 200)"
    )
    group.add_argument(
        "--imu-noise", type=not_negative, default=0.0, metavar="RAD/S", help="standard deviation (default: 0)"
    )
    group.add_argument("--imu-bias", type=three_numbers, default=(0.0, 0.0, 0.0), metavar="X,Y,Z",
                       help="constant error, rad/s (default: 0,0,0)")  # fmt: skip
    group.add_argument("--imu-mounting", type=three_numbers, default=(0.0, 0.0, 0.0), metavar="YAW,PITCH,ROLL",
                       help="orientation of imu_link on base_link, rad (default: 0,0,0)")  # fmt: skip


def motion_of(args: argparse.Namespace) -> Motion:
    """Return the motion of the camera that the flags describe.

    Raises:
        ConfigError: --stand is given with stop-and-go.
    """
    from featdepth_ros.simulation import Motion, TurnStyle, stop_and_go

    if args.motion == "stop-and-go":
        if args.stand:
            raise ConfigError("--motion stop-and-go chooses its own stops; leave out --stand")
        return stop_and_go(args.frames / args.rate, args.seed)
    turn = TurnStyle(args.turn_rate, args.motion == "turn-all-axes") if args.motion.startswith("turn") else None
    return Motion(turn=turn, stands=args.stand or ())


def faults_of(args: argparse.Namespace) -> Faults:
    """Return the faults that the flags describe.

    Raises:
        ConfigError: a kind is given twice.
    """
    from featdepth_ros.simulation import Faults

    kinds: dict[str, Any] = dict(args.fault)
    if len(kinds) < len(args.fault):
        raise ConfigError("--fault names a kind twice; give each kind once")
    return Faults(**kinds, seed=args.seed)


def sensors_of(args: argparse.Namespace) -> tuple[TwistStyle | None, GyroscopeStyle | None]:
    """Return twist and gyroscope as the flags describe them; None for a sensor that is not wanted.

    Raises:
        ConfigError: the format of the recording cannot hold other sensors.
    """
    from featdepth_ros.simulation.sensors import GyroscopeStyle, TwistStyle

    if (args.twist or args.imu) and args.format not in ("bag", "mcap"):
        raise ConfigError(f"--format is {args.format}, which cannot hold --twist and --imu; choose bag or mcap")
    twist = TwistStyle(args.twist_rate, args.twist, args.twist_noise, scale=args.twist_scale) if args.twist else None
    gyro = GyroscopeStyle(args.imu_rate, args.imu_noise, args.imu_bias, args.imu_mounting) if args.imu else None
    return twist, gyro
