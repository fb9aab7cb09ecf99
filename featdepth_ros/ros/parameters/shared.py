"""Parameters that depth_node and refine_node have in common."""

from __future__ import annotations

from featdepth_ros.inference.options import Option

DIAGNOSTICS_PERIOD = Option(
    "diagnostics_period_s",
    1.0,
    "Seconds between messages on /diagnostics.",
    "diagnostic_aggregator expects one message per second.",
    low=0.1,
    high=60.0,
)
