"""The Fast DDS profile for large images between processes, which must be set before `rclpy.init`.

The launch file uses this module too, so it imports nothing of ROS.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from featdepth_ros.errors import FeatDepthError
from featdepth_ros.resources import config_file

#: Fast DDS reads the first variable. Older distributions read only the second, about which newer ones warn.
PROFILE_VARIABLES = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE")
OLDER_DISTRIBUTIONS = ("humble", "iron")
PROFILE = "dds/fastdds_shm.xml"


def profile_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment variables that select the shipped Fast DDS profile.

    Without it Fast DDS drops large best-effort images between processes of one machine. Other middlewares ignore the
    variables.

    Args:
        environment: the current environment variables.

    Returns:
        Variables to add: none if the user already names a profile, or if the shipped file is not installed.
    """
    if any(environment.get(name) for name in PROFILE_VARIABLES):
        return {}
    try:
        path = str(config_file(PROFILE))
    except FeatDepthError:
        return {}
    return {PROFILE_VARIABLES[environment.get("ROS_DISTRO") in OLDER_DISTRIBUTIONS]: path}


def use_shared_memory_profile() -> bool:
    """Set `profile_environment` for this process. Call it before `rclpy.init`.

    It does not change the domain, the discovery range or any other setting.

    Returns:
        True if the shipped profile is in use; False if the user's own is, or the shipped file is not installed.
    """
    added = profile_environment(os.environ)
    os.environ.update(added)
    return bool(added)
