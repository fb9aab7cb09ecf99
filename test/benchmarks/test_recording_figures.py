"""Tests of metrics without ground truth: correct depth and motion give a low error, and a scale jump is measured."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

pytest.importorskip("numba")

from recording_figures import Album, beside, compare_pair

from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.inference.types import Estimate, Motion, MotionState, ScaleState
from featdepth_ros.simulation import Simulation, SimulationConfig

pytestmark = pytest.mark.slow

CAMERA = CameraModel(208, 64, 120.0, 120.0, 103.5, 31.5)


def estimates() -> tuple[Estimate, Estimate]:
    """Return two estimates with the true depth and motion of neighbouring rendered frames."""
    simulation = Simulation(SimulationConfig(scene="street", seed=1, frames=12, camera=CAMERA))
    made = []
    for index in (10, 11):
        frame = simulation.frame(index)
        assert frame.depth is not None
        step = se3.inverse(simulation.poses[index - 1]) @ simulation.poses[index]
        everywhere = np.ones(frame.depth.shape, bool)
        made.append(
            Estimate(
                stamp_ns=frame.stamp_ns,
                image=frame.image,
                camera=CAMERA,
                depth=np.nan_to_num(frame.depth, nan=1000.0),
                valid=everywhere,
                in_image=everywhere,
                min_depth=0.1,
                max_depth=1000.0,
                sigma=None,
                motion=Motion(MotionState.TRACKED, step, 100_000_000, np.eye(6)),
                scale=ScaleState("metric", "model", 1.0, 0.0),
            )
        )
    return made[0], made[1]


def test_truth_explains_the_next_picture_and_a_jump_of_scale_is_measured() -> None:
    earlier, later = estimates()
    exact = compare_pair(earlier, later)
    assert exact is not None and exact.photometric < 0.5 * exact.unwarped and abs(exact.scale_step) < 0.01
    larger = compare_pair(earlier, dataclasses.replace(later, depth=1.2 * later.depth))
    assert larger is not None and larger.scale_step == pytest.approx(math.log(1.2), abs=0.05)
    wrong = compare_pair(earlier, dataclasses.replace(later, depth=np.full_like(later.depth, 3.0)))
    assert wrong is not None and wrong.photometric > 1.3 * exact.photometric
    lost = dataclasses.replace(later, motion=dataclasses.replace(later.motion, state=MotionState.LOST))
    assert compare_pair(earlier, lost) is None


def test_the_sheet_holds_the_best_and_the_worst_frame_of_each_recording() -> None:
    album = Album()
    image = np.full((60, 120, 3), 90, np.uint8)
    depth = np.linspace(1.0, 9.0, 60 * 120).reshape(60, 120)
    seen = [(error, beside(image + shade, [depth], (1.0, 9.0))) for error, shade in ((0.2, 0), (0.1, 40), (0.4, 90))]
    album.keep("street", seen)
    album.keep("nothing", [])
    assert list(album.pictures) == ["street best", "street worst"]
    np.testing.assert_array_equal(album.pictures["street best"], seen[1][1])
    sheet = album.sheet()
    assert sheet.shape == (18 + 150, 1200, 3)
    assert abs(int(sheet[90, 100, 0]) - 130) <= 1 and abs(int(sheet[90, 700, 0]) - 180) <= 1
