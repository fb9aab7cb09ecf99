"""Findings about the camera: its images, their stamps and frames, its calibration."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from featdepth_ros.errors import CalibrationError, ImageError
from featdepth_ros.messages.camera_info import camera_from_info, is_calibrated, names_rectified
from featdepth_ros.messages.images import refuse_distances, rgb_from_message
from featdepth_ros.messages.plausibility import usable_camera
from featdepth_ros.ros.doctor.observation import IMAGE_TYPES, Finding, Observation, Seen

#: Lowest rate in Hz; below it, the motion between two images is too large.
_LEAST_HZ = 5.0
#: Longest gap between two images of a steady camera, in median gaps.
_JITTER = 3.0
#: Ages of a stamp (s): beyond the first a clock is wrong, beyond the second the stamp is that of a recording.
_LATE_S, _RECORDED_S = 2.0, 3600.0
#: Mean brightness below or above which an image shows nothing.
_DARK, _BRIGHT = 8.0, 247.0


def camera_findings(seen: Observation) -> Iterator[Finding]:
    """Yield the problems of the observed camera."""
    images = seen.images
    if not images.topic:
        elsewhere = f"nodes there: {len(seen.nodes)}" if seen.nodes else "there is no node at all"
        yield Finding(
            "error",
            "image.none",
            f"nobody publishes images on ROS_DOMAIN_ID {seen.domain} ({elsewhere})",
            "start the camera's driver; use one ROS_DOMAIN_ID, discovery range and RMW_IMPLEMENTATION on both sides",
        )
        return
    if not images.publishers:
        others = ", ".join(seen.image_topics[:4]) or "no topic"
        yield Finding(
            "error",
            "image.unpublished",
            f"nobody publishes {images.topic}; images are on {others}",
            f"start the driver, or name the right topic: image:={seen.image_topics[0] if seen.image_topics else '...'}",
        )
        return
    types = sorted({endpoint.type for endpoint in images.publishers})
    if not set(types) & set(IMAGE_TYPES):
        do = "name an image topic of a camera"
        yield Finding("error", "image.type", f"{images.topic} has the type {', '.join(types)}, not images", do)
        return
    if len(images.publishers) > 1:
        names = ", ".join(sorted(endpoint.node for endpoint in images.publishers))
        do = "stop one of them: a driver beside a bag that is played, or two drivers"
        what = f"{len(images.publishers)} publishers of {images.topic}: {names}"
        yield Finding("error", "image.publishers", what, do)
    if not images.seen:
        yield Finding(
            "error",
            "image.silent",
            f"{images.topic} has a publisher but nothing came in {seen.seconds:g} s",
            "is the driver streaming? For large images use config/dds/fastdds_shm.xml on both sides",
        )
        return
    yield from _picture(seen)
    yield from _timing(seen)
    yield from _frame_id(seen)


def _picture(seen: Observation) -> Iterator[Finding]:
    images = seen.images
    try:
        refuse_distances(images.newest, images.topic)
        if isinstance(images.picture, ImageError):
            raise images.picture
        picture = rgb_from_message(images.newest) if images.picture is None else images.picture
    except ImageError as error:
        do = "choose the driver's colour or grey image topic"
        yield Finding("error", "image.unusable", f"{images.topic} cannot be used: {error}", do)
        yield from _calibration(seen, None)
        return
    mean = float(picture[::8, ::8].mean())
    if mean < _DARK or mean > _BRIGHT:
        kind = "black" if mean < _DARK else "white"
        do = "take the lens cap off, give light, set the exposure"
        yield Finding("warning", "image.blind", f"{images.topic} is almost {kind} (mean brightness {mean:.0f})", do)
    yield from _calibration(seen, (picture.shape[1], picture.shape[0]))


def _calibration(seen: Observation, size: tuple[int, int] | None) -> Iterator[Finding]:
    infos, name = seen.infos, seen.infos.topic
    calibrate = "calibrate the camera (ros2 run camera_calibration cameracalibrator) and let its driver publish it"
    if not infos.publishers:
        do = f"publish it beside the images, or remap camera_info; {calibrate}"
        yield Finding("error", "camera_info.none", f"nobody publishes {name}: depth alone, no cloud, no motion", do)
        return
    if infos.newest is None:
        do = "make the driver publish it with every image"
        yield Finding("error", "camera_info.silent", f"{name} has a publisher but no message arrived", do)
        return
    if not is_calibrated(infos.newest):
        what = f"{name} says uncalibrated (K[0] is 0): depth alone, no cloud, no motion"
        yield Finding("error", "camera_info.uncalibrated", what, calibrate)
        return
    rectified = names_rectified(seen.images.topic)
    try:
        camera_from_info(infos.newest, rectified, size)
    except CalibrationError as error:
        yield Finding(
            "error", "camera_info.malformed", f"{name} is malformed: {error}", "correct the driver's calibration"
        )
        return
    camera, reason = usable_camera(infos.newest, rectified, size)
    if camera is None:
        do = "give the driver the calibration of this camera at this size"
        yield Finding("error", "camera_info.implausible", f"{name} is not usable: {reason}", do)
        return
    yield from _lens(seen)


def _lens(seen: Observation) -> Iterator[Finding]:
    name = seen.infos.topic
    rectified = names_rectified(seen.images.topic)
    if rectified and any(seen.infos.newest.d) and seen.infos.newest.p[0] == 0.0:
        do = "fill in P, or subscribe to the raw image"
        yield Finding("warning", "camera_info.rectified", f"{name} of a rectified image has D but no P", do)
    info_frames = {one.frame_id for one in seen.infos.seen}
    image_frames = {one.frame_id for one in seen.images.seen}
    if info_frames and image_frames and not info_frames & image_frames:
        what = f"images are in frame '{min(image_frames)}', {name} in '{min(info_frames)}'"
        yield Finding("warning", "camera_info.frame", what, "give both one frame_id; that of the images is taken")


def _timing(seen: Observation) -> Iterator[Finding]:
    images, name = seen.images.seen, seen.images.topic
    stamps = np.array([one.stamp_ns for one in images], dtype=np.float64) / 1e9
    if not stamps.any():
        do = "make the driver stamp its images: motion and TF need the stamps"
        yield Finding("error", "stamp.none", f"images on {name} have no stamps", do)
        return
    steps = np.diff(stamps)
    if (steps <= 0).any():
        what = f"stamps on {name} repeat or go back ({int((steps <= 0).sum())} of {len(steps)} steps)"
        do = "stop the second publisher, or correct the driver's stamps; a looping bag also does this at its end"
        yield Finding("error", "stamp.order", what, do)
    yield from _age(seen, images[-1])
    arrivals = np.diff([one.arrived_ns for one in images]) / 1e9
    rate = 1.0 / max(float(arrivals.mean()), 1e-9) if len(arrivals) else 1.0 / seen.seconds
    if rate < _LEAST_HZ:
        what = f"{name} comes at {rate:.1f} Hz; expected at least {_LEAST_HZ:g}"
        yield Finding("warning", "image.rate", what, "raise the camera's rate, shorten the exposure, free the network")
    elif len(steps) > 5 and float(steps.max()) > _JITTER * float(np.median(steps)) > 0:
        what = f"{name} has gaps: {steps.max():.2f} s where {np.median(steps):.3f} s is usual"
        yield Finding("warning", "image.gaps", what, "free the machine or the network; use the shared-memory profile")


def _age(seen: Observation, newest: Seen) -> Iterator[Finding]:
    name, age = seen.images.topic, (newest.arrived_ns - newest.stamp_ns) / 1e9
    if seen.clock_publishers:
        return  # with simulated time, stamps are not comparable with the machine's clock
    if age > _RECORDED_S:
        do = "play the recording with --clock and set use_sim_time:=true for every node"
        old = f"{age / 3600:.0f} hours" if age < 48 * 3600 else f"{age / 86400:.0f} days"
        yield Finding("warning", "stamp.recorded", f"stamps on {name} are {old} old, and no /clock", do)
    elif age > _LATE_S:
        do = "synchronise the machines' clocks (chrony), or look for a queue in front of the camera's driver"
        yield Finding("warning", "stamp.late", f"images on {name} are {age:.1f} s old when they arrive", do)
    elif age < -_LATE_S:
        do = "synchronise the machines' clocks (chrony)"
        yield Finding("error", "stamp.future", f"stamps on {name} lie {-age:.1f} s in the future", do)


def _frame_id(seen: Observation) -> Iterator[Finding]:
    frames, name = {one.frame_id for one in seen.images.seen}, seen.images.topic
    if frames == {""}:
        do = "set the driver's frame_id, or camera_frame of depth_node"
        yield Finding("warning", "frame.empty", f"images on {name} have no frame_id", do)
    elif len(frames) > 1:
        do = "stop the second publisher: every change restarts odometry"
        yield Finding("error", "frame.changes", f"frame_id on {name} changes: {', '.join(sorted(frames))}", do)
    elif min(frames).startswith("/"):
        do = "remove the slash from the driver's frame_id: tf2 rejects it"
        yield Finding("warning", "frame.slash", f"frame_id on {name} is '{min(frames)}'", do)
