"""Cityscapes, ETH3D, NYU's labelled file, Make3D and lists of images, in their documented layouts."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from stereo_layouts import SIZE, pairs_of, read_back, write_image

from featdepth_ros.errors import CalibrationError, RecordingError
from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.recordings import open_recording

INTRINSIC = {"fx": 2262.52, "fy": 2265.3017905988554, "u0": 1096.98, "v0": 513.137}
EXTRINSIC = {"baseline": 0.209313, "pitch": 0.038, "roll": 0.0, "x": 1.7, "y": 0.1, "yaw": -0.0195, "z": 1.22}


@pytest.fixture
def city(tmp_path: Path) -> Path:
    """Two snippets of ``aachen``, of three frames each, left and right, with the calibration of one frame."""
    for kind, camera in (("leftImg8bit", 0), ("rightImg8bit", 1)):
        for sequence in (0, 1):
            for frame in (17, 18, 19):
                name = f"aachen_{sequence:06d}_{frame:06d}_{kind}.png"
                write_image(tmp_path / f"{kind}_sequence/train/aachen/{name}", 3 * sequence + frame - 17, camera)
    calibration = tmp_path / "camera/train/aachen/aachen_000000_000019_camera.json"
    calibration.parent.mkdir(parents=True)
    calibration.write_text(json.dumps({"extrinsic": EXTRINSIC, "intrinsic": INTRINSIC}))
    return tmp_path / "leftImg8bit_sequence/train/aachen"


def test_cityscapes(city: Path) -> None:
    recording = open_recording(city, partner="auto")
    assert recording.kind == "cityscapes" and recording.partner_name == "rightImg8bit" and len(recording) == 6
    assert pairs_of(recording) == [(k, k) for k in range(6)]
    frames = list(recording)
    assert [f.name for f in frames[:2]] == ["aachen_000000_000017", "aachen_000000_000018"]
    assert (frames[1].stamp_ns - frames[0].stamp_ns) / 1e9 == pytest.approx(1 / 17)
    assert frames[3].stamp_ns - frames[2].stamp_ns > 1e12  # the next snippet is no neighbour
    camera = recording.camera
    assert camera is not None
    sx, sy = SIZE[0] / 2048, SIZE[1] / 1024
    assert camera.fx == pytest.approx(2262.52 * sx) and camera.fy == pytest.approx(2265.3017906 * sy)
    assert camera.cx == pytest.approx(1097.48 * sx - 0.5) and camera.cy == pytest.approx(513.637 * sy - 0.5)
    partner = frames[0].partner
    assert partner is not None and partner.camera == camera
    np.testing.assert_allclose(partner.T_partner_camera[:3, 3], [-0.209313, 0, 0])
    right = open_recording(city, "rightImg8bit", partner="auto")
    first = next(iter(right))
    assert read_back(first.image) == (0, 1) and first.partner is not None
    assert first.partner.T_partner_camera[0, 3] == pytest.approx(0.209313)


def test_cityscapes_stamps_and_calibrations(city: Path) -> None:
    folder = city.parents[2] / "timestamp_sequence/train/aachen"
    folder.mkdir(parents=True)
    for sequence in (0, 1):
        for frame in (17, 18, 19):
            stamp = 1_000_000_000 * sequence + 58_800_000 * frame
            (folder / f"aachen_{sequence:06d}_{frame:06d}_timestamp.txt").write_text(f"{stamp}\n")
    assert next(iter(open_recording(city))).stamp_ns == 17 * 58_800_000
    calibration = city.parents[2] / "camera/train/aachen/aachen_000001_000019_camera.json"
    calibration.write_text(json.dumps({"extrinsic": EXTRINSIC, "intrinsic": {**INTRINSIC, "fx": 2000.0}}))
    recording = open_recording(city)
    assert recording.camera is not None and recording.camera.fx == pytest.approx(2262.52 * SIZE[0] / 2048)
    assert "1 of the 2 camera.json differ" in recording.notes[0]
    calibration.write_text("{}")
    with pytest.raises(CalibrationError, match="no calibration of Cityscapes"):
        open_recording(city)


def test_eth3d(tmp_path: Path) -> None:
    """Camera 2 is turned about the optical axis; the matrix maps its points to camera 1."""
    root = tmp_path / "cables_4"
    lines, depth_lines = ["# timestamp filename\n"], ["# timestamp filename\n"]
    for index in range(3):
        seconds = f"{100.0 + 0.036900 * index:.6f}"
        write_image(root / "rgb" / f"{seconds}.png", index, 0)
        write_image(root / "rgb2" / f"{seconds}.png", index, 1)
        (root / "depth").mkdir(exist_ok=True)
        cv2.imwrite(str(root / "depth" / f"{seconds}.png"), np.full(SIZE[::-1], 10000, np.uint16))
        lines.append(f"{seconds} rgb/{seconds}.png\n")
        depth_lines.append(f"{seconds} depth/{seconds}.png\n")
    (root / "rgb.txt").write_text("".join(lines))
    (root / "depth.txt").write_text("".join(depth_lines))
    (root / "calibration.txt").write_text("40.5 40.25 23.0 15.5\n")
    (root / "calibration2.txt").write_text("41.5 41.25 24.0 16.5\n")
    (root / "extrinsics_1_2.txt").write_text("0 -1 0 1\n1 0 0 2\n0 0 1 0\n")
    (root / "groundtruth.txt").write_text("# t x y z qx qy qz qw\n99.98 5 0 0 0 0 0 1\n100.06 5 0 0 0 0 0 1\n")
    recording = open_recording(root, partner="auto")
    assert recording.kind == "eth3d" and recording.camera == CameraModel(48, 32, 40.5, 40.25, 23.0, 15.5)
    assert recording.partner_name == "rgb2" and pairs_of(recording) == [(0, 0), (1, 1), (2, 2)]
    assert recording.rate_hz == pytest.approx(27.1, abs=0.01)
    frame = next(iter(recording))
    assert frame.depth is not None and frame.depth[3, 3] == 2.0 and frame.T_world_camera is not None
    assert frame.partner is not None and frame.partner.camera == CameraModel(48, 32, 41.5, 41.25, 24.0, 16.5)
    # The point (0, 0, 0) of camera 2 is (1, 2, 0) of camera 1; and back.
    np.testing.assert_allclose(frame.partner.T_partner_camera @ [1, 2, 0, 1], [0, 0, 0, 1], atol=1e-12)
    np.testing.assert_allclose(frame.partner.T_partner_camera @ [0, 2, 0, 1], [0, 1, 0, 1], atol=1e-12)
    second = next(iter(open_recording(root, "rgb2", partner="rgb")))
    assert read_back(second.image) == (0, 1) and second.depth is None and second.T_world_camera is not None
    np.testing.assert_allclose(second.T_world_camera[:3, 3], [6, 2, 0])
    assert second.partner is not None
    np.testing.assert_allclose(second.partner.T_partner_camera @ [0, 0, 0, 1], [1, 2, 0, 1], atol=1e-12)
    (root / "extrinsics_1_2.txt").write_text("0 -1 0 1\n")
    with pytest.raises(RecordingError, match="holds 4 numbers; expected 12"):
        open_recording(root, partner="auto")


def test_the_labelled_nyu_file(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "nyu_depth_v2_labeled.mat"
    images = np.zeros((3, 3, 640, 480), np.uint8)
    images[1, 0, 100, 7], images[1, 2, 101, 7] = 200, 90  # column 100, row 7: red; its right neighbour: blue
    depths = np.full((3, 640, 480), 2.5, np.float32)
    depths[1, 100, 7], depths[1, 0, 0] = 4.25, 0.0
    with h5py.File(path, "w") as file:
        file["images"], file["depths"] = images, depths
    recording = open_recording(path)
    assert recording.kind == "nyu" and len(recording) == 3
    assert recording.camera == CameraModel(640, 480, 518.857901, 519.469611, 325.582449, 253.736166)
    frames = list(recording)
    assert frames[1].image[7, 100].tolist() == [200, 0, 0] and frames[1].image[7, 101].tolist() == [0, 0, 90]
    depth = frames[1].depth
    assert depth is not None and depth.shape == (480, 640) and depth[7, 100] == 4.25 and np.isnan(depth[0, 0])
    assert frames[1].stamp_ns - frames[0].stamp_ns == 10**10
    assert [frame.name for frame in recording.frames_from(2)] == ["000002"]
    path.write_bytes(b"MATLAB 5.0 MAT-file")
    with pytest.raises(RecordingError, match=r"version 7\.3"):
        open_recording(path)


@pytest.mark.parametrize(("images", "grids"), [("Train400Img", "Train400Depth"), ("Test134", "Gridlaserdata")])
def test_make3d(tmp_path: Path, images: str, grids: str) -> None:
    io = pytest.importorskip("scipy.io")
    (tmp_path / images).mkdir()
    (tmp_path / grids).mkdir()
    grid = np.zeros((55, 305, 4))
    grid[..., 3] = np.arange(55)[:, None] + 1.0
    grid[50:, :, 3] = 81.0  # nothing came back
    for name in ("10.21op2-p-015t000", "10.21op2-p-046t000"):
        cv2.imwrite(str(tmp_path / images / f"img-{name}.jpg"), np.full((2272 // 8, 1704 // 8, 3), 90, np.uint8))
        io.savemat(tmp_path / grids / f"depth_sph_corr-{name}.mat", {"Position3DGrid": grid})
    recording = open_recording(tmp_path, camera="200,200,106,141")
    assert recording.kind == "make3d" and len(recording) == 2
    first, second = recording
    assert first.depth is not None and first.depth.shape == first.image.shape[:2] == (284, 213)
    assert first.depth[0, 0] == 1.0 and first.depth[142, 100] == 28.0 and np.isnan(first.depth[283, 5])
    assert second.stamp_ns - first.stamp_ns == 10**10


def test_a_list_of_images(tmp_path: Path) -> None:
    for drive in ("a", "b"):
        for index in range(2):
            write_image(tmp_path / drive / f"{index:06d}.png", index + (10 if drive == "b" else 0))
    listing = tmp_path / "test_files.txt"
    listing.write_text(
        "\ufeff# frame\nb/000001.png\n\na/000000.png depth/none.png 518.8\na/000001.png\n", encoding="utf-8"
    )  # an editor's byte order mark
    recording = open_recording(listing, camera="40,40,23.5,15.5")
    assert [read_back(f.image)[0] for f in recording] == [11, 0, 1]
    names = [f.name for f in recording]
    assert len(set(names)) == 3 and names[0] == "b_000001_png"
    listing.write_text("2011_09_26/x_sync 5 l\n")
    with pytest.raises(RecordingError, match="eval depth --split"):
        open_recording(listing)
