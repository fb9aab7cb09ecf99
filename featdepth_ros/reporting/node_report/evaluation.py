"""Evaluation of a bag that the node recorded against its ground truth: depth, odometry, rate, latency, drops.

The demo's report comes from here.

>>> from featdepth_ros.reporting.node_report.evaluation import evaluate_recording, write_html
>>> write_html(evaluate_recording("out/bag"), "report.html")
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.errors import EvaluationError, FeatDepthError
from featdepth_ros.metrics import (
    KITTI_LENGTHS,
    OdometryResult,
    Trajectory,
    evaluate_odometry,
    make_trajectory,
    path_distances,
    rebase,
)
from featdepth_ros.reporting.node_report.bag import (
    Diagnosis,
    Topics,
    find_topics,
    open_bag,
    read_diagnosis,
    read_odometry,
    read_stamps,
)
from featdepth_ros.reporting.node_report.depth import recorded_depth
from featdepth_ros.reporting.node_report.page import write_html
from featdepth_ros.reporting.node_report.result import RecordingOptions, RecordingResult
from featdepth_ros.reporting.node_report.timing import frame_rate, latencies, missed_frames
from featdepth_ros.reporting.trajectory_files import covariances_of_motion

if TYPE_CHECKING:
    from featdepth_ros.recordings.bags.source import BagSource

__all__ = ["RecordingOptions", "RecordingResult", "evaluate_recording", "write_html"]

#: Segment lengths (m) for paths that are too short for KITTI's lengths.
SHORT_LENGTHS = (5.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0)


def evaluate_recording(bag_path: str | Path, options: RecordingOptions | None = None) -> RecordingResult:
    """Evaluate the recorded output of the node against the ground truth in the bag.

    Missing topics are no error. Without ground truth, the metrics of depth and odometry are None and the notes say so.

    Args:
        bag_path: ROS 1 or ROS 2 bag with the node's depth images or odometry, or both.
        options: see `RecordingOptions`.

    Raises:
        FeatDepthError: there is no bag, it holds neither depth nor odometry of the node, or the roles of its topics are
            ambiguous.
    """
    chosen = options or RecordingOptions()
    bag = open_bag(bag_path)
    truth_bag = open_bag(chosen.truth_bag) if chosen.truth_bag else bag
    topics = _find(bag, truth_bag, chosen.topics)
    notes: list[str] = []
    frame_topic = topics.depth or topics.odometry
    assert frame_topic is not None  # _find rejects a bag with neither
    stamps = read_stamps(bag, frame_topic)
    inputs = read_stamps(bag, topics.input_image) if topics.input_image else None
    diagnosis = read_diagnosis(bag, topics.diagnostics) if topics.diagnostics else Diagnosis()
    relative = diagnosis.values.get("scale") == "relative"
    latency, source = latencies(stamps, inputs)
    missed = missed_frames(stamps, inputs)
    duration, rate = frame_rate(stamps)
    depth = recorded_depth(bag, truth_bag, topics, stamps, chosen, relative, notes)
    odometry, path, alignment = _odometry(bag, truth_bag, topics, chosen, relative, notes)
    if relative:
        notes.append("the node reports a relative scale: depth and odometry are in model units, not in metres")
    return RecordingResult(
        bag=str(bag_path),
        topics=topics,
        frames=len(stamps),
        input_frames=None if inputs is None else len(inputs),
        missed=missed,
        duration_s=duration,
        rate_hz=rate,
        latency_ms=latency,
        latency_source=source,
        diagnosis=diagnosis,
        relative=relative,
        depth=depth.result,
        coverage=depth.coverage,
        odometry=odometry,
        alignment=alignment,
        path=path,
        pictures=depth.pictures,
        notes=(*notes, *bag.notes),
    )


def _find(bag: BagSource, truth_bag: BagSource, given: Topics) -> Topics:
    if truth_bag is bag:
        topics = find_topics(bag, given)
    else:
        truth_names = Topics(truth_depth=given.truth_depth, truth_odometry=given.truth_odometry)
        node_names = Topics(depth=given.depth, image=given.image, odometry=given.odometry)
        topics = find_topics(bag, node_names)
        truth = find_topics(truth_bag, truth_names)
        # In a separate bag of ground truth, the only depth and the only odometry are the truth, whatever their names.
        topics = replace(
            topics,
            truth_depth=truth.truth_depth or truth.depth,
            truth_odometry=truth.truth_odometry or truth.odometry,
        )
    if topics.depth is None and topics.odometry is None:
        listing = ", ".join(f"{t.name} ({t.msgtype}, {t.count})" for t in bag.topics.values())
        raise EvaluationError(
            f"{bag.path} holds neither depth images nor odometry of the node; topics: {listing or 'none'}. "
            "Name its topics with --depth and --odometry, or record again"
        )
    return topics


def _odometry(
    bag: BagSource,
    truth_bag: BagSource,
    topics: Topics,
    options: RecordingOptions,
    relative: bool,
    notes: list[str],
) -> tuple[OdometryResult | None, NDArray[np.float64] | None, str]:
    alignment: Any = ("scale" if relative else "none") if options.align == "auto" else options.align
    if topics.odometry is None:
        notes.append("the recording holds no odometry of the node")
        return None, None, alignment
    try:
        estimate, child = _trajectory(bag, topics.odometry, "estimate")
    except FeatDepthError as error:
        notes.append(f"the node's odometry cannot be read: {error}")
        return None, None, alignment
    path = rebase(estimate.poses)
    if topics.truth_odometry is None:
        notes.append("the recording holds no true odometry: the path is shown, but not evaluated")
        return None, path, alignment
    try:
        truth, true_child = _trajectory(truth_bag, topics.truth_odometry, "ground truth")
    except FeatDepthError as error:
        notes.append(f"the true odometry cannot be read: {error}")
        return None, path, alignment
    if child != true_child:
        notes.append(
            f"the odometry describes frame '{child}', its ground truth frame '{true_child}'; they are compared as one "
            "frame"
        )
    lengths = options.lengths
    if not lengths:
        lengths = KITTI_LENGTHS if path_distances(truth.poses)[-1] > KITTI_LENGTHS[0] else SHORT_LENGTHS
    try:
        result = evaluate_odometry(truth, estimate, alignment, lengths, round(options.max_difference_s * 1e9))
    except EvaluationError as error:
        notes.append(f"odometry cannot be evaluated: {error}")
        return None, path, alignment
    notes += result.notes
    return result, path, alignment


def _trajectory(bag: BagSource, topic: str, name: str) -> tuple[Trajectory, str]:
    odometry = read_odometry(bag, topic)
    covariances = covariances_of_motion(odometry.stamps_ns, odometry.twist_covariances)
    stated = covariances if odometry.twist_covariances.any() else None
    trajectory = make_trajectory(odometry.stamps_ns, odometry.poses, stamped=True, name=name, covariances=stated)
    return trajectory, odometry.child
