"""Rectification: against OpenCV's rectification, aliasing, sizes, ROI, the way back."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from featdepth_ros.errors import CalibrationError, ImageError
from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.geometry.rectification import Rectification

EUROC = (-0.28340811, 0.07395907, 0.00019359, 1.76187114e-05)
T265 = (-0.0034, 0.0426, -0.0406, 0.0071)


def picture(width: int, height: int) -> np.ndarray:
    """Smooth colours that tell every place apart."""
    u, v = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    channels = [0.5 + 0.4 * np.sin(11 * u + 2 * v), 0.5 + 0.4 * np.cos(9 * v - 3 * u), 0.5 + 0.3 * np.sin(7 * (u + v))]
    return np.round(255 * np.stack(channels, -1)).astype(np.uint8)


def euroc(**changes: object) -> CameraModel:
    rotation, _ = cv2.Rodrigues(np.array([0.01, -0.02, 0.015]))
    fields: dict[str, object] = {
        "rectification": tuple(rotation.ravel()),
        "projection": (436.0, 436.0, 364.0, 256.0),
        **changes,
    }
    return CameraModel(752, 480, 458.654, 457.296, 367.215, 248.375, "plumb_bob", EUROC, **fields)  # type: ignore[arg-type]


def test_same_size_rectification_equals_opencv() -> None:
    lens, image = euroc(), picture(752, 480)
    new_k = lens.rectified.K
    maps = cv2.initUndistortRectifyMap(lens.K, np.array(EUROC), lens.R, new_k, (752, 480), cv2.CV_32FC1)
    expected = cv2.remap(image.astype(np.float32) / 255, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    rectification = Rectification(lens, (752, 480), (480, 752))
    got = rectification.apply(image)[0].permute(1, 2, 0).numpy()
    # remap works in 1/32 pixels
    assert float(np.abs(got - expected).max()) < 2e-3
    assert rectification.camera == lens.rectified
    inside = (maps[0] >= -0.5) & (maps[0] <= 751.5) & (maps[1] >= -0.5) & (maps[1] <= 479.5)
    assert float((rectification.in_image.numpy() != inside).mean()) < 1e-4


def test_fisheye_without_p_shows_straight_lines() -> None:
    lens = CameraModel(848, 800, 286.2, 286.4, 417.6, 402.1, "equidistant", T265)
    rectification = Rectification(lens, (848, 800), (384, 416))
    assert rectification.camera is not None and rectification.camera.is_pinhole
    assert rectification.in_image.all()
    image = picture(848, 800)
    rays = np.stack(np.meshgrid(np.arange(416.0), np.arange(384.0)), -1)
    rays = np.concatenate(
        [
            (rays - (rectification.camera.cx, rectification.camera.cy))
            / (rectification.camera.fx, rectification.camera.fy),
            np.ones((384, 416, 1)),
        ],
        -1,
    )
    maps, _ = cv2.fisheye.projectPoints(rays.reshape(1, -1, 3), np.zeros(3), np.zeros(3), lens.K, np.array(T265))
    maps = maps.reshape(384, 416, 2).astype(np.float32)
    expected = cv2.remap(image.astype(np.float32) / 255, maps[..., 0], maps[..., 1], cv2.INTER_LINEAR)
    got = rectification.apply(image)[0].permute(1, 2, 0).numpy()
    assert float(np.abs(got - expected)[2:-2, 2:-2].max()) < 0.01


def test_resize_places_pixel_centres_exactly() -> None:
    lens = CameraModel(640, 480, 500.0, 510.0, 320.0, 240.0)
    rectification = Rectification(lens, (640, 480), (192, 320))
    assert rectification.is_pure_resize
    assert rectification.camera == lens.resized(320, 192)
    ramp = np.repeat(np.linspace(0.2, 0.8, 640, dtype=np.float32)[None], 480, 0)
    got = rectification.apply(np.repeat(ramp[..., None], 3, 2))
    expected = 0.2 + 0.6 * ((np.arange(320) + 0.5) * 2 - 0.5) / 639
    np.testing.assert_allclose(got[0, 0, 50, 2:-2].numpy(), expected[2:-2], atol=1e-6)


@pytest.mark.parametrize("distorted", [False, True])
def test_shrinking_does_not_alias(distorted: bool) -> None:
    """Stripes finer than the output can hold come out grey, not as coarse stripes."""
    stripes = np.zeros((375, 1242, 3), np.uint8)
    stripes[:, ::2] = 255  # two pixels a period; 640 columns hold 3.9 at least
    distortion = {"distortion_model": "plumb_bob", "distortion": (-0.1, 0.0, 0.0, 0.0)} if distorted else {}
    lens = CameraModel(1242, 375, 721.0, 721.0, 609.0, 172.0, **distortion)  # type: ignore[arg-type]
    rectification = Rectification(lens, (1242, 375), (192, 640))
    assert rectification.is_pure_resize is not distorted
    got = rectification.apply(stripes)[0, 0, 20:-20, 20:-20]
    assert float(got.std()) < 0.03
    assert float(got.mean()) == pytest.approx(0.5, abs=0.01)


def test_region_and_binning_join_the_chain() -> None:
    """Cutting and binning a raw image, then rectifying, shows what rectifying the whole image shows there."""
    whole, image = euroc(), picture(752, 480)
    cut = euroc(roi=(100, 60, 560, 360), binning=(2, 2))
    binned = cv2.resize(image[60:420, 100:660], (280, 180), interpolation=cv2.INTER_AREA)
    rectification = Rectification(cut, (280, 180), (180, 280))
    full = Rectification(whole, (752, 480), (480, 752)).apply(image)
    assert rectification.camera is not None
    assert rectification.camera.cx == pytest.approx((364.0 - 100.5) / 2)
    expected = torch.nn.functional.avg_pool2d(full[..., 60:420, 100:660], 2)
    difference = (rectification.apply(binned) - expected).abs()[0].amax(0)
    assert float(difference[rectification.in_image].quantile(0.99)) < 0.01
    pure = Rectification(
        CameraModel(640, 480, 500.0, 500.0, 320.0, 240.0, roi=(0, 0, 320, 240)), (320, 240), (120, 160)
    )
    assert pure.is_pure_resize


def test_input_kinds_agree_and_read_only_is_fine() -> None:
    image = picture(320, 240)
    image.flags.writeable = False
    rectification = Rectification(None, (320, 240), (96, 160))
    assert rectification.camera is None and rectification.in_image.shape == (96, 160) and rectification.in_image.all()
    from_bytes = rectification.apply(image)
    assert from_bytes.shape == (1, 3, 96, 160) and from_bytes.dtype == torch.float32
    from_float = rectification.apply(image.astype(np.float32) / 255)
    from_tensor = rectification.apply(torch.from_numpy(image.copy()).permute(2, 0, 1)[None].repeat(2, 1, 1, 1))
    flipped_view = rectification.apply(np.ascontiguousarray(image[:, ::-1])[:, ::-1])
    torch.testing.assert_close(from_bytes, from_float, atol=1.1 / 255, rtol=0)
    assert torch.equal(from_tensor, from_bytes.expand(2, -1, -1, -1))
    assert torch.equal(flipped_view, from_bytes)


@pytest.mark.parametrize("lens", ["none", "distorted", "same size"])
def test_pixels_to_store_are_what_apply_gives_rounded(lens: str) -> None:
    camera = euroc() if lens == "distorted" else None
    size = (480, 752) if lens == "same size" else (192, 320)
    rectification, image = Rectification(camera, (752, 480), size), picture(752, 480)
    got = rectification.apply_to_bytes(image)
    assert not np.shares_memory(got, image)
    assert got.shape == (*size, 3) and got.dtype == np.uint8 and got.flags.c_contiguous and got.flags.writeable
    expected = rectification.apply(image)[0].mul(255).round().byte().permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(got, expected)
    with pytest.raises(ImageError):
        rectification.apply_to_bytes(image[:100])


def test_wrong_sizes_and_types_are_refused_with_words() -> None:
    lens = CameraModel(640, 480, 500.0, 500.0, 320.0, 240.0)
    with pytest.raises(CalibrationError, match=r"640x480 pixels.*320x240"):
        Rectification(lens, (320, 240), (192, 640))
    rectification = Rectification(lens, (640, 480), (192, 640))
    for wrong in (np.zeros((480, 640), np.uint8), np.zeros((240, 640, 3), np.uint8), torch.zeros(3, 480, 640)):
        with pytest.raises(ImageError, match="expected"):
            rectification.apply(wrong)
    with pytest.raises(ImageError, match="type"):
        rectification.apply(np.zeros((480, 640, 3), np.int32))


@pytest.mark.parametrize("kind", ["none", "pinhole", "plumb_bob", "fisheye"])
def test_depth_goes_back_to_every_delivered_pixel(kind: str) -> None:
    """A tilted plane: inverse depth is affine in the pinhole image, so the raw pixel's own ray tells the truth."""
    lens = {
        "none": None,
        "pinhole": CameraModel(640, 480, 500.0, 500.0, 320.0, 240.0),
        "plumb_bob": euroc(),
        "fisheye": CameraModel(848, 800, 286.2, 286.4, 417.6, 402.1, "equidistant", T265),
    }[kind]
    delivered = (640, 480) if lens is None else lens.delivered_size
    rectification = Rectification(lens, delivered, (192, 256))
    v, u = torch.meshgrid(torch.arange(192.0), torch.arange(256.0), indexing="ij")
    inverse = 0.05 + 0.001 * u + 0.0007 * v
    depth = rectification.to_delivered(1 / inverse)
    assert depth.shape == delivered[::-1] and torch.isfinite(depth).all() and (depth > 0).all()
    assert float(depth.max()) <= 1 / 0.05 + 1e-4
    seen = rectification.delivered_in_view
    assert seen.any()
    y, x = np.mgrid[0 : delivered[1], 0 : delivered[0]].astype(np.float64)
    if lens is None or kind == "pinhole":
        px, py = (x + 0.5) * 256 / delivered[0] - 0.5, (y + 0.5) * 192 / delivered[1] - 0.5
    else:
        assert rectification.camera is not None
        rays = lens.unproject(np.stack([x, y], -1)) @ lens.R.T
        px = rays[..., 0] / rays[..., 2] * rectification.camera.fx + rectification.camera.cx
        py = rays[..., 1] / rays[..., 2] * rectification.camera.fy + rectification.camera.cy
    inner = seen.numpy() & (px >= 0) & (px <= 255) & (py >= 0) & (py <= 191)
    expected = 1 / (0.05 + 0.001 * px[inner] + 0.0007 * py[inner])
    np.testing.assert_allclose(depth.numpy()[inner], expected, rtol=1e-4)
    mask = rectification.to_delivered(torch.ones(192, 256, dtype=torch.bool), "nearest")
    assert mask.dtype == torch.bool and mask.all()


