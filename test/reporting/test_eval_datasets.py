"""Image and truth of the data sets, in folders laid out as theirs."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from featdepth_ros.errors import EvaluationError, RecordingError
from featdepth_ros.reporting.datasets import PROTOCOLS, open_dataset

CAM_TO_CAM = """S_rect_02: 40 20
R_rect_00: 1 0 0 0 1 0 0 0 1
P_rect_02: 20 0 20 0 0 20 10 0 0 0 1 0
P_rect_03: 20 0 20 -10 0 20 10 0 0 0 1 0
"""
VELO_TO_CAM = "R: 0 -1 0 0 0 -1 1 0 0\nT: 0 0 0\n"
#: One laser point 10 m ahead and 1 m to the left: u = 20 - 2, v = 10; one less for the 1-based kit.
POINT = np.array([[10.0, 1.0, 0.0, 0.5]], dtype=np.float32)


def picture(path: Path, value: int = 100, size: tuple[int, int] = (20, 40)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.zeros((*size, 3), np.uint8)
    image[..., 2] = value  # red, in OpenCV's order
    cv2.imwrite(str(path), image)


def depth16(path: Path, value: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.full((20, 40), value, np.uint16)
    values[0] = 0
    cv2.imwrite(str(path), values)


@pytest.fixture
def kitti_raw(tmp_path: Path) -> Path:
    drive = tmp_path / "2011_09_26/2011_09_26_drive_0001_sync"
    for camera in (2, 3):
        picture(drive / f"image_0{camera}/data/0000000005.png", 10 * camera)
    (drive / "velodyne_points/data").mkdir(parents=True)
    POINT.tofile(drive / "velodyne_points/data/0000000005.bin")
    (tmp_path / "2011_09_26/calib_cam_to_cam.txt").write_text(CAM_TO_CAM)
    (tmp_path / "2011_09_26/calib_velo_to_cam.txt").write_text(VELO_TO_CAM)
    return tmp_path


def test_kitti_raw_with_laser_truth(kitti_raw, tmp_path):
    (sample,) = open_dataset("kitti_raw", kitti_raw, None)
    truth = sample.truth()
    assert truth.shape == (20, 40) and truth[9, 17] == pytest.approx(10) and (truth > 0).sum() == 1
    assert sample.image()[0, 0].tolist() == [20, 0, 0], "RGB of the left camera"
    split = tmp_path / "split.txt"
    split.write_text("\ufeff2011_09_26/2011_09_26_drive_0001_sync 5 r\n", encoding="utf-8")  # an editor's mark
    (right,) = open_dataset("kitti_raw", kitti_raw, split)
    assert right.image()[0, 0, 0] == 30 and np.argwhere(right.truth() > 0).tolist() == [[9, 16]]


def test_kitti_raw_with_accumulated_truth(kitti_raw, tmp_path):
    drive = kitti_raw / "2011_09_26/2011_09_26_drive_0001_sync"
    depth16(drive / "proj_depth/groundtruth/image_02/0000000005.png", 256 * 7)
    (sample,) = open_dataset("kitti_raw", kitti_raw, None, "improved")
    assert np.nanmax(sample.truth()) == 7 and np.isnan(sample.truth()[0]).all()
    split = tmp_path / "split.txt"
    split.write_text("2011_09_26/2011_09_26_drive_0001_sync 6 l\n")
    with pytest.raises(EvaluationError, match="no image"):
        open_dataset("kitti_raw", kitti_raw, split, "improved")


def test_kitti_odometry_with_laser_truth(tmp_path):
    folder = tmp_path / "sequences/04"
    picture(folder / "image_2/000003.png")
    (folder / "velodyne").mkdir()
    POINT.tofile(folder / "velodyne/000003.bin")
    (folder / "calib.txt").write_text("P2: 20 0 20 0 0 20 10 0 0 0 1 0\nTr: 0 -1 0 0 0 0 -1 0 1 0 0 0\n")
    (sample,) = open_dataset("kitti_odom", tmp_path, None)
    assert sample.truth()[9, 17] == pytest.approx(10)
    split = tmp_path / "split.txt"
    split.write_text("4 3 l\n")
    assert open_dataset("kitti_odom", tmp_path, split)[0].name == "04 3 l"


def test_tum_pairs_by_stamp(tmp_path):
    for i, (colour, depth) in enumerate(((0.000, 0.011), (0.033, 0.046), (0.066, 0.2))):
        picture(tmp_path / f"rgb/{colour:.3f}.png", i)
        depth16(tmp_path / f"depth/{depth:.3f}.png", 5000 * (i + 1))
    (tmp_path / "rgb.txt").write_text(
        "# stamp file\n" + "".join(f"{t} rgb/{t}.png\n" for t in ("0.033", "0.000", "0.066"))
    )
    (tmp_path / "depth.txt").write_text("".join(f"{t} depth/{t}.png\n" for t in ("0.011", "0.046", "0.200")))
    samples = open_dataset("tum", tmp_path, None)
    assert [s.name for s in samples] == ["0.000.png", "0.033.png"]
    assert [np.nanmax(s.truth()) for s in samples] == [1, 2]


def test_seven_scenes_and_nyu(tmp_path):
    picture(tmp_path / "s/seq-01/frame-000000.color.png")
    depth16(tmp_path / "s/seq-01/frame-000000.depth.png", 65535)
    (sample,) = open_dataset("seven_scenes", tmp_path / "s", None)
    assert np.isnan(sample.truth()).all()
    picture(tmp_path / "n/kitchen/rgb_00001.png")
    depth16(tmp_path / "n/kitchen/sync_depth_00001.png", 2500)
    (sample,) = open_dataset("nyu", tmp_path / "n", None)
    assert np.nanmax(sample.truth()) == 2.5
    split = tmp_path / "nyu.txt"
    split.write_text("/kitchen/rgb_00001.png /kitchen/sync_depth_00001.png 518.8\n")
    assert np.nanmax(open_dataset("nyu", tmp_path / "n", split)[0].truth()) == 2.5


def test_make3d_takes_the_middle_of_image_and_truth(tmp_path):
    io = pytest.importorskip("scipy.io")
    picture(tmp_path / "Test134/img-op1.jpg", 90, (2272 // 8, 1704 // 8))
    grid = np.zeros((55, 305, 4))
    grid[..., 3] = np.arange(55)[:, None]
    (tmp_path / "Gridlaserdata").mkdir()
    io.savemat(tmp_path / "Gridlaserdata/depth_sph_corr-op1.mat", {"Position3DGrid": grid})
    (sample,) = open_dataset("make3d", tmp_path, None)
    assert sample.image().shape == (106, 213, 3)
    assert sample.truth().shape == (21, 305) and sample.truth()[:, 0].tolist() == list(range(17, 38))


def test_what_is_missing_is_named(kitti_raw, tmp_path):
    with pytest.raises(EvaluationError, match="no folder"):
        open_dataset("tum", tmp_path / "nothing", None)
    with pytest.raises(RecordingError, match=r"rgb\.txt"):
        open_dataset("tum", tmp_path, None)
    empty = tmp_path / "empty"
    empty.mkdir()
    for name in sorted(set(PROTOCOLS) - {"tum"}):
        with pytest.raises(EvaluationError, match=f"layout of {name}"):
            open_dataset(name, empty, None)
    split = tmp_path / "split.txt"
    for text, words in (
        ("", "names no frame"),
        ("drive five l", "is invalid; expected 'folder frame"),
        ("drive 5 x", "is invalid"),
    ):
        split.write_text(text)
        with pytest.raises(EvaluationError, match=words):
            open_dataset("kitti_raw", kitti_raw, split)
    (kitti_raw / "2011_09_26/2011_09_26_drive_0001_sync/velodyne_points/data/0000000005.bin").write_bytes(b"1234")
    with pytest.raises(EvaluationError, match="expected 4 per point"):
        open_dataset("kitti_raw", kitti_raw, None)[0].truth()


@pytest.mark.parametrize(("name", "folder"), [("seven_scenes", "seven_scenes_kitchen"), ("tum", "tum_freiburg1_rpy")])
def test_real_recordings(test_data, name, folder):
    samples = open_dataset(name, test_data / folder, None)
    truth = samples[-1].truth()
    assert len(samples) >= 50 and truth.shape == samples[-1].image().shape[:2] == (480, 640)
    assert 0.3 < np.nanmedian(truth) < 6
