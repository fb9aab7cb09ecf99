"""``featdepth simulate``: render a recording with known depth, motion, calibration and stamps."""

from __future__ import annotations

import argparse
import sqlite3
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from featdepth_ros.cli.support.arguments import image_size, positive, whole
from featdepth_ros.cli.support.simulation_options import (
    add_sensor_options,
    add_world_options,
    faults_of,
    motion_of,
    sensors_of,
)
from featdepth_ros.errors import ConfigError, RecordingError

if TYPE_CHECKING:
    from featdepth_ros.geometry.cameras import CameraModel, DistortionModel
    from featdepth_ros.recordings.frame import Frame
    from featdepth_ros.simulation import Simulation

DESCRIPTION = "Render a recording with true depth and motion, as a ROS 2 bag or a KITTI or EuRoC folder."
EXAMPLE = "  featdepth simulate --scene street --frames 100 --output drive        # a ROS 2 bag\n" + (
    "  featdepth simulate --scene room --rate 20 --stereo --format euroc --output room\n"
    "  featdepth simulate --scene highway --traffic jam --rolling-shutter 0.02 --twist --imu --output jam"
)

#: Distortion coefficients of a lens with a visible but common distortion.
DISTORTIONS: dict[str, tuple[float, ...]] = {
    "none": (),
    "plumb_bob": (-0.16, 0.03, 0.0004, -0.0003, 0.0),
    "equidistant": (-0.012, 0.006, -0.004, 0.0008),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("--output", required=True, type=Path, metavar="PATH", help="bag or folder to create")
    scenes = "street, avenue, lane, highway, room, textureless (a room), corridor or clutter (default: street)"
    parser.add_argument("--scene", default="street", help=scenes)
    parser.add_argument("--frames", type=whole(1), default=100, metavar="N", help="number of frames (default: 100)")
    parser.add_argument("--rate", type=positive, default=10.0, metavar="HZ", help="frames per second (default: 10)")
    parser.add_argument("--size", type=image_size, default=(192, 640), metavar="HxW", help="default: 192x640")
    parser.add_argument("--seed", type=whole(0), default=0, help="random seed of scene and motion (default: 0)")
    parser.add_argument("--format", choices=("bag", "mcap", "kitti", "euroc"), default="bag",
                        help="bag or mcap: ROS 2 bag; kitti: odometry folder; euroc: ASL folder")  # fmt: skip
    parser.add_argument("--stereo", action="store_true", help="add a right camera (kitti and euroc)")
    parser.add_argument("--distortion", choices=tuple(DISTORTIONS), default="none", help="lens model (default: none)")
    parser.add_argument(
        "--effects", action="store_true", help="add exposure, colour, blur, noise and JPEG artefacts of a real camera"
    )
    parser.add_argument(
        "--threads", type=whole(1), default=None, help="threads (default: the number of processors, at most 8)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write a report of the recording to FILE as JSON")
    add_world_options(parser)
    add_sensor_options(parser)


def run(args: argparse.Namespace) -> int:
    """Render the recording and write it. Returns 0."""
    from featdepth_ros.reporting.tables import write_json
    from featdepth_ros.simulation import Simulation, SimulationConfig, random_effects, traffic_style

    if args.stereo and args.format in ("bag", "mcap"):
        raise ConfigError("a bag holds one camera; use --format kitti or euroc with --stereo")
    if args.output.exists() and args.format in ("bag", "mcap"):
        raise RecordingError(f"'{args.output}' exists already; name another output or remove it")
    if args.moving and not args.traffic:
        raise ConfigError("--moving writes masks of vehicles, and there are none; add --traffic")
    sensors_of(args)  # wrong flags fail before the scene is built
    config = SimulationConfig(
        scene=args.scene,
        seed=args.seed,
        frames=args.frames,
        rate_hz=args.rate,
        camera=_camera(args.size, args.distortion),
        effects=random_effects(args.seed) if args.effects else None,
        traffic=traffic_style(args.traffic) if args.traffic else None,
        motion=motion_of(args),
        rolling_shutter_s=args.rolling_shutter,
        faults=faults_of(args),
    )
    print(f"building the {args.scene} (the first run compiles the renderer, up to a minute)", flush=True)
    begin = time.perf_counter()
    simulation = Simulation(config, threads=args.threads)
    ready = time.perf_counter()
    count = _write(simulation, args)
    seconds = time.perf_counter() - ready
    summary = {
        "output": str(args.output),
        "format": args.format,
        "scene": args.scene,
        "seed": args.seed,
        "frames": count,
        "rate_hz": args.rate,
        "height": args.size[0],
        "width": args.size[1],
        "stereo": args.stereo,
        "length_m": simulation.path_length_m,
        "setup_s": ready - begin,
        "fps": count / seconds if seconds > 0 else None,
    }
    print(f"{count} frames, {simulation.path_length_m:.1f} m, {count / seconds:.1f} frames/s: {args.output}")
    if args.json:
        write_json(args.json, summary)
    return 0


def _camera(size: tuple[int, int], distortion: str) -> CameraModel:
    from featdepth_ros.simulation import default_camera

    camera = default_camera(size[1], size[0])
    if distortion == "none":
        return camera
    return replace(camera, distortion_model=cast("DistortionModel", distortion), distortion=DISTORTIONS[distortion])


def _write(simulation: Simulation, args: argparse.Namespace) -> int:
    from featdepth_ros.progress import progress
    from featdepth_ros.recordings.bags.export import write_ros2_bag
    from featdepth_ros.recordings.datasets.euroc_writer import write_euroc
    from featdepth_ros.recordings.datasets.kitti_writer import write_kitti_odometry
    from featdepth_ros.simulation.sensors import readings

    left = progress(_with_masks(simulation, args.moving), "render", total=len(simulation))
    right = simulation.right() if args.stereo else None
    try:
        if args.format == "kitti":
            return write_kitti_odometry(args.output, left, right)
        if args.format == "euroc":
            return write_euroc(args.output, left, right)
        storage = "sqlite3" if args.format == "bag" else "mcap"
        twist, gyro = sensors_of(args)
        return write_ros2_bag(
            args.output, left, storage, T_base_camera=simulation.T_base_camera,
            readings=readings(simulation, twist, gyro), mounts=gyro.mounts if gyro else None,
        )  # fmt: skip
    except (OSError, sqlite3.Error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise RecordingError(
            f"writing '{args.output}' failed: {reason}; free space there or name another output"
        ) from error
    finally:
        left.close()  # ends the progress bar, so that the message stands below it


def _with_masks(frames: Iterable[Frame], folder: Path | None) -> Iterator[Frame]:
    """Yield the frames, and write the mask of moving pixels of each into ``folder`` unless it is None."""
    import cv2

    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    for frame in frames:
        if folder is not None and frame.moving is not None:
            cv2.imwrite(str(folder / f"{frame.name}.png"), frame.moving.astype("uint8") * 255)
        yield frame
