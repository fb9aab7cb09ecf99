"""Recordings of every kind in, frames out; and frames into bags and data set folders."""

from featdepth_ros.recordings.bag_export import write_ros2_bag
from featdepth_ros.recordings.calibration import parse_camera
from featdepth_ros.recordings.frame import Frame
from featdepth_ros.recordings.open import open_recording
from featdepth_ros.recordings.recording import Recording, SkippedFrame

__all__ = ["Frame", "Recording", "SkippedFrame", "open_recording", "parse_camera", "write_ros2_bag"]
