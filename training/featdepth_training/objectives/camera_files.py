"""Which cameras of a run are learnt, and the calibration file that tells what came out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from featdepth_ros.errors import ConfigError, nearest_name
from featdepth_ros.files import atomic_write
from featdepth_training.config.schema import TrainConfig
from featdepth_training.data.shards import read_description
from featdepth_training.data.source import Source
from featdepth_training.data.store import Store
from featdepth_training.objectives.learned_cameras import LearnedCameras

HEAD = (
    "# Cameras that the run has found, in pixels of the recordings' own images. They are calibrations for --camera\n"
    "# FILE#NAME, and the node takes them as any other.\n"
)


def learned_cameras(config: TrainConfig, sources: Sequence[Source]) -> LearnedCameras | None:
    """Return the cameras to learn: of the caches that the configuration names, and of those with a usual guess.

    Raises:
        ConfigError: a name of none of the caches, or nothing would teach them.
    """
    wanted = set(config.data.prepared.learned_cameras)
    names = [source.name for source in sources if not source.rendered]
    for name in wanted - set(names):
        raise ConfigError(
            f"data.prepared.learned_cameras holds '{name}', no name of a cache{nearest_name(name, names)}"
        )
    places = [s.location for s in sources if not s.rendered and (s.name in wanted or guessed(s.location))]
    if not places:
        return None
    if config.objective.photometric == 0 or config.data.sequence.frames < 2:
        raise ConfigError(
            "cameras are learnt from neighbouring frames; set objective.photometric above 0 and "
            "data.sequence.frames=3, or prepare the recordings again with their calibrations"
        )
    return LearnedCameras(places)


def guessed(location: str) -> bool:
    """Whether a cache was prepared with the usual camera, for want of any sign of its own."""
    description = read_description(Store(location)) if location else None
    return bool(description and description.get("guess") == "usual")


def write_cameras(path: Path, cameras: LearnedCameras) -> Path:
    """Write the calibrations as YAML, by the names of the caches; returns the path."""
    content: dict[str, Any] = {}
    values = zip(cameras.locations, cameras.log_focal.exp().tolist(), cameras.k1.tolist(), strict=True)
    for location, factor, k1 in values:
        store = Store(location)
        started = (read_description(store) or {}).get("camera_model")
        if started is None:
            continue
        content[store.name] = {
            **{key: started[key] for key in ("width", "height", "cx", "cy")},
            "fx": round(started["fx"] * factor, 4),
            "fy": round(started["fy"] * factor, 4),
            "distortion_model": "plumb_bob",
            "distortion": [round(k1, 6), 0.0, 0.0, 0.0, 0.0],
        }
    atomic_write(path, HEAD + yaml.safe_dump(content, sort_keys=False))
    return path
