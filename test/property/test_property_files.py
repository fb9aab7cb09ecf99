"""Files that people damage: calibrations, poses, tables, folders, weights and flags give what they can, or words."""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from damage import WORDS, answered, damaged, has_words
from hypothesis import given
from hypothesis import strategies as st

from featdepth_ros.cli.support import arguments
from featdepth_ros.errors import FeatDepthError
from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.messages.plausibility import implausible
from featdepth_ros.recordings import open_recording, parse_camera
from featdepth_ros.recordings.datasets import tables
from featdepth_ros.recordings.datasets.pose_files import kitti_text, read_pose_file, tum_text
from featdepth_ros.recordings.files.names import natural_key, stamps_in_names

CALIBRATIONS = {
    "manager.yaml": "image_width: 64\nimage_height: 48\ndistortion_model: plumb_bob\ncamera_matrix: {rows: 3, cols: 3, "
    "data: [40, 0, 31, 0, 40, 23, 0, 0, 1]}\ndistortion_coefficients: {data: [0.1, 0, 0, 0, 0]}\n",
    "orb.yaml": "%YAML:1.0\nCamera.type: PinHole\nCamera.fx: 40.0\nCamera.fy: 41.0\nCamera.cx: 31.5\nCamera.cy: 23.5\n",
    "vins.yaml": "model_type: PINHOLE\nprojection_parameters:\n  fx: 40.0\n  fy: 41.0\n  cx: 31.5\n  cy: 23.5\n",
    "ost.ini": "[image]\nwidth\n64\nheight\n48\n[cam]\ncamera matrix\n40 0 31\n0 40 23\n0 0 1\ndistortion\n0 0 0 0 0\n",
    "cameras.txt": "# list\n1 OPENCV 64 48 40.0 41.0 32.0 24.0 -0.1 0.01 0.002 0.003\n",
    "camchain.yaml": "cam0:\n  camera_model: pinhole\n  intrinsics: [40, 41, 31.5, 23.5]\n  distortion_model: radtan\n"
    "  distortion_coeffs: [0.1, 0.01, 0, 0]\n  resolution: [64, 48]\n",
    "echo.yaml": "header: {frame_id: cam}\nheight: 48\nwidth: 64\ndistortion_model: plumb_bob\nd: [0, 0, 0, 0, 0]\n"
    "k: [40, 0, 31, 0, 40, 23, 0, 0, 1]\nr: [1, 0, 0, 0, 1, 0, 0, 0, 1]\np: [40, 0, 31, 0, 0, 40, 23, 0, 0, 0, 1, 0]\n",
}  # fmt: skip
POSES = {
    "tum.txt": "# t x y z qx qy qz qw\n1305031102.1753 1 2 3 0 0 0 1\n1305031102.2753 1 2 3 0 0 0 1\n",
    "euroc.csv": "#t\n1403636579763555584,1,2,3,1,0,0,0,5\n1403636579813555584,1,2,3,1,0,0,0,5\n",
    "kitti.txt": "1 0 0 1 0 1 0 2 0 0 1 3\n1 0 0 2 0 1 0 2 0 0 1 3\n",
}
SIZE = (64, 48)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("damaged")


@pytest.mark.parametrize("name", CALIBRATIONS)
@given(data=st.data())
def test_calibration_files(folder: Path, name: str, data: st.DataObject) -> None:
    path = folder / name
    path.write_bytes(data.draw(damaged(CALIBRATIONS[name].encode())))
    camera = answered(lambda: parse_camera(str(path), SIZE))
    assert camera is None or implausible(camera) is None


@given(text=st.text("0123456789.,-+einfa_ ", max_size=40) | st.lists(st.floats(), min_size=4, max_size=4).map(repr))
def test_the_numbers_of_a_flag(text: str) -> None:
    camera = answered(lambda: parse_camera(text.strip("[]"), SIZE))
    assert camera is None or implausible(camera) is None


@given(
    values=st.tuples(st.floats(0.2, 3.0), st.floats(0.2, 3.0), st.floats(0.3, 0.7), st.floats(0.3, 0.7)),
)
def test_fractions_of_the_image_are_refused_with_the_pixels_they_are(values: tuple[float, ...]) -> None:
    with pytest.raises(FeatDepthError, match="fractions of the image") as refused:
        parse_camera(",".join(map(repr, values)), SIZE)
    proposed = str(refused.value).rsplit(" ", 1)[-1]
    camera = parse_camera(proposed, SIZE)
    expected = CameraModel(*SIZE, *(v * s for v, s in zip(values, SIZE * 2, strict=True)))
    np.testing.assert_allclose(camera.K, expected.K, rtol=1e-4)


@pytest.mark.parametrize("name", POSES)
@pytest.mark.parametrize("skip_bad", [False, True])
@given(data=st.data())
def test_pose_files(folder: Path, name: str, skip_bad: bool, data: st.DataObject) -> None:
    path = folder / name
    path.write_bytes(data.draw(damaged(POSES[name].encode())))
    table = answered(lambda: read_pose_file(path, skip_bad=skip_bad))
    if table is not None and (table.stamped or skip_bad):  # evaluations take KITTI's matrices as they are written
        for pose in table.poses:
            assert np.isfinite(pose).all()
            np.testing.assert_allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3), atol=1e-2)


TWISTS = st.lists(st.lists(st.floats(-3, 3), min_size=6, max_size=6), min_size=2, max_size=5)


