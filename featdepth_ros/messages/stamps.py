"""Conversion between stamps of messages and nanoseconds, for the classes of rclpy and of rosbags."""

from __future__ import annotations

from typing import Any

NANOSECONDS = 1_000_000_000


def stamp_ns(time: Any) -> int:
    """Return a builtin_interfaces/Time as nanoseconds since the epoch."""
    return int(time.sec) * NANOSECONDS + int(time.nanosec)


def header_stamp_ns(message: Any) -> int:
    """Return the stamp of a message's header as nanoseconds since the epoch."""
    return stamp_ns(message.header.stamp)


def stamp_fields(nanoseconds: int) -> dict[str, int]:
    """Return the fields of a builtin_interfaces/Time: sec, nanosec."""
    sec, nanosec = divmod(nanoseconds, NANOSECONDS)
    return {"sec": sec, "nanosec": nanosec}
