"""Drift of the recorded odometry while the camera stands for a minute, with images played to the node over DDS.

python test/benchmarks/field/standing_camera.py [INPUT] [--camera C] [--topic T] [--seconds 60] [--weights W]
    [-p name:=value ...]

The image is the first one of INPUT, or of a rendered street. It is played at 10 Hz, each time with new noise (6 of 255)
and another brightness (3 %). Node, player and recorder are separate processes. One line of JSON gives the frames, the
states, and the largest distance of the recorded pose from the origin in metres and radians.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rosbags.highlevel import AnyReader

from featdepth_ros import resources
from featdepth_ros.cli.support.demo_processes import play_into_node
from featdepth_ros.recordings.frame import Frame
from featdepth_ros.recordings.open import open_recording
from featdepth_ros.simulation.simulate import Simulation, SimulationConfig, default_camera

RATE_HZ, NOISE, FLICKER = 10, 6.0, 0.03
RECORDED = ("/odom", "/diagnostics", "/depth_node/depth/image_rect")


def still_picture(source: str | None, topic: str | None, camera: str | None) -> Frame:
    """Return the first frame of a recording, or of a rendered street."""
    if source is not None:
        return next(iter(open_recording(source, topic=topic, camera=camera)))
    return Simulation(SimulationConfig(scene="street", seed=9001, frames=1, camera=default_camera(640, 192))).frame(0)


def write_frames(frame: Frame, folder: Path, count: int) -> str:
    """Write an image ``count`` times, and return its camera in the format of ``play --camera``."""
    assert frame.camera is not None, "the recording has no calibration; give --camera"
    random = np.random.default_rng(0)
    folder.mkdir()
    for index in range(count):
        bright = frame.image * (1.0 + FLICKER * random.standard_normal())
        seen = np.clip(bright + NOISE * random.standard_normal(frame.image.shape), 0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / f"{index:06d}.jpg"), seen[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])
    camera = frame.camera
    return f"{camera.fx},{camera.fy},{camera.cx},{camera.cy}"


def figures_of(answers: Path) -> dict[str, Any]:
    """Return the number of odometry messages, their largest distance, and the states in the diagnostics."""
    places, states = [np.zeros(3)], Counter[str]()
    turns: list[NDArray[np.float64]] = []
    with AnyReader([answers]) as reader:
        wanted = [c for c in reader.connections if c.topic in ("/odom", "/diagnostics")]
        for connection, _, raw in reader.messages(wanted):
            message: Any = reader.deserialize(raw, connection.msgtype)
            if connection.topic == "/odom":
                at, turned = message.pose.pose.position, message.pose.pose.orientation
                places.append(np.array([at.x, at.y, at.z]))
                turns.append(np.array([turned.x, turned.y, turned.z, turned.w]))
            else:
                states.update(v.value for s in message.status for v in s.values if v.key == "motion_state")
    # Without extrinsics the camera is the base, whose first pose has the optical axes; rotations are relative to it.
    cosines = [min(1.0, float(abs(turn @ turns[0]))) for turn in turns]
    return {
        "odometry": len(turns),
        "farthest_m": float(np.linalg.norm(places, axis=1).max()),
        "farthest_rad": 2 * float(np.arccos(min(cosines, default=1.0))),
        "motion_states": dict(states),
    }


def main() -> None:
    """Play the image and print the results of the node."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("input", nargs="?", metavar="INPUT")
    parser.add_argument("--camera")
    parser.add_argument("--topic")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--weights", default="compact")
    parser.add_argument("-p", "--parameter", action="append", default=[], metavar="name:=value")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        frame = still_picture(args.input, args.topic, args.camera)
        camera = write_frames(frame, folder / "frames", round(args.seconds * RATE_HZ))
        parameters = [f"weights:={resources.weights_file(args.weights)}", *args.parameter]
        answers = folder / "answers"
        played = play_into_node(folder / "frames", answers, RECORDED, parameters, camera=camera)
        print(json.dumps({"frames_played": played, **figures_of(answers)}))


if __name__ == "__main__":
    main()
