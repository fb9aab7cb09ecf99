"""Several cameras through one estimator: forwards are counted, and one camera's trouble stays its own."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from rendered_rig import Mounted, RenderedRig, front, side

from featdepth_ros import Estimator
from featdepth_ros.errors import ConfigError, ImageError
from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.inference.backends import choice
from featdepth_ros.inference.config import EstimatorConfig
from featdepth_ros.inference.rig.rig import Rig
from featdepth_ros.inference.rig.shot import Shot
from featdepth_ros.inference.types import Estimate, MotionState
from featdepth_ros.models.build import build_model
from featdepth_ros.models.compact import CompactModel
from featdepth_ros.models.info import ModelInfo

STEP_NS = 100_000_000
CAMERA = CameraModel(320, 96, 185.0, 185.0, 159.5, 47.5)
FAST = EstimatorConfig(input_size=(64, 128), precision="fp32", motion="network")


def model() -> CompactModel:
    torch.manual_seed(3)
    made = build_model("compact", ModelInfo(architecture="compact", scale_kind="metric")).eval()
    assert isinstance(made, CompactModel)
    return made


def picture(seed: int, size: tuple[int, int] = (320, 96)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)


def answers(rig: Rig, *shots: Shot) -> dict[str, Estimate]:
    """Return the estimate of every camera; fail where there is none."""
    found = {}
    for shot, answer in rig.steps(shots):
        assert isinstance(answer, Estimate), answer
        found[shot.camera] = answer
    return found


def test_images_that_are_there_together_are_one_forward(monkeypatch: pytest.MonkeyPatch) -> None:
    batches: list[tuple[int, ...]] = []
    real = CompactModel.encode
    monkeypatch.setattr(CompactModel, "encode", lambda net, x: (batches.append(tuple(x.shape)), real(net, x))[1])
    names = ("front", "left", "right", "rear")
    rig = Rig(model(), dict.fromkeys(names, FAST), "front")
    shots = [Shot(name, picture(i), CAMERA, STEP_NS + i) for i, name in enumerate(names)]
    assert set(answers(rig, *shots)) == set(names)
    assert batches == [(4, 3, 64, 128)]
    answers(rig, shots[2])
    assert batches[1:] == [(1, 3, 64, 128)], "nobody is waited for"


@pytest.mark.usefixtures("unjudged_motion")
def test_a_batch_says_what_each_image_alone_says() -> None:
    net = model()
    rig = Rig(net, dict.fromkeys(("front", "left"), FAST), "front")
    shots = [Shot("left", picture(1, (200, 150)), None, 5), Shot("front", picture(0), CAMERA, 7)]
    together = answers(rig, *shots)
    assert list(together) == ["front", "left"], "the odometry camera comes first"
    for shot in shots:
        alone = Estimator(net, FAST).step(shot.image, shot.calibration, shot.stamp_ns)
        np.testing.assert_allclose(together[shot.camera].depth, alone.depth, rtol=1e-4)
        assert together[shot.camera].stamp_ns == shot.stamp_ns and together[shot.camera].camera == alone.camera


def test_one_cameras_bad_image_stops_no_other() -> None:
    rig = Rig(model(), dict.fromkeys(("front", "left"), FAST), "front")
    bad = Shot("front", np.zeros((96, 320), np.uint8), CAMERA, 1)
    found = {shot.camera: answer for shot, answer in rig.steps([bad, Shot("left", picture(1), CAMERA, 1)])}
    assert isinstance(found["front"], ImageError) and isinstance(found["left"], Estimate)


def test_names_that_are_not_there_are_refused() -> None:
    with pytest.raises(ConfigError, match="no camera 'rear'; the cameras are front, left"):
        Rig(model(), dict.fromkeys(("front", "left"), FAST), "front", ["rear"])


@pytest.mark.parametrize(("asked", "noted"), [("openvino", True), ("auto", False)])
def test_a_back_end_that_is_refused_later_is_noted_where_it_was_asked_for(
    asked: str, noted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is built while PyTorch serves; whether it fails is known seconds after the node has started."""

    def fails(*_: object) -> None:
        raise ConfigError("the compiler says no")

    monkeypatch.setattr(choice, "build", fails)
    monkeypatch.setattr(choice, "require", lambda _: None)
    monkeypatch.setattr(choice, "usable", lambda *_: ["openvino"])
    monkeypatch.setattr(choice, "_SOON", 2)
    monkeypatch.setattr(choice, "_LATER", 2)
    rig = Rig(model(), {"": dataclasses.replace(FAST, backend=asked)}, "", device="cpu")
    assert rig.notes == ()
    for index in range(2):
        answers(rig, Shot("", picture(index), CAMERA, STEP_NS * index))
    building = rig._networks._choice._at_work
    assert building is not None
    building.join(60.0)
    assert rig.backend == "torch"
    assert [("the compiler says no" in note) for note in rig.notes] == ([True] if noted else [])


