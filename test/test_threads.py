"""Threads of linear algebra, which no other test may change for the process it runs in."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

#: Prints how many threads OpenBLAS uses before and after, or nothing where there is none.
_CODE = """
import ctypes, os
from pathlib import Path
import numpy as np
from featdepth_ros import threads

def counts():
    paths = {line.split(maxsplit=5)[-1] for line in Path("/proc/self/maps").read_text().splitlines() if "blas" in line}
    for path in sorted(p for p in paths if p.startswith("/")):
        library = ctypes.CDLL(path)
        for setter in threads._THREAD_SETTERS:
            getter = getattr(library, setter.replace("_set_", "_get_"), None)
            if getter is not None:
                yield getter()

before = list(counts())
told = threads.single_threaded_linear_algebra()
print(told, before, list(counts()), np.linalg.solve(np.eye(300), np.ones(300)).sum())
"""


def test_linear_algebra_uses_one_thread_after_it_was_told() -> None:
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "2"}
    done = subprocess.run([sys.executable, "-c", _CODE], capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 0, done.stderr
    if done.stdout.startswith("0 []"):
        pytest.skip("NumPy has no OpenBLAS here")
    assert done.stdout.split() == ["1", "[2]", "[1]", "300.0"]
