"""``featdepth train``: train the networks from a recipe."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

DESCRIPTION = (
    "Train the networks from a recipe (a name of config/train) or a YAML file. Writes DIR/checkpoints/, "
    "DIR/metrics.jsonl, DIR/model.safetensors. Ctrl-C finishes the current step and saves; --resume continues there."
)
EXAMPLE = """  featdepth train --config compact_rendered --output runs/compact
  featdepth train --config compact_rendered --output runs/compact --resume
  featdepth train --config recording --finetune compact --output runs/mine --resume auto
  featdepth train --config my.yaml --output runs/mine --finetune compact optimiser.lr=1e-4"""

#: Exit code of a run that was stopped before its end; its state is saved.
STOPPED = 130


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("--config", required=True, metavar="FILE|RECIPE", help="YAML file or name of a recipe")
    parser.add_argument("--output", required=True, type=Path, metavar="DIR", help="folder of the run")
    parser.add_argument(
        "--resume",
        nargs="?",
        const="",
        metavar="auto|CHECKPOINT",
        help="continue from the newest checkpoint, or from this one; auto: start anew if there is none",
    )
    parser.add_argument(
        "--finetune", metavar="W", help="weights to start from: a file, or the name of a model that ships"
    )
    parser.add_argument(
        "--device", default="auto", metavar="D", help="device: auto, cpu, cuda or cuda:N (default: %(default)s)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the last figures of the run to FILE")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="settings that override the configuration")
    # key=value settings may come before, between and after the options.
    parser.parse_args = parser.parse_intermixed_args  # type: ignore[method-assign]


def run(args: argparse.Namespace) -> int:
    """Train. Returns 0 when the run is complete, 130 when it was stopped and saved."""
    from featdepth_ros.errors import FeatDepthError, MissingDependencyError

    try:
        from featdepth_training.engine.run import train
    except ImportError as error:
        raise MissingDependencyError(
            f"training needs a package that is not installed ({error.name}); "
            "install it with: pip install 'featdepth_ros[train]'"
        ) from error
    resume, overrides = args.resume, list(args.overrides)
    if resume and "=" in resume and not Path(resume).exists():
        # ``--resume key=value``: argparse took the first override for the checkpoint.
        resume, overrides = "", [resume, *overrides]
    if resume not in (None, "auto") and args.finetune:
        raise FeatDepthError(
            "--resume and --finetune both name the weights to start from. Give one of them, or --resume auto, which "
            "starts from --finetune if there is no checkpoint yet."
        )
    outcome = train(
        config=args.config,
        output=args.output,
        overrides=overrides,
        resume=resume,
        finetune=args.finetune,
        device=args.device,
        json_path=args.json,
    )
    if not outcome.first_process:  # one of several processes, and not the first
        return 0 if outcome.complete else STOPPED
    done = f"{outcome.steps} steps; weights: {outcome.weights}"
    if outcome.complete:
        print(f"training complete, {done}")
        return 0
    print(f"training stopped after {done}; continue with --resume", file=sys.stderr)
    return STOPPED