@pytest.mark.usefixtures("unjudged_motion")
def test_each_camera_has_its_own_earlier_frame() -> None:
    rig = Rig(model(), dict.fromkeys(("front", "left"), FAST), "front", ["left"])
    for name in ("front", "left"):
        answers(rig, Shot(name, picture(0), CAMERA, 0))
    rig.reset("left")
    later = answers(rig, *(Shot(name, picture(1), CAMERA, STEP_NS) for name in ("front", "left")))
    assert [later[name].motion.state for name in ("front", "left")] == [MotionState.TRACKED, MotionState.FIRST]


@pytest.mark.usefixtures("unjudged_motion")
def test_the_odometry_cameras_motion_comes_through_the_extrinsics() -> None:
    """At the same stamps the motion of the mounted camera is exactly the front camera's, seen from its own place."""
    mounted = Mounted(CAMERA, 90.0, (0.5, 0.0, -1.0))
    rig = Rig(model(), dict.fromkeys(("front", "right"), FAST), "front")
    rig.mount("right", mounted.T_first_camera)
    for stamp in (0, STEP_NS):
        found = answers(rig, *(Shot(name, picture(stamp % 7 + i), CAMERA, stamp) for i, name in enumerate(rig.cameras)))
    there, here = found["front"].motion, found["right"].motion
    assert here.state is MotionState.TRACKED and rig.cameras["right"].motion_source == "given"
    T = mounted.T_first_camera
    expected = se3.inverse(T) @ there.T_previous_current @ T
    np.testing.assert_allclose(here.T_previous_current, expected, atol=1e-7)
    turn = se3.adjoint(se3.inverse(T))
    np.testing.assert_allclose(here.covariance, turn @ there.covariance @ turn.T)
    # A camera that is mounted elsewhere begins anew; one that is not mounted has no motion.
    rig.mount("right", np.eye(4))
    assert answers(rig, Shot("right", picture(8), CAMERA, STEP_NS + 1))["right"].motion.state is MotionState.FIRST
    rig.mount("right", None)
    assert answers(rig, Shot("right", picture(9), CAMERA, STEP_NS + 2))["right"].motion.state is MotionState.UNAVAILABLE


@pytest.mark.usefixtures("unjudged_motion")
def test_a_silent_odometry_camera_leaves_the_others_without_motion_but_with_depth() -> None:
    rig = Rig(model(), dict.fromkeys(("front", "right"), FAST), "front")
    rig.mount("right", np.eye(4))
    for index in range(2):
        answers(rig, *(Shot(name, picture(index), CAMERA, index * STEP_NS) for name in rig.cameras))
    states = []
    for index in range(2, 7):
        alone = answers(rig, Shot("right", picture(index), CAMERA, index * STEP_NS))["right"]
        assert np.isfinite(alone.depth).all()
        states.append(alone.motion.state)
    assert states == [MotionState.TRACKED] * 2 + [MotionState.UNAVAILABLE] * 3


@pytest.mark.slow
def test_fused_depth_of_a_mounted_camera_is_better_than_the_networks() -> None:
    """A rendered drive: the side camera is of another size and takes its pictures 30 ms after the front camera."""
    pytest.importorskip("numba")
    pytest.importorskip("scipy")
    from featdepth_ros import load_model
    from featdepth_ros.resources import weights_file

    cameras = RenderedRig({"front": front(512, 160), "right": side(384, 224)}, frames=12)
    config = EstimatorConfig(precision="fp32")
    rig = Rig(load_model(weights_file("compact")), dict.fromkeys(cameras.names, config), "front")
    rig.mount("right", cameras.cameras["right"].T_first_camera)
    plain = Estimator(load_model(weights_file("compact")), dataclasses.replace(config, estimate_motion=False))
    fused, network, earlier = [], [], None
    for name, frame in cameras:
        estimate = answers(rig, Shot(name, frame.image, frame.camera, frame.stamp_ns))[name]
        if name != "right":
            continue
        if estimate.motion.state is MotionState.TRACKED and earlier is not None:
            true = se3.inverse(earlier) @ frame.T_world_camera
            turn = estimate.motion.T_previous_current[:3, :3] @ true[:3, :3].T
            assert np.linalg.norm(se3.vector_from_rotation(turn)) < 0.02
        earlier = frame.T_world_camera
        if int(frame.name[-6:]) >= 8:
            assert rig.depth_source("right") == "fused" and estimate.window is not None
            rows = (np.arange(estimate.depth.shape[0]) + 0.5) * 224 / estimate.depth.shape[0]
            columns = (np.arange(estimate.depth.shape[1]) + 0.5) * 384 / estimate.depth.shape[1]
            true = frame.depth[np.ix_(rows.astype(int), columns.astype(int))]
            known = np.isfinite(true) & (true < 80.0)
            for depth, errors in (
                (estimate.depth, fused),
                (plain.step(frame.image, frame.camera, frame.stamp_ns).depth, network),
            ):
                ratio = depth[known] / true[known]
                errors.append(float(np.abs(ratio / np.median(ratio) - 1).mean()))
    assert np.median(fused) < 0.9 * np.median(network)
