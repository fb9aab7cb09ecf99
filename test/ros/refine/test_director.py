"""Which weights depth_node shall use: after an offer, a trial, a kill of either process, and what people do by hand."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from featdepth_ros.ros.refine.director import ASK_AGAIN_S, SILENT_S, Director
from featdepth_ros.ros.refine.ledger import ACCEPTED, CONTROL, HISTORY, PROBATION, Accepted, Ledger
from featdepth_ros.ros.refine.live import NodeReport
from featdepth_ros.ros.refine.settings import SCHEMA, RefineSettings

SETTINGS = RefineSettings(**{name: option.default for name, option in SCHEMA.items()})
SHIPPED = "compact"


class World:
    """A folder, a depth_node that does as it is asked, and a director that can be killed."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder, self.now = folder, 100.0
        self.settings = RefineSettings(**{**SETTINGS.__dict__, "probation_s": 20.0, "probation_clips": 4, **settings})
        self.asked: list[str] = []
        self.said: list[str] = []
        self.swapped, self.weights, self.processed, self.lost, self.trouble = 0, SHIPPED, 0, 0, ""
        self.obeys = True
        self.figures: dict[str, Any] = {"residual_px": 0.3, "tracks": 400.0, "valid_share": 0.8}
        self.start()

    def start(self) -> None:
        """Start the director, as after a kill."""
        self.director = Director(
            Ledger(self.folder), lambda: self.settings, self.asked.append, self.said.append, lambda: self.now
        )

    def seconds(self, count: int, learner_lives: bool = True, run: bool = True) -> None:
        """Let time pass; depth_node reports once a second."""
        for _ in range(count):
            if self.obeys and self.asked and self.asked[-1] != self.weights:
                self.weights, self.swapped = self.asked[-1], self.swapped + 1
            self.now += 1.0
            self.processed += 10
            report = NodeReport(
                self.now, "active", self.weights, self.swapped, "", self.trouble, self.processed, self.lost, True, True,
                **self.figures,
            )  # fmt: skip
            self.director.take(report, newest_ns=round(self.now * 1e9))
            self.director.tick(run, learner_lives)

    def restart_node(self) -> None:
        """depth_node is killed and starts again as it was started at first."""
        self.swapped, self.weights, self.processed, self.lost = 0, SHIPPED, 0, 0
        self.asked.clear()

    def generation(self, number: int, parent: str, accepted: bool = True, **more: Any) -> str:
        """Write what the learner would."""
        folder = self.folder / "generations" / f"{number:04d}"
        folder.mkdir(parents=True)
        path = folder / "model.safetensors"
        path.write_bytes(b"weights %d" % number)
        evidence = {"accepted": accepted, "parent": parent, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        (folder / "evidence.json").write_text(json.dumps({**evidence, **more}))
        return str(path)

    def compare(self, old: float, new: float, clips: int = 8) -> None:
        """Write what the learner would have measured of the trial."""
        assert self.director.trial is not None
        watch = self.director.trial.watch
        values = {**watch, "clips": clips, "old_photometric": old, "new_photometric": new}
        (self.folder / PROBATION).write_text(json.dumps(values))

    @property
    def events(self) -> list[tuple[str, int | None]]:
        lines = (self.folder / HISTORY).read_text().splitlines() if (self.folder / HISTORY).is_file() else []
        return [(e["event"], e["generation"]) for e in map(json.loads, lines)]

    @property
    def accepted(self) -> dict[str, Any]:
        return dict(json.loads((self.folder / ACCEPTED).read_text()))

    @property
    def control(self) -> dict[str, Any]:
        return dict(json.loads((self.folder / CONTROL).read_text()))


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def on_trial(world: World) -> str:
    """Bring generation 1 on trial."""
    world.seconds(10)
    first = world.generation(1, SHIPPED)
    world.seconds(2)
    assert world.director.trial is not None and world.weights == first
    return first


def test_better_weights_are_offered_tried_and_accepted(world: World) -> None:
    world.seconds(10)
    assert world.control == {"run": True, "current": SHIPPED, "budget": 0.5, "watch": None}
    assert world.accepted == {"weights": SHIPPED, "generation": None, "shipped": SHIPPED}
    first = world.generation(1, SHIPPED)
    world.seconds(2)
    assert world.asked == [first] and world.events == [("offered", 1), ("swapped", 1)]
    watch = world.control["watch"]
    assert (watch["old"], watch["new"]) == (SHIPPED, first) and watch["since_ns"] == round(world.now * 1e9)
    assert world.control["current"] == first and world.accepted["weights"] == SHIPPED, "on trial it does not count yet"
    world.seconds(30)
    assert "of 4 fresh clips" in world.director.words
    world.compare(0.100, 0.095)
    world.seconds(1)
    assert world.events[-1] == ("accepted", 1) and world.control["watch"] is None
    assert world.accepted == {"weights": first, "generation": 1, "shipped": SHIPPED}
    assert "fell by 5.0%" in world.said[-1]
    world.generation(2, SHIPPED)  # of a parent that is not in force any more
    world.seconds(5)
    assert world.weights == first
    third = world.generation(3, first)
    world.seconds(2)
    assert world.weights == third


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        ({"residual_px": 0.8}, "residual rose"),
        ({"tracks": 90.0}, "tracks fell"),
        ({"valid_share": 0.4}, "valid share fell"),
        ({}, "photometric loss"),
        ({"lost": True}, "motion is lost"),
    ],
)
def test_what_gets_worse_is_rolled_back(world: World, spoil: dict[str, Any], words: str) -> None:
    on_trial(world)
    lost = spoil.pop("lost", False)
    world.figures |= spoil
    if not spoil and not lost:
        world.compare(0.100, 0.110)
    for _ in range(14):
        world.lost += 4 if lost else 0
        world.seconds(1)
        if world.director.trial is None:
            break
    world.seconds(1)
    assert world.weights == SHIPPED and world.events[-1] == ("rolled_back", 1), world.director.words
    assert any(words in said for said in world.said)
    assert world.control["current"] == SHIPPED and world.control["watch"] is None
    world.seconds(5)
    assert world.weights == SHIPPED, "it is not offered again"


