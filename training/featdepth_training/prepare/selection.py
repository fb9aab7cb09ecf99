"""The choice of frames, under the name that training knows; see `featdepth_ros.recordings.selection`."""

from __future__ import annotations

from featdepth_ros.recordings.selection import SelectionConfig, Selector, Verdict

__all__ = ["SelectionConfig", "Selector", "Verdict"]
