"""The estimator as a library: what comes out for what goes in. Random weights: nothing here is about accuracy."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from featdepth_ros import Estimator
from featdepth_ros.errors import CalibrationError, ConfigError, FeatDepthError, ImageError
from featdepth_ros.geometry import se3_numpy
from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.geometry.se3 import pose_matrix
from featdepth_ros.inference.config import EstimatorConfig
from featdepth_ros.inference.types import MotionState
from featdepth_ros.models.base import FeatDepthModel
from featdepth_ros.models.build import build_model
from featdepth_ros.models.compact import CompactModel
from featdepth_ros.models.info import ModelInfo

STEP_NS = 100_000_000
CAMERA = CameraModel(320, 96, 185.0, 185.0, 159.5, 47.5)
FAST = EstimatorConfig(input_size=(64, 128), precision="fp32", motion="network")


def model(**info: object) -> FeatDepthModel:
    torch.manual_seed(3)
    return build_model("compact", ModelInfo(architecture="compact").with_(**info)).eval()


def picture(seed: int, size: tuple[int, int] = (320, 96)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)


def test_shapes_types_and_camera_at_network_size() -> None:
    estimate = Estimator(model(), FAST, device="cpu").step(picture(0), CAMERA, 5)
    assert estimate.stamp_ns == 5
    assert estimate.depth.shape == estimate.valid.shape == estimate.in_image.shape == (64, 128)
    assert estimate.depth.dtype == np.float32 and np.isfinite(estimate.depth).all()
    assert estimate.image.shape == (64, 128, 3) and estimate.image.dtype == np.uint8
    assert estimate.camera is not None
    assert (estimate.camera.width, estimate.camera.height) == (128, 64)
    assert estimate.camera.fx == pytest.approx(185.0 * 128 / 320)
    assert estimate.camera.cx == pytest.approx((159.5 + 0.5) * 128 / 320 - 0.5)
    assert {"rectify", "depth", "motion"} <= estimate.stage_ms.keys()


def test_input_size_gives_the_very_image_and_its_camera() -> None:
    image = picture(0)
    config = EstimatorConfig(input_size=(64, 128), precision="fp32", output_size="input")
    estimate = Estimator(model(), config).step(image, CAMERA, 0)
    assert estimate.depth.shape == (96, 320)
    np.testing.assert_array_equal(estimate.image, image)
    assert estimate.camera == CAMERA


def test_a_distorted_camera_is_rectified_and_mapped_back() -> None:
    lens = CameraModel(320, 96, 185.0, 185.0, 159.5, 47.5, "plumb_bob", (-0.3, 0.08, 0.0, 0.0, 0.0))
    estimator = Estimator(model(), EstimatorConfig(input_size=(64, 128), precision="fp32", output_size="input"))
    estimate = estimator.step(picture(0), lens, 0)
    assert estimate.camera is not None and estimate.camera.is_pinhole
    assert estimate.depth.shape == estimate.image.shape[:2] == (96, 320)
    small = Estimator(model(), FAST)
    raw = small.to_delivered(small.step(picture(0), lens, 0).depth)
    assert raw.shape == (96, 320) and np.isfinite(raw).all()


def test_depth_is_the_models_own_times_the_scale() -> None:
    net = model()
    image = picture(1, (128, 64))
    with torch.inference_mode():
        disparity = net.depth(torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255)[0]
        low, high = 1 / net.info.max_depth, 1 / net.info.min_depth
        scaled = torch.nn.functional.interpolate(low + (high - low) * disparity, (64, 128), mode="bilinear")
    config = EstimatorConfig(input_size=(64, 128), precision="fp32", scale="factor", scale_factor=3.0)
    estimate = Estimator(net, config).step(image, None, 0)
    np.testing.assert_allclose(estimate.depth, 3.0 / scaled[0, 0].numpy(), rtol=1e-4)
    assert estimate.scale.kind == "metric"


@pytest.mark.usefixtures("unjudged_motion")
def test_frames_are_paired_by_stamp() -> None:
    estimator = Estimator(model(), FAST)
    first = estimator.step(picture(0), CAMERA, 0)
    second = estimator.step(picture(1), CAMERA, STEP_NS)
    late = estimator.step(picture(2), CAMERA, STEP_NS + 2_000_000_000)
    assert [e.motion.state for e in (first, second, late)] == [
        MotionState.FIRST,
        MotionState.TRACKED,
        MotionState.GAP,
    ]
    assert second.motion.dt_ns == STEP_NS
    jumped = estimator.step(picture(3), CAMERA, STEP_NS)
    assert jumped.motion.state is MotionState.FIRST
    assert estimator.step(picture(4), CAMERA, 2 * STEP_NS).motion.state is MotionState.TRACKED


def test_a_dropped_frame_changes_neither_depth_nor_scale() -> None:
    info = {"scale_kind": "metric", "focal": (0.58, 1.92)}
    whole, dropped = Estimator(model(**info), FAST), Estimator(model(**info), FAST)
    images = [picture(seed) for seed in range(4)]
    for index, image in enumerate(images):
        last = whole.step(image, CAMERA, index * STEP_NS)
    for index in (0, 3):
        other = dropped.step(images[index], CAMERA, index * STEP_NS)
    assert other.scale == last.scale
    np.testing.assert_array_equal(other.depth, last.depth)
    assert other.motion.dt_ns == 3 * STEP_NS


@pytest.mark.usefixtures("unjudged_motion")
def test_exchanged_frames_give_the_inverse_motion() -> None:
    def motion(order: tuple[int, int]) -> np.ndarray:
        estimator = Estimator(model(), FAST)
        estimator.step(picture(order[0]), CAMERA, 0)
        return estimator.step(picture(order[1]), CAMERA, STEP_NS).motion.T_previous_current

    np.testing.assert_allclose(motion((0, 1)) @ motion((1, 0)), np.eye(4), atol=1e-5)


@pytest.mark.slow
def test_a_standing_camera_stays_exactly_where_it_is() -> None:
    estimator = Estimator(model(), FAST)
    still = np.kron(picture(0, (40, 12)), np.ones((8, 8, 1), dtype=np.uint8))
    random = np.random.default_rng(0)
    for index in range(600):  # 60 s at 10 Hz
        noisy = np.clip(still + random.normal(0, 4, still.shape), 0, 255).astype(np.uint8)
        estimate = estimator.step(noisy, CAMERA, index * STEP_NS)
        if index:
            assert estimate.motion.state is MotionState.STANDING
            np.testing.assert_array_equal(estimate.motion.T_previous_current, np.eye(4))


TRAINED = CameraModel(128, 64, 0.58 * 128, 1.92 * 64, 63.5, 31.5)
TELE = CameraModel(128, 64, 2 * 0.58 * 128, 2 * 1.92 * 64, 63.5, 31.5)
METRIC = {"scale_kind": "metric", "focal": (0.58, 1.92), "input_size": (64, 128)}


def step_twice(
    net: FeatDepthModel, camera: CameraModel | None, config: EstimatorConfig = FAST
) -> tuple[np.ndarray, np.ndarray]:
    """Depth and T_later_earlier of two random pictures."""
    estimator = Estimator(net, config)
    estimator.step(picture(2, (128, 64)), camera, 0)
    estimate = estimator.step(picture(1, (128, 64)), camera, STEP_NS)
    return estimate.depth, np.linalg.inv(estimate.motion.T_previous_current)


@pytest.mark.usefixtures("unjudged_motion")
def test_focal_length_of_the_training_camera_is_compensated() -> None:
    """Depth grows with the focal length; a pose net that regresses its answer is corrected to first order."""
    torch.manual_seed(3)
    regressing = build_model("baseline_r18", ModelInfo(pose_input_size=(64, 128)).with_(**METRIC)).eval()
    (depth, T), (depth_tele, T_tele) = (step_twice(regressing, camera) for camera in (TRAINED, TELE))
    np.testing.assert_allclose(depth_tele, 2 * depth, rtol=1e-5)
    np.testing.assert_allclose(T_tele[:3, 3], T[:3, 3] * [1, 1, 2], rtol=1e-5, atol=1e-9)
    turn, turn_tele = (se3_numpy.vector_from_rotation(M[:3, :3]) for M in (T, T_tele))
    np.testing.assert_allclose(turn_tele, turn * [0.5, 0.5, 1], rtol=1e-3, atol=1e-9)


@pytest.mark.usefixtures("unjudged_motion")
def test_the_compact_models_motion_is_fitted_with_the_live_camera() -> None:
    net = model(**METRIC)
    assert isinstance(net, CompactModel)
    depth, T = step_twice(net, TELE)
    np.testing.assert_allclose(depth, 2 * step_twice(net, TRAINED)[0], rtol=1e-5)
    images = [torch.from_numpy(picture(n, (128, 64))).permute(2, 0, 1)[None] / 255.0 for n in (2, 1)]
    camera = torch.tensor([[TELE.fx, TELE.fy, TELE.cx, TELE.cy]])
    with torch.inference_mode():
        axisangle, shift = net.pose_from_features(*(net.encode(image) for image in images), camera=camera)
    expected = pose_matrix(axisangle, 2 * shift)[0].numpy()
    np.testing.assert_allclose(T, expected, atol=2e-4)
    # Without compensation depth keeps the network's unit, and so does the motion; the turn is the live camera's still.
    plain = dataclasses.replace(FAST, focal_compensation=False)
    np.testing.assert_allclose(step_twice(net, TELE, plain)[1], pose_matrix(axisangle, shift)[0].numpy(), atol=2e-4)
    # An uncalibrated camera is taken for the canonical one.
    with torch.inference_mode():
        canonical = pose_matrix(*net.pose(*images))[0].numpy()
    np.testing.assert_allclose(step_twice(net, None)[1], canonical, atol=2e-4)


def test_bad_input_is_refused_in_words() -> None:
    estimator = Estimator(model(), FAST)
    with pytest.raises(ImageError, match="expected uint8"):
        estimator.step(np.zeros((96, 320, 3), dtype=np.float32), CAMERA, 0)  # type: ignore[arg-type]
    with pytest.raises(CalibrationError, match="320x96"):
        estimator.step(picture(0, (64, 64)), CAMERA, 0)
    with pytest.raises(ConfigError, match="multiples of 32"):
        EstimatorConfig(input_size=(100, 640))
    with pytest.raises(ConfigError, match="device"):
        Estimator(model(), FAST, device="tpu9")
    estimator.step(picture(0), CAMERA, 0)  # still works after refusals


@pytest.mark.parametrize(
    ("delivered", "size"), [((1241, 376), (192, 640)), ((640, 480), (288, 384)), ((1920, 1080), (256, 448))]
)
def test_the_compact_model_sees_images_in_their_own_aspect(delivered: tuple[int, int], size: tuple[int, int]) -> None:
    estimator = Estimator(model(), EstimatorConfig(precision="fp32", estimate_motion=False))
    estimate = estimator.step(picture(0, delivered), None, 0)
    assert estimator.size == estimate.depth.shape == size


def test_weights_without_a_depth_net_are_refused() -> None:
    with pytest.raises(FeatDepthError, match="no depth net"):
        Estimator(build_model("autoencoder_r18"))


def test_warm_up_leaves_no_trace() -> None:
    estimator = Estimator(model(), FAST)
    estimator.warm_up((320, 96), CAMERA)
    assert estimator.step(picture(0), CAMERA, 0).motion.state is MotionState.FIRST
