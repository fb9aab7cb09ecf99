"""Data that is damaged, too little, or of another size: named, refused before the first step or survived."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from drawn_clips import drawn_clip, tiny_config
from runs import same

from featdepth_ros.errors import ConfigError, FeatDepthError, RecordingError
from featdepth_training.data.cache import write_cache
from featdepth_training.data.clip import Clip
from featdepth_training.data.samples import ClipDataset
from featdepth_training.data.sampling import Plan
from featdepth_training.data.shards import tar_name
from featdepth_training.data.source import SampleKey
from featdepth_training.engine.published import read_state
from featdepth_training.engine.run import train
from featdepth_training.engine.trainer import Outcome, Trainer
from featdepth_training.monitoring.monitor import Monitor
from featdepth_training.processes.signals import leave_signals_to_parent

pytestmark = pytest.mark.slow

Make = Callable[..., Trainer]


def run(trainer: Trainer) -> Outcome:
    monitor = Monitor(trainer.output, trainer.step, trainer.config.total_steps, tensorboard=False)
    try:
        return trainer.run(monitor)
    finally:
        monitor.close()


def config(workers: int) -> Any:
    data = {"rendered": {"clips": 5, "validation_clips": 2, "frames": 2, "scenes": ["street"]}, "workers": workers}
    engine = {"checkpoint_every": 50, "validate_every": 0, "log_every": 1, "tensorboard": False, "threads": 1}
    return tiny_config(data=data, engine=engine)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_shard_is_named_and_costs_no_step(make_trainer: Make, tmp_path: Path, workers: int) -> None:
    """What was done before is saved; with the shard mended the run goes on as if nothing had happened."""
    made = make_trainer("broken", config(workers))
    steps = [{key.clip // 2 for key in _keys(made, step)} for step in range(4)]  # shards by step
    shard = tmp_path / "clips" / tar_name(next(iter(set.union(*steps) - steps[0])))
    good = shard.read_bytes()
    shard.write_bytes(bytes(len(good)))
    with pytest.raises(FeatDepthError, match=f"{shard.name} of .* is damaged .*saved at step .*--resume") as caught:
        run(made)
    assert "Traceback" not in str(caught.value)
    newest = made.checkpoints.latest()
    assert newest is not None and made.step > 0 and newest.name == f"step_{made.step:08d}.pt"
    shard.write_bytes(good)
    again = make_trainer("broken", config(workers), resumed=True)
    again.load_state_dict(read_state(newest))
    assert run(again).complete
    whole = make_trainer("whole", config(0))
    run(whole)
    assert same(whole.model.state_dict(), again.model.state_dict())


def _keys(trainer: Trainer, step: int) -> list[SampleKey]:
    plan = Plan(trainer.config, trainer.loop.train_set.sources, trainer.processes)
    return [key for keys in plan.micro_batches(step) for key in keys]


def test_a_damaged_validation_clip_is_named_and_the_run_saved(make_trainer: Make) -> None:
    trainer = make_trainer("out", config(0))

    class Unreadable(ClipDataset):
        def __getitem__(self, key: SampleKey) -> Any:
            raise RecordingError("shard 000000.tar is damaged.")

    held_out = trainer.validator.held_out
    trainer.validator.held_out = Unreadable(held_out.sources, held_out.config, None, 0)
    with pytest.raises(FeatDepthError, match=r"is damaged. It is needed for validation.*saved at step 4"):
        run(trainer)
    assert [p.name for p in trainer.checkpoints.steps()] == ["step_00000004.pt"]
    again = make_trainer("out", config(0), resumed=True)
    again.load_state_dict(read_state(trainer.checkpoints.steps()[0]))
    assert "abs_rel" in run(again).validation  # made up for


def test_a_loader_process_that_is_killed_ends_the_run_with_words(
    make_trainer: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the kernel does when memory runs out."""
    trainer, parent = make_trainer("out", config(1)), os.getpid()
    read = ClipDataset.__getitem__

    def dies(self: ClipDataset, key: SampleKey) -> Any:
        if key.number >= 4 and os.getpid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)
        return read(self, key)

    monkeypatch.setattr(ClipDataset, "__getitem__", dies)
    with pytest.raises(FeatDepthError, match=r"a loader process has ended.*lower data.workers"):
        run(trainer)


