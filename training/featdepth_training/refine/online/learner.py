"""The learner: reads the buffer, runs rounds, writes generations, and follows the node's control file."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import torch

from featdepth_ros.errors import FeatDepthError
from featdepth_ros.files import sha256_of
from featdepth_ros.models.base import FeatDepthModel
from featdepth_ros.resources import weights_file
from featdepth_training.refine.online.buffer import Buffer
from featdepth_training.refine.online.config import OnlineConfig
from featdepth_training.refine.online.exchange import ControlFile, StatusFile, accepted_weights, decided
from featdepth_training.refine.online.generations import Generations
from featdepth_training.refine.online.pacing import Pacer
from featdepth_training.refine.online.probation import Probation
from featdepth_training.refine.online.replay import Replay, rendered_frames
from featdepth_training.refine.online.round import Outcome, Round
from featdepth_training.refine.steps import give_focal, refined_info, start_model

#: Seconds between two checks without work, and after an error of the disk.
IDLE_S, TROUBLE_S = 0.5, 5.0
#: Number of consecutive rejections above which nothing changes any more.
_MOST_REFUSALS = 3


class AbandonedError(Exception):
    """The weights in use were changed, so that the current round is useless."""


class Learner:
    """A learner on one shared folder.

    Args:
        work: the folder, created if needed.
        weights: file, or name of shipped weights, with which the node was started. Their scale is kept.
        config: settings.
        device: device of the networks.
        budget: processor cores to use, until ``control.json`` sets another value.
        alive: returns whether the parent process is alive; if not, the learner ends.

    Raises:
        CheckpointError: the weights cannot be read, or lack a network.
    """

    def __init__(
        self,
        work: Path,
        weights: str,
        config: OnlineConfig,
        device: torch.device,
        budget: float = 0.5,
        alive: Callable[[], bool] = lambda: True,
    ) -> None:
        self._work, self._weights, self._config, self._device, self._alive = work, weights, config, device, alive
        self._generations = Generations(work / "generations", config.generations_mb, config.refusals_kept)
        self._start = self._loaded(weights)
        self._current: tuple[str, FeatDepthModel] = (weights, self._start)
        self._control_file = ControlFile(work, weights, budget)
        self._control = self._control_file.read()
        self._buffer = Buffer(work / "buffer", config)
        self._probation = Probation(work, self._buffer, config, device)
        self._pacer = Pacer(device, config.gpu_budget)
        self._replay: dict[tuple[int, int], Replay | None] = {}  # for the latest size
        self.status = StatusFile(work)
        self.refusals = 0
        self._known: set[str] = set()  # names of the training segments at the latest verdict
        self._pending = self._undecided()
        self._pending_since = time.monotonic()
        self.status.say("waiting", "started", generation=self._generations.newest())

    def _loaded(self, weights: str) -> FeatDepthModel:
        model = start_model(weights).eval().requires_grad_(False)
        return model.to(device=self._device, memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]

    def _undecided(self) -> int | None:
        """Return an accepted generation of an earlier learner without a decision of the node; None: there is none."""
        newest = self._generations.newest()
        accepted = newest is not None and bool(self._generations.evidence(newest).get("accepted"))
        return newest if accepted else None

    def run(self, rounds: int | None = None) -> None:
        """Work until the end; with ``rounds``, end after this number of rounds (for tests and measurements)."""
        done = 0
        while rounds is None or done < rounds:
            try:
                done += self.turn()
            except OSError as error:
                self.status.say("failed", f"the disk cannot be written: {error}")
                self._pause(TROUBLE_S)

    @property
    def refused(self) -> dict[str, str]:
        """Reason for each unused segment of the buffer, by name."""
        return self._buffer.refused

    def turn(self) -> bool:
        """Do the next piece of work. Returns whether that was a complete round."""
        self._attend()
        self._buffer.refresh(self._rest)
        self._probation.update(self._control.watch, self._rest)
        if not self._control.run:
            self.status.say("paused", "paused by the node")
            self._pause(IDLE_S)
            return False
        why = self._why_wait()
        if not why:
            return self._round()
        self.status.say("waiting", "; ".join(filter(None, (why, self._buffer.refusals(), self._probation.trouble))))
        self._pause(IDLE_S)
        return False

    def _pause(self, seconds: float) -> None:
        self._pacer.pause(seconds)

    def _rest(self) -> None:
        self._pacer.rest(self._control.budget, self._attend)

    def _attend(self) -> None:
        """Read the node's requests, and write a sign of life.

        Raises:
            SystemExit: the parent process has ended.
        """
        if not self._alive():
            raise SystemExit(0)
        before, self._control = self._control, self._control_file.read()
        watch = before.watch
        if watch is not None and (watch.new, watch.old) == (before.current, self._control.current):
            self._refused()  # after a rollback, the same frames would lead to the same weights
        self.status.flush()

    def _refused(self) -> None:
        self.refusals += 1
        self._known = self._training_names()

    def _training_names(self) -> set[str]:
        return {segment.name for segment in self._buffer.usable(False)}

    def _why_wait(self) -> str:
        """Return why no round can begin now; empty: one can."""
        config, buffer, pending = self._config, self._buffer, self._pending
        clips, held_out = buffer.clips(False), buffer.clips(True)
        if clips < config.least_clips or held_out < config.least_held_out:
            return (
                f"{clips} clips to learn from (at least {config.least_clips}) and {held_out} held out (at least "
                f"{config.least_held_out})"
            )
        if pending is not None:
            taken = decided(self._work, pending) or _same(self._control.current, self._generations.weights(pending))
            if not taken and time.monotonic() - self._pending_since < config.patience_s:
                return f"generation {pending} waits for the node"
            if not taken and buffer.clips(False, self._known) < config.new_clips:
                return f"generation {pending} waits for the node, and little is new since"
            self._pending = None
        if self.refusals:
            wanted = config.new_clips * 2 ** (min(self.refusals, _MOST_REFUSALS) - 1)
            fresh = buffer.clips(False, self._known)
            if fresh < wanted:
                return f"{fresh} clips are new since the last refusal; the next round wants {wanted}"
        return ""

    def _round(self) -> bool:
        """Run a round and write its result. Returns whether it was completed."""
        number, parent, config = (self._generations.newest() or 0) + 1, self._control.current, self._config
        try:
            model = self._in_force(parent)
            self.status.say("waiting", f"matching depth of the clips of round {number}")
            training, measured = self._buffer.training(number, self._rest), self._buffer.measured(self._rest)
        except FeatDepthError as error:
            self.status.say("waiting", f"no round can begin: {error}")
            self._pause(IDLE_S)
            return False
        for one in (self._start, model):
            give_focal(one, training.camera, training.size)
        replay = self._replayed(training.size)

        def between(state: Literal["training", "judging"], step: int) -> None:
            self._between(parent, state, number, step)

        lr = config.lr * 0.5 ** min(self.refusals, _MOST_REFUSALS)
        evidence = {
            "round": number,
            "parent": parent,
            "parent_sha256": _checksum(parent),
            "start": self._weights,
            "held_out_segments": measured.names,
            "training_segments": training.names,
            "training_clips": training.clips,
            "planned_steps": config.steps,
            "lr": lr,
            "size": training.size,
            "camera": training.camera,
        }
        try:
            seed = config.seed + number
            outcome = Round(
                model, self._start, training, measured, config, lr, seed, self._device, between, replay
            ).run()
        except AbandonedError:
            self.status.say("waiting", "the weights in force were changed: the round was abandoned")
            return False
        except FeatDepthError as error:
            self._refused()
            self._generations.write({**evidence, "accepted": False, "reasons": [str(error)]}, None)
            self.status.say("waiting", f"round {number} failed: {error}", generation=number)
            return True
        self._written(number, evidence, outcome)
        return True

    def _written(self, number: int, evidence: dict[str, object], outcome: Outcome) -> None:
        """Write the generation, and store its verdict."""
        accepted, model = outcome.verdict.accepted, outcome.model
        if accepted:
            model.to("cpu", memory_format=torch.contiguous_format)  # type: ignore[call-overload]
            note = (
                f"refined online from {Path(self._weights).name}: generation {number}, {outcome.steps} steps of "
                f"{self._config.batch_size} clips at lr {evidence['lr']:g}, parent {Path(str(evidence['parent'])).name}"
            )
            model.info = refined_info(self._start.info, note)
        self._generations.write({**evidence, **outcome.evidence()}, model if accepted else None)
        before, after = outcome.before.photometric, outcome.after.photometric
        change = f"photometric {before:.4f} to {after:.4f} on {outcome.before.clips} held-out clips"
        if accepted:
            self.refusals, self._pending, self._pending_since = 0, number, time.monotonic()
            self._known = self._training_names()
            self.status.say("waiting", f"generation {number} is ready: {change}", generation=number)
        else:
            self._refused()
            reasons = "; ".join(outcome.verdict.reasons)
            self.status.say("waiting", f"round {number} was refused: {reasons}", generation=number)
        watch = self._control.watch
        compared = () if watch is None else (watch.old, watch.new)
        self._generations.prune((self._control.current, accepted_weights(self._work), *compared))

    def _replayed(self, size: tuple[int, int]) -> Replay | None:
        """Return rendered frames of other places at this size; they are rendered once."""
        config = self._config
        if size not in self._replay:
            self.status.say("waiting", "rendering frames for replay")
            frames = rendered_frames(self._work, size, config.replay_frames, self._rest)
            enough = len(frames) >= config.replay_batch
            self._replay = {
                size: Replay(frames, self._start, config.replay_weight, config.replay_batch, self._device)
                if enough
                else None
            }
        return self._replay[size]

    def _in_force(self, path: str) -> FeatDepthModel:
        """Return the model of the weights in use, which is loaded once."""
        if path == self._weights:
            self._current = (path, self._start)
        elif path != self._current[0]:
            model = self._loaded(path)
            if model.info.architecture != self._start.info.architecture:
                raise FeatDepthError(
                    f"the weights in force are a {model.info.architecture} model, those that the learner was started "
                    f"with {self._start.info.architecture}"
                )
            self._current = (path, model)
        return self._current[1]

    def _between(self, parent: str, state: Literal["training", "judging"], number: int, step: int) -> None:
        """Sleep after a part of a round, run probation, and wait while paused."""
        counted = {"round": number, "step": step, "steps": self._config.steps}
        self.status.say(state, f"round {number}", **counted)
        self._rest()
        if self._control.watch is not None:
            self._buffer.refresh(self._rest)
            self._probation.update(self._control.watch, self._rest)
        while not self._control.run and self._control.current == parent:
            self.status.say("paused", "paused by the node, within a round", **counted)
            self._pause(IDLE_S)
            self._attend()
        if self._control.current != parent:
            raise AbandonedError


def _same(one: str, other: Path) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


def _checksum(weights: str) -> str | None:
    """Return the SHA-256 of a weights file; None if it cannot be read."""
    try:
        return sha256_of(weights_file(weights))
    except (OSError, FeatDepthError):
        return None
