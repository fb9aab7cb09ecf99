"""A tiny cache of drawn clips, and trainers on it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from drawn_clips import drawn_clip, sources, tiny_config

from featdepth_training.config.schema import TrainConfig
from featdepth_training.data.cache import ClipCache, write_cache
from featdepth_training.data.samples import ClipDataset
from featdepth_training.engine.trainer import Trainer


@pytest.fixture
def clips(tmp_path: Path) -> ClipCache:
    write_cache(tmp_path / "clips", {"made": "drawn", "frames": 2}, 5, 2, drawn_clip)
    return ClipCache([(tmp_path / "clips", 5)])


@pytest.fixture
def make_trainer(clips: ClipCache, tmp_path: Path) -> Callable[..., Trainer]:
    def make(output: str, config: TrainConfig | None = None, resumed: bool = False) -> Trainer:
        settings = config or tiny_config()
        sequence = settings.data.sequence
        return Trainer(
            settings,
            tmp_path / output,
            ClipDataset(sources(clips), sequence, settings.data.augment, settings.seed),
            ClipDataset(sources(clips), sequence, None, settings.seed),
            resumed=resumed,
        )

    return make
