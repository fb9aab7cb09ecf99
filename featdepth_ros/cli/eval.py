"""``featdepth eval depth|odometry|recording``; the modules in `cli.evaluation` hold one kind each."""

from __future__ import annotations

import argparse

from featdepth_ros.cli.evaluation import depth, odometry, recording

DESCRIPTION = "Evaluate depth maps, trajectories and recordings of the node against ground truth."
EXAMPLE = "\n".join(f"  {module.EXAMPLE.strip().splitlines()[0].strip()}" for module in (depth, odometry, recording))

_VERBS = {
    "depth": (depth, "folders of depth maps, or weights on a dataset, against true depth"),
    "odometry": (odometry, "trajectories against a true one: KITTI, TUM, EuRoC files and bags"),
    "recording": (recording, "the node's output in a bag, against the ground truth in it"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the three kinds of evaluation and their arguments."""
    verbs = parser.add_subparsers(dest="kind", required=True, metavar="depth|odometry|recording")
    for name, (module, line) in _VERBS.items():
        sub = verbs.add_parser(
            name,
            help=line,
            description=module.DESCRIPTION,
            epilog=f"example:\n{module.EXAMPLE}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(sub)


def run(args: argparse.Namespace) -> int:
    """Run the chosen kind of evaluation. Returns the exit code."""
    code: int = _VERBS[args.kind][0].run(args)
    return code
