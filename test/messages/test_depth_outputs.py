"""Depth for people, for networks and for costmaps."""

from __future__ import annotations

import struct

import cv2
import numpy as np
import pytest

from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.messages.cloud_filter import CloudFilter
from featdepth_ros.messages.colours import SceneRange, depth_colours
from featdepth_ros.messages.compressed_depth import compressed_depth_fields


def decoded(fields: dict, max_depth: float) -> np.ndarray:
    """Return depth as compressed_depth_image_transport's subscriber reads it."""
    data = np.frombuffer(fields["data"], np.uint8)
    kind, a, b = struct.unpack("<iff", data[:12].tobytes())
    values = cv2.imdecode(data[12:], cv2.IMREAD_UNCHANGED)
    assert kind == 0 and values.dtype == np.uint16
    if fields["format"].startswith("16UC1"):
        assert (a, b) == (0.0, 0.0)
        return values
    with np.errstate(divide="ignore"):
        return np.where(values > 0, a / (values.astype(np.float32) - b), np.nan)


def test_compressed_depth_comes_back_with_its_marks_as_nan() -> None:
    depth = np.geomspace(0.2, 60.0, 48 * 64, dtype=np.float32).reshape(48, 64)
    depth[0, 0], depth[1, 1], depth[2, 2] = np.nan, np.inf, -np.inf
    fields = compressed_depth_fields(depth, "32FC1", 80.0)
    assert fields["format"] == "32FC1; compressedDepth png"
    back = decoded(fields, 80.0)
    known = np.isfinite(depth)
    np.testing.assert_array_equal(np.isfinite(back), known)
    # Steps of inverse depth: a hundredth of a metre at 10 m, and with the square of depth elsewhere.
    assert (np.abs(back - depth)[known] <= depth[known] ** 2 / 10_000 + 1e-3).all()


def test_compressed_millimetres_are_exact() -> None:
    depth = np.linspace(0.5, 70.0, 48 * 64, dtype=np.float32).reshape(48, 64)
    depth[0, 0] = np.nan
    back = decoded(compressed_depth_fields(depth, "16UC1", 80.0), 80.0)
    expected = np.where(depth > 65.535, 0, np.rint(np.nan_to_num(depth) * 1000))
    np.testing.assert_array_equal(back, expected.astype(np.uint16))


def test_colours_are_bright_near_and_black_where_nothing_is() -> None:
    depth = np.array([[1.0, 4.0, 40.0, np.inf, np.nan]], np.float32)
    bright = depth_colours(depth, 1.0, 40.0).astype(int).sum(axis=2)[0]
    assert bright[0] > bright[1] > bright[2] == bright[3] == bright[4]


def test_colours_are_those_of_the_colour_map() -> None:
    depth = np.random.default_rng(0).uniform(0.5, 60.0, (30, 40)).astype(np.float32)
    shade = ((1 / np.clip(depth, 1.0, 40.0) - 1 / 40.0) / (1 - 1 / 40.0) * 255).astype(np.uint8)
    np.testing.assert_array_equal(
        depth_colours(depth, 1.0, 40.0), cv2.applyColorMap(shade, cv2.COLORMAP_MAGMA)[..., ::-1]
    )


def test_the_range_is_the_scenes_and_follows_slowly() -> None:
    rng = np.random.default_rng(0)
    room, street = rng.uniform(1.0, 4.0, (48, 64)).astype(np.float32), rng.uniform(5, 60, (48, 64)).astype(np.float32)
    scene = SceneRange()
    near, far = scene.update(room)
    assert near == pytest.approx(1.06, abs=0.1) and far == pytest.approx(3.94, abs=0.1)
    first = scene.update(street)[1]
    assert far < first < 8.0, "a cut does not make the colours jump"
    for _ in range(60):
        near, far = scene.update(street)
    assert near == pytest.approx(6.1, abs=0.6) and far == pytest.approx(59, abs=2)
    assert scene.update(np.full((4, 4), np.nan, np.float32)) == (near, far)
    assert SceneRange().update(np.full((4, 4), 2.0, np.float32)) == (pytest.approx(2.0), pytest.approx(3.0))


#: Looks ahead from 1 m above the base.
MOUNT = se3.make(se3.T_BODY_OPTICAL[:3, :3], np.array([0.0, 0.0, 1.0]))
LOOSE = CloudFilter(-100.0, 100.0, 0.0, 0.0)


def test_points_stay_in_their_band_and_range() -> None:
    # x right, y down, z ahead
    points = np.array(
        [[0, 1.0, 5], [0, 0.8, 5], [0, -2.0, 5], [0, 0, 5], [0, 0, 12], [np.nan, 0, 5], [np.nan] * 3], np.float32
    )
    kept = CloudFilter(0.1, 2.0, 10.0, 0.0).kept(points, MOUNT)
    assert kept.tolist() == [False, True, False, True, False, False, False]
    assert LOOSE.kept(points, MOUNT).tolist() == [True] * 5 + [False] * 2


def test_each_cube_keeps_one_point() -> None:
    rng = np.random.default_rng(0)
    points = rng.uniform(-3, 3, (5000, 4)).astype(np.float32)
    edge = 0.5
    kept = points[CloudFilter(-100.0, 100.0, 0.0, edge).kept(points, MOUNT)][:, :3]
    cells = {tuple(c) for c in np.floor(points[:, :3] / edge).astype(int)}
    assert len(kept) == len({tuple(c) for c in np.floor(kept / edge).astype(int)}) == len(cells)