def test_what_is_a_little_worse_in_one_place_may_come_back_in_the_next(world: World) -> None:
    first = on_trial(world)
    world.compare(0.100, 0.095)
    world.figures |= {"residual_px": 0.45, "valid_share": 0.6}
    world.seconds(8)
    assert world.director.trial is not None
    world.figures |= {"residual_px": 0.3, "valid_share": 0.8}
    world.seconds(16)
    assert world.accepted["weights"] == first


def test_without_motion_nothing_is_decided(world: World) -> None:
    on_trial(world)
    world.compare(0.1, 0.09)
    report = world.director.report
    assert report is not None
    for _ in range(100):
        world.now += 1.0
        world.processed += 10
        world.director.take(
            NodeReport(**{**report.__dict__, "at_s": world.now, "processed": world.processed, "moving": False}), 0
        )
        world.director.tick(True, True)
    assert world.director.trial is not None


def test_without_a_learner_the_live_figures_decide(world: World) -> None:
    first = on_trial(world)
    world.seconds(25, learner_lives=False, run=False)
    assert world.accepted["weights"] == first


def test_a_killed_depth_node_gets_the_accepted_weights_again(world: World) -> None:
    first = on_trial(world)
    world.compare(0.1, 0.09)
    world.seconds(25)
    assert world.accepted["weights"] == first
    world.restart_node()
    world.seconds(3)
    assert world.asked == [first] and world.weights == first and world.events[-1] == ("restored", 1)


def test_weights_under_which_depth_node_dies_are_rolled_back(world: World) -> None:
    on_trial(world)
    world.restart_node()
    world.seconds(3)
    assert world.weights == SHIPPED and world.events[-1] == ("rolled_back", 1) and not world.asked


@pytest.mark.parametrize("at", ["accepted", "trial", "asked"])
def test_a_killed_refine_node_goes_on_where_it_was(world: World, at: str) -> None:
    if at == "asked":
        world.seconds(10)
        first = world.generation(1, SHIPPED)
        world.obeys = False
        world.seconds(1)
        assert world.asked == [first] and world.director.trial is None
        world.weights, world.swapped = first, 1  # the swap comes while nobody looks
    else:
        first = on_trial(world)
        if at == "accepted":
            world.compare(0.1, 0.09)
            world.seconds(25)
    world.start()
    world.seconds(2)
    assert world.weights == first
    if at == "accepted":
        assert world.director.trial is None and world.accepted["weights"] == first
        return
    assert world.director.trial is not None and world.control["watch"]["new"] == first
    world.compare(0.1, 0.2)
    world.obeys = True
    world.seconds(3)
    assert world.weights == SHIPPED and world.events[-1] == ("rolled_back", 1)


