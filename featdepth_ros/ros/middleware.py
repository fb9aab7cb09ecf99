"""What must be set before `rclpy.init`: the transport profile under which large images arrive between processes."""

from __future__ import annotations

import os

from featdepth_ros.errors import FeatDepthError
from featdepth_ros.resources import config_file

#: Fast DDS reads the first; that of older distributions only the second, which newer ones warn about.
PROFILE_VARIABLES = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE")
OLDER_DISTRIBUTIONS = ("humble", "iron")
PROFILE = "dds/fastdds_shm.xml"


def use_shared_memory_profile() -> bool:
    """Point Fast DDS at the profile that ships, unless the user names one; call before `rclpy.init`.

    Without it Fast DDS drops large best-effort images between processes of one machine. Other middlewares ignore the
    variables. Domain, discovery range and every other setting stay as the environment has them.

    Returns:
        True when the shipped profile is in use, False when the user's own is or the shipped file is not installed.
    """
    if any(os.environ.get(name) for name in PROFILE_VARIABLES):
        return False
    try:
        path = str(config_file(PROFILE))
    except FeatDepthError:
        return False
    os.environ[PROFILE_VARIABLES[os.environ.get("ROS_DISTRO") in OLDER_DISTRIBUTIONS]] = path
    return True
