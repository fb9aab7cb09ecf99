from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from fake_model import FakeEstimator

from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.inference.types import MotionState, ScaleState
from featdepth_ros.models.info import ModelInfo
from featdepth_ros.ros.diagnostics import FrameReport, Health, assess, diagnostic_message
from featdepth_ros.ros.statistics import Snapshot

METRIC = ScaleState("metric", "factor", 36.0, 0.0)
FRAME = FrameReport(METRIC, MotionState.TRACKED, "fused", 0.876, "", 312, 0.417)
GOOD = Health(
    state="active",
    enabled=True,
    figures=Snapshot(received=10, processed=9, dropped=1, rate_hz=9.5, age_ms=40.0, stage_ms={"depth": 30.0}),
    info=ModelInfo(name="compact", licence="Apache-2.0"),
    weights="compact",
    device="cpu",
    frame=FRAME,
    base="base_link",
)
RELATIVE = replace(FRAME, scale=ScaleState("relative", "none", 1.0, 1.0))
LOST = replace(FRAME, motion_state=MotionState.LOST)


@pytest.mark.parametrize(
    ("health", "level", "says"),
    [
        (GOOD, DiagnosticStatus.OK, "9.5 frames/s"),
        (replace(GOOD, frame=RELATIVE), DiagnosticStatus.WARN, "not metres"),
        (replace(GOOD, frame=LOST), DiagnosticStatus.WARN, "lost"),
        (replace(GOOD, frame=replace(FRAME, speed=(8.0, 15.0))), DiagnosticStatus.OK, "9.5 frames/s"),
        (replace(GOOD, frame=replace(FRAME, speed=(8.0, 44.0))), DiagnosticStatus.WARN, "standard deviation is 44.0"),
        (replace(GOOD, frame=replace(FRAME, speed=(0.01, 1.9))), DiagnosticStatus.OK, "9.5 frames/s"),
        (replace(GOOD, frame=replace(FRAME, tracks=17)), DiagnosticStatus.WARN, "rests on only 17 tracks"),
        (replace(GOOD, figures=replace(GOOD.figures, age_ms=-5e3)), DiagnosticStatus.WARN, "5 s in the future"),
        (replace(GOOD, figures=replace(GOOD.figures, age_ms=12e3)), DiagnosticStatus.WARN, "answers are 12 s old"),
        (replace(GOOD, figures=replace(GOOD.figures, age_ms=1e12)), DiagnosticStatus.OK, "9.5 frames/s"),
        (replace(GOOD, notes=("backend 'tensorrt' is not used: no GPU",)), DiagnosticStatus.WARN, "tensorrt"),
        (replace(GOOD, doubts=("no transform front <- left",)), DiagnosticStatus.WARN, "front <- left"),
        (replace(GOOD, doubts=("no transform",), silence="no image"), DiagnosticStatus.ERROR, "no image"),
        (replace(GOOD, frame=replace(FRAME, uncalibrated="D is no number")), DiagnosticStatus.WARN, "D is no number"),
        (replace(GOOD, conflict="someone else publishes"), DiagnosticStatus.ERROR, "someone else"),
        (replace(GOOD, silence="nobody publishes /x", frame=LOST), DiagnosticStatus.ERROR, "nobody publishes"),
        (replace(GOOD, figures=Snapshot(last_error="bad step")), DiagnosticStatus.ERROR, "bad step"),
        (replace(GOOD, figures=Snapshot()), DiagnosticStatus.OK, "waiting"),
        (replace(GOOD, enabled=False, silence="x"), DiagnosticStatus.OK, "switched off"),
        (replace(GOOD, state="inactive", silence="x"), DiagnosticStatus.OK, "inactive"),
    ],
)
def test_the_worst_is_told(health: Health, level: bytes, says: str) -> None:
    got, message = assess(health)
    assert got == level and says in message


def test_message_holds_scale_weights_licence_and_stages() -> None:
    status = diagnostic_message("depth_node: pipeline", 2_000_000_000, GOOD).status[0]
    values = {v.key: v.value for v in status.values}
    assert values["scale"] == "metric" and values["scale_source"] == "factor" and values["scale_factor"] == "36"
    assert values["licence"] == "Apache-2.0" and values["weights"] == "compact" and values["device"] == "cpu"
    assert values["stage_depth_ms"] == "30.00" and values["age_at_publish_ms"] == "40.0" and values["dropped"] == "1"
    assert status.hardware_id == "compact"
    assert (values["motion_state"], values["tracks"], values["residual_px"]) == ("tracked", "312", "0.42")
    assert (values["depth"], values["valid_share"]) == ("fused", "0.876") and "motion" not in values


def test_a_frame_without_window_has_no_tracks() -> None:
    health = replace(GOOD, frame=replace(FRAME, motion_state=MotionState.STANDING, tracks=None, residual_px=None))
    values = {v.key: v.value for v in diagnostic_message("x", 0, health).status[0].values}
    assert (values["motion_state"], values["tracks"], values["residual_px"]) == ("standing", "", "")


def test_the_report_of_a_frame_counts_pixels_of_the_image_alone() -> None:
    camera = CameraModel(64, 48, 50.0, 50.0, 31.5, 23.5)
    estimate = FakeEstimator().step(np.zeros((48, 64, 3), np.uint8), camera, 1)
    report = FrameReport.of(estimate, "fused", "")
    assert report.valid_share == pytest.approx(estimate.valid[estimate.in_image].sum() / (24 * 32 - 1))
    assert (report.tracks, report.residual_px, report.motion_state) == (300, 0.4, MotionState.FIRST)
    assert not report.uncalibrated
    nothing = replace(estimate, in_image=np.zeros_like(estimate.in_image), window=None, camera=None)
    report = FrameReport.of(nothing, "network", "no camera_info")
    assert (report.valid_share, report.tracks, report.residual_px) == (0.0, None, None)
    assert report.uncalibrated == "no camera_info"


def test_the_speed_and_how_sure_it_is_are_told_where_motion_is_tracked() -> None:
    camera, estimator = CameraModel(64, 48, 50.0, 50.0, 31.5, 23.5), FakeEstimator()
    first, second = (estimator.step(np.zeros((48, 64, 3), np.uint8), camera, n * 100_000_000) for n in (1, 2))
    assert FrameReport.of(first, "fused", "").speed is None
    speed = FrameReport.of(second, "fused", "").speed
    assert speed == pytest.approx((1.0, 0.1))  # 0.1 m, known to 0.01 m, in 0.1 s
    told = diagnostic_message("x", 0, replace(GOOD, frame=replace(FRAME, speed=speed), unstamped=True)).status[0]
    values = {v.key: v.value for v in told.values}
    assert (values["speed"], values["speed_deviation"]) == ("1.00", "0.10")
    assert "the images have none" in values["stamps"]


@pytest.mark.parametrize(("age_ms", "says"), [(40.0, "of the node"), (1e12, "use_sim_time"), (-1e5, "future")])
def test_stamps_of_another_clock_are_told(age_ms: float, says: str) -> None:
    health = replace(GOOD, figures=replace(GOOD.figures, age_ms=age_ms))
    values = {v.key: v.value for v in diagnostic_message("x", 0, health).status[0].values}
    assert says in values["stamps"]


def test_message_before_anything_happened() -> None:
    empty = Health(state="unconfigured", enabled=True, figures=Snapshot())
    array = diagnostic_message("depth_node: pipeline", 0, empty)
    assert array.status[0].message == "unconfigured"