def test_both_killed_at_once_lose_no_accepted_weights(world: World) -> None:
    first = on_trial(world)
    world.compare(0.1, 0.09)
    world.seconds(25)
    world.start()
    world.restart_node()
    world.seconds(3)
    assert world.weights == first


def test_a_refusal_is_remembered_and_not_repeated(world: World) -> None:
    world.seconds(10)
    world.obeys = False
    first = world.generation(1, SHIPPED)
    world.seconds(1)
    world.director.answered(first, "they are of another architecture")
    world.seconds(40)
    assert world.asked == [first] and world.events[-1] == ("refused", 1)
    second = world.generation(2, SHIPPED)
    world.seconds(1)
    world.trouble = f"weights '{second}' are not taken, and '{SHIPPED}' stay: damaged"
    world.seconds(1)
    assert world.events[-1] == ("refused", 2) and world.weights == SHIPPED


def test_a_spoilt_file_is_never_offered(world: World) -> None:
    world.seconds(10)
    path = Path(world.generation(1, SHIPPED))
    path.write_bytes(b"something else")
    world.seconds(3)
    assert not world.asked and world.events == [("refused", 1)]


def test_accepted_weights_that_are_gone_leave_the_shipped_ones(world: World) -> None:
    first = on_trial(world)
    world.compare(0.1, 0.09)
    world.seconds(25)
    world.restart_node()
    world.obeys = False
    world.seconds(1)
    world.director.answered(first, "no weights at ...")
    world.seconds(2)
    assert world.accepted["weights"] == SHIPPED and world.weights == SHIPPED


def test_a_wish_that_nobody_heard_is_repeated(world: World) -> None:
    world.seconds(10)
    world.obeys = False
    first = world.generation(1, SHIPPED)
    world.seconds(round(ASK_AGAIN_S) + 3)
    assert world.asked == [first, first] and world.events == [("offered", 1)]


def test_by_hand_accept_roll_back_and_the_shipped_weights(world: World) -> None:
    assert world.director.accept() == (False, "there is no report of depth_node yet, so there is nothing to accept")
    world.settings = RefineSettings(**{**world.settings.__dict__, "auto_offer": False})
    world.seconds(10)
    assert world.director.accept()[0] is False and world.director.roll_back()[0] is False
    first = world.generation(1, SHIPPED)
    world.seconds(3)
    assert not world.asked and "~/accept" in world.director.words
    assert world.director.accept()[0]
    world.seconds(2)
    assert world.director.trial is not None
    assert world.director.accept()[0] and world.accepted["weights"] == first
    second = world.generation(2, first)
    world.director.accept()
    world.seconds(2)
    assert world.weights == second
    assert world.director.roll_back()[0]
    world.seconds(2)
    assert world.weights == first
    assert world.director.roll_back() == (True, f"back to '{SHIPPED}'")
    world.seconds(2)
    assert world.weights == SHIPPED and world.accepted == {"weights": SHIPPED, "generation": None, "shipped": SHIPPED}


def test_weights_set_by_hand_are_respected(world: World) -> None:
    on_trial(world)
    world.asked.clear()
    world.weights, world.swapped = "/somewhere/else.safetensors", 2
    world.seconds(3)
    assert world.events[-2:] == [("rolled_back", 1), ("set_by_hand", None)]
    assert world.accepted["weights"] == "/somewhere/else.safetensors" == world.control["current"]
    assert world.accepted["shipped"] == SHIPPED and not world.asked


def test_depth_node_started_with_other_weights_begins_anew(world: World) -> None:
    on_trial(world)
    world.compare(0.1, 0.09)
    world.seconds(25)
    world.restart_node()
    world.weights = "compact-open"
    world.seconds(3)
    assert world.accepted == {"weights": "compact-open", "generation": None, "shipped": "compact-open"}
    assert not world.asked, "what was learnt from other weights is not put on these"


def test_silence_is_told_and_decides_nothing(world: World) -> None:
    on_trial(world)
    world.now += SILENT_S + 1
    world.director.tick(True, True)
    assert "there is no report of 'depth_node'" in world.director.words and world.director.trial is not None


def test_history_survives_a_line_that_was_cut_short(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.write("accepted", 3, "a")
    with (tmp_path / HISTORY).open("a") as file:
        file.write('{"event": "rolled_ba')
    again = Ledger(tmp_path)
    again.write("refused", 4, "b")
    assert Ledger(tmp_path).decided == {3, 4}
    (tmp_path / ACCEPTED).write_text("{")
    assert again.accepted() is None
    again.accept(Accepted("a", 3, "s"))
    assert again.accepted() == Accepted("a", 3, "s")
