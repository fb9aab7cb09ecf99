"""Any INPUT as a stream of timed, serialised ROS 2 messages, which `featdepth play` publishes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from featdepth_ros.errors import RecordingError
from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.recordings.bags.frame_messages import FrameMessages
from featdepth_ros.recordings.bags.messages import Messages
from featdepth_ros.recordings.bags.recording import BagRecording
from featdepth_ros.recordings.bags.source import BagSource
from featdepth_ros.recordings.bags.topics import is_picture
from featdepth_ros.recordings.bags.types import CAMERA_INFO, IMAGE_TYPES, ros2_store, sibling_topic
from featdepth_ros.recordings.calibration.files import CameraArgument
from featdepth_ros.recordings.open import open_recording
from featdepth_ros.recordings.recording import Recording

#: Stamps below this (ns; the year 1971) count from the start of a recording and are no dates.
RELATIVE_BELOW_NS = 365 * 24 * 3600 * 1_000_000_000
DEFAULT_IMAGE_TOPIC = "/camera/image_raw"


class StreamMessage(NamedTuple):
    """A message to be published at ``log_ns`` (ns on the recording's clock); ``data`` is CDR with its header."""

    topic: str
    log_ns: int
    data: bytes


@dataclass(frozen=True)
class StreamTopic:
    """A topic of a stream; ``reliable`` is None if the recording does not store it."""

    name: str
    msgtype: str
    transient_local: bool = False
    reliable: bool | None = None


class MessageStream(Protocol):
    """Topics and messages of a recording. It can be iterated repeatedly.

    Attributes:
        topics: topics to publish; a topic may be added while iterating, before its first message.
        image_topic: the topic whose messages are counted as frames.
        total: number of messages or frames, for a progress bar.
        notes: notes to the user.
        live: whether the recording only counts from its start, so that it is stamped during playback. Each message
            must be published when the clock shows its ``log_ns``.
    """

    live: bool
    topics: list[StreamTopic]
    image_topic: str
    total: int
    notes: list[str]

    def __iter__(self) -> Iterator[StreamMessage]:
        """Yield the messages in order of time."""
        ...


class BagStream:
    """Every topic of a bag whose type is installed, message for message, with the recorded header stamps.

    Args:
        path: the bag.
        known_type: returns whether a message type can be published.
        topic: the image topic to play, without the other image topics; None: all of them are played.
        camera: calibration to publish beside the images in place of what the bag holds.
        image_topic: new name for the image topic; its siblings, CameraInfo and depth, move along.
    """

    live = False

    def __init__(
        self,
        path: Path,
        known_type: Callable[[str], bool],
        topic: str | None = None,
        camera: CameraArgument = None,
        image_topic: str | None = None,
    ) -> None:
        self.notes: list[str] = []
        self._camera: CameraModel | None = None
        self._names: dict[str, str] = {}
        chosen = None
        if topic is not None or camera is not None or image_topic is not None:
            recording = BagRecording(path, topic, camera, None)
            source, chosen = recording.source, recording.topic
            self._camera = recording.camera if camera is not None else None
        else:
            source = BagSource(path)
        self._source = source
        self._choose(known_type, chosen, image_topic, alone=topic is not None)
        images = [t for t in self.topics if t.msgtype in IMAGE_TYPES]
        self.image_topic = self._names.get(chosen, chosen) if chosen else (images[0].name if images else "")
        self.total = sum(t.count for name, t in source.topics.items() if name in self._names)

    def _choose(
        self, known_type: Callable[[str], bool], chosen: str | None, image_topic: str | None, *, alone: bool
    ) -> None:
        unknown = []
        for name, topic in self._source.topics.items():
            if not known_type(topic.msgtype) or (topic.ros1 and not topic.convertible):
                unknown.append(f"{name} ({topic.msgtype})")
            elif not alone or name == chosen or not is_picture(self._source, topic):
                self._names[name] = name
        if chosen is not None:
            info = sibling_topic(chosen)
            if self._camera is not None:
                self._names.pop(info, None)
            if image_topic is not None:
                self._names[chosen] = image_topic
                for sibling in ("camera_info", "depth/image_rect", "depth/camera_info"):
                    if sibling_topic(chosen, sibling) in self._names:
                        self._names[sibling_topic(chosen, sibling)] = sibling_topic(image_topic, sibling)
        if unknown:
            self.notes.append(f"not played, because their types are not installed: {', '.join(unknown)}")
        if not self._names:
            raise RecordingError(f"bag '{self._source.path}' has no topic whose type is installed")
        self._chosen = chosen
        topics = [(new, self._source.topics[old]) for old, new in self._names.items()]
        self.topics = [StreamTopic(new, t.msgtype, t.transient_local, t.reliable) for new, t in topics]
        if chosen is not None and self._camera is not None:
            self._info_topic = sibling_topic(self._names[chosen])
            reliable = self._source.topics[chosen].reliable
            self.topics.append(StreamTopic(self._info_topic, CAMERA_INFO, False, reliable))

    def __iter__(self) -> Iterator[StreamMessage]:
        """Yield the messages in order of recording time."""
        store, make = ros2_store(), Messages()
        for raw in self._source.messages(self._names):
            yield StreamMessage(self._names[raw.topic], raw.log_ns, bytes(raw.data))
            if self._camera is not None and raw.topic == self._chosen:
                try:
                    header = self._source.decode(raw).header
                except RecordingError:
                    continue
                info = make.camera_info(header, self._camera)
                yield StreamMessage(self._info_topic, raw.log_ns, bytes(store.serialize_cdr(info, CAMERA_INFO)))
        self.notes.extend(note for note in self._source.notes if note not in self.notes)


class _Collector:
    """A `MessageSink` that collects messages."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.topics: list[StreamTopic] = []
        self.messages: list[StreamMessage] = []
        self._store = ros2_store()

    def add_topic(self, topic: str, msgtype: str, transient_local: bool = False) -> None:
        self.counts[topic] = 0
        self.topics.append(StreamTopic(topic, msgtype, transient_local))

    def write_message(self, topic: str, log_ns: int, message: Any) -> None:
        data = bytes(self._store.serialize_cdr(message, message.__msgtype__))
        self.messages.append(StreamMessage(topic, log_ns, data))

    def take(self) -> list[StreamMessage]:
        taken, self.messages = self.messages, []
        return taken


class FrameStream:
    """Frames of any recording as image, CameraInfo and, if available, depth, true odometry and transforms.

    Args:
        recording: the frames.
        image_topic: see `bags.export.write_ros2_bag`.
        frame_id: the camera's optical frame.
        compressed: publish JPEG on ``image_topic/compressed``.
        now_ns: returns the start time (ns) of recordings that count from their own start; called once, when reading.

    Raises:
        RecordingError: no frame can be read.
    """

    def __init__(
        self,
        recording: Recording,
        image_topic: str,
        frame_id: str,
        compressed: bool = False,
        now_ns: Callable[[], int] = lambda: 0,
    ) -> None:
        self._recording = recording
        self._image_topic, self._frame_id, self._compressed = image_topic, frame_id, compressed
        self.image_topic = f"{image_topic}/compressed" if compressed else image_topic
        self.total = len(recording)
        first = next(iter(recording), None)
        if first is None:
            reasons = "; ".join(f"{s.name}: {s.reason}" for s in recording.skipped[:3])
            raise RecordingError(f"'{recording.name}' has no readable frame: {reasons}")
        self.live = first.stamp_ns < RELATIVE_BELOW_NS
        self._now_ns, self._offset_ns = now_ns, None if self.live else 0
        collector, messages = self._start()
        messages.write(first)
        self.topics = collector.topics
        self.notes = list(recording.notes)
        if first.camera is None:
            self.notes.append("the recording has no calibration: images only, no camera_info (give one with --camera)")

    def _start(self) -> tuple[_Collector, FrameMessages]:
        collector = _Collector()
        return collector, FrameMessages(collector, self._image_topic, self._frame_id, compressed=self._compressed)

    def __iter__(self) -> Iterator[StreamMessage]:
        """Yield each frame's messages, image first, at the frame's stamp."""
        collector, messages = self._start()
        if self._offset_ns is None:  # only once, so that the stamps jump back in a loop, as those of a bag do
            self._offset_ns = self._now_ns()
        offset_ns = self._offset_ns
        for frame in self._recording:
            messages.write(replace(frame, stamp_ns=frame.stamp_ns + offset_ns))
            self.topics.extend(topic for topic in collector.topics if topic not in self.topics)
            yield from collector.take()
        skipped = self._recording.skipped
        if skipped:
            note = f"{len(skipped)} broken frames were left out, the first: {skipped[0].name} ({skipped[0].reason})"
            self.notes.append(note)


@dataclass(frozen=True)
class StreamOptions:
    """Options of `open_stream`; the fields are the arguments of `BagStream` and `FrameStream`."""

    topic: str | None = None
    camera: str | None = None
    image_topic: str | None = None
    frame_id: str = "camera_optical_frame"
    compressed: bool = False
    rate_hz: float | None = None


def open_stream(
    path: Path, options: StreamOptions, known_type: Callable[[str], bool], start_ns: int | Callable[[], int]
) -> MessageStream:
    """Open any INPUT as a stream.

    Args:
        path: the INPUT.
        options: options of the stream.
        known_type: returns whether a message type can be published.
        start_ns: start time (ns) of recordings that count from their own start, or a function that returns it.

    Raises:
        FeatDepthError: it cannot be opened, or the options do not fit it.
    """
    from featdepth_ros.recordings.bags.storage.files import is_bag

    if path.exists() and is_bag(path):
        if options.compressed:
            raise RecordingError("--compressed is for recordings other than bags, whose messages are played unchanged")
        return BagStream(path, known_type, options.topic, options.camera, options.image_topic)
    recording = open_recording(path, options.topic, options.camera, options.rate_hz)
    topic = options.image_topic or DEFAULT_IMAGE_TOPIC
    now_ns = start_ns if callable(start_ns) else lambda: start_ns
    return FrameStream(recording, topic, options.frame_id, options.compressed, now_ns)
