"""The differences between the supported ROS 2 distributions (Humble, Jazzy, Kilted, Lyrical)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

try:
    from rclpy.event_handler import SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import SubscriptionEventCallbacks

__all__ = [
    "event_callbacks",
    "given_parameters",
    "keep_last",
    "latches",
    "publisher_reliabilities",
    "resolved_topic",
]


def keep_last(depth: int, reliability: ReliabilityPolicy, transient_local: bool = False) -> QoSProfile:
    """Return a QoS profile that keeps the last ``depth`` messages."""
    durability = DurabilityPolicy.TRANSIENT_LOCAL if transient_local else DurabilityPolicy.VOLATILE
    return QoSProfile(depth=depth, history=HistoryPolicy.KEEP_LAST, reliability=reliability, durability=durability)


def event_callbacks(incompatible_qos: Callable[[Any], None]) -> Any:
    """Return subscription event callbacks that report publishers with incompatible QoS."""
    return SubscriptionEventCallbacks(incompatible_qos=incompatible_qos)


def given_parameters(node: Node) -> list[str]:
    """Return the names of all parameters given at the start, by command line or file, also unknown ones."""
    return sorted(getattr(node, "_parameter_overrides", {}))  # rclpy has no public access to them


def resolved_topic(node: Node, name: str) -> tuple[str, bool]:
    """Return the fully qualified name of a topic after remapping, and whether a remapping applied."""
    expanded = node.resolve_topic_name(name, only_expand=True)
    resolved = node.resolve_topic_name(name)
    return resolved, resolved != expanded


def publisher_reliabilities(node: Node, topic: str) -> list[ReliabilityPolicy]:
    """Return the reliability that each publisher of a fully qualified topic offers."""
    return [info.qos_profile.reliability for info in node.get_publishers_info_by_topic(topic)]


def latches(node: Node, topic: str) -> bool:
    """Return whether every publisher of a fully qualified topic is transient local."""
    infos = node.get_publishers_info_by_topic(topic)
    return bool(infos) and all(info.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL for info in infos)
