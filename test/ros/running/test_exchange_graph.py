"""`ros2 param set /depth_node weights FILE` while images flow: nothing is lost or jumps, and what fails says why."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ros_graph import Graph, wait
from wall_drive import START, STEP_NS, WallDrive, flat_weights

from featdepth_ros.messages.stamps import stamp_ns

pytest.importorskip("numba")
pytest.importorskip("scipy")
pytestmark = pytest.mark.ros


@pytest.mark.slow
def test_weights_change_between_two_frames_and_nothing_jumps(ros: Graph, tmp_path: Path) -> None:
    first, second = flat_weights(tmp_path, "first"), flat_weights(tmp_path, "second", 1.3)
    drive = WallDrive(ros, first)
    drive.go(14)
    assert drive.set(second).successful
    drive.go_until(lambda told: told["weights"] == second, "the exchange")
    told = drive.told()
    assert (told["weights_swapped"], told["weights_pending"], told["weights_trouble"]) == ("1", "", "")
    assert told["model"] == "second" and drive.get() == second
    swapped_at = len(drive.odoms)
    drive.go(8)
    wait(lambda: int(drive.told()["processed"]) == drive.sent, "every frame")
    assert drive.told()["dropped"] == "0"
    stamps = [stamp_ns(m.header.stamp) for m in drive.odoms]
    assert stamps == [START + index * STEP_NS for index in range(drive.sent)]
    steps = drive.steps_m()
    before, after = np.median(steps[6:14]), np.median(steps[swapped_at:])
    assert before > 0 and after == pytest.approx(before, rel=0.05), "the scale is held"
    assert steps[6:].max() < 1.5 * before and steps[6:].min() > 0.5 * before

    # A way back is a way like any other.
    assert drive.set(first).successful
    drive.go_until(lambda told: told["weights"] == first and told["weights_swapped"] == "2", "the way back")


@pytest.mark.slow
def test_what_fails_leaves_the_old_weights_and_says_why(ros: Graph, tmp_path: Path) -> None:
    first = flat_weights(tmp_path, "first")
    drive = WallDrive(ros, first)
    drive.go(2)
    truncated, spoiled = tmp_path / "truncated.safetensors", tmp_path / "spoiled.safetensors"
    truncated.write_bytes(Path(first).read_bytes()[:1000])
    for bad, words in (
        (str(tmp_path / "nothing.safetensors"), "no weights at"),
        (str(truncated), "truncated"),
        (flat_weights(tmp_path, "other", input_size=(96, 96)), "(96, 96)"),
        (flat_weights(tmp_path, "relative", scale_kind="relative"), "of the scale relative"),
    ):
        answer = drive.set(bad)
        assert not answer.successful and words in answer.reason, (bad, answer.reason)
    # Its head is sound: what is wrong shows when it is loaded.
    content = bytearray(Path(flat_weights(tmp_path, "nan")).read_bytes())
    content[-4000:] = b"\xff" * 4000
    spoiled.write_bytes(content)
    assert drive.set(str(spoiled)).successful
    drive.go_until(lambda told: "not finite" in told["weights_trouble"], "the trouble")
    wait(lambda: drive.get() == first, "the parameter to tell the truth")
    told = drive.told()
    assert told["weights"] == first and told["weights_swapped"] == "0" and told["weights_pending"] == ""
    drive.go(3)


@pytest.mark.slow
def test_the_newest_of_two_wishes_counts_and_early_ones_wait_for_pictures(ros: Graph, tmp_path: Path) -> None:
    first, second, third = (flat_weights(tmp_path, n, f) for n, f in (("first", 1.0), ("second", 1.3), ("third", 0.8)))
    drive = WallDrive(ros, first)
    assert drive.set(second).successful
    wait(lambda: "waits for pictures" in drive.told()["weights_pending"], "the words")
    assert drive.set(third).successful
    drive.go_until(lambda told: told["weights"] == third, "the third")
    assert drive.told()["weights_swapped"] == "1"
