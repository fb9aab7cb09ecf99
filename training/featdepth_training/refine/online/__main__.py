"""``python -m featdepth_training.refine.online WORK --weights W``: the online learner of a running robot.

It works in the folder that it shares with the node until SIGTERM, which ends it at once without loss.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from featdepth_ros.threads import single_threaded_linear_algebra, wait_asleep

#: Seconds that a learner waits for the end of an earlier one.
PATIENCE_S = 15.0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m featdepth_training.refine.online",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example:\n  python -m featdepth_training.refine.online ~/refining --weights compact-open steps=40",
    )
    parser.add_argument("work", type=Path, metavar="WORK", help="folder shared with the node")
    parser.add_argument("--weights", required=True, metavar="W", help="weights of the node at its start: file or name")
    parser.add_argument("--device", default="auto", metavar="D", help="device: auto, cpu, cuda or cuda:N (auto)")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="threads on the CPU (1)")
    parser.add_argument(
        "--budget", type=float, default=0.5, help="processor cores to use, until the node sets another value (0.5)"
    )
    parser.add_argument("--parent", type=int, metavar="PID", help="end when this parent process has ended")
    parser.add_argument("settings", nargs="*", metavar="KEY=VALUE", help="settings of OnlineConfig, such as lr=5e-5")
    args = parser.parse_intermixed_args()
    if args.threads < 1 or args.budget <= 0:
        parser.error("--threads must be at least 1, and --budget above 0")
    return args


def main() -> int:
    """Run the learner. Returns 0 when it was ended by a signal, 1 when it cannot work."""
    args = _arguments()
    wait_asleep()
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(0))
    from featdepth_training.refine.online.pacing import lowest_priority

    lowest_priority()
    import cv2
    import torch

    from featdepth_ros.device import resolve_device
    from featdepth_ros.errors import FeatDepthError
    from featdepth_training.config.loading import from_overrides
    from featdepth_training.refine.online.config import OnlineConfig
    from featdepth_training.refine.online.exchange import StatusFile
    from featdepth_training.refine.online.learner import Learner

    torch.set_num_threads(args.threads)
    cv2.setNumThreads(args.threads)
    single_threaded_linear_algebra()
    work: Path = args.work.expanduser()
    with ExitStack() as held:
        try:
            work.mkdir(parents=True, exist_ok=True)
            _alone(held, work / "generations")
            config = from_overrides(OnlineConfig, args.settings)
            device = resolve_device(args.device)
            learner = Learner(work, args.weights, config, device, args.budget, lambda: _parent_is(args.parent))
        except (FeatDepthError, OSError) as error:
            print(f"online refinement cannot work: {error}", file=sys.stderr)
            if work.is_dir():
                StatusFile(work).say("failed", str(error))
            return 1
        try:
            learner.run()
        except (SystemExit, KeyboardInterrupt):
            learner.status.say("paused", "ended")
            learner.status.flush(at_once=True)
    return 0


def _alone(held: ExitStack, folder: Path) -> None:
    """Lock the folder against other learners, and wait for one that is ending.

    Raises:
        ConfigError: another learner works there.
    """
    from featdepth_ros.errors import ConfigError
    from featdepth_training.engine.checkpoint import exclusive_output

    began = time.monotonic()
    while True:
        try:
            held.enter_context(exclusive_output(folder))
            return
        except ConfigError:
            if time.monotonic() - began > PATIENCE_S:
                raise
            time.sleep(0.5)


def _parent_is(expected: int | None) -> bool:
    return expected is None or os.getppid() == expected


if __name__ == "__main__":
    sys.exit(main())
