"""What clips may show beside streets and rooms: traffic, close things, other heights and lenses, poor pictures."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from featdepth_ros.errors import ConfigError
from featdepth_training.config.loading import from_dict
from featdepth_training.config.schema import RenderedConfig

pytest.importorskip("numba")

from featdepth_ros.simulation.scenes.desk import Worktop
from featdepth_training.data.cache import ClipCache, write_cache
from featdepth_training.rendering.looks import draw_look
from featdepth_training.rendering.rendered import SHARES, ClipRenderer, prepare_caches
from featdepth_training.rendering.scenes import SCENES
from featdepth_training.rendering.viewpoints import CLOSE_M, HEIGHTS_M, lean, roam
from featdepth_training.rendering.views import WIDE_FOCAL_PX, draw_wishes

SMALL = RenderedConfig(frames=2, height=64, width=160, seed=3)


def test_nothing_is_drawn_unless_it_is_asked_for() -> None:
    street, room = SCENES["street"], SCENES["room"]
    for seed in range(20):
        rng = np.random.default_rng(seed)
        wishes = draw_wishes(rng, SMALL, street)
        assert not (wishes.traffic or wishes.roams or wishes.wide)
        assert draw_look(rng, SMALL, True) is None
    every = dataclasses.replace(SMALL, **dict.fromkeys(SHARES, 1.0))
    wishes = draw_wishes(np.random.default_rng(0), every, street)
    assert wishes.traffic and wishes.roams and wishes.wide
    indoors = draw_wishes(np.random.default_rng(0), every, room)
    assert not indoors.traffic and not indoors.roams and indoors.wide


def test_bad_weather_is_outdoors_by_night_or_in_rain() -> None:
    config = dataclasses.replace(SMALL, bad_weather=1.0)
    looks = [draw_look(np.random.default_rng(seed), config, True) for seed in range(40)]
    assert all(look is not None and (look.night > 0 or look.rain > 0) for look in looks)
    nights = np.mean([look.night > 0 for look in looks if look is not None])
    assert 0.3 < nights < 0.8
    assert draw_look(np.random.default_rng(0), config, False) is None


@pytest.mark.parametrize("name", SHARES)
def test_a_share_beyond_one_is_refused(name: str, tmp_path: Path) -> None:
    config = from_dict({"data": {"rendered": {name: 40}}})
    with pytest.raises(ConfigError, match=f"{name} is 40"):
        prepare_caches(config, tmp_path)


@pytest.mark.slow
def test_traffic_is_marked_and_hides_what_is_behind_it(tmp_path: Path) -> None:
    busy = ClipRenderer(dataclasses.replace(SMALL, traffic=1.0), "highway", 0, 0)
    shares, clips = [], []
    for index in range(8):
        clip = busy(index)
        assert clip.moving is not None and clip.depth is not None and clip.moving.shape == clip.depth.shape
        shares.append(float(clip.moving.mean()))
        if clip.moving.any():
            assert np.isfinite(clip.depth[clip.moving]).all(), "a vehicle is somewhere"
        clips.append(clip)
    assert max(shares) > 0.3 and min(shares) < 0.1
    write_cache(tmp_path, {"a": 1}, 8, 4, lambda index: clips[index])
    for index, clip in enumerate(clips):
        np.testing.assert_array_equal(ClipCache([tmp_path])[index].moving, clip.moving)


@pytest.mark.slow
def test_looks_change_pictures_and_neither_depth_nor_paths() -> None:
    plain = ClipRenderer(SMALL, "street", 0, 0)(2)
    poor = ClipRenderer(dataclasses.replace(SMALL, effects=1.0, bad_weather=1.0), "street", 0, 0)(2)
    np.testing.assert_array_equal(plain.depth, poor.depth)
    np.testing.assert_array_equal(plain.poses, poor.poses)
    assert np.abs(plain.images.astype(float) - poor.images).mean() > 3


@pytest.mark.slow
def test_wide_lenses_and_any_height() -> None:
    clip = ClipRenderer(dataclasses.replace(SMALL, wide_lenses=1.0), "street", 0, 0)(0)
    assert 0.9 * WIDE_FOCAL_PX[0] < clip.camera[0] * 640 / SMALL.width < 1.1 * WIDE_FOCAL_PX[1]
    scene = SCENES["street"].make(3)
    heights, headings = [], []
    for seed in range(60):
        movement = roam(scene, np.random.default_rng(seed))
        heights.append(movement.position[2] - scene.ground_height(*movement.position[:2])[0])
        headings.append(movement.yaw)
    assert HEIGHTS_M[0] - 1e-6 <= min(heights) < 0.3 and 2.0 < max(heights) <= HEIGHTS_M[1] + 1e-6
    assert np.std(headings) > 0.8


@pytest.mark.slow
def test_a_desk_is_seen_from_close_by() -> None:
    scene = SCENES["desk"].make(5)
    assert isinstance(scene.path, Worktop)
    middle = 0.5 * (np.array(scene.path.focus_low) + np.array(scene.path.focus_high))
    reach = 0.5 * np.linalg.norm(np.array(scene.path.focus_high) - np.array(scene.path.focus_low))
    for seed in range(30):
        movement = lean(scene, np.random.default_rng(seed))
        assert np.linalg.norm(movement.position - middle) < CLOSE_M[1] + reach
    medians = [float(np.median(ClipRenderer(SMALL, "desk", 0, 0)(index).depth[0])) for index in range(0, 30, 10)]
    assert 0.3 < np.median(medians) < 1.6
