"""Rounds of the learner on a small world: what improves is offered, what does not is refused, and the node decides."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from plane_world import DEPTH_M, INFO, STEP_M, PlaneModel
from segments import darkened, wall, wall_segments, write_segment

from featdepth_ros.errors import CheckpointError
from featdepth_ros.models.checkpoints import save_model
from featdepth_ros.models.weights_io import read_weights
from featdepth_training.refine.online import learner as learning
from featdepth_training.refine.online import probation as probing
from featdepth_training.refine.online.config import OnlineConfig
from featdepth_training.refine.online.learner import Learner

#: The size of the wall's pictures, at which the focal lengths of the weights are the camera's.
PLANE = replace(INFO, input_size=(96, 160), pose_input_size=(96, 160))
CONFIG = OnlineConfig(
    steps=6, lr=5e-3, least_clips=12, least_held_out=6, measured_clips=6, new_clips=6, ema_decay=0.5,
    matching=0.0, replay_frames=0,
)  # fmt: skip
CPU = torch.device("cpu")


def written(path: Path, model: PlaneModel) -> str:
    save_model(path, model)
    return str(path)


def loaded(weights: str, kind: type[PlaneModel] = PlaneModel) -> PlaneModel:
    model = kind(DEPTH_M, STEP_M, PLANE)
    if not Path(weights).is_file():
        raise CheckpointError(f"no weights at '{weights}'")
    model.load_state_dict(read_weights(Path(weights)).state)
    return model


class Robot:
    """A learner, and the node's side of the folder."""

    def __init__(self, work: Path, config: OnlineConfig = CONFIG) -> None:
        self.work = work
        self.start = written(work / "start.safetensors", PlaneModel(DEPTH_M, 0.6 * STEP_M, PLANE))
        self.config = config
        self.learner = self.begun()

    def begun(self) -> Learner:
        return Learner(self.work, self.start, self.config, CPU, budget=100.0)

    def wants(self, **changes: Any) -> None:
        wanted = {"run": True, "current": self.start, "budget": 100.0, "watch": None, **changes}
        (self.work / "control.json").write_text(json.dumps(wanted))

    def status(self) -> dict[str, Any]:
        self.learner.status.flush(at_once=True)
        values: dict[str, Any] = json.loads((self.work / "learner.json").read_text())
        return values

    def weights(self, generation: int) -> str:
        return str(self.work / "generations" / f"{generation:04d}" / "model.safetensors")

    def evidence(self, generation: int) -> dict[str, Any]:
        path = self.work / "generations" / f"{generation:04d}" / "evidence.json"
        values: dict[str, Any] = json.loads(path.read_text())
        return values


@pytest.fixture
def robot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Robot:
    for module in (learning, probing):
        monkeypatch.setattr(module, "start_model", loaded)
    monkeypatch.setattr(learning, "IDLE_S", 0.0)
    return Robot(tmp_path)


def test_a_round_waits_for_frames_then_improves_and_proves_it(robot: Robot) -> None:
    assert not robot.learner.turn()
    assert robot.status()["message"].startswith("0 clips to learn from (at least 12) and 0 held out")
    folders = wall_segments(robot.work / "buffer", range(3))
    dark = write_segment(robot.work / "buffer", darkened(wall(3)))
    assert robot.learner.turn()
    evidence = robot.evidence(1)
    assert evidence["accepted"] and evidence["reasons"] == [] and evidence["steps"] == 6
    assert evidence["after"]["photometric"] < 0.95 * evidence["before"]["photometric"]
    assert evidence["parent"] == evidence["start"] == robot.start
    assert evidence["held_out_segments"] == [folders[2].name]
    assert evidence["training_segments"] == [folders[0].name, folders[1].name]
    assert abs(evidence["scale_ratio"] - 1) < 0.05 and evidence["depth_change"] < 1e-3
    weights = read_weights(Path(robot.weights(1)))
    assert weights.info is not None and "refined online from start.safetensors: generation 1" in weights.info.training
    start = read_weights(Path(robot.start)).state["translation"]
    assert abs(float(weights.state["translation"][1])) > abs(float(start[1]))
    status = robot.status()
    assert (status["state"], status["generation"], status["round"]) == ("waiting", 1, 1)
    robot.learner.turn()
    assert dark.name in robot.learner.refused and "1 of 4 segments are not used: 1 dark" in robot.status()["message"]


