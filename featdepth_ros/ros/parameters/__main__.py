"""``python -m featdepth_ros.ros.parameters [config/depth.yaml]``."""

from __future__ import annotations

import sys

from featdepth_ros.ros.parameters.definitions import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
