"""Whether a message is worth making."""

from __future__ import annotations

from typing import Any

from rclpy.publisher import Publisher


def is_wanted(publisher: Publisher[Any], lazy: bool) -> bool:
    """Return whether to publish: somebody hears it, or the parameter ``lazy`` is off."""
    return not lazy or publisher.get_subscription_count() > 0
