"""What a long run on many caches needs: one line that starts or goes on, bounded validation, a forecast, signals."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from drawn_clips import drawn_clip, tiny_config
from runs import Run, records, write_config
from test_resume import small_recipe, write_small_caches

from featdepth_ros.cli.main import main
from featdepth_ros.errors import ConfigError
from featdepth_training.config.loading import from_dict, load_config
from featdepth_training.data import store as stores
from featdepth_training.data.cache import ClipCache, write_cache
from featdepth_training.data.source import thinned
from featdepth_training.engine.open_data import open_data
from featdepth_training.engine.optimiser import build_optimiser
from featdepth_training.engine.trainer import Trainer
from featdepth_training.monitoring.forecast import Forecast, duration
from featdepth_training.processes import signals

TINY = {"stages": [{"steps": 2, "sizes": [[64, 64]], "batch_size": 1}]}


def prepared(folder: Path, **changes: Any) -> dict[str, Any]:
    recipe = small_recipe(folder, **TINY)
    recipe["data"]["prepared"] = {"caches": [str(folder / "one"), str(folder / "two")], **changes}
    return recipe


def test_each_cache_has_its_own_share_held_out(tmp_path: Path) -> None:
    write_small_caches(tmp_path)  # 5 and 4 clips
    _, train, held_out = open_data(from_dict(prepared(tmp_path, held_outs=[0.4, 0.0])), tmp_path)
    assert [len(s.clips) for s in train] == [3, 4] and [len(s.clips) for s in held_out] == [2]
    with pytest.raises(ConfigError, match="held_outs has 1 numbers; expected 2"):
        open_data(from_dict(prepared(tmp_path, held_outs=[0.4])), tmp_path)


def test_caches_to_validate_on_are_never_trained_on(tmp_path: Path) -> None:
    write_small_caches(tmp_path)
    write_cache(tmp_path / "val", {"made": "val", "frames": 2}, 3, 3, lambda number: drawn_clip(20 + number))
    changes = {"held_out": 0.0, "validation": [str(tmp_path / "val")]}
    _, train, held_out = open_data(from_dict(prepared(tmp_path, **changes)), tmp_path)
    assert [len(s.clips) for s in train] == [5, 4] and [(s.name, len(s.clips)) for s in held_out] == [("val", 3)]
    with pytest.raises(ConfigError, match="caches to validate on"):
        from_dict({**prepared(tmp_path, held_out=0.0)})


def test_a_cache_without_neighbours_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Its share goes with it, and the others keep theirs."""
    write_small_caches(tmp_path)
    write_cache(tmp_path / "alone", {"made": "alone", "frames": 1}, 3, 3, lambda n: first_frame_of(drawn_clip(n)))
    recipe = prepared(tmp_path, shares=[2, 9, 1], held_out=0.2)
    recipe["data"]["prepared"]["caches"].insert(1, str(tmp_path / "alone"))
    _, train, _ = open_data(from_dict(recipe), tmp_path)
    assert [(s.name, s.share) for s in train] == [("one", 2), ("two", 1)]
    assert "left out of training" in caplog.text and "alone holds no run of 2" in caplog.text


def first_frame_of(clip: Any) -> Any:
    from dataclasses import replace

    return replace(clip, images=clip.images[:1], depth=clip.depth[:1], poses=clip.poses[:1])


def test_validation_is_bounded_and_spread(tmp_path: Path) -> None:
    write_small_caches(tmp_path)
    changes = {"held_outs": [0.6, 0.5], "validation_clips": 2}
    _, _, held_out = open_data(from_dict(prepared(tmp_path, **changes)), tmp_path)
    assert [(s.name, len(s.clips)) for s in held_out] == [("one", 1), ("two", 1)]
    cache = ClipCache([tmp_path / "one"])
    from featdepth_training.data.source import sources_of

    chosen = thinned(sources_of(cache, False), 2)[0].clips
    assert [int(chosen[k].camera[0]) for k in range(2)] == [80, 80] and len(chosen) == 2
    assert (chosen[0].images == cache[1].images).all() and (chosen[1].images == cache[3].images).all()
    assert thinned(sources_of(cache, False), 0)[0].clips[4].images.shape == cache[4].images.shape


