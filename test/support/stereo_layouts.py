"""Small stereo recordings in the documented layouts of data sets; every image encodes its index and camera."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from ros1_types import ros1_store

from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.recordings.bags.messages import Messages
from featdepth_ros.recordings.bags.types import CAMERA_INFO, IMAGE, TF_MESSAGE
from featdepth_ros.recordings.bags.writer import BagWriter

SIZE = (48, 32)  # width, height
#: First stamp of EuRoC's V1_01, nanoseconds.
START_NS = 1_403_715_273_262_142_976
STEP_NS = 50_000_000
_STEP_GREY = 10


def image(index: int, camera: int = 0) -> NDArray[np.uint8]:
    """Return (32, 48, 3) uint8: the frame's index in the left half, the camera's number in the right half."""
    pixels = np.full((SIZE[1], SIZE[0], 3), _STEP_GREY * index + 5, np.uint8)
    pixels[:, SIZE[0] // 2 :] = _STEP_GREY * camera + 5
    return pixels


def read_back(pixels: NDArray[np.uint8]) -> tuple[int, int]:
    """Return (index, camera) of an `image`, also after JPEG compression."""
    left, right = pixels[:, : SIZE[0] // 2 - 8].mean(), pixels[:, SIZE[0] // 2 + 8 :].mean()
    return round((left - 5) / _STEP_GREY), round((right - 5) / _STEP_GREY)


def pairs_of(recording: Any) -> list[tuple[int, int | None]]:
    """Return (index of the frame, index of its partner or None) of every frame, from the pixels."""
    return [
        (read_back(frame.image)[0], None if frame.partner is None else read_back(frame.partner.image)[0])
        for frame in recording
    ]


def write_image(path: Path, index: int, camera: int = 0) -> None:
    """Write one `image` in the format of its suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image(index, camera))


def line(name: str, values: Any) -> str:
    """Return a line of a KITTI calibration file."""
    return f"{name}: " + " ".join(f"{v:.6e}" for v in np.ravel(values)) + "\n"


def projection(focal: float, cx: float, cy: float, x_m: float) -> NDArray[np.float64]:
    """Return P (3, 4) of a rectified camera ``x_m`` to the right of the first one."""
    return np.array([[focal, 0.0, cx, -focal * x_m], [0.0, focal, cy, 0.0], [0.0, 0.0, 1.0, 0.0]])


def kitti_raw(
    day: Path, number: int, lines: Sequence[str], count: int = 5, kind: str = "sync",
    shifts_ns: Mapping[str, int] | None = None, missing: Mapping[str, Sequence[int]] | None = None,
) -> Path:  # fmt: skip
    """Write ``<day>/<day>_drive_<number>_<kind>`` with cameras 02 and 03 and the day's ``calib_cam_to_cam.txt``."""
    drive = day / f"{day.name}_drive_{number:04d}_{kind}"
    for camera in (2, 3):
        folder = drive / f"image_{camera:02d}"
        shift = (shifts_ns or {}).get(folder.name, 0)
        stamps = []
        for index in range(count):
            at = 25_594_360_375 + index * 100_000_000 + shift
            stamps.append(f"{day.name.replace('_', '-')} 13:02:{at // 10**9:02d}.{at % 10**9:09d}\n")
            if index not in (missing or {}).get(folder.name, ()):
                write_image(folder / "data" / f"{index:010d}.png", index, camera)
        (folder / "timestamps.txt").write_text("".join(stamps))
    (day / "calib_cam_to_cam.txt").write_text(
        "calib_time: 09-Jan-2012 13:57:47\ncorner_dist: 9.950000e-02\n" + "".join(lines)
    )
    return drive


def sensor_yaml(T_body_camera: NDArray[np.float64], intrinsics: Sequence[float], distortion: Sequence[float]) -> str:
    """Return a EuRoC ``sensor.yaml``."""
    rows = ",\n         ".join(", ".join(repr(float(v)) for v in row) for row in T_body_camera)
    return (
        "%YAML:1.0\n# General sensor definitions.\nsensor_type: camera\ncomment: VI-Sensor (MT9M034)\n\n"
        f"# Sensor extrinsics wrt. the body-frame.\nT_BS:\n  cols: 4\n  rows: 4\n  data: [{rows}]\n\n"
        f"rate_hz: 20\nresolution: [{SIZE[0]}, {SIZE[1]}]\ncamera_model: pinhole\n"
        f"intrinsics: {list(intrinsics)} #fu, fv, cu, cv\ndistortion_model: radial-tangential\n"
        f"distortion_coefficients: {list(distortion)}\n"
    )


#: Pose of cam0 on EuRoC's body (x up, y left of the camera's view).
T_BODY_CAM0 = np.array([[0.0, -1.0, 0.0, -0.02], [1.0, 0.0, 0.0, -0.06], [0.0, 0.0, 1.0, 0.01], [0.0, 0.0, 0.0, 1.0]])


def right_of(T_body_camera: NDArray[np.float64], baseline_m: float = 0.11, turn_rad: float = 0.02) -> Any:
    """Return T_body_right (4, 4) of a camera to the right of another one, rotated about the optical axis."""
    T_left_right = np.eye(4)
    c, s = np.cos(turn_rad), np.sin(turn_rad)
    T_left_right[:2, :2] = [[c, -s], [s, c]]
    T_left_right[0, 3] = baseline_m
    return T_body_camera @ T_left_right


