"""``featdepth eval depth|odometry|recording``: one file each, imported only to describe or run it."""

from __future__ import annotations

import argparse

from featdepth_ros.cli.evaluation import depth, odometry, recording

DESCRIPTION = "Judge depth maps, trajectories and recordings of the node against truth, by the field's protocols."
EXAMPLE = "\n".join(f"  {module.EXAMPLE.strip().splitlines()[0].strip()}" for module in (depth, odometry, recording))

_VERBS = {
    "depth": (depth, "folders of depth maps, or weights on a dataset, against true depth"),
    "odometry": (odometry, "trajectories against a true one: KITTI, TUM, EuRoC files and bags"),
    "recording": (recording, "what the node wrote into a bag, against the truth in it"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the three kinds of evaluation."""
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
    """Run the kind of evaluation that was asked for."""
    code: int = _VERBS[args.kind][0].run(args)
    return code