@pytest.mark.slow
def test_resume_auto_starts_and_goes_on(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    write_small_caches(tmp_path)
    recipe, output = write_config(tmp_path / "run.yaml", prepared(tmp_path)), tmp_path / "run"
    line = ["train", "--config", str(recipe), "--output", str(output), "--device", "cpu", "--resume", "auto"]
    assert main(line) == 0 and main(line) == 0
    steps = [r["step"] for r in records(output) if r["kind"] == "train"]
    assert steps == [1, 2]
    more = "stages=[{steps: 3, sizes: [[64, 64]], batch_size: 1}]"
    weights = str(output / "model.safetensors")
    assert main([*line, "--finetune", weights, more]) == 0
    assert [r["step"] for r in records(output) if r["kind"] == "train"] == [1, 2, 3]
    other = [*line, "--finetune", weights, "--output", str(tmp_path / "other")]
    assert main(other) == 0 and (tmp_path / "other" / "model.safetensors").is_file()


def test_the_resolved_configuration_is_a_recipe(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    write_small_caches(tmp_path)
    recipe = write_config(tmp_path / "run.yaml", prepared(tmp_path))
    line = ["train", "--config", str(recipe), "--device", "cpu"]
    assert main([*line, "--output", str(tmp_path / "run"), "optimiser.lr=2e-4", "optimiser.kind=sgd"]) == 0
    resolved = load_config(str(tmp_path / "run" / "config.yaml"))
    assert resolved.optimiser.lr == 2e-4 and resolved.optimiser.kind == "sgd" and resolved.data.prepared.caches
    assert yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["engine"]["threads"] == 1


def test_a_url_is_no_place_for_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--config", "overfit", "--output", "s3://bucket/run"]) == 1
    assert "a URL: checkpoints need a folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("kind", "options", "expected"),
    [("sgd", {"nesterov": True}, "SGD"), ("RMSprop", {"alpha": 0.9}, "RMSprop"), ("nadam", {}, "NAdam")],
)
def test_any_optimiser_of_torch(
    kind: str, options: dict[str, Any], expected: str, make_trainer: Callable[..., Trainer]
) -> None:
    config = tiny_config(optimiser={"kind": kind, "options": options, "lr": 1e-3, "momentum": 0.8})
    trainer = make_trainer("run", config)
    optimiser = trainer.loop.optimiser
    assert type(optimiser).__name__ == expected
    group = optimiser.param_groups[0]
    assert all(group[key] == value for key, value in options.items())
    assert group.get("momentum", 0.8) == 0.8


@pytest.mark.parametrize(
    ("optimiser", "words"),
    [
        ({"kind": "SGDD"}, "did you mean 'SGD'"),
        ({"kind": "LBFGS"}, "optimiser.kind is 'LBFGS'"),
        ({"kind": "sgd", "options": {"nestorev": True}}, "did you mean 'nesterov'"),
        ({"kind": "sgd", "momentum": 0.0, "options": {"nesterov": True}}, "torch.optim.SGD rejects"),
    ],
)
def test_wrong_optimisers_are_words(optimiser: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        build_optimiser(torch.nn.Linear(2, 2), tiny_config(optimiser=optimiser).optimiser)  # type: ignore[arg-type]


def test_the_forecast_counts_pixels_and_validations(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two stages, the second of a fourth of the pixels: 10 steps at 1 s, then validations of 6 s."""
    stages = [
        {"steps": 20, "sizes": [[64, 128]], "batch_size": 4},
        {"steps": 40, "sizes": [[64, 128]], "batch_size": 1},
    ]
    config = tiny_config(stages=stages, engine={"validate_every": 12})
    clock = [0.0]
    monkeypatch.setattr("featdepth_training.monitoring.forecast.time.monotonic", lambda: clock[0])
    forecast, told = Forecast(config, 0), []
    for step in range(1, 13):
        clock[0] += 1.0
        told.append(forecast.stepped(step))
    expected = "about 20 s for the remaining 50 steps, plus 5 validations, whose time is known after the first one"
    assert told[9] == expected
    assert [line for line in told if line] == [told[9]]
    said = forecast.validated(12, 6.0)
    expected = "a validation takes 6 s; the run takes about 42 s more with 4 validations"
    assert said is not None and said.startswith(expected)
    assert forecast.validated(24, 6.0) is None
    assert [duration(s) for s in (40, 450, 64800)] == ["40 s", "7.5 min", "18.0 h"]


@pytest.mark.slow
def test_a_signal_ends_a_validation_and_a_second_one_loses_no_step(tmp_path: Path) -> None:
    """The first signal is answered inside the validation; the run that goes on makes up for it."""
    write_small_caches(tmp_path)
    recipe = small_recipe(tmp_path)
    recipe["engine"] |= {"validate_every": 2, "checkpoint_every": 100}
    recipe["data"]["prepared"]["held_outs"] = [0.4, 0.4]
    config = write_config(tmp_path / "run.yaml", recipe)
    run = Run(tmp_path / "run", ["--config", str(config)], before=slow_validation)
    run.wait_for_step(2)
    pid = run.process.pid
    assert pid is not None
    os.kill(pid, signal.SIGINT)
    assert run.finish() == 130 and "SIGINT: stopping" in run.text()
    kinds = [(r["step"], r["kind"]) for r in records(run.output)]
    assert (2, "validation") not in kinds and kinds[-1] == (2, "train")
    again = Run(tmp_path / "run", ["--config", str(config), "--resume", "auto"], before=slow_steps)
    again.wait_for_step(5)  # which is not validated: the next thing is a step of 5 s
    time.sleep(0.3)
    assert again.process.pid is not None
    os.kill(again.process.pid, signal.SIGINT)
    time.sleep(signals.SAME_WISH_S + 0.3)  # within the step of 5 s
    os.kill(again.process.pid, signal.SIGINT)
    assert again.finish() == 130
    assert "the run is saved at step" in again.text()
    saved = sorted((run.output / "checkpoints").glob("step_*.pt"))
    last = max(r["step"] for r in records(run.output))
    assert int(saved[-1].stem.split("_")[1]) == last
    assert Run(tmp_path / "run", ["--config", str(config), "--resume"]).finish() == 0
    assert (2, "validation") in [(r["step"], r["kind"]) for r in records(run.output)]


def slow_validation() -> None:
    """Half a second a batch of validation."""
    from featdepth_training.engine import validator

    batches = validator.validation_batches

    def slow(*arguments: Any) -> Any:
        for batch in batches(*arguments):
            time.sleep(0.5)
            yield batch

    validator.validation_batches = slow


def slow_steps() -> None:
    """From step 5 on, 5 s a step, in Python."""
    from featdepth_training.engine import loop

    take = loop.TrainingLoop.take_step

    def slow(self: Any, batches: Any) -> Any:
        end = time.monotonic() + (5.0 if self.step >= 5 else 0.0)
        while time.monotonic() < end:
            time.sleep(0.01)
        return take(self, batches)

    loop.TrainingLoop.take_step = slow  # type: ignore[method-assign]


def test_copies_of_shards_make_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The longest unused goes first; a run whose copy has gone fetches it again."""
    for number in range(4):
        (tmp_path / f"{number}.tar").write_bytes(bytes(1000))
        os.utime(tmp_path / f"{number}.tar", (number, number))
    monkeypatch.setenv(stores.LOCAL_LIMIT_GB, "3.5e-6")
    stores.make_room(tmp_path, 1000)
    assert sorted(p.name for p in tmp_path.glob("*.tar")) == ["2.tar", "3.tar"]
    monkeypatch.setenv("FEATDEPTH_SHARDS", str(tmp_path / "copies"))
    monkeypatch.setenv(stores.LOCAL_LIMIT_GB, "1e-9")
    write_cache("memory://copies_make_room", {"made": "drawn", "frames": 2}, 4, 2, drawn_clip)
    cache = ClipCache(["memory://copies_make_room"])
    first = cache[0].images
    assert cache[3].images.shape == first.shape and len(list((tmp_path / "copies").glob("*.tar"))) == 1
    assert (cache[0].images == first).all()
