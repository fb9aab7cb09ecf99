"""Injected faults against diagnostics: each is told, in words, and not one passes for OK."""

from __future__ import annotations

import gc
import os
from collections import Counter
from pathlib import Path

import pytest
from faulty_drive import ERROR, OK, WARN, FaultyDrive, faulty_drive

from featdepth_ros.ros.frames import listener, tree
from featdepth_ros.ros.statistics import Statistics

pytest.importorskip("numba")
pytestmark = pytest.mark.ros

#: Fault -> level and words of diagnostics right after it.
TABLE: dict[str, tuple[bytes, str]] = {
    "dark": (ERROR, "dark"),
    "noisy_dark": (ERROR, "dark"),
    "white": (ERROR, "overexposed"),
    "blur": (ERROR, "out of focus"),
    "frozen": (ERROR, "frozen"),
    "cut": (WARN, "motion is lost"),
    "half_covered": (WARN, "min_valid_share"),
    "bad_message": (ERROR, "images are rejected"),
    "silent": (ERROR, "no image for 4 s"),
    "after_silence": (WARN, "older than max_gap_s"),
    "bad_calibration": (WARN, "uncalibrated"),
    "columns": (WARN, "uncalibrated"),
    "other_calibration": (WARN, "the calibration changed"),
    "other_size": (WARN, "the size of the images changed"),
    "other_frame": (WARN, "the frame_id changed"),
    "still_stamps": (ERROR, "each has the stamp of the one before"),
    "future": (WARN, "in the future by the node's clock"),
    "rival": (ERROR, "another node publishes"),
    "joint": (ERROR, "is not known at the image's stamp"),
    "jitter": (WARN, "stamps went back"),
}


def check(drive: FaultyDrive, fault: str) -> None:
    """Inject a fault and compare what diagnostics say."""
    getattr(drive, fault)()
    level, message, _ = drive.told()
    assert level != OK, f"frame {drive.index}: after '{fault}' diagnostics say OK: {message}"
    assert (level, TABLE[fault][1] in message) == (TABLE[fault][0], True), f"'{fault}': {level!r} {message}"


@pytest.mark.parametrize("fault", TABLE)
def test_every_fault_is_told_and_not_forgotten_at_once(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with faulty_drive(monkeypatch) as drive:
        level, message, values = drive.told()
        assert (level, values["motion_state"]) == (OK, "tracked"), message
        check(drive, fault)
        drive.drive(1)
        level, message, _ = drive.told()
        assert fault == "silent" or level != OK, f"a second later nobody would know: {message}"


def test_every_tenth_image_broken_is_a_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    with faulty_drive(monkeypatch) as drive:
        for _ in range(6):
            drive.drive(9)
            drive.bad_message()
        drive.drive(3)
        level, message, values = drive.told()
    assert level == WARN and "5 rejected" in message and "step" in message
    assert float(values["rejected_share"]) == pytest.approx(0.1, abs=0.02)


def test_absurd_motion_is_refused_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    with faulty_drive(monkeypatch) as drive:
        assert float(drive.told()[2]["refused_images"]) == 0
    with faulty_drive(monkeypatch, max_speed_mps=0.5) as drive:
        level, message, values = drive.told()
        assert int(values["refused_images"]) > 5
        assert level == WARN and "max_speed_mps (0.5)" in message, message


def test_a_camera_in_the_frame_of_the_odometry_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with faulty_drive(monkeypatch) as drive:
        drive.send(drive.next_image(), frame_id="odom")
        level, message, _ = drive.told()
    assert level == ERROR and "frame_id is 'odom'" in message and "camera_frame" in message


def test_simulated_time_without_a_clock_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with faulty_drive(monkeypatch, use_sim_time=True) as drive:
        level, message, _ = drive.told()
    assert level == WARN and "no /clock has arrived" in message and "nobody publishes it" in message


def resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


@pytest.mark.slow
@pytest.mark.timeout(4 * 3600 if os.environ.get("FEATDEPTH_NIGHTLY") else 300)
def test_a_long_drive_with_a_fault_every_fifty_frames_shows_no_false_ok(monkeypatch: pytest.MonkeyPatch) -> None:
    """10,000 frames at night; otherwise each fault once, and troubles are remembered for one second."""
    nightly = bool(os.environ.get("FEATDEPTH_NIGHTLY"))
    frames, told_for, apart = (10_000, 10, 44) if nightly else (0, 3, 12)
    if not nightly:
        monkeypatch.setattr(Statistics, "WINDOW_S", 1.0)
    monkeypatch.setattr(tree, "FORGOTTEN_S", 2.0 if nightly else 0.5)
    monkeypatch.setattr(listener, "PATIENCE_S", 0.2)
    order = [name for name in TABLE if name != "joint"]  # a joint stays in the tree
    injected = healthy = 0
    kinds: Counter[str] = Counter()
    grown: list[float] = []
    with faulty_drive(monkeypatch) as drive:
        while drive.index < frames or injected < len(order):
            check(drive, order[injected % len(order)])
            kinds[order[injected % len(order)]] += 1
            injected += 1
            drive.drive(told_for)
            assert drive.told()[0] != OK, f"frame {drive.index}: '{order[(injected - 1) % len(order)]}' is told no more"
            drive.drive(apart)
            level, message, _ = drive.told()
            assert level == OK, f"frame {drive.index}: {message}"
            healthy += 1
            if injected % 10 == 0:
                gc.collect()
                grown.append(resident_mib())
                print(f"{drive.index} frames, {injected} faults, {grown[-1]:.0f} MiB", flush=True)
        values = drive.told()[2]
    print(f"{drive.index} frames, {injected} faults, no false OK: {dict(kinds)}", flush=True)
    assert injected == healthy >= len(order)
    assert int(values["rejected"]) >= 1
    if len(grown) > 4:
        assert grown[-1] - grown[len(grown) // 4] < 20.0, f"memory grows: {grown} MiB"
