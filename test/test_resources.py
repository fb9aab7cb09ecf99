"""The resolver finds the package's files, and says where it looked when it does not."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from featdepth_ros import resources
from featdepth_ros.errors import FeatDepthError

ROOT = Path(__file__).resolve().parents[1]


def test_the_source_tree_is_found_first():
    assert resources.share_dir() == ROOT
    assert resources.config_file("dds/fastdds_shm.xml") == ROOT / "config" / "dds" / "fastdds_shm.xml"


def test_a_wrong_name_is_answered_with_the_nearest():
    with pytest.raises(FeatDepthError, match=r"'dds/fastdds_shm.xlm'.*did you mean 'dds/fastdds_shm.xml'"):
        resources.config_file("dds/fastdds_shm.xlm")
    with pytest.raises(FeatDepthError, match=r"no weights at 'nowhere\.safetensors'"):
        resources.weights_file("nowhere.safetensors")


def test_weights_are_found_by_path_and_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    mine = tmp_path / "mine.safetensors"
    mine.write_bytes(b"")
    assert resources.weights_file(str(mine)) == mine
    monkeypatch.setattr(resources, "weights_dir", lambda: tmp_path)
    assert resources.weights_file("mine") == mine


@pytest.mark.parametrize("place", ["lib/python3.11/site-packages", "local/lib/python3.10/dist-packages"])
def test_an_installed_package_finds_its_prefix(tmp_path: Path, place: str):
    """What pip and colcon lay down: the code below the prefix, the shared files in its share/."""
    package = tmp_path / place / "featdepth_ros"
    package.mkdir(parents=True)
    for name in ("__init__.py", "errors.py", "resources.py"):
        shutil.copy(ROOT / "featdepth_ros" / name, package / name)
    share = tmp_path / "share" / "featdepth_ros"
    (share / "config" / "train").mkdir(parents=True)
    (share / "config" / "train" / "recipe.yaml").write_text("{}", encoding="utf-8")
    code = "from featdepth_ros.resources import config_file; print(config_file('train/recipe.yaml'))"
    environment = {"PYTHONPATH": str(package.parent), "PATH": "/usr/bin:/bin", "_ROS_WHEELS_BOOTSTRAP_COMPLETE": "1"}

    def find() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-S", "-c", code], env=environment, cwd="/", capture_output=True, text=True, check=False
        )

    lost = find()
    assert lost.returncode == 1 and "were not found; searched in:" in lost.stderr and str(share) in lost.stderr
    (share / "package.xml").write_text("<package/>", encoding="utf-8")
    assert find().stdout.strip() == str(share / "config" / "train" / "recipe.yaml")