def test_an_accepted_generation_waits_for_the_node_and_the_next_one_begins_from_what_is_in_force(robot: Robot) -> None:
    wall_segments(robot.work / "buffer", range(3))
    assert robot.learner.turn() and not robot.learner.turn()
    assert "generation 1 waits for the node" in robot.status()["message"]
    robot.learner._pending_since -= CONFIG.patience_s
    assert not robot.learner.turn() and "little is new" in robot.status()["message"]
    restarted = robot.begun()
    assert not restarted.turn()  # also after a kill
    robot.wants(current=robot.weights(1))
    assert restarted.turn()
    evidence = robot.evidence(2)
    assert evidence["parent"] == robot.weights(1) and evidence["start"] == robot.start
    assert evidence["before"]["photometric"] == pytest.approx(robot.evidence(1)["after"]["photometric"], rel=1e-3)
    # The scale is watched against the weights of the start too.
    assert evidence["scale_ratio_start"] != evidence["scale_ratio"]
    # The node refuses the second generation: the third begins from the first again.
    if evidence["accepted"]:
        (robot.work / "history.jsonl").write_text(json.dumps({"event": "refused", "generation": 2}))
    else:
        wall_segments(robot.work / "buffer", range(6, 8))
    assert restarted.turn() and robot.evidence(3)["parent"] == robot.weights(1)


def test_what_got_worse_is_refused_and_the_next_round_wants_new_frames(robot: Robot) -> None:
    robot.learner = Learner(robot.work, robot.start, replace(CONFIG, lr=1.0), CPU, budget=100.0)
    wall_segments(robot.work / "buffer", range(3))
    assert robot.learner.turn()
    evidence = robot.evidence(1)
    assert not evidence["accepted"] and any("photometric" in reason for reason in evidence["reasons"])
    assert not Path(robot.weights(1)).exists()
    assert not robot.learner.turn()
    assert robot.status()["message"] == "0 clips are new since the last refusal; the next round wants 6"
    wall_segments(robot.work / "buffer", [3])
    assert robot.learner.turn() and robot.evidence(2)["lr"] == 0.5
    assert not robot.learner.turn() and "the next round wants 12" in robot.status()["message"]


def test_a_gain_that_is_none_is_not_offered(robot: Robot) -> None:
    robot.learner = Learner(robot.work, robot.start, replace(CONFIG, lr=1e-6), CPU, budget=100.0)
    wall_segments(robot.work / "buffer", range(3))
    assert robot.learner.turn()
    assert "not worth a swap" in robot.evidence(1)["reasons"][0]


class TiltingModel(PlaneModel):
    """Depth that tilts from left to right as the motion is learnt: photometric loss falls, and shape is spoilt."""

    tilt = 0.0

    def depth(self, image: torch.Tensor) -> list[torch.Tensor]:
        learnt = -float(self.translation[1].detach()) / STEP_M - 0.6
        return [
            flat * torch.exp(self.tilt * learnt * torch.linspace(-1, 1, flat.shape[-1]))
            for flat in super().depth(image)
        ]


