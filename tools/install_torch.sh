#!/bin/sh
# Install PyTorch into a virtual environment, before anything that depends on it. Without an NVIDIA GPU it is the build
# for CPUs (0.2 GB instead of 3). An existing PyTorch is kept (a sourced ROS machine, a Jetson with NVIDIA's build).
# usage: install_torch.sh VENV_PYTHON CONSTRAINTS [PIP ARGUMENTS ...]
set -eu
python=$1 constraints=$2
shift 2

if "$python" -c 'import torch' 2>/dev/null; then
    exit 0
fi
cpu_builds=https://download.pytorch.org/whl/cpu
if [ $# -eq 0 ] && [ ! -e /dev/nvidiactl ] && [ ! -e /dev/nvhost-gpu ] &&
    "$python" -c "import urllib.request as u; u.urlopen('$cpu_builds/torch/', timeout=5)" 2>/dev/null; then
    # pip prefers 2.13.0+cpu from this index to 2.13.0.
    set -- --extra-index-url "$cpu_builds"
fi
exec "$python" -m pip install -q -c "$constraints" torch "$@"
