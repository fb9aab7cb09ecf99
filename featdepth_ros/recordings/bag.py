"""The images of one topic of a bag as a `Recording`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from featdepth_ros.errors import CalibrationError, ImageError, RecordingError, nearest_name
from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.recordings.bag_source import BagSource, BagTopic, RawMessage
from featdepth_ros.recordings.bag_truth import BagTruth
from featdepth_ros.recordings.bag_types import (
    CAMERA_INFO,
    COMPRESSED_IMAGE,
    IMAGE,
    IMAGE_TYPES,
    sibling_topic,
    stamp_ns_of,
)
from featdepth_ros.recordings.calibration import CameraArgument, resolve_camera
from featdepth_ros.recordings.camera_info import camera_from_info
from featdepth_ros.recordings.frame import Frame
from featdepth_ros.recordings.image_messages import DEPTH_ENCODINGS, rgb_from_message
from featdepth_ros.recordings.images import check_size
from featdepth_ros.recordings.recording import Recording, median_rate_hz

#: Messages looked at for the nominal rate and the first readable image.
_PEEK = 40


class BagRecording(Recording):
    """Images of one topic, stamped by their headers, with the calibration of the sibling CameraInfo topic.

    A bag as `write_ros2_bag` writes it also gives each frame its true depth and pose (see `BagTruth`).

    Attributes:
        source: the whole bag.
        topic: the image topic.

    Raises:
        RecordingError: no image topic, several and none named, or a name that is not there.
        CalibrationError: the CameraInfo is malformed or does not fit the images (and no ``camera`` is given).
    """

    kind = "bag"

    def __init__(self, path: Path, topic: str | None, camera: CameraArgument, rate_hz: float | None) -> None:
        super().__init__(path.stem, None, rate_hz or 0.0)
        self.source = BagSource(path)
        self.topic = _choose_topic(self.source, topic)
        first, stamps = self._peek()
        self._log_time_stamps = bool(stamps) and not any(stamps)
        self.rate_hz = rate_hz or median_rate_hz(stamps)
        size = None
        frame_id = ""
        if first is not None:
            rgb = rgb_from_message(first, grey16=True)
            size, frame_id = (rgb.shape[1], rgb.shape[0]), str(first.header.frame_id)
        self.camera = resolve_camera(camera, size) or self._recorded_camera(size, frame_id)
        if self.camera is not None and size is not None:
            check_size(self.camera, size, self.topic)
        pinhole = self.camera is not None and self.camera.is_pinhole
        self._truth = BagTruth(self.source, self.topic, frame_id) if pinhole else None
        for note in self.source.notes:
            self.note(note)
        if self._log_time_stamps:
            self.note(f"the headers on {self.topic} hold no stamps; recording times are used")

    def __len__(self) -> int:
        return self.source.topics[self.topic].count

    def _peek(self) -> tuple[Any, list[int]]:
        first, stamps = None, []
        for raw in islice(self.source.messages([self.topic]), _PEEK):
            try:
                message = self.source.decode(raw)
                stamps.append(stamp_ns_of(message))
                if first is None:
                    rgb_from_message(message, grey16=True)
                    first = message
            except (RecordingError, ImageError):
                continue
        return first, stamps

    def _recorded_camera(self, size: tuple[int, int] | None, frame_id: str) -> CameraModel | None:
        infos = [t.name for t in self.source.topics.values() if t.msgtype == CAMERA_INFO and t.convertible and t.count]
        sibling = sibling_topic(self.topic)
        if sibling in infos:
            infos = [sibling]
        for name in infos:
            message = self._first(name)
            if message is None or (name != sibling and str(message.header.frame_id) != frame_id):
                continue
            if name != sibling:
                self.note(f"there is no {sibling}; the calibration is taken from {name}, which has the same frame")
            rectified = "rect" in self.topic.rsplit("/image", 1)[-1]
            return camera_from_info(message, rectified, size)
        return None

    def _first(self, topic: str) -> Any:
        for raw in self.source.messages([topic]):
            try:
                return self.source.decode(raw)
            except RecordingError as error:
                self.note(str(error))
        return None

    def _frames(self) -> Iterator[Frame]:
        names = [self.topic]
        if self._truth is not None and self._truth.depth_topic is not None:
            names.append(self._truth.depth_topic)
        index = 0
        waiting: Frame | None = None  # for its depth, which follows it
        for raw in self.source.messages(names):
            if raw.topic != self.topic:
                waiting = self._with_depth(waiting, raw)
                continue
            if waiting is not None:
                yield waiting
            waiting, name = None, f"{index:06d}"
            index += 1
            try:
                waiting = self._frame(raw, name)
            except (RecordingError, ImageError, CalibrationError) as error:
                self._skip(name, str(error))
        if waiting is not None:
            yield waiting
        for note in self.source.notes:
            self.note(note)

    def _with_depth(self, frame: Frame | None, raw: RawMessage) -> Frame | None:
        if frame is None or self._truth is None:
            return frame
        try:
            message = self.source.decode(raw)
        except RecordingError as error:
            self.note(str(error))
            return frame
        depth = self._truth.depth(message, frame.stamp_ns, (frame.image.shape[1], frame.image.shape[0]))
        return frame if depth is None else replace(frame, depth=depth)

    def _frame(self, raw: RawMessage, name: str) -> Frame:
        message = self.source.decode(raw)
        image = rgb_from_message(message, grey16=True)
        if not image.flags.writeable:  # the message's own bytes
            image = image.copy()
        if self.camera is not None:
            check_size(self.camera, (image.shape[1], image.shape[0]), self.topic)
        stamp_ns = raw.log_ns if self._log_time_stamps else stamp_ns_of(message)
        pose = None if self._truth is None else self._truth.pose(stamp_ns)
        return Frame(image, stamp_ns, name, self.camera, None, pose)


def _choose_topic(source: BagSource, topic: str | None) -> str:
    images = [t for t in source.topics.values() if t.msgtype in IMAGE_TYPES and t.convertible]
    listing = ", ".join(f"{t.name} ({t.count} {t.msgtype.rsplit('/', 1)[-1]})" for t in images)
    if topic is not None:
        name = topic if topic in source.topics or topic.startswith("/") else f"/{topic}"
        if any(t.name == name for t in images):
            return name
        if name in source.topics:
            found = source.topics[name].msgtype
            raise RecordingError(f"topic {name} holds {found}, not images; image topics: {listing or 'none'}")
        hint = nearest_name(name, [t.name for t in images]) if images else ""
        raise RecordingError(f"there is no topic {name} in '{source.path}'{hint}; image topics: {listing or 'none'}")
    pictures = [t for t in images if t.count and is_picture(source, t)]
    if len(pictures) > 1:  # a raw topic beside its own compressed twin is one camera
        raws = {t.name for t in pictures if t.msgtype == IMAGE}
        pictures = [t for t in pictures if t.msgtype != COMPRESSED_IMAGE or t.name.rsplit("/", 1)[0] not in raws]
    if len(pictures) == 1:
        return pictures[0].name
    if not pictures:
        others = ", ".join(f"{t.name} ({t.msgtype})" for t in source.topics.values())
        raise RecordingError(f"'{source.path}' holds no images; its topics: {others or 'none'}")
    raise RecordingError(f"'{source.path}' holds several image topics; name one (--topic): {listing}")


def is_picture(source: BagSource, topic: BagTopic) -> bool:
    """Tell whether a topic holds images of a camera: of an image type, and no depth by its first message's encoding."""
    if topic.msgtype == COMPRESSED_IMAGE:
        return not topic.name.endswith("/compressedDepth")
    if topic.msgtype != IMAGE or not topic.convertible:
        return False
    for raw in source.messages([topic.name]):
        try:
            return source.decode(raw).encoding not in DEPTH_ENCODINGS
        except RecordingError:
            continue
    return False
