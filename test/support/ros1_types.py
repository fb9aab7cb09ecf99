"""Message types of ROS 1, for writing ROS 1 bags."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from featdepth_ros.recordings.bags.types import TF_MESSAGE


@lru_cache(maxsize=1)
def ros1_store() -> Any:
    """Return rosbags' store of ROS 1 message types with TFMessage, which is missing in the original store."""
    from rosbags.typesys import Stores, get_types_from_msg, get_typestore

    store = get_typestore(Stores.ROS1_NOETIC)
    store.register(get_types_from_msg("geometry_msgs/TransformStamped[] transforms", TF_MESSAGE))
    return store
