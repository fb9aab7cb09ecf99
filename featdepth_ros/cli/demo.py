"""``featdepth demo``: player, node and recorder in real time over DDS topics, with a report at the end."""

from __future__ import annotations

import argparse
from pathlib import Path

from featdepth_ros.cli.support.arguments import positive, whole

DESCRIPTION = """Show the whole system without a robot: render a drive (or take a recording), start the node in its own
process, play the recording in real time over DDS, and record the node's output. The result is one self-contained HTML
report: image, depth and error side by side, trajectory and ground truth, frames/s, latency, drops."""

EXAMPLE = """  featdepth demo
  featdepth demo my_recording.bag --topic /camera/image_raw --output demo_output"""


_CAMERA, _NODE = "/camera", "/depth_node"
#: Only the topics that the report needs: a recorder of all topics would make the node compute its lazy ones too.
_RECORDED = (
    *(f"{_CAMERA}/{name}" for name in ("image_raw", "camera_info", "depth/image_rect", "depth/camera_info")),
    *(f"{_NODE}/{name}" for name in ("image_rect", "tracks", "depth/image_rect", "depth/camera_info")),
    *(f"{_NODE}/{name}" for name in ("depth/sigma", "depth/network")),
    *("/odom", "/tf", "/tf_static", "/diagnostics", "/ground_truth/odom", "/clock"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("input", nargs="?", metavar="INPUT", help="a recording (default: render one)")
    parser.add_argument(
        "--output", default="demo_output", metavar="DIR", help="folder for report, bags and logs (demo_output)"
    )
    parser.add_argument("--scene", default="street", help="scene to render: street, room... (street)")
    parser.add_argument("--seconds", type=positive, default=20.0, help="seconds of the rendered drive (20)")
    parser.add_argument("--rate", type=positive, default=10.0, metavar="HZ", help="frames per second rendered (10)")
    parser.add_argument("--seed", type=whole(0), default=8, help="random seed of scene and drive (8)")
    parser.add_argument(
        "--weights", default="compact", metavar="W", help="file, or the name of a model that ships (compact)"
    )
    parser.add_argument(
        "--convention", default="", metavar="NAME|FILE", help="format of a third-party depth network (.onnx)"
    )
    parser.add_argument("--device", default="auto", help="device of the networks: auto, cpu, cuda... (auto)")
    parser.add_argument("--topic", metavar="T", help="image topic of a bag that has several")
    parser.add_argument("--camera", metavar="FILE|fx,fy,cx,cy", help="calibration, for recordings without one")
    parser.add_argument("--json", metavar="FILE", help="also write the figures to FILE")


def run(args: argparse.Namespace) -> int:
    """Run the verb. Returns the exit code."""
    from featdepth_ros import resources
    from featdepth_ros.cli import main as command
    from featdepth_ros.cli.support.demo_processes import play_into_node

    weights = resources.weights_file(args.weights)
    folder = Path(args.output)
    folder.mkdir(parents=True, exist_ok=True)
    source = Path(args.input) if args.input else _rendered(args, folder)
    answers = _fresh(folder / "answers")
    _say(f"the node uses the weights '{args.weights}'")
    parameters = [f"weights:={weights}", f"device:={args.device}"]
    if args.convention:
        parameters.append(f"convention:={args.convention}")
    play_into_node(source, answers, _RECORDED, parameters, topic=args.topic, camera=args.camera, say=_say)
    _say("writing the report")
    report = ["recording", str(answers), "--html", str((folder / "report.html").resolve())]
    return command.main(["eval", *report, *(["--json", args.json] if args.json else [])])


def _say(text: str) -> None:
    print(f"demo: {text}", flush=True)


def _fresh(path: Path) -> Path:
    """Remove the folder that an earlier demo left at this path, and return the path."""
    import shutil

    if path.exists():
        shutil.rmtree(path)
    return path


def _rendered(args: argparse.Namespace, folder: Path) -> Path:
    """Render a drive into a bag in the demo's folder, or reuse the same drive of an earlier demo. Returns its path."""
    from featdepth_ros.progress import progress
    from featdepth_ros.recordings import write_ros2_bag
    from featdepth_ros.simulation import Simulation, SimulationConfig

    frames = max(round(args.seconds * args.rate), 2)
    config = SimulationConfig(scene=args.scene, seed=args.seed, frames=frames, rate_hz=args.rate)
    path = folder / f"rendered_{args.scene}_{args.seed}_{frames}_{args.rate:g}hz"
    if (path / "metadata.yaml").is_file():
        _say(f"reusing the drive rendered earlier: {path}")
        return path
    _say(f"rendering a drive of {args.seconds:g} s (scene {args.scene}, seed {args.seed})")
    simulation = Simulation(config)
    write_ros2_bag(_fresh(path), progress(simulation, "render"), T_base_camera=simulation.T_base_camera)
    return path