def test_a_wanted_view_is_reached_from_any_lens() -> None:
    """The picture a lens delivers, brought to given intrinsics, equals OpenCV's rectification to them."""
    view = CameraModel(320, 240, 210.0, 205.0, 150.0, 118.0)
    lens, image = euroc(rectification=None, projection=None), picture(752, 480)
    maps = cv2.initUndistortRectifyMap(lens.K, np.array(EUROC), np.eye(3), view.K, (320, 240), cv2.CV_32FC1)
    expected = cv2.remap(image.astype(np.float32) / 255, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    rectification = Rectification(lens, (752, 480), (240, 320), view=view)
    assert rectification.camera == view and not rectification.is_pure_resize
    found = rectification.apply(image)[0].permute(1, 2, 0).numpy()
    inner = rectification.in_image.numpy()
    assert inner.mean() > 0.9
    # The rectification blurs before it shrinks, OpenCV does not.
    assert np.abs(found - expected)[inner].max() < 0.01
    own = Rectification(lens, (752, 480), (240, 320)).camera
    assert own is not None and own != view
    pinhole = CameraModel(752, 480, own.fx * 2.35, own.fy * 2, (own.cx + 0.5) * 2.35 - 0.5, (own.cy + 0.5) * 2 - 0.5)
    assert Rectification(pinhole, (752, 480), (240, 320), view=own).is_pure_resize
    for camera, wrong in ((None, view), (lens, lens), (lens, CameraModel(321, 240, 210.0, 205.0, 150.0, 118.0))):
        with pytest.raises(CalibrationError, match="wanted view"):
            Rectification(camera, (752, 480), (240, 320), view=wrong)


def test_true_depth_goes_through_the_lens_unmixed() -> None:
    lens = euroc(rectification=None, projection=None)
    u, v = np.meshgrid(np.arange(752, dtype=np.float32), np.arange(480, dtype=np.float32))
    depth = np.where(u < 376, 2.0, 9.0).astype(np.float32)
    for camera in (lens, CameraModel(752, 480, 458.0, 457.0, 367.0, 248.0)):
        rectification = Rectification(camera, (752, 480), (240, 320))
        taken = rectification.apply_nearest(depth).numpy()
        known = rectification.in_image.numpy()
        assert set(np.unique(taken[known])) == {2.0, 9.0} and np.isnan(taken[~known]).all()
        # Where a value lies in the delivered image is where the rectification's own images have it.
        place = rectification.apply((np.stack([u, v, v], -1) / 1000.0).astype(np.float32))[0, 0].numpy() * 1000
        far = known & (np.abs(place - 376) > 3)
        np.testing.assert_array_equal(taken[far], np.where(place[far] < 376, 2.0, 9.0))
        with pytest.raises(ImageError, match="expected"):
            rectification.apply_nearest(depth[:240])