def test_a_loader_process_obeys_its_parent_alone() -> None:
    """Ctrl-C leaves it alone; SIGTERM, from its parent at the latest, ends it without the look of a failure."""
    process = multiprocessing.get_context("fork").Process(target=_as_loader_process, daemon=True)
    process.start()
    process.join(60)
    assert process.exitcode == 0


def _as_loader_process() -> None:
    leave_signals_to_parent(0)
    os.kill(os.getpid(), signal.SIGINT)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(5)
    os._exit(3)  # neither SIGINT nor SIGTERM shall let it come here


def recipe(*caches: Path, **changes: Any) -> dict[str, Any]:
    return {
        "model": {"initial": "none"},
        "data": {
            "kind": "prepared",
            "prepared": {"caches": [str(cache) for cache in caches], "held_out": 0.2},
            "augment": {"haze": 0.0},
        },
        "stages": [{"steps": 1, "sizes": [[96, 160]], "batch_size": 2}],
        "objective": {"photometric": 1.0, "smoothness": 1e-3},
        "engine": {"tensorboard": False, "threads": 1},
        **changes,
    }


def started(folder: Path, raw: dict[str, Any], **given: Any) -> Outcome:
    (folder / "run.yaml").write_text(yaml.safe_dump(raw), encoding="utf-8")
    return train(str(folder / "run.yaml"), folder / "out", **given)


def small_clip(index: int) -> Clip:
    clip = drawn_clip(index)
    return Clip(clip.images[:, ::2, ::2].copy(), None, clip.poses, clip.camera / 2, 0)


def first_frame(index: int) -> Clip:
    clip = drawn_clip(index)
    return Clip(clip.images[:1], None, clip.poses[:1], clip.camera, 0)


def test_caches_of_other_sizes_than_the_stage_are_resized(tmp_path: Path) -> None:
    """Frames of 72 x 128 and of 36 x 64 in one batch of 96 x 160."""
    write_cache(tmp_path / "one", {"made": "drawn", "frames": 2}, 5, 2, drawn_clip)
    write_cache(tmp_path / "two", {"made": "small", "frames": 2}, 5, 2, small_clip)
    outcome = started(tmp_path, recipe(tmp_path / "one", tmp_path / "two"))
    assert outcome.complete and np.isfinite(outcome.validation["photometric"])


def test_too_little_is_refused_before_the_first_step(tmp_path: Path) -> None:
    write_cache(tmp_path / "single", {"made": "single", "frames": 1}, 1, 2, first_frame)
    write_cache(tmp_path / "pair", {"made": "pair", "frames": 2}, 1, 2, drawn_clip)
    with pytest.raises(RecordingError, match=r"single holds no run of 2 neighbouring frames.*it holds 1 frames"):
        started(tmp_path, recipe(tmp_path / "single"))
    with pytest.raises(RecordingError, match="1 clips of 'pair' are too few to train on"):
        started(tmp_path, recipe(tmp_path / "pair"))
    with pytest.raises(RecordingError, match=r"no cache at .*featdepth prepare"):
        started(tmp_path, recipe(tmp_path / "nowhere"))
    assert not (tmp_path / "out" / "metrics.jsonl").exists()


def test_first_weights_are_looked_at_before_anything_is_rendered(tmp_path: Path) -> None:
    rendered: dict[str, Any] = {"data": {}, "objective": {"depth": 1.0}}
    (tmp_path / "other.safetensors").write_bytes(b"no weights")
    for given, match in (
        ({"finetune": str(tmp_path / "none.safetensors")}, "none.safetensors"),
        ({"finetune": str(tmp_path / "other.safetensors")}, "other.safetensors"),
        ({"resume": ""}, "no checkpoint in"),
    ):
        with pytest.raises(FeatDepthError, match=match):
            started(tmp_path, recipe(**rendered), **given)
    with pytest.raises(ConfigError, match=r"model\.resnet_file"):
        started(tmp_path, recipe(**rendered, model={"architecture": "baseline_r18"}))
    assert not (tmp_path / "out").exists()
