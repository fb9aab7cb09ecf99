from __future__ import annotations

import numpy as np
import pytest

from featdepth_ros.ros.cameras.pace import Pace

MILLISECOND = 1_000_000


@pytest.mark.parametrize(
    ("camera_hz", "wanted", "got"), [(30, 10, 10), (30, 20, 20), (30, 0, 30), (10, 30, 10), (30, 7, 7)]
)
def test_the_rate_is_held_on_average(camera_hz: float, wanted: float, got: float) -> None:
    jitter = np.random.default_rng(0).normal(0.0, 0.002, 600)
    stamps = [int((i / camera_hz + jitter[i]) * 1e9) for i in range(600)]
    pace = Pace()
    taken = sum(pace.is_due(stamp, wanted) for stamp in stamps)
    assert taken / (600 / camera_hz) == pytest.approx(got, rel=0.03)


def test_pauses_and_jumps_start_anew() -> None:
    pace = Pace()
    assert [pace.is_due(stamp * MILLISECOND, 10) for stamp in (0, 50, 100)] == [True, False, True]
    assert pace.is_due(5000 * MILLISECOND, 10) and not pace.is_due(5050 * MILLISECOND, 10)
    assert pace.is_due(1000 * MILLISECOND, 10), "a clock that went back holds nothing up"
