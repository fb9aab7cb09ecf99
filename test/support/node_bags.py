"""Writer of a small recording of the node for tests: ground truth, input, output and diagnostics."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from featdepth_ros.recordings.bags.messages import Messages

STEP_NS = 100_000_000


@dataclass(frozen=True)
class Recorded:
    """Contents of the recording; every part can be omitted."""

    frames: int = 12
    start_ns: int = 1_700_000_000_000_000_000
    log_offset_ns: int = 0
    latency_ns: int = 80_000_000
    depth_factor: float = 1.1
    odometry_factor: float = 0.9
    truth: bool = True
    depth: bool = True
    odometry: bool = True
    images: bool = True
    diagnostics: bool = True
    drop: tuple[int, ...] = (5,)
    spoiled: tuple[int, ...] = ()
    scale: str = "metric"
    sigma: bool = False
    sigma_drop: tuple[int, ...] = ()
    tracks: bool = False
    wheels: bool = False
    twist_deviation: float = 0.0


def true_depth(index: int, shape: tuple[int, int] = (48, 96)) -> NDArray[np.float32]:
    rows, columns = np.mgrid[: shape[0], : shape[1]] / np.array(shape)[:, None, None]
    depth = 4 + 30 * (1 - rows) ** 2 + 3 * np.sin(6 * columns + 0.2 * index)
    return depth.astype(np.float32)


def true_pose(index: int) -> NDArray[np.float64]:
    angle = 0.03 * index
    pose = np.eye(4)
    pose[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    pose[:3, 3] = [1.0 * index, 0.02 * index**2, 0.0]
    return pose


def _odometries(make: Messages, header: object, what: Recorded, index: int) -> dict[str, Any]:
    if not what.odometry:
        return {}
    pose = true_pose(index)
    pose[:3, 3] *= np.nan if index in what.spoiled else what.odometry_factor
    answer = make.odometry(header, "base_link", pose, np.zeros(6))
    answer.twist.covariance[::7] = what.twist_deviation**2
    wheels = make.odometry(header, "base_link", np.eye(4), np.zeros(6))
    return {"/odom": answer, "/wheel/odom": wheels} if what.wheels else {"/odom": answer}


def write_recording(path: Path, what: Recorded) -> Path:
    from featdepth_ros.recordings.bags.messages import Messages
    from featdepth_ros.recordings.bags.writer import BagWriter

    make = Messages()
    rng = np.random.default_rng(3)
    with BagWriter(path) as bag:
        known: set[str] = set()

        def put(topic: str, log_ns: int, message: object) -> None:
            if topic not in known:
                known.add(topic)
                bag.add_topic(topic, message.__msgtype__)
            bag.write_message(topic, log_ns, message)

        for index in range(what.frames):
            stamp = what.start_ns + index * STEP_NS
            log = stamp + what.log_offset_ns
            done = log + what.latency_ns + index * 1_000_000
            header, base = make.header(stamp, "camera"), make.header(stamp, "odom")
            depth = true_depth(index)
            if what.images:
                grey = np.clip(255 / depth * 4, 0, 255)[..., None] + rng.normal(0, 6, (48, 96, 3))
                picture = np.clip(grey, 0, 255).astype(np.uint8)
                put("/camera/image_raw", log, make.image(header, picture, "rgb8"))
            if what.truth:
                put("/camera/depth/image_rect", log, make.image(header, depth, "32FC1"))
                pose = true_pose(index)
                put("/ground_truth/odom", log, make.odometry(base, "base_link", pose, np.zeros(6)))
            if index in what.drop:
                continue
            if what.depth:
                small = (depth[::2, ::2] * what.depth_factor).astype(np.float32)
                small[:2] = np.inf
                encoding = "rgb8" if index in what.spoiled else "32FC1"
                put("/depth_node/depth/image_rect", done, make.image(header, small, encoding))
            if what.sigma and index not in what.sigma_drop:
                sigma = np.where(np.isfinite(small), 0.1 * depth[::2, ::2], np.nan).astype(np.float32)
                put("/depth_node/depth/sigma", done, make.image(header, sigma, "32FC1"))
            if what.tracks:
                by_network = (depth[::4, ::4] * 1.5).astype(np.float32)
                put("/depth_node/depth/network", done, make.image(header, by_network, "32FC1"))
                drawn = np.full((24, 48, 3), (index, 200, 10), np.uint8)
                put("/depth_node/tracks", done, make.image(header, drawn, "rgb8"))
            for topic, message in _odometries(make, base, what, index).items():
                put(topic, done, message)
            if what.diagnostics and index % 4 == 3:
                values = {
                    "age_at_publish_ms": f"{what.latency_ns * 1e-6:.1f}", "processed": str(index),
                    "dropped": str(len(what.drop)), "rejected": "0", "scale": what.scale, "weights": "compact",
                    "device": "cpu", "stage_depth_ms": "31.50",
                }  # fmt: skip
                pairs = [make.diagnostic_msgs__KeyValue(key=key, value=value) for key, value in values.items()]
                status = make.diagnostic_msgs__DiagnosticStatus(
                    level=0, name="depth_node", message="ok", hardware_id="", values=pairs
                )
                put("/diagnostics", done, make.diagnostic_msgs__DiagnosticArray(header=header, status=[status]))
    return path
