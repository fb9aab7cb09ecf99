"""Synthetic clips that are generated quickly, and a configuration that trains on them in seconds."""

from __future__ import annotations

import numpy as np

from featdepth_training.config.loading import from_dict
from featdepth_training.config.schema import TrainConfig
from featdepth_training.data.cache import ClipCache
from featdepth_training.data.clip import Clip
from featdepth_training.data.source import Source, sources_of

SIZE = (72, 128)


def drawn_clip(index: int) -> Clip:
    """Return a clip of a wall with noise at one depth, below an empty sky; the camera moves towards it."""
    rng = np.random.default_rng(index)
    images = rng.integers(0, 256, (2, *SIZE, 3), dtype=np.uint8)
    depth = np.full((2, *SIZE), 4.0 + index, np.float32)
    depth[1] -= 0.5
    depth[:, :10] = np.inf
    poses = np.stack([np.eye(4), np.eye(4)])
    poses[1, 2, 3] = 0.5
    poses[1, 0, 3] = 0.1
    return Clip(images, depth, poses, np.array([80.0, 80.0, 63.5, 35.5]), 0)


def tiny_config(**changes: object) -> TrainConfig:
    raw: dict[str, object] = {
        "seed": 3,
        "model": {"initial": "none"},
        "data": {"rendered": {"clips": 5, "validation_clips": 2, "frames": 2, "scenes": ["street"]}},
        "stages": [
            {"steps": 3, "sizes": [[64, 96]], "batch_size": 2},
            {"steps": 1, "sizes": [[64, 64]], "batch_size": 1},
        ],
        "engine": {"checkpoint_every": 2, "validate_every": 3, "log_every": 1, "tensorboard": False, "threads": 1},
    }
    return from_dict({**raw, **changes})


def sources(clips: ClipCache, rendered: bool = True) -> list[Source]:
    return sources_of(clips, rendered)
