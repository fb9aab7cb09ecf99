"""``featdepth demo``: the whole chain, in real time, over real DDS topics, with a report at the end."""

from __future__ import annotations

import argparse
from pathlib import Path

from featdepth_ros.cli.support.arguments import positive, whole

DESCRIPTION = """Show everything at once, without a robot: render a drive (or take a recording), start the node in a
process of its own, play the recording in real time over DDS, record what the node answers, and write one
self-contained HTML report: image, depth and error side by side, the trajectory against the truth, frames/s, latency,
drops."""

EXAMPLE = """  featdepth demo
  featdepth demo my_recording.bag --topic /camera/image_raw --output demo_output"""


_CAMERA, _NODE = "/camera", "/depth_node"
#: What the report shows. The node makes lazy topics for whoever listens, so recording all of them would slow it down.
_RECORDED = (
    *(f"{_CAMERA}/{name}" for name in ("image_raw", "camera_info", "depth/image_rect", "depth/camera_info")),
    *(f"{_NODE}/{name}" for name in ("image_rect", "tracks", "depth/image_rect", "depth/camera_info")),
    *(f"{_NODE}/{name}" for name in ("depth/sigma", "depth/network")),
    *("/odom", "/tf", "/tf_static", "/diagnostics", "/ground_truth/odom", "/clock"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("input", nargs="?", metavar="INPUT", help="a recording (default: render one)")
    parser.add_argument("--output", default="demo_output", metavar="DIR", help="folder for report, bags, logs")
    parser.add_argument("--scene", default="street", help="what to render: street, room... (street)")
    parser.add_argument("--seconds", type=positive, default=20.0, help="length of the rendered drive (20)")
    parser.add_argument("--rate", type=positive, default=10.0, metavar="HZ", help="frames per second rendered (10)")
    parser.add_argument("--seed", type=whole(0), default=8, help="which street, which drive (8)")
    parser.add_argument("--weights", default="compact", metavar="W", help="file, or the name of a model that ships")
    parser.add_argument(
        "--convention", default="", metavar="NAME|FILE", help="what a depth network of others (.onnx) expects and gives"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda...")
    parser.add_argument("--topic", metavar="T", help="image topic of a bag that has several")
    parser.add_argument("--camera", metavar="FILE|fx,fy,cx,cy", help="calibration, for recordings without one")
    parser.add_argument("--json", metavar="FILE", help="write the figures there too")


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
    _say(f"the node takes the weights '{args.weights}'")
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
    """Clear what an earlier demo left at a path of its own."""
    import shutil

    if path.exists():
        shutil.rmtree(path)
    return path


def _rendered(args: argparse.Namespace, folder: Path) -> Path:
    """Render a drive into a bag of the demo's folder; an equal one from an earlier demo is taken again."""
    from featdepth_ros.progress import progress
    from featdepth_ros.recordings import write_ros2_bag
    from featdepth_ros.simulation import Simulation, SimulationConfig

    frames = max(round(args.seconds * args.rate), 2)
    config = SimulationConfig(scene=args.scene, seed=args.seed, frames=frames, rate_hz=args.rate)
    path = folder / f"rendered_{args.scene}_{args.seed}_{frames}_{args.rate:g}hz"
    if (path / "metadata.yaml").is_file():
        _say(f"taking the drive rendered before: {path}")
        return path
    _say(f"rendering a drive of {args.seconds:g} s (scene {args.scene}, seed {args.seed})")
    simulation = Simulation(config)
    write_ros2_bag(_fresh(path), progress(simulation, "render"), T_base_camera=simulation.T_base_camera)
    return path
