"""``featdepth``: one module per verb, imported only when the verb is called."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from featdepth_ros.errors import FeatDepthError
from featdepth_ros.interrupts import interruptible
from featdepth_ros.memory import keep_freed_memory
from featdepth_ros.threads import wait_asleep

#: verb -> one line for ``featdepth --help``; the module is ``featdepth_ros.cli.<verb>``. Each such module holds
#: ``DESCRIPTION`` and ``EXAMPLE`` (str), ``add_arguments(parser)`` and ``run(args) -> int``.
VERBS: dict[str, str] = {
    "demo": "run the whole system on a rendered or given recording, with a report",
    "infer": "estimate depth and motion of an image, folder, video, bag or dataset",
    "play": "publish a recording on ROS 2 topics in real time",
    "record": "write ROS 2 topics into a bag",
    "simulate": "render a recording with known depth and motion",
    "prepare": "decode a recording once into a cache for training",
    "train": "train the networks from a recipe",
    "refine": "refine weights on a recording of a new place; worse weights are rejected",
    "eval": "evaluate depth, odometry and recordings against ground truth",
    "export": "export weights for ONNX Runtime, OpenVINO or torch.export",
    "bench": "measure the speed of networks, estimator, node, exported files and training",
    "doctor": "find problems of the running graph and this machine, and say what to do",
    "weights": "show what a weights file holds, or import published weights",
}

DONE, FAILED, WRONG_USAGE, INTERRUPTED = 0, 1, 2, 130


def _parser(verb: str) -> argparse.ArgumentParser:
    module = importlib.import_module(f"featdepth_ros.cli.{verb}")
    parser = argparse.ArgumentParser(
        prog=f"featdepth {verb}",
        description=module.DESCRIPTION,
        epilog=f"example:\n{module.EXAMPLE}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module.add_arguments(parser)
    parser.set_defaults(run=module.run)
    return parser


def _usage() -> str:
    width = max(map(len, VERBS))
    lines = [f"  {verb:<{width}}  {text}" for verb, text in VERBS.items()]
    return "\n".join(["usage: featdepth VERB ...", "", *lines, "", "featdepth VERB --help explains a verb."])


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb. Returns 0 (done), 1 (failed, with a message), 2 (wrong usage) or 130 (interrupted)."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        with interruptible():
            return _main(arguments)
    except KeyboardInterrupt:
        print(f"featdepth {' '.join(arguments[:1])}: interrupted", file=sys.stderr)
        return INTERRUPTED


def _main(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_usage())
        return DONE if arguments else WRONG_USAGE
    if arguments[0] == "--version":
        from featdepth_ros import __version__

        print(__version__)
        return DONE
    wait_asleep()
    keep_freed_memory()
    verb, rest = arguments[0], arguments[1:]
    if verb not in VERBS:
        from featdepth_ros.errors import nearest_name

        print(f"featdepth: unknown verb '{verb}'{nearest_name(verb, VERBS)}", file=sys.stderr)
        return WRONG_USAGE
    return _run(verb, rest)


def _run(verb: str, rest: list[str]) -> int:
    """Run a verb and turn its errors into messages. Returns the exit code."""
    try:
        args = _parser(verb).parse_args(rest)
        return int(args.run(args))
    except FeatDepthError as error:
        print(f"featdepth {verb}: {error}", file=sys.stderr)
        return FAILED
    except ModuleNotFoundError as error:
        if (error.name or "featdepth_ros").split(".")[0] == "featdepth_ros":
            raise  # a module of this package is missing, which is a bug
        print(
            f"featdepth {verb}: the Python package '{error.name}' is not installed; "
            "this installs all that the verbs need: pip install 'featdepth_ros[all]'",
            file=sys.stderr,
        )
        return FAILED
    except BrokenPipeError:
        return FAILED
    except OSError as error:
        # A full disk or a missing permission is no bug, so it gets a message and no traceback.
        print(f"featdepth {verb}: {error}", file=sys.stderr)
        return FAILED


if __name__ == "__main__":
    sys.exit(main())
