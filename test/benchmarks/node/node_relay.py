"""CPU time of the node per frame, compared with a minimal rclpy relay and with the networks alone.

python test/benchmarks/node/node_relay.py [--size 480x640] [--rate 5] [--frames 40] [--parameter motion:=network]...

The relay subscribes to the image and publishes it again, which is the least cost of rclpy per image. Each process gets
the same images at a rate that it can sustain. Its own CPU time (all threads) is divided by the number of its results.
The networks are timed in this process, at the node's size, precision and rate, so that caches are cold between frames.
Both use PyTorch, because the node may switch to another back end during the measurement. The output is one JSON line.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import rclpy
import torch
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image

from featdepth_ros import Estimator, load_model
from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.inference.config import EstimatorConfig
from featdepth_ros.memory import keep_freed_memory
from featdepth_ros.ros.calibration import info_from_camera
from featdepth_ros.ros.compat import keep_last
from featdepth_ros.ros.images import image_message
from featdepth_ros.ros.middleware import use_shared_memory_profile

RELAY = """
import rclpy
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image
rclpy.init()
node = Node("relay")
out = node.create_publisher(Image, "/relay/image", QoSProfile(depth=1))
node.create_subscription(Image, "/camera/image_raw", out.publish, QoSProfile(depth=1))
rclpy.spin(node)
"""


class Feeder:
    """Publishes images and counts the results."""

    def __init__(self, width: int, height: int) -> None:
        rclpy.init()
        self.node = rclpy.create_node("feeder")
        self.camera = CameraModel(width, height, 0.7 * width, 0.7 * width, width / 2 - 0.5, height / 2 - 0.5)
        qos = keep_last(1, ReliabilityPolicy.RELIABLE)
        self._images = self.node.create_publisher(Image, "/camera/image_raw", qos)
        self._infos = self.node.create_publisher(CameraInfo, "/camera/camera_info", qos)
        random = np.random.default_rng(0)
        coarse = random.integers(0, 256, (height // 8 + 9, width // 8 + 9, 3), dtype=np.uint8)
        self._texture = np.kron(coarse, np.ones((8, 8, 1), dtype=np.uint8))
        self.count = 0
        executor = SingleThreadedExecutor()
        executor.add_node(self.node)
        threading.Thread(target=executor.spin, daemon=True).start()

    def listen(self, topic: str) -> None:
        """Count the images of a topic."""
        self.node.create_subscription(Image, topic, self._heard, keep_last(1, ReliabilityPolicy.RELIABLE))

    def _heard(self, _: Image) -> None:
        self.count += 1

    def send(self, index: int) -> None:
        """Publish one image, shifted by two pixels from the previous one."""
        shift = 2 * index % 64
        pixels = self._texture[: self.camera.height, shift : shift + self.camera.width]
        stamp = time.time_ns()
        self._infos.publish(info_from_camera(self.camera, stamp, "camera_optical"))
        self._images.publish(image_message(np.ascontiguousarray(pixels), "rgb8", stamp, "camera_optical"))

    def cost_ms(self, command: list[str], rate_hz: float, frames: int) -> tuple[float, int]:
        """Start a process; return its CPU time per result in milliseconds, and the number of results."""
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            start, index = self.count, 0
            while self.count < start + 8:  # discovery, loading, warm-up
                if process.poll() is not None or index > 120 * rate_hz:
                    raise RuntimeError(f"{command} published no image; run it alone to see why")
                self.send(index := index + 1)
                time.sleep(1 / rate_hz)
            before, first = processor_s(process.pid), self.count
            for _ in range(frames):
                self.send(index := index + 1)
                time.sleep(1 / rate_hz)
            time.sleep(1.0)
            given = self.count - first
            return (processor_s(process.pid) - before) * 1e3 / max(given, 1), given
        finally:
            process.kill()
            process.wait(30.0)


def processor_s(pid: int) -> float:
    """Return the CPU time of a process so far, seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def networks_ms(width: int, height: int, rate_hz: float, frames: int) -> float:
    """Return the CPU time of encoder, depth and pose network per frame at a given rate, milliseconds."""
    torch.set_num_threads(1)
    keep_freed_memory()  # as in the node
    config = EstimatorConfig(motion="network", depth="network", backend="torch")
    estimator = Estimator(load_model("compact"), config, device="cpu")
    random, times, before = np.random.default_rng(0), [], None
    for index in range(frames + 3):
        time.sleep(1 / rate_hz)
        picture = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
        frame, _ = estimator.begin(picture, None, index)
        started = time.process_time()
        with torch.inference_mode():
            encoded = estimator._networks.encode(frame)
            if before is not None:
                estimator._networks.motion(before.observation, encoded.observation, None, 1.0)
        times.append((time.process_time() - started) * 1e3)
        before = encoded
    return float(np.mean(times[3:]))  # a mean, because the CPU time of the processes is one too


def main() -> None:
    """Print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="480x640", help="HxW of the images")
    parser.add_argument("--rate", type=float, default=5.0)
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--parameter", action="append", default=[], help="parameter of the node, name:=value")
    args = parser.parse_args()
    height, width = (int(side) for side in args.size.split("x"))
    use_shared_memory_profile()
    feeder = Feeder(width, height)
    feeder.listen("/relay/image")
    feeder.listen("/depth_node/depth/image_rect")
    given = ["motion:=network", "depth:=network", "device:=cpu", "cpu_threads:=1", "backend:=torch", *args.parameter]
    words = [word for parameter in given for word in ("-p", parameter)]
    remaps = ["-r", "image_raw:=/camera/image_raw"]
    node = [sys.executable, "-m", "featdepth_ros.ros.node", "--ros-args", *remaps, *words]
    figures: dict[str, object] = {"size": args.size}
    for name, command in (("relay", [sys.executable, "-c", RELAY]), ("node", node)):
        figures[f"{name}_ms"], figures[f"{name}_frames"] = feeder.cost_ms(command, args.rate, args.frames)
    figures["networks_ms"] = networks_ms(width, height, args.rate, args.frames)
    alone = float(figures["relay_ms"]) + float(figures["networks_ms"])  # type: ignore[arg-type]
    figures["ratio"] = float(figures["node_ms"]) / alone  # type: ignore[arg-type]
    print(json.dumps({k: round(v, 2) if isinstance(v, float) else v for k, v in figures.items()}), flush=True)
    rclpy.shutdown()


if __name__ == "__main__":
    main()
