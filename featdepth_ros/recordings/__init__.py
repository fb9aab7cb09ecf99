"""Recordings of every kind in, frames out; and frames into bags and data set folders."""

from featdepth_ros.recordings.bags.export import write_ros2_bag
from featdepth_ros.recordings.bags.trajectory import read_trajectory, read_twist_covariances
from featdepth_ros.recordings.calibration.files import parse_camera
from featdepth_ros.recordings.datasets.euroc_writer import write_euroc
from featdepth_ros.recordings.datasets.kitti_writer import write_kitti_odometry
from featdepth_ros.recordings.frame import Frame, Partner
from featdepth_ros.recordings.open import open_recording
from featdepth_ros.recordings.recording import Recording, SkippedFrame

__all__ = [
    "Frame",
    "Partner",
    "Recording",
    "SkippedFrame",
    "open_recording",
    "parse_camera",
    "read_trajectory",
    "read_twist_covariances",
    "write_euroc",
    "write_kitti_odometry",
    "write_ros2_bag",
]
