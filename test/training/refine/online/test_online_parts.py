"""Pace, exchange with the node, and the store of generations: nothing that is in force is ever lost."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from plane_world import DEPTH_M, STEP_M, PlaneModel

from featdepth_ros.errors import ConfigError
from featdepth_training.config.loading import from_overrides
from featdepth_training.refine.gate import HeldOutFigures
from featdepth_training.refine.online.config import OnlineConfig
from featdepth_training.refine.online.exchange import Control, ControlFile, StatusFile, Watch, decided
from featdepth_training.refine.online.generations import Generations
from featdepth_training.refine.online.pacing import SLICE_S, Pacer
from featdepth_training.refine.online.replay import Replay, rendered_frames
from featdepth_training.refine.online.round import Moved, round_verdict
from featdepth_training.refine.steps import unmatched_change


class Machine:
    """A clock, and a processor whose time passes where the test says so."""

    def __init__(self) -> None:
        self.now = self.used = self.asleep = 0.0

    def work(self, seconds: float, waiting: float = 0.0) -> None:
        self.now += seconds + waiting
        self.used += seconds

    def sleep(self, seconds: float) -> None:
        assert seconds <= SLICE_S
        self.now += seconds
        self.asleep += seconds

    def pacer(self) -> Pacer:
        return Pacer(torch.device("cpu"), 0.5, lambda: self.now, lambda: self.used, self.sleep)


def test_a_share_of_a_core_is_held_by_sleeping() -> None:
    machine = Machine()
    pacer = machine.pacer()
    looked = 0

    def look() -> None:
        nonlocal looked
        looked += 1

    for _ in range(10):
        machine.work(0.9)
        pacer.rest(0.3, look)
    assert machine.used / machine.now == pytest.approx(0.3) and looked >= 10 * 2.1 / SLICE_S
    # Time that another program had the core is no debt, and no credit for later either.
    before = machine.asleep
    machine.work(0.5, waiting=5.0)
    pacer.rest(0.5)
    assert machine.asleep == before
    machine.work(0.5)
    pacer.rest(0.5)
    assert machine.asleep - before == pytest.approx(0.5)


def test_the_node_s_wishes_are_read_and_nonsense_changes_nothing(tmp_path: Path) -> None:
    file = ControlFile(tmp_path, "w", 0.5)
    assert file.read() == Control(True, "w", 0.5)
    path = tmp_path / "control.json"
    wanted = {"run": False, "current": "v", "budget": 0.25, "watch": {"old": "w", "new": "v", "since_ns": 7}}
    path.write_text(json.dumps(wanted))
    held = Control(False, "v", 0.25, Watch("w", "v", 7))
    assert file.read() == held
    for nonsense in ("{", "[]", '{"budget": "much"}', '{"watch": {"old": "w"}}'):
        path.write_text(nonsense)
        assert file.read() == held
    path.write_text('{"run": true, "watch": null}')
    assert file.read() == Control(True, "v", 0.25)


def test_the_status_is_written_once_a_second_and_ends_with_what_was_said_last(tmp_path: Path) -> None:
    now, written = 0.0, []
    status = StatusFile(tmp_path, lambda: now)
    for step in range(35):
        now = step / 10
        status.say("training", "", round=2, step=step, steps=35)
        content = json.loads((tmp_path / "learner.json").read_text())
        if content["step"] not in written:
            written.append(content["step"])
    assert written == [0, 10, 20, 30]
    assert set(content) == {"state", "round", "step", "steps", "generation", "message", "pid", "time"}
    status.flush(at_once=True)
    assert json.loads((tmp_path / "learner.json").read_text())["step"] == 34


def test_generations_are_complete_or_not_there_and_those_in_force_stay(tmp_path: Path) -> None:
    model = PlaneModel(DEPTH_M, STEP_M)
    (tmp_path / "0007").mkdir()  # a learner was killed while it wrote
    (tmp_path / "0007" / "model.safetensors").write_bytes(b"half")
    store = Generations(tmp_path, limit_mb=1e-9, refusals_kept=2)
    assert store.newest() is None and not (tmp_path / "0007").exists()
    for number in range(1, 9):
        accepted = number in (1, 2, 3, 8)
        assert store.write({"accepted": accepted, "loss": float("nan")}, model if accepted else None) == number
    evidence = store.evidence(2)
    assert evidence["accepted"] and evidence["loss"] is None and len(evidence["sha256"]) == 64
    assert store.prune([str(store.weights(2)), "compact", None]) == [1, 3]
    assert [n for n in range(1, 9) if store.weights(n).is_file()] == [2, 8]  # in force, and the newest
    assert [n for n in range(1, 9) if store.evidence(n)] == [1, 2, 3, 6, 7, 8]
    assert Generations(tmp_path, 1.0, 2).newest() == 8


def test_replay_is_silent_at_the_start_and_pulls_back_afterwards(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (5, 64, 96, 3), dtype=np.uint8)
    start, model = (PlaneModel(depth, STEP_M) for depth in (DEPTH_M, 1.2 * DEPTH_M))
    replay = Replay(frames, start.eval().requires_grad_(False), 3.0, 2, torch.device("cpu"))
    assert float(replay(start)["replay"]) == pytest.approx(0.0, abs=1e-2)  # what is known is kept in halves
    term = replay(model)["replay"]
    assert float(term.detach()) == pytest.approx(3.0 * np.log(1.2), rel=1e-2)
    term.backward()
    assert model.level.grad is not None and float(model.level.grad) < 0  # a greater disparity is a smaller depth
    assert len(rendered_frames(tmp_path, (64, 96), 0)) == 0
    np.save(tmp_path / "replay_64x96_5.npy", frames)
    np.testing.assert_array_equal(rendered_frames(tmp_path, (64, 96), 5), frames)


def test_the_history_tells_what_became_of_a_generation(tmp_path: Path) -> None:
    assert not decided(tmp_path, 2)
    lines = [{"event": "offered", "generation": 2}, {"event": "accepted", "generation": 1}]
    (tmp_path / "history.jsonl").write_text("\n".join(map(json.dumps, lines)) + '\n{"event": "refu')
    assert decided(tmp_path, 1) and not decided(tmp_path, 2)
    (tmp_path / "history.jsonl").write_text(json.dumps({"event": "refused", "generation": 2}))
    assert decided(tmp_path, 2)


def test_settings_come_as_overrides_and_contradictions_are_errors() -> None:
    config = from_overrides(OnlineConfig, ["lr=5e-5", "quality.dark=20", "limits.scale=0.2"])
    assert (config.lr, config.quality.dark, config.limits.scale) == (5e-5, 20.0, 0.2)
    for wrong in (["stepz=3"], ["steps=0"], ["most_clips=10"], ["lr=0"], ["gpu_budget=2"]):
        with pytest.raises(ConfigError):
            from_overrides(OnlineConfig, wrong)


def test_depth_is_held_where_nothing_was_matched_in_frames_where_something_was() -> None:
    model = PlaneModel(DEPTH_M, STEP_M)
    known = torch.full((2, 1, 8, 12), 0.02)
    now, matched = known.clone(), torch.full((2, 1, 16, 24), float("nan"))
    matched[0, :, :, :12] = 3.0  # the left half of the first picture; of the second nothing
    now[0, :, :, :6] *= 2
    now[1] *= 2
    assert float(unmatched_change(now, known, matched, model)) == 0.0
    now[0, :, :, 6:] *= 1.5
    now.requires_grad_()
    term = unmatched_change(now, known, matched, model)
    low, high = 1 / model.info.max_depth, 1 / model.info.min_depth
    expected = np.log((low + (high - low) * 0.03) / (low + (high - low) * 0.02))
    assert term.item() == pytest.approx(expected, rel=1e-4)
    (gradient,) = torch.autograd.grad(term, now)
    assert bool((gradient[0, :, :, 6:] != 0).all()) and not bool(gradient[1].any() | gradient[0, :, :, :6].any())


def accepted_rounds(
    shape: float = 1.0, scale: float = 1.0, change: float = 0.0, rounds: int = 20
) -> tuple[int, tuple[str, ...]]:
    """Each round lowers the photometric loss, and moves depth by the same from the generation before.

    Returns:
        how many generations are accepted in a row, and why the next was not.
    """
    generation = start = HeldOutFigures(clips=24, photometric=0.1, matched_frames=24, shape_error=0.1)
    for number in range(1, rounds + 1):
        after = HeldOutFigures(
            clips=24, photometric=0.1 * 0.99**number, matched_frames=24, shape_error=0.1 * shape**number
        )
        since_start = Moved(scale**number, change * number)
        verdict = round_verdict(OnlineConfig(), start, generation, after, since_start, Moved(scale, change))
        if not verdict.accepted:
            return number - 1, verdict.reasons
        generation = after
    return rounds, ()


def test_depth_does_not_creep_from_generation_to_generation() -> None:
    """What one round may lose, twenty may not; what gets better goes on for ever."""
    count, reasons = accepted_rounds(shape=1.009)
    assert count == 2 and reasons == (
        "the error of shape against matched depth rose from 0.1000 to 0.1027 since the start",
    )
    count, reasons = accepted_rounds(scale=1.03)
    assert count == 3 and len(reasons) == 1 and "factor of 1.126 since the start" in reasons[0]
    count, reasons = accepted_rounds(change=0.15)
    assert count == 3 and reasons == ("depth changed by 0.600 in log depth since the start, more than 0.5",)
    assert accepted_rounds(shape=0.98, scale=1.001, change=0.02) == (20, ())
    # More in one round than is allowed at all is told once.
    count, reasons = accepted_rounds(shape=1.03)
    assert count == 0 and reasons == ("the error of shape against matched depth rose from 0.1000 to 0.1030",)
