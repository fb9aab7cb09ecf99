"""Builds the files of back ends in a process of its own: `python -m featdepth_ros.inference.backends.build`.

Tracing takes half a minute of Python. In the process that serves images it would hold them up.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from featdepth_ros.errors import FeatDepthError
from featdepth_ros.models.base import FeatDepthModel

#: Stem of the files of an entry.
STEM = "graph"
#: Seconds that a build may take on a busy machine.
_PATIENCE_S = 1800.0
_NICENESS = 10
#: Seconds between two looks at whether it is broken off.
_LOOK_S = 0.2


def build(
    model: FeatDepthModel,
    checksum: str,
    size: tuple[int, int],
    suffixes: Sequence[str],
    entry: Path,
    beside_others: bool = False,
    stop: threading.Event | None = None,
) -> None:
    """Write the files with these endings for images of ``size`` (height, width) into ``entry``, whole or not at all.

    ``beside_others`` leaves the processor to whoever else wants it. ``stop`` breaks it off.

    Raises:
        FeatDepthError: it failed or was broken off, or the folder cannot be written.
    """
    from featdepth_ros.models.checkpoints import save_model

    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=entry.parent, prefix=".build-") as folder:
            weights, drafts = Path(folder) / "weights.safetensors", Path(folder) / "entry"
            drafts.mkdir()
            save_model(weights, model)
            niceness = str(_NICENESS if beside_others else 0)
            sizes = f"{size[0]}x{size[1]}"
            words = [str(weights), str(drafts), sizes, checksum, niceness, str(os.getpid()), *suffixes]
            environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"}
            command = [sys.executable, "-m", "featdepth_ros.inference.backends.build", *words]
            _run(command, environment, stop or threading.Event())
            if entry.is_dir():  # another process was faster, or some files were there already
                for path in drafts.iterdir():
                    path.replace(entry / path.name)
            else:
                drafts.replace(entry)
    except OSError as error:
        raise FeatDepthError(f"the networks could not be exported to '{entry.parent}': {error}") from error


def _run(command: Sequence[str], environment: Mapping[str, str], stop: threading.Event) -> None:
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as child:
        try:
            errors = _awaited(child, stop)
        except BaseException:  # an interrupt, too: no child goes on without whoever waits for it
            child.kill()
            raise
    if child.returncode:
        last = (errors.strip().splitlines() or ["no word"])[-1]
        raise FeatDepthError(f"the networks could not be exported: {last}")


def _awaited(child: subprocess.Popen[str], stop: threading.Event) -> str:
    """Wait until a process has ended, and return what it said on standard error."""
    end = time.monotonic() + _PATIENCE_S
    while not stop.is_set() and time.monotonic() < end:
        try:
            return str(child.communicate(timeout=_LOOK_S)[1])
        except subprocess.TimeoutExpired:
            continue
    reason = "broken off" if stop.is_set() else f"not done after {_PATIENCE_S:.0f} s"
    raise FeatDepthError(f"the networks could not be exported: {reason}")


def main(argv: Sequence[str] | None = None) -> int:
    """Write the files; the arguments are those that `build` gives."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("size")
    parser.add_argument("checksum")
    parser.add_argument("niceness", type=int)
    parser.add_argument("parent", type=int, help="process that waits for the files")
    parser.add_argument("suffixes", nargs="+", choices=[".onnx", ".xml"])
    args = parser.parse_args(argv)
    os.nice(args.niceness)
    threading.Thread(target=_end_with, args=(args.parent,), daemon=True).start()

    from featdepth_ros.export.export import ExportRequest, facts_of
    from featdepth_ros.export.graph import graph_of
    from featdepth_ros.export.onnx_files import write_onnx
    from featdepth_ros.export.openvino_files import write_openvino
    from featdepth_ros.models.checkpoints import load_model

    graph = graph_of(load_model(args.weights))
    height, width = map(int, args.size.split("x"))
    onnx = args.folder / f"{STEM}.onnx"
    facts = facts_of(graph, ExportRequest("onnx", onnx, (height, width), weights_sha256=args.checksum))
    write_onnx(graph, facts, onnx)
    if ".xml" in args.suffixes:
        write_openvino(onnx, facts, onnx.with_suffix(".xml"), half=False)
    return 0


def _end_with(parent: int) -> None:
    """End this process when the one that asked for the files has ended."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
