"""What every test gets: one thread, fixed seeds, a private DDS domain, and the real recordings where there are any."""

from __future__ import annotations

import os
import random
import signal
import sys
import tempfile
from pathlib import Path

import hypothesis
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]

#: Networks of back ends are built anew by each run, and not into the user's cache.
_CACHE = tempfile.TemporaryDirectory(prefix="featdepth-test-cache-")
os.environ["XDG_CACHE_HOME"] = _CACHE.name

#: Set before anything imports rclpy. Discovery stays on this machine, and two test runs at once do not see each other:
#: the domain follows the process id, within the range whose ports Linux never hands out (1 to 101).
ROS_ENVIRONMENT = {
    "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
    "ROS_LOCALHOST_ONLY": "1",  # Humble does not know the variable above
    "ROS_DOMAIN_ID": str(1 + os.getpid() % 101),
    "FASTDDS_DEFAULT_PROFILES_FILE": str(ROOT / "config" / "dds" / "fastdds_shm.xml"),
}

os.environ.update(ROS_ENVIRONMENT)
# A shell's background job ignores Ctrl-C and passes that on. Processes under test must answer it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
# The ROS wheels make the virtual environment an ament prefix; a sourced ROS has set its own.
os.environ.setdefault("AMENT_PREFIX_PATH", sys.prefix)
# numba and the BLAS below numpy read these when they are first imported.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(variable, "1")


#: Property tests: 25 examples each make a thousand in all, always the same; 250 each at night, new ones every time.
hypothesis.settings.register_profile("every change", max_examples=25, deadline=None, derandomize=True, database=None)
hypothesis.settings.register_profile("nightly", max_examples=250, deadline=None, print_blob=True)
hypothesis.settings.load_profile("nightly" if os.environ.get("FEATDEPTH_NIGHTLY") else "every change")


@pytest.fixture(scope="session")
def test_data() -> Path:
    """Return the folder of the real recordings, named by FEATDEPTH_TEST_DATA; skips the test without it."""
    folder = os.environ.get("FEATDEPTH_TEST_DATA", "")
    if not folder:
        pytest.skip("FEATDEPTH_TEST_DATA names no folder with recordings")
    if not Path(folder).is_dir():
        pytest.fail(f"FEATDEPTH_TEST_DATA names '{folder}', which is not a folder")
    return Path(folder)


@pytest.fixture
def unjudged_motion(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the pose network's motion as it is: random weights contradict every picture."""
    from featdepth_ros.inference import window_motion

    monkeypatch.setattr(window_motion, "PictureTest", lambda config: None)


@pytest.fixture(scope="session")
def ros_environment() -> dict[str, str]:
    """Return the environment for child processes that start ROS nodes: this process's own, on its private domain."""
    return dict(os.environ)


@pytest.fixture(autouse=True)
def _fixed_seeds() -> None:
    """Seed every generator a test may use, and keep torch to the threads the environment names."""
    random.seed(0)
    np.random.seed(0)
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.manual_seed(0)
        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests marked ``ros`` where rclpy does not import (a torch-only environment)."""
    try:
        import rclpy  # noqa: F401
    except ImportError as error:
        for item in items:
            if item.get_closest_marker("ros"):
                item.add_marker(pytest.mark.skip(reason=f"rclpy does not import: {error}"))
