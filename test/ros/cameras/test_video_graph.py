"""A video stream over DDS: every frame is decoded in order, though the networks take the newest ones only."""

from __future__ import annotations

import time
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from fake_model import FakeEstimator, fake_loaded_model
from rclpy.parameter import Parameter
from ros_graph import Probe, graph, wait
from sensor_msgs.msg import CompressedImage, Image

from featdepth_ros.messages.encode import byte_array
from featdepth_ros.ros.images import time_message
from featdepth_ros.ros.node import DepthNode

av = pytest.importorskip("av")
pytestmark = pytest.mark.ros


def test_a_stream_of_h264_is_taken() -> None:
    if "libx264" not in av.codecs_available:
        pytest.skip("this PyAV has no libx264")
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.gop_size = 64, 48, "yuv420p", 1000
    encoder.time_base, encoder.options = Fraction(1, 30), {"preset": "ultrafast", "tune": "zerolatency"}
    with graph() as ros:
        probe = Probe(ros, reliable=True)
        pictures = probe.hear(Image, "/depth_node/image_rect")
        reports = probe.hear(DiagnosticArray, "/diagnostics")
        publisher = probe.node.create_publisher(CompressedImage, "/camera/image_raw/compressed", 10)
        settings: dict[str, Any] = {"extrinsics_timeout_s": 0.0, "image_transport": "compressed", "max_rate_hz": 5.0}
        ros.add(
            DepthNode(
                load=lambda _: fake_loaded_model(FakeEstimator()),
                context=ros.context,
                cli_args=["--ros-args", "-r", "image_raw:=/camera/image_raw"],
                parameter_overrides=[Parameter(name, value=value) for name, value in settings.items()],
            )
        )
        wait(lambda: publisher.get_subscription_count() > 0, "the subscription")
        stamp = 1_700_000_000_000_000_000

        def sent() -> bool:
            nonlocal stamp
            stamp += 50_000_000
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), (200, 100, 40), np.uint8), format="rgb24")
            for packet in encoder.encode(frame):  # one key frame, the first: all others lean on those before
                msg = CompressedImage(format="h264", data=byte_array(np.frombuffer(bytes(packet), np.uint8)))
                msg.header.stamp, msg.header.frame_id = time_message(stamp), "camera_optical"
                probe.infos.publish(probe.info(stamp))
                publisher.publish(msg)
            time.sleep(0.03)
            return len(pictures) >= 5

        wait(sent, "pictures of the stream")
        colour = np.frombuffer(pictures[-1].data, np.uint8).reshape(-1, 3).mean(axis=0)
        np.testing.assert_allclose(colour, (200, 100, 40), atol=8)
        told = wait(lambda: [m.status[0] for m in reports if m.status[0].name == "depth_node: pipeline"], "a report")
        assert {v.key: v.value for v in told[-1].values}["rejected"] == "0"
