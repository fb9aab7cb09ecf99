"""Back-projection, projection and warping: identity, truth, conventions, precision."""

from __future__ import annotations

import math

import pytest
import torch

from featdepth_ros.errors import ConfigError
from featdepth_ros.geometry import se3_numpy, warp
from featdepth_ros.geometry.projection import backproject, project
from featdepth_ros.geometry.se3 import pose_matrix


def intrinsics(width: int, height: int, batch: int = 1, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    K = torch.eye(4, dtype=dtype).repeat(batch, 1, 1)
    K[:, 0, 0], K[:, 1, 1], K[:, 0, 2], K[:, 1, 2] = 0.58 * width, 1.92 * height, 0.5 * width, 0.5 * height
    return K


def noise(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def smooth(height: int, width: int) -> torch.Tensor:
    v, u = torch.meshgrid(torch.linspace(0, 1, height), torch.linspace(0, 1, width), indexing="ij")
    return torch.stack([0.5 + 0.4 * torch.sin(9 * u + 3 * v), u * v, 0.5 + 0.5 * torch.cos(7 * v)])[None]


@pytest.mark.parametrize("scale", [0, 1, 2, 3])
def test_identity_motion_leaves_the_image(scale: int) -> None:
    height, width = 192 >> scale, 640 >> scale
    K = warp.scaled_intrinsics(intrinsics(640, 192), 0.5**scale, 0.5**scale)
    depth = 0.1 + 80 * noise(1, 1, height, width, seed=1)
    for image, worst, mean in ((noise(1, 3, height, width), 5e-4, 2e-5), (smooth(height, width), 5e-5, 2e-5)):
        warped, valid = warp.warp(image, depth, K, K, torch.eye(4)[None])
        error = (warped - image).abs()
        assert float(error.max()) <= worst
        assert float(error.mean()) <= mean
        assert valid.all()


def test_conventions_differ_as_named() -> None:
    image, depth, K, identity = noise(1, 3, 48, 160), torch.ones(1, 1, 48, 160), intrinsics(160, 48), torch.eye(4)[None]
    true, _ = warp.warp(image, depth, K, K, identity, "reference_true")
    assert float((true - image).abs().max()) < 5e-4
    mixed, _ = warp.warp(image, depth, K, K, identity, "reference_mixed")
    assert float((mixed - image).abs().mean()) > 0.05
    # D7: pixel u is read at u W / (W - 1) - 1/2
    u = 10
    place = u * 160 / 159 - 0.5
    row = image[0, 0, 0]
    expected = row[math.floor(place)] * (math.ceil(place) - place) + row[math.ceil(place)] * (place - math.floor(place))
    assert float(mixed[0, 0, 0, u]) == pytest.approx(float(expected), abs=1e-4)
    with pytest.raises(ConfigError, match="did you mean 'reference_true'"):
        warp.warp(image, depth, K, K, identity, "reference_tru")  # type: ignore[arg-type]


def test_scaled_intrinsics_keep_rays() -> None:
    K = intrinsics(640, 192)
    half = warp.scaled_intrinsics(K, 0.5, 0.5)
    # the centre of half-size pixel 7 lies between full-size pixels 14 and 15
    assert float((14.5 - K[0, 0, 2]) / K[0, 0, 0]) == pytest.approx(
        float((7 - half[0, 0, 2]) / half[0, 0, 0]), abs=1e-6
    )
    reference = warp.scaled_intrinsics(K, 0.5, 0.5, "reference_mixed")
    assert float(reference[0, 0, 2]) == 160.0
    assert torch.equal(half[:, 2:], K[:, 2:])


def test_a_plane_seen_from_the_side_is_rebuilt() -> None:
    """Fronto-parallel plane, sideways motion: the warp is a shift by fx tx / z pixels."""
    K, depth = intrinsics(64, 32), torch.full((1, 1, 32, 64), 4.0)
    shift = 5
    T = torch.eye(4)[None].clone()
    T[0, 0, 3] = shift * 4.0 / K[0, 0, 0]  # points move to the right in the source by `shift` pixels
    source = noise(1, 3, 32, 64)
    warped, valid = warp.warp(source, depth, K, K, T)
    torch.testing.assert_close(warped[..., : 64 - shift], source[..., shift:], atol=1e-4, rtol=0)
    assert valid[..., : 64 - shift].all() and not valid[..., 64 - shift :].any()


def test_there_and_back_is_the_identity() -> None:
    T = torch.from_numpy(se3_numpy.exp([0.3, -0.1, 0.2, 0.02, 0.05, -0.03]))[None]
    K, depth = intrinsics(64, 32, dtype=torch.float64), 2 + noise(1, 1, 32, 64, dtype=torch.float64)
    points = backproject(depth, K)
    moved = (T[:, :3, :3] @ points.reshape(1, 3, -1) + T[:, :3, 3:]).reshape(points.shape)
    pixels, z = project(moved, K, torch.linalg.inv(T))
    v, u = torch.meshgrid(torch.arange(32.0), torch.arange(64.0), indexing="ij")
    torch.testing.assert_close(pixels[0], torch.stack([u, v], -1).double(), atol=1e-9, rtol=0)
    torch.testing.assert_close(z, depth, atol=1e-12, rtol=0)


def test_points_behind_the_camera_are_invalid_and_finite() -> None:
    K, depth = intrinsics(32, 16), torch.ones(1, 1, 16, 32, requires_grad=True)
    for back in (-1.0, -1.5):  # on the camera's plane, and behind it
        T = torch.eye(4)[None].clone()
        T[0, 2, 3] = back
        warped, valid = warp.warp(noise(1, 3, 16, 32), depth, K, K, T)
        assert not valid.any()
        (gradient,) = torch.autograd.grad(warped.sum(), depth)
        assert torch.isfinite(warped).all() and torch.isfinite(gradient).all()


def test_gradients_by_finite_differences() -> None:
    K = intrinsics(8, 6, dtype=torch.float64)
    source = noise(1, 2, 6, 8, dtype=torch.float64).requires_grad_()
    depth = (2 + noise(1, 1, 6, 8, seed=4, dtype=torch.float64)).requires_grad_()
    twist = torch.tensor([[0.113, 0.057, -0.031, 0.011, -0.013, 0.017]], dtype=torch.float64, requires_grad=True)

    def run(s: torch.Tensor, d: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return warp.warp(s, d, K, K, pose_matrix(t[:, 3:], t[:, :3]))[0]

    assert torch.autograd.gradcheck(run, (source, depth, twist), eps=1e-7, atol=1e-5)


def test_geometry_stays_fp32_under_autocast() -> None:
    K, depth, image = intrinsics(160, 48), 1 + noise(1, 1, 48, 160), noise(1, 3, 48, 160)
    T = torch.from_numpy(se3_numpy.exp([0.1, 0.0, 0.05, 0.0, 0.01, 0.0]))[None].float()
    plain, _ = warp.warp(image, depth, K, K, T)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast, _ = warp.warp(image, depth, K, K, T)
        half, _ = warp.warp(image.bfloat16(), depth.bfloat16(), K, K, T)
    assert cast.dtype == half.dtype == torch.float32
    assert torch.equal(cast, plain)
