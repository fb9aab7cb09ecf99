"""What goes wrong with pictures, and that the truth stays."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from featdepth_ros.errors import ConfigError
from featdepth_ros.geometry.cameras import CameraModel

pytest.importorskip("numba")

from featdepth_ros.simulation import Faults, Simulation, SimulationConfig

CONFIG = SimulationConfig(scene="street", seed=2, frames=60, camera=CameraModel(160, 48, 93.0, 93.0, 79.5, 23.5))


@pytest.fixture(scope="module")
def plain() -> Simulation:
    return Simulation(CONFIG, threads=1)


def faulty(faults: Faults) -> Simulation:
    return Simulation(replace(CONFIG, faults=faults), threads=1)


@pytest.mark.slow
def test_a_tunnel_takes_the_light_and_gives_it_back(plain: Simulation) -> None:
    tunnel = faulty(Faults(dark=(20, 25), fade=5))
    light = [float(tunnel.frame(i).image.mean() / plain.frame(i).image.mean()) for i in range(60)]
    assert light[:16] == [1.0] * 16 and light[59] == 1.0
    assert all(a > b for a, b in pairwise(light[15:21]))
    assert max(light[20:26]) < 0.06
    assert max(light[26:40]) > 1.15, "too bright after the tunnel"
    dark, next_dark = tunnel.frame(22), tunnel.frame(23)
    assert dark.image.std() > 0.5 and dark.image.tobytes() != next_dark.image.tobytes(), "black with noise"
    assert dark.depth is not None and dark.T_world_camera is not None
    whole = plain.frame(22)
    assert whole.depth is not None and dark.depth.tobytes() == whole.depth.tobytes()
    np.testing.assert_array_equal(dark.T_world_camera, tunnel.poses[22])
    assert tunnel.frame(22).image.tobytes() == dark.image.tobytes(), "noise is seeded"


def test_blur_smears_to_the_side_only(plain: Simulation) -> None:
    smeared = faulty(Faults(blur=(10, 12, 25)))
    across, down = (
        [np.abs(np.diff(s.frame(11).image.astype(float), axis=a)).mean() for s in (smeared, plain)] for a in (1, 0)
    )
    assert across[0] < 0.3 * across[1] and down[0] > 0.3 * down[1]
    assert [i for i in range(8, 15) if smeared.frame(i).image.tobytes() != plain.frame(i).image.tobytes()] == [
        10,
        11,
        12,
    ]


def test_exposure_jumps_at_once(plain: Simulation) -> None:
    bright = faulty(Faults(exposure=(10, 11, 0.5)))
    shares = [float(bright.frame(i).image.mean() / plain.frame(i).image.mean()) for i in range(8, 14)]
    np.testing.assert_allclose(shares, [1, 1, 0.5, 0.5, 1, 1], atol=0.01)


def test_frozen_frames_repeat_a_picture_and_truth_goes_on(plain: Simulation) -> None:
    frozen = faulty(Faults(frozen=(10, 12)))
    for index in (10, 11, 12):
        a, b = frozen.frame(index), plain.frame(index)
        assert a.image.tobytes() == plain.frame(9).image.tobytes()
        assert a.depth is not None and b.depth is not None and a.depth.tobytes() == b.depth.tobytes()
        assert a.stamp_ns == b.stamp_ns
    assert frozen.frame(13).image.tobytes() == plain.frame(13).image.tobytes()


def test_a_cut_jumps_along_the_path(plain: Simulation) -> None:
    cut = faulty(Faults(cut=(10, 3.0)))
    assert cut.stamps_ns == plain.stamps_ns
    np.testing.assert_array_equal(cut.poses[9], plain.poses[9])
    np.testing.assert_allclose(cut.poses[10], plain.poses[40], atol=1e-9)
    assert np.linalg.norm(cut.poses[10][:3, 3] - cut.poses[9][:3, 3]) > 5.0


def test_wrong_faults_are_refused() -> None:
    for wrong in ({"dark": (5, 4)}, {"blur": (1, 2, 1)}, {"exposure": (1, 2, 0.0)}, {"cut": (0, 1.0)}, {"fade": 0}):
        with pytest.raises(ConfigError, match="expected"):
            Faults(**wrong)  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_camera_at_rest_never_takes_the_same_picture_twice_and_a_frozen_one_does() -> None:
    from featdepth_ros.simulation import Motion

    stands = Motion(stands=((0.0, 2.0),))
    rest = Simulation(replace(CONFIG, frames=8, motion=stands), threads=1)
    np.testing.assert_array_equal(rest.poses[4], rest.poses[5])
    a, b = rest.frame(4), rest.frame(5)
    difference = np.abs(a.image.astype(int) - b.image.astype(int))
    assert 0.3 < difference.mean() < 3.0 and difference.max() <= 12
    assert rest.frame(4).image.tobytes() == a.image.tobytes(), "noise is seeded"
    frozen = Simulation(replace(CONFIG, frames=8, motion=stands, faults=Faults(frozen=(5, 6))), threads=1)
    assert frozen.frame(4).image.tobytes() == frozen.frame(5).image.tobytes() == frozen.frame(6).image.tobytes()
