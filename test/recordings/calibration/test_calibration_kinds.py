"""Calibration files of the tools people have: each gives the same camera."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from featdepth_ros.errors import CalibrationError
from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.recordings import open_recording, parse_camera

CAMERA = CameraModel(64, 48, 40.0, 41.0, 31.5, 23.5, "plumb_bob", (-0.1, 0.01, 0.002, 0.003))
BARE = CameraModel(64, 48, 40.0, 41.0, 31.5, 23.5)
FISHEYE = CameraModel(64, 48, 40.0, 41.0, 31.5, 23.5, "equidistant", (-0.1, 0.01, 0.002, 0.003))
K = "[40.0, 0.0, 31.5, 0.0, 41.0, 23.5, 0.0, 0.0, 1.0]"
D = "[-0.1, 0.01, 0.002, 0.003]"
LENS = "k1: -0.1\nk2: 0.01\np1: 0.002\np2: 0.003\n"
FISHEYE_LENS = "k1: -0.1\nk2: 0.01\nk3: 0.002\nk4: 0.003\n"
FOCAL = "fx: 40.0\nfy: 41.0\ncx: 31.5\ncy: 23.5\n"
SIZE = "image_width: 64\nimage_height: 48\n"
ORB_SIZE = "Camera.width: 64\nCamera.height: 48\n"
INI = f"""# oST version 5.0 parameters

[image]

width
64

height
48

[narrow_stereo]

camera matrix
40.0 0.0 31.5
0.0 41.0 23.5
0.0 0.0 1.0

distortion
{D[1:-1].replace(",", "")}

rectification
1 0 0
0 1 0
0 0 1

