"""What must be set before `rclpy.init`: the transport profile under which large images arrive between processes.

The launch file asks here as well. This module therefore imports nothing of ROS.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from featdepth_ros.errors import FeatDepthError
from featdepth_ros.resources import config_file

#: Fast DDS reads the first; that of older distributions only the second, which newer ones warn about.
PROFILE_VARIABLES = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE")
OLDER_DISTRIBUTIONS = ("humble", "iron")
PROFILE = "dds/fastdds_shm.xml"


def profile_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that point Fast DDS at the profile that ships.

    Without it Fast DDS drops large best-effort images between processes of one machine. Other middlewares ignore the
    variables.

    Args:
        environment: the present one.

    Returns:
        What to add to it: empty when the user names a profile already, or the shipped file is not installed.
    """
    if any(environment.get(name) for name in PROFILE_VARIABLES):
        return {}
    try:
        path = str(config_file(PROFILE))
    except FeatDepthError:
        return {}
    return {PROFILE_VARIABLES[environment.get("ROS_DISTRO") in OLDER_DISTRIBUTIONS]: path}


def use_shared_memory_profile() -> bool:
    """Set `profile_environment` for this process; call before `rclpy.init`.

    Domain, discovery range and every other setting stay as the environment has them.

    Returns:
        True when the shipped profile is in use, False when the user's own is or the shipped file is not installed.
    """
    added = profile_environment(os.environ)
    os.environ.update(added)
    return bool(added)