@given(twists=TWISTS)
def test_poses_come_back_as_they_were_written(folder: Path, twists: list[list[float]]) -> None:
    poses = [se3.exp(np.array(twist)) for twist in twists]
    (folder / "kitti_again.txt").write_text(kitti_text(poses))
    again = read_pose_file(folder / "kitti_again.txt").poses
    np.testing.assert_allclose(np.stack(again), np.stack(poses), atol=1e-9)
    stamps = [1_700_000_000_000_000_000 + index * 33_333_333 for index in range(len(poses))]
    (folder / "tum_again.txt").write_text(tum_text(stamps, poses, "# written"))
    table = read_pose_file(folder / "tum_again.txt")
    assert table.stamped and table.keys.tolist() == stamps
    np.testing.assert_allclose(np.stack(table.poses), np.stack(poses), atol=1e-6)


@given(texts=st.lists(st.text(max_size=24) | st.decimals().map(str) | st.integers().map(str), min_size=1, max_size=4))
def test_stamps(folder: Path, texts: list[str]) -> None:
    unit = tables.stamp_unit(texts)
    for text in texts:
        stamp = answered(lambda text=text: tables.parse_stamp_ns(text, folder / "x", 1, unit))
        assert stamp is None or abs(stamp) < 2**63


@given(stamp=st.integers(0, 2**62))
def test_stamps_come_back_as_they_were_written(stamp: int) -> None:
    assert tables.parse_stamp_ns(tables.seconds_text(stamp), Path("x"), 1) == stamp


@given(data=st.lists(st.sampled_from([*WORDS, b"1.0 ", b"P0: "])).map(b"".join))
def test_tables(folder: Path, data: bytes) -> None:
    path = folder / "table.txt"
    path.write_bytes(data)
    for read in (tables.lines, tables.numbered, tables.labelled, lambda p: list(tables.rows(p, ","))):
        answered(lambda read=read: read(path))


@given(names=st.lists(st.text("0123456789._-ab\u00b2\u0663", min_size=1, max_size=30), min_size=1, max_size=5))
def test_names(names: list[str]) -> None:
    paths = [Path(f"{name}.png") for name in names]
    assert len(sorted(paths, key=natural_key)) == len(paths)
    stamps = stamps_in_names(paths)
    assert stamps is None or len(set(stamps)) == len(paths)


TUM = {"rgb.txt": "# color images\n1.00 rgb/0.png\n1.10 rgb/1.png\n", "groundtruth.txt": POSES["tum.txt"]}
EUROC = {
    "mav0/cam0/data.csv": "#timestamp [ns],filename\n1000000000,0.png\n1100000000,1.png\n",
    "mav0/cam0/sensor.yaml": "sensor_type: camera\nT_BS:\n  data: [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]\n"
    "resolution: [64, 48]\ncamera_model: pinhole\nintrinsics: [40, 41, 31.5, 23.5]\n"
    "distortion_model: radial-tangential\ndistortion_coefficients: [0.1, 0, 0, 0]\n",
    "mav0/state_groundtruth_estimate0/data.csv": POSES["euroc.csv"],
}


@pytest.mark.parametrize(("kind", "texts", "images"), [("tum", TUM, "rgb"), ("euroc", EUROC, "mav0/cam0/data")])
@given(data=st.data())
def test_folders_of_data_sets(folder: Path, kind: str, texts: dict[str, str], images: str, data: st.DataObject) -> None:
    root = folder / kind
    picture = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    for index in range(2):
        path = root / images / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            cv2.imwrite(str(path), picture)
    victim = data.draw(st.sampled_from(sorted(texts)))
    for name, text in texts.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data.draw(damaged(text.encode())) if name == victim else text.encode())
    frames = answered(lambda: list(open_recording(root)))
    for frame in frames or ():
        assert frame.image.shape == (48, 64, 3)
        assert frame.T_world_camera is None or np.isfinite(frame.T_world_camera).all()


def _weights_of_ours() -> bytes:
    import torch
    from safetensors.torch import save

    return save({"encoder.weight": torch.zeros(2, 3)}, {"featdepth": '{"name": "x", "architecture": "compact"}'})


def _published() -> bytes:
    import io

    import torch

    file = io.BytesIO()
    torch.save({"state_dict": {"a.weight": torch.zeros(2, 3)}, "meta": {"epoch": 1}}, file)
    return file.getvalue()


@pytest.mark.parametrize("make", [_weights_of_ours, _published])
@given(data=st.data())
def test_weights(folder: Path, make: Callable[[], bytes], data: st.DataObject) -> None:
    from featdepth_ros.models.weights_io import read_weights

    path = folder / f"w{'.safetensors' if make is _weights_of_ours else '.pth'}"
    path.write_bytes(data.draw(damaged(make())))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        weights = answered(lambda: read_weights(path))
    assert weights is None or all(tensor.shape is not None for tensor in weights.state.values())


READERS = (arguments.positive, arguments.not_negative, arguments.whole(1), arguments.image_size, arguments.topic_name,
           arguments.lengths, arguments.one_of_or_positive("auto"))  # fmt: skip


@given(text=st.text(max_size=20) | st.sampled_from([word.decode(errors="replace") for word in WORDS]))
def test_flags(text: str) -> None:
    for read in READERS:
        try:
            read(text)
        except argparse.ArgumentTypeError as error:
            has_words(error)
