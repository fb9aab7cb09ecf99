"""Builds the files of back ends in a separate process: `python -m featdepth_ros.inference.backends.build`.

Tracing takes half a minute of Python time, which would delay images in the same process.
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

#: Stem of the files in a cache entry.
STEM = "graph"
#: Longest time of a build on a busy machine, seconds.
_PATIENCE_S = 1800.0
_NICENESS = 10
#: Seconds between two checks of the stop event.
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
    """Write the exported files for images of one size into the folder ``entry``, all or none of them.

    Args:
        model: the model to export.
        checksum: checksum of its weights.
        size: (height, width) of the images in pixels.
        suffixes: suffixes of the files to write, one for each format.
        entry: folder to create.
        beside_others: build with the lowest priority.
        stop: set this event to abort.

    Raises:
        FeatDepthError: the build failed or was aborted, or the folder cannot be written.
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
            if entry.is_dir():  # another process was faster, or some files existed already
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
        except BaseException:  # also an interrupt: the child must not outlive this call
            child.kill()
            raise
    if child.returncode:
        last = (errors.strip().splitlines() or ["no word"])[-1]
        raise FeatDepthError(f"the networks could not be exported: {last}")


def _awaited(child: subprocess.Popen[str], stop: threading.Event) -> str:
    """Wait for the end of a process, and return its standard error."""
    end = time.monotonic() + _PATIENCE_S
    while not stop.is_set() and time.monotonic() < end:
        try:
            return str(child.communicate(timeout=_LOOK_S)[1])
        except subprocess.TimeoutExpired:
            continue
    reason = "aborted" if stop.is_set() else f"not finished after {_PATIENCE_S:.0f} s"
    raise FeatDepthError(f"the networks could not be exported: {reason}")


def main(argv: Sequence[str] | None = None) -> int:
    """Write the files; `build` passes the arguments. Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("size")
    parser.add_argument("checksum")
    parser.add_argument("niceness", type=int)
    parser.add_argument("parent", type=int, help="id of the process that waits for the files")
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
    """End this process when the process that waits for the files has ended."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