@pytest.mark.parametrize("tilt", [0.0, 1.5])
def test_shape_that_is_spoilt_is_refused_though_the_photometric_loss_falls(
    robot: Robot, monkeypatch: pytest.MonkeyPatch, tilt: float
) -> None:
    monkeypatch.setattr(TiltingModel, "tilt", tilt)
    monkeypatch.setattr(learning, "start_model", lambda weights: loaded(weights, TiltingModel))
    robot.learner = robot.begun()
    wall_segments(robot.work / "buffer", range(3))
    assert robot.learner.turn()
    evidence = robot.evidence(1)
    before, after = evidence["before"], evidence["after"]
    assert after["photometric"] < 0.97 * before["photometric"]
    assert before["matched_frames"] >= 3 and before["shape_error"] < 0.02
    assert evidence["accepted"] == (tilt == 0.0)
    if tilt:
        assert after["shape_error"] > 0.06
        assert len(evidence["reasons"]) == 1 and "error of shape against matched depth rose" in evidence["reasons"][0]


def interrupted(monkeypatch: pytest.MonkeyPatch, learner: Learner, action: Callable[[int], None]) -> None:
    """Call ``action`` with the number of looks at the node's wishes."""
    original, count = learner._attend, 0

    def attend() -> None:
        nonlocal count
        count += 1
        action(count)
        original()

    monkeypatch.setattr(learner, "_attend", attend)


def test_a_pause_holds_a_round_and_other_weights_end_it(robot: Robot, monkeypatch: pytest.MonkeyPatch) -> None:
    robot.wants(run=False)
    wall_segments(robot.work / "buffer", range(3))
    assert not robot.learner.turn() and robot.status()["state"] == "paused"
    robot.wants()
    seen: list[str] = []

    def pause(_count: int) -> None:
        seen.append(robot.status()["state"])
        robot.wants(run=seen.count("training") < 3 or seen.count("paused") > 2)

    interrupted(monkeypatch, robot.learner, pause)
    assert robot.learner.turn() and robot.evidence(1)["steps"] == 6
    assert seen.count("paused") >= 3 and seen.count("training") > 3
    other = written(robot.work / "other.safetensors", PlaneModel(DEPTH_M, 0.7 * STEP_M, PLANE))
    robot.wants(current=robot.weights(1))
    robot.learner = robot.begun()

    def exchange(_count: int) -> None:
        if robot.status()["step"] == 3:
            robot.wants(current=other)

    interrupted(monkeypatch, robot.learner, exchange)
    assert not robot.learner.turn() and "abandoned" in robot.status()["message"]
    assert not (robot.work / "generations" / "0002").exists()


def test_probation_compares_on_what_came_since_and_a_rollback_wants_new_frames(robot: Robot) -> None:
    new = written(robot.work / "new.safetensors", PlaneModel(DEPTH_M, 0.1 * STEP_M, PLANE))
    wall_segments(robot.work / "buffer", range(3))
    since = wall(2)[-1].stamp_ns
    watch = {"old": robot.start, "new": new, "since_ns": since}
    robot.wants(run=False, current=new, watch=watch)
    robot.learner.turn()
    figures = json.loads((robot.work / "probation.json").read_text())
    assert figures["clips"] == 0 and figures["old_photometric"] is None
    wall_segments(robot.work / "buffer", [4, 5])  # one of each split
    robot.learner.turn()
    figures = json.loads((robot.work / "probation.json").read_text())
    assert figures["clips"] == 4  # the newest; segments may come faster than they are measured
    robot.learner.turn()
    figures = json.loads((robot.work / "probation.json").read_text())
    assert figures["clips"] == 8 and (figures["old"], figures["new"]) == (robot.start, new)
    assert 0 < figures["old_photometric"] < figures["new_photometric"]
    robot.wants()  # rolled back
    assert not robot.learner.turn() and not (robot.work / "probation.json").exists()
    assert robot.learner.refusals == 1
    assert "the next round wants 6" in robot.status()["message"]
    robot.wants(run=False, watch={**watch, "old": "nowhere"})
    robot.learner.turn()
    assert not (robot.work / "probation.json").exists()


def test_a_learner_whose_node_has_gone_ends(robot: Robot) -> None:
    orphan = Learner(robot.work, robot.start, CONFIG, CPU, alive=lambda: False)
    with pytest.raises(SystemExit):
        orphan.run()
