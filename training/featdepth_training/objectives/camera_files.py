"""Chooses the cameras that a run learns, and writes their calibrations to a file."""

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
    """Return the cameras to learn: of the caches in the configuration, and of those with the usual camera.

    Raises:
        ConfigError: a name is not that of a cache, or no term would train the cameras.
    """
    wanted = set(config.data.prepared.learned_cameras)
    names = [source.name for source in sources if not source.rendered]
    for name in wanted - set(names):
        raise ConfigError(
            f"data.prepared.learned_cameras names '{name}', which is not a cache{nearest_name(name, names)}"
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
    """Return whether a cache was prepared with the usual camera, because none could be estimated."""
    description = read_description(Store(location)) if location else None
    return bool(description and description.get("guess") == "usual")


def write_cameras(path: Path, cameras: LearnedCameras) -> Path:
    """Write the calibrations as YAML under the names of the caches, and return the path."""
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