INTRINSICS = ((30.5, 30.25, 23.0, 15.5), (30.0, 29.75, 24.5, 16.0))
DISTORTIONS = ((-0.28, 0.07, 0.0002, 1.8e-05), (-0.27, 0.06, -0.0001, -3.5e-05))


def euroc(root: Path, count: int = 5, without: Mapping[str, Sequence[int]] | None = None, shift_ns: int = 0) -> Path:
    """Write an ASL folder with two cameras; ``without`` names, per camera, the images that are missing."""
    for camera, T in enumerate((T_BODY_CAM0, right_of(T_BODY_CAM0))):
        folder = root / "mav0" / f"cam{camera}"
        listing = ["#timestamp [ns],filename\n"]
        for index in range(count):
            stamp = START_NS + index * STEP_NS + camera * shift_ns
            if index not in (without or {}).get(folder.name, ()):
                write_image(folder / "data" / f"{stamp}.png", index, camera)
                listing.append(f"{stamp},{stamp}.png\r\n")
        (folder / "data.csv").write_text("".join(listing))
        (folder / "sensor.yaml").write_text(sensor_yaml(T, INTRINSICS[camera], DISTORTIONS[camera]))
    return root


#: A camera of a stereo bag: topic of the images, frame_id, P (None: no CameraInfo), R.
BagCamera = tuple[str, str, "NDArray[np.float64] | None", "NDArray[np.float64] | None"]


def ros2_stereo_bag(
    path: Path, cameras: Sequence[BagCamera], count: int = 6, shift_ns: int = 0,
    without: Mapping[int, Sequence[int]] | None = None, broken: Mapping[int, Sequence[int]] | None = None,
    transforms: Mapping[str, tuple[str, NDArray[np.float64]]] | None = None,
) -> Path:  # fmt: skip
    """Write a ROS 2 bag with two cameras; the right images are recorded first, with stamps later by ``shift_ns``."""
    make = Messages()
    with BagWriter(path) as bag:
        for topic, _, p, _ in cameras:
            bag.add_topic(topic, IMAGE)
            if p is not None:
                bag.add_topic(topic.rsplit("/", 1)[0] + "/camera_info", CAMERA_INFO)
        if transforms:
            bag.add_topic("/tf_static", TF_MESSAGE, transient_local=True)
            sent = [make.tf(make.header(START_NS, above), below, T) for below, (above, T) in transforms.items()]
            bag.write_message("/tf_static", START_NS, make.tf2_msgs__TFMessage(transforms=sent))
        for index in range(count):
            for number in reversed(range(len(cameras))):
                topic, frame_id, p, r = cameras[number]
                if index in (without or {}).get(number, ()):
                    continue
                stamp = START_NS + index * STEP_NS + number * shift_ns
                header = make.header(stamp, frame_id)
                message = make.image(header, image(index, number), "rgb8")
                if index in (broken or {}).get(number, ()):
                    message.data = message.data[:50]
                recorded = stamp + 3_000_000 * (2 - number)
                bag.write_message(topic, recorded, message)
                if p is not None:
                    model = CameraModel(*SIZE, p[0, 0], p[1, 1], p[0, 2], p[1, 2])
                    info = make.camera_info(header, model)
                    info.p = p.reshape(-1)
                    info.r = (np.eye(3) if r is None else r).reshape(-1)
                    bag.write_message(topic.rsplit("/", 1)[0] + "/camera_info", recorded, info)
    return path


def ros1_stereo_bag(path: Path, count: int = 5, p: Sequence[NDArray[np.float64] | None] = (None, None)) -> Path:
    """Write a ROS 1 bag as EuRoC's, with mono8 images on ``/cam0/image_raw`` and ``/cam1/image_raw``."""
    from rosbags.rosbag1 import Writer

    store = ros1_store()
    types = store.types
    with Writer(path) as writer:
        images = [writer.add_connection(f"/cam{c}/image_raw", IMAGE, typestore=store) for c in (0, 1)]
        infos = [
            None if matrix is None else writer.add_connection(f"/cam{c}/camera_info", CAMERA_INFO, typestore=store)
            for c, matrix in enumerate(p)
        ]
        for index in range(count):
            for camera in (0, 1):
                stamp = START_NS + index * STEP_NS
                time = types["builtin_interfaces/msg/Time"](sec=stamp // 10**9, nanosec=stamp % 10**9)
                header = types["std_msgs/msg/Header"](seq=index, stamp=time, frame_id=f"cam{camera}")
                data = np.ascontiguousarray(image(index, camera)[..., 0]).reshape(-1)
                message = types[IMAGE](
                    header=header, height=SIZE[1], width=SIZE[0], encoding="mono8", is_bigendian=0, step=SIZE[0],
                    data=data,
                )  # fmt: skip
                writer.write(images[camera], stamp + camera, store.serialize_ros1(message, IMAGE))
                matrix, connection = p[camera], infos[camera]
                if matrix is None or connection is None:
                    continue
                roi = types["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False)
                info = types[CAMERA_INFO](
                    header=header, height=SIZE[1], width=SIZE[0], distortion_model="plumb_bob", D=np.zeros(5),
                    K=matrix[:, :3].reshape(9), R=np.eye(3).reshape(9), P=matrix.reshape(12), binning_x=0,
                    binning_y=0, roi=roi,
                )  # fmt: skip
                writer.write(connection, stamp + camera, store.serialize_ros1(info, CAMERA_INFO))
    return path
