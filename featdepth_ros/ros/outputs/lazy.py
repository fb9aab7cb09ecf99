"""Lazy publishing: whether a message has a subscriber."""

from __future__ import annotations

from typing import Any

from rclpy.publisher import Publisher


def is_wanted(publisher: Publisher[Any], lazy: bool) -> bool:
    """Return whether to publish: there is a subscriber, or the parameter ``lazy`` is false."""
    return not lazy or publisher.get_subscription_count() > 0
