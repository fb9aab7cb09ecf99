"""``featdepth``: one file a verb, imported only when it is called."""

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
    "demo": "the whole chain on a rendered or given recording, with a report",
    "infer": "depth and motion of an image, folder, video, bag or dataset",
    "play": "put a recording onto ROS 2 topics in real time",
    "record": "write ROS 2 topics into a bag",
    "simulate": "render a recording with known depth and motion",
    "prepare": "decode a recording once into a cache for training",
    "train": "train the networks from a recipe",
    "refine": "refine weights on a recording of a new place; refused when they got worse",
    "eval": "depth, odometry and recordings against truth, by the field's protocols",
    "export": "weights as a file for ONNX Runtime, OpenVINO or torch.export",
    "bench": "how fast networks, estimator, node, exported files and training are",
    "doctor": "what is wrong with the running graph and this machine, and what to do",
    "weights": "look into weights, import published ones",
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
    """Run a verb, and put into words what went wrong."""
    try:
        args = _parser(verb).parse_args(rest)
        return int(args.run(args))
    except FeatDepthError as error:
        print(f"featdepth {verb}: {error}", file=sys.stderr)
        return FAILED
    except ModuleNotFoundError as error:
        if (error.name or "featdepth_ros").split(".")[0] == "featdepth_ros":
            raise  # a file of this package is missing: a bug
        print(
            f"featdepth {verb}: the Python package '{error.name}' is not installed; "
            "this installs all that the verbs need: pip install 'featdepth_ros[all]'",
            file=sys.stderr,
        )
        return FAILED
    except BrokenPipeError:
        return FAILED
    except OSError as error:
        # A full disk, a missing right: the machine's state, which no line of code can mend.
        print(f"featdepth {verb}: {error}", file=sys.stderr)
        return FAILED


if __name__ == "__main__":
    sys.exit(main())
