"""What the machine may lack: a cache folder that can be written, space on the disk, optional packages."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("numba")

pytestmark = pytest.mark.slow

# A limit on the size of files stands for a full disk: opening works, writing fails, for root too.
FULL_DISK = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n"
RENDER = """
from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.simulation import SimulationConfig, simulate
config = SimulationConfig(scene="room", frames=1, camera=CameraModel(32, 24, 20.0, 20.0, 15.5, 11.5))
print(next(simulate(config)).image.shape)
"""
QUANTISE = """
import numpy as np
from featdepth_ros.simulation.render import kernels
out = np.zeros((1, 1, 3), np.uint8)
kernels.quantise(np.full((1, 1, 3), 0.2, np.float32), out)
print(out.tolist())
"""


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run code in a Python of its own."""
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **environment}
    return subprocess.run(
        [sys.executable, "-c", code], env=variables, capture_output=True, text=True, timeout=240, check=False
    )


def test_renders_where_the_cache_folder_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file, where numba is told to make a folder")
    done = run(RENDER, NUMBA_CACHE_DIR=str(tmp_path / "file" / "cache"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "(24, 32, 3)"


def test_compiles_where_no_cache_folder_is_found(tmp_path: Path) -> None:
    nowhere = "import numba.core.caching as c\nc.CacheImpl._locator_classes = []\n"
    done = run(nowhere + QUANTISE, NUMBA_CACHE_DIR="")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[[[51, 51, 51]]]"


def test_compiles_where_the_disk_is_full(tmp_path: Path) -> None:
    done = run(FULL_DISK + QUANTISE, NUMBA_CACHE_DIR=str(tmp_path / "cache"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[[[51, 51, 51]]]"
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file() and path.stat().st_size]


@pytest.mark.parametrize("package", ["numba", "scipy"])
def test_a_missing_package_is_named(package: str) -> None:
    done = run(f"import sys\nsys.modules[{package!r}] = None\nimport featdepth_ros.simulation")
    last = done.stderr.strip().splitlines()[-1]
    assert "MissingDependencyError" in last
    assert package in last.split("install the extra")[0] and "featdepth_ros[simulation]" in last
