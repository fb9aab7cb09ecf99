from setuptools import find_packages, setup

setup(
    name="featdepth_ros", version="0.1.0",
    packages=[*find_packages(include=["featdepth_ros", "featdepth_ros.*"]), "featdepth_training"],
    package_dir={"featdepth_training": "training/featdepth_training"},
    entry_points={"console_scripts": ["featdepth = featdepth_ros.cli.main:main"]},
)
