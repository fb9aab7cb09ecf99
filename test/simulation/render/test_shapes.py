"""Single shapes, seen through the renderer: where they are, what shows through them, which way round they are."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.geometry.cameras import CameraModel

pytest.importorskip("numba")

from featdepth_ros.simulation import Renderer
from featdepth_ros.simulation.render.rays import ray_table
from featdepth_ros.simulation.render.scene import Light, SceneBuilder, turn
from featdepth_ros.simulation.render.shapes import TEXTURE_SIZE
from featdepth_ros.simulation.scenes.room import FreeSpace, finish_indoors
from featdepth_ros.simulation.trajectories import R_BODY_OPTICAL

CAMERA = CameraModel(64, 64, 64.0, 64.0, 31.5, 31.5)
FREE = FreeSpace((-1.0, -1.0, -1.0), (1.0, 1.0, 1.0))
EVEN = Light((0.0, 0.0, 1.0), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), (1.0, 1.0, 1.0))


def look(builder: SceneBuilder, yaw: float, distance: float) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Render the scene from ``distance`` metres before its origin, heading ``yaw``."""
    rotation = turn(yaw)
    T_world_camera = se3.make(rotation @ R_BODY_OPTICAL, -distance * rotation[:, 0])
    return Renderer(finish_indoors(builder, FREE, EVEN, 0.5), CAMERA, threads=1, smooth=False).render(T_world_camera)


@pytest.mark.parametrize("quarter", [0, 1, 2, 3])
def test_pictures_are_not_mirrored_on_any_side(quarter: int) -> None:
    builder = SceneBuilder("test", 0)
    poster = builder.atlas["poster"][0]
    builder.box((0, 0, 0), (0.5, 0.5, 0.5), poster, tile="fit")
    image, _ = look(builder, quarter * math.pi / 2, 1.5)  # the face is one metre away: 64 x 64 pixels
    # Rows of a texture run upwards.
    picture = builder.atlas.texels[poster, : TEXTURE_SIZE**2, :3].reshape(TEXTURE_SIZE, TEXTURE_SIZE, 3)[::-1]
    expected = cv2.resize(picture, (64, 64), interpolation=cv2.INTER_AREA).astype(float)
    right, mirrored = (np.abs(image - other).mean() for other in (expected, expected[:, ::-1]))
    assert right < 0.4 * mirrored


def test_a_frustum_leans_as_its_taper_says() -> None:
    builder = SceneBuilder("test", 0)
    builder.frustum((0, 0, 0), (1.0, 2.0, 1.0), builder.atlas["paint"][0], (0.4, 1.0))
    _, depth = look(builder, 0.0, 5.0)
    up = -ray_table(CAMERA)[..., 1]
    # Half the width along x falls from 1 at the foot to 0.4 at the top: x = -(0.7 - 0.3 z) on the face, z = up * depth.
    expected = (5.0 - 0.7) / (1.0 - 0.3 * up)
    seen = np.isfinite(depth)
    assert seen.mean() > 0.1
    np.testing.assert_allclose(depth[seen], expected[seen], atol=1e-5)
    assert seen[32].sum() == pytest.approx(64 * 4.0 / 4.3, abs=2)


def test_a_crown_shows_what_is_behind_its_gaps_and_closes_from_afar() -> None:
    open_share = []
    for size in (1.0, 20.0):  # the same crown, and one twenty times as large from twenty times as far
        builder = SceneBuilder("test", 0)
        builder.leaves((0, 0, 0), (size, size, size), builder.atlas["foliage"][0], None, 1.6 * size, (1.0, 1.0, 1.0))
        _, depth = look(builder, 0.3, 2.5 * size)
        rays = ray_table(CAMERA)
        apart = 2.5 * size * np.hypot(rays[..., 0], rays[..., 1]) / np.sqrt(1.0 + (rays**2).sum(-1))
        inside = apart < 0.8 * size
        near, far = 1.5 * size, 3.5 * size
        seen = np.isfinite(depth)
        assert not seen[apart > size].any()
        assert (depth[seen] >= near - 1e-4).all() and (depth[seen] <= far + 1e-4).all()
        assert (depth[inside & seen] > 2.5 * size).mean() > 0.02, "the far side shows through gaps of the near one"
        open_share.append(float((~seen[inside]).mean()))
    assert 0.02 < open_share[0] < 0.3
    assert open_share[1] < 0.7 * open_share[0]