projection
40 0 31.5 0
0 41 23.5 0
0 0 1 0
"""


def _indented(text: str, by: int = 4) -> str:
    return "".join(" " * by + line + "\n" for line in text.splitlines())


def _orb(prefix: str, text: str) -> str:
    return "".join(f"{prefix}.{line}\n" for line in text.splitlines())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"header:\n  frame_id: c\nheight: 48\nwidth: 64\ndistortion_model: plumb_bob\nd: {D}\nk: {K}\n---", CAMERA),
        (f"height: 48\nwidth: 64\ndistortion_model: plumb_bob\nD: {D}\nK: {K}\n", CAMERA),
        ("%YAML:1.0\n\n" + _orb("Camera", FOCAL + LENS) + ORB_SIZE, CAMERA),
        ('%YAML:1.0\n\nCamera.type: "PinHole"\n' + _orb("Camera1", FOCAL + LENS) + ORB_SIZE, CAMERA),
        ('%YAML:1.0\n\nCamera.type: "KannalaBrandt8"\n' + _orb("Camera1", FOCAL + FISHEYE_LENS) + ORB_SIZE, FISHEYE),
        (f'Camera:\n  model: "perspective"\n{_indented(FOCAL + LENS)}    cols: 64\n    rows: 48'.replace("    ", "  "),
         CAMERA),
        (f"%YAML:1.0\n---\nmodel_type: PINHOLE\n{SIZE}distortion_parameters:\n{_indented(LENS)}"
         f"projection_parameters:\n{_indented(FOCAL)}", CAMERA),
        (f"%YAML:1.0\n---\nmodel_type: KANNALA_BRANDT\n{SIZE}projection_parameters:\n"
         + _indented("k2: -0.1\nk3: 0.01\nk4: 0.002\nk5: 0.003\nmu: 40.0\nmv: 41.0\nu0: 31.5\nv0: 23.5\n"), FISHEYE),
        (f"camera_matrix: [[40.0, 0.0, 31.5], [0.0, 41.0, 23.5], [0.0, 0.0, 1.0]]\ndist_coeff: [{D}]\n", CAMERA),
        # OpenCV's calibration program with a fisheye lens
        (f"%YAML:1.0\n---\n{SIZE}fisheye_model: 1\ncamera_matrix: !!opencv-matrix\n  rows: 3\n  cols: 3\n  dt: d\n"
         f"  data: {K}\ndistortion_coefficients: !!opencv-matrix\n  rows: 4\n  cols: 1\n  dt: d\n  data: {D}\n",
         FISHEYE),
        # Open3D, by columns; librealsense; nerfstudio, whose first pixel has its middle at 0.5
        ('{"width": 64, "height": 48, "intrinsic_matrix": [40.0, 0, 0, 0, 41.0, 0, 31.5, 23.5, 1]}', BARE),
        (f'{{"color": {{"width": 64, "height": 48, "ppx": 31.5, "ppy": 23.5, "fx": 40.0, "fy": 41.0, '
         f'"model": "distortion.brown_conrady", "coeffs": {D}}}}}', CAMERA),
        ('{"fl_x": 40.0, "fl_y": 41.0, "cx": 32.0, "cy": 24.0, "w": 64, "h": 48, "camera_model": "OPENCV", "k1": -0.1, '
         '"k2": 0.01, "p1": 0.002, "p2": 0.003, "frames": []}', CAMERA),
        ('{"fl_x": 40.0, "fl_y": 41.0, "cx": 32.0, "cy": 24.0, "w": 64, "h": 48, "camera_model": "OPENCV_FISHEYE", '
         '"k1": -0.1, "k2": 0.01, "k3": 0.002, "k4": 0.003, "frames": []}', FISHEYE),
        (f"/**:\n  ros__parameters:\n    image_width: 64\n    image_height: 48\n    camera_matrix.data: {K}\n"
         f"    distortion_model: plumb_bob\n    distortion_coefficients.data: {D}\n", CAMERA),
        (f"/camera:\n  ros__parameters:\n    calibration:\n{_indented(FOCAL, 6)}      distortion: {D}\n", CAMERA),
        (INI, CAMERA),
        ("# Camera list\n1 OPENCV 64 48 40.0 41.0 32.0 24.0 -0.1 0.01 0.002 0.003\n", CAMERA),  # from corners
        ("3 OPENCV_FISHEYE 64 48 40 41 32 24 -0.1 0.01 0.002 0.003\n", FISHEYE),
        ("3 SIMPLE_PINHOLE 64 48 40 32 24\n", CameraModel(64, 48, 40.0, 40.0, 31.5, 23.5)),
        ("3 SIMPLE_RADIAL 64 48 40 32 24 0.1\n",
         CameraModel(64, 48, 40.0, 40.0, 31.5, 23.5, "plumb_bob", (0.1, 0.0, 0.0, 0.0))),
        ('{\n\t"width": 64,\n\t"height": 48,\n\t"fx": 40, "fy": 41, "cx": 31.5, "cy": 23.5\n}\n',
         CameraModel(64, 48, 40.0, 41.0, 31.5, 23.5)),
        (f"\ufeffwidth: 64\nheight: 48\n{FOCAL}distortion_model: none\ndistortion: [0.0, 0.0, 0.0, 0.0, 0.0]\n",
         CameraModel(64, 48, 40.0, 41.0, 31.5, 23.5)),
    ],
)  # fmt: skip
def test_every_tools_file_gives_the_camera(tmp_path: Path, text: str, expected: CameraModel) -> None:
    file = tmp_path / "camera.txt"
    file.write_text(text, encoding="utf-8")
    camera = parse_camera(str(file), (64, 48))
    assert not any(camera.distortion[4:])
    got = (camera.width, camera.height, camera.fx, camera.fy, camera.cx, camera.cy, camera.is_distorted)
    assert got == (64, 48, expected.fx, expected.fy, expected.cx, expected.cy, expected.is_distorted)
    assert camera.distortion[:4] == expected.distortion[:4]
    assert (camera.distortion_model == "equidistant") == (expected.distortion_model == "equidistant")


def test_a_camera_of_colmaps_list_is_picked_by_its_number(tmp_path: Path) -> None:
    file = tmp_path / "cameras.txt"
    file.write_text("1 SIMPLE_PINHOLE 64 48 40 32 24\n7 PINHOLE 64 48 50 51 32 24\n")
    assert parse_camera(f"{file}#7") == CameraModel(64, 48, 50.0, 51.0, 31.5, 23.5)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("1 THIN_PRISM_FISHEYE 64 48 1 2 3 4\n", "camera model 'THIN_PRISM_FISHEYE' is not known"),
        ("1 PINHOLE 64 48 40 32\n", "2 parameters"),
        (f"model_type: MEI\nprojection_parameters:\n{_indented(FOCAL)}", "camera model 'MEI' is not known"),
        (f"k: {K.replace('40.0', '0.0')}\n", "never calibrated"),
        (f"k: {K.replace('40.0, ', '')}\n", "k has 8 numbers"),
        (f"{SIZE}camera_matrix: [40.0, 0, 0, 0, 41.0, 0, 31.5, 23.5, 1]\n", "is K written column by column"),
        (f"{SIZE}camera_matrix: [[40.0, 5.0, 31.5], [0, 41.0, 23.5], [0, 0, 1]]\n", "K has a skew, 5 and 0 px"),
        ("width: 64\nheight: 48\nfx: 0.58\nfy: 1.92\ncx: 0.5\ncy: 0.5\n", "camera.txt.*fractions.*37.12,92.16,32,24"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "camera.txt"
    file.write_text(text)
    with pytest.raises(CalibrationError, match=says):
        parse_camera(str(file), (64, 48))


def test_flags_that_no_camera_has_are_refused(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "0.png"), np.zeros((96, 128, 3), np.uint8))
    with pytest.raises(CalibrationError, match=r"multiplied by width and height they are 74\.24,184\.32,64,48"):
        open_recording(tmp_path, camera="0.58,1.92,0.5,0.5")
    with pytest.raises(CalibrationError, match="principal point lies outside the image"):
        open_recording(tmp_path, camera="800,800,640,360")
    assert not open_recording(tmp_path, camera="80,80,63.5,47.5").notes
