"""Tests of the metrics on rendered scenes: a jam is a jam, figures are within bounds, and means are means."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("numba")

from rendered_scenes import METRICS, SCENES, mean, measure, render

from featdepth_ros import load_model

pytestmark = pytest.mark.slow


def test_a_traffic_jam_fills_the_view() -> None:
    free, jam = (render(name, 9001, 1)[0].depth for name in ("street", "street, jam"))
    assert free is not None and jam is not None and not np.array_equal(free, jam)
    assert np.nanmedian(jam) < np.nanmedian(free)


def test_the_default_weights_are_within_their_figures_in_a_street_and_a_room() -> None:
    model = load_model("compact")
    found = {name: measure(model, render(name, 9001, 8)) for name in ("street", "room")}
    for row in found.values():
        assert set(row) == set(METRICS) and row["abs_rel"] < 0.25 and row["rpe_deg"] < 2.0
    both = mean(list(found.values()))
    assert both["abs_rel"] == pytest.approx((found["street"]["abs_rel"] + found["room"]["abs_rel"]) / 2)
    assert set(SCENES) > set(found)
