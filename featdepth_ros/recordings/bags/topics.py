"""Chooses the image topic of a bag, and the topic of its stereo partner."""

from __future__ import annotations

from featdepth_ros.errors import RecordingError, nearest_name
from featdepth_ros.messages.compressed import DEPTH_ENCODINGS, is_compressed_picture
from featdepth_ros.recordings.bags.source import BagSource, BagTopic
from featdepth_ros.recordings.bags.types import COMPRESSED_IMAGE, IMAGE, IMAGE_TYPES, VIDEO_TYPES
from featdepth_ros.recordings.calibration.stereo import AUTO, choose_partner, counterparts


def choose_topic(source: BagSource, topic: str | None, but: str | None = None) -> str:
    """Return the named image topic, or the only one in the bag (apart from ``but``).

    Raises:
        RecordingError: there is no image topic, there are several and none is named, or the named one does not exist.
    """
    images = [t for t in source.topics.values() if t.msgtype in IMAGE_TYPES and t.convertible]
    listing = ", ".join(f"{t.name} ({t.count} {t.msgtype.rsplit('/', 1)[-1]})" for t in images)
    if topic is not None:
        name = topic if topic in source.topics or topic.startswith("/") else f"/{topic}"
        if any(t.name == name for t in images):
            return name
        if name in source.topics:
            msgtype = source.topics[name].msgtype
            raise RecordingError(f"topic {name} has the type {msgtype}, not images; image topics: {listing or 'none'}")
        hint = nearest_name(name, [t.name for t in images]) if images else ""
        raise RecordingError(f"there is no topic {name} in '{source.path}'{hint}; image topics: {listing or 'none'}")
    pictures = [t for t in _pictures(source) if t.name != but]
    if len(pictures) == 1:
        return pictures[0].name
    if not pictures:
        others = ", ".join(f"{t.name} ({t.msgtype})" for t in source.topics.values())
        videos = [t.name for t in source.topics.values() if t.msgtype in VIDEO_TYPES]
        way_out = (
            f"; {', '.join(videos)} is a video stream: republish it as sensor_msgs/Image or CompressedImage and "
            "record that topic"
        )
        raise RecordingError(
            f"'{source.path}' holds no images; its topics: {others or 'none'}{way_out if videos else ''}"
        )
    raise RecordingError(f"'{source.path}' holds several image topics; name one (--topic): {listing}")


def is_picture(source: BagSource, topic: BagTopic) -> bool:
    """Return whether a topic has images of a camera: it has an image type, and its first message is no depth."""
    if topic.msgtype not in IMAGE_TYPES or not topic.convertible or topic.name.endswith("/compressedDepth"):
        return False
    for raw in source.messages([topic.name]):
        try:
            message = source.decode(raw)
        except RecordingError:
            continue
        if topic.msgtype == COMPRESSED_IMAGE:
            return is_compressed_picture(message)
        return str(message.encoding).upper() not in DEPTH_ENCODINGS
    return topic.msgtype == COMPRESSED_IMAGE


def _pictures(source: BagSource) -> list[BagTopic]:
    pictures = [t for t in source.topics.values() if t.convertible and t.count and is_picture(source, t)]
    if len(pictures) > 1:  # a raw topic and its compressed version are one camera
        raws = {t.name for t in pictures if t.msgtype == IMAGE}
        pictures = [t for t in pictures if t.msgtype != COMPRESSED_IMAGE or t.name.rsplit("/", 1)[0] not in raws]
    return pictures


def choose_pair(source: BagSource, topic: str | None, partner: str) -> tuple[str, str]:
    """Return the image topics of a stereo pair: the camera's and its partner's.

    Args:
        source: the bag.
        topic: topic of the camera. None: the only one besides a named partner, or the first of the only pair by name.
        partner: topic of the partner, or ``auto``: the topic whose name differs as in left/right or cam0/cam1.

    Raises:
        RecordingError: one of them does not exist, or the choice is ambiguous.
    """
    if partner != AUTO:
        other = choose_topic(source, partner)
        return _with_partner(source, choose_topic(source, topic, but=other), other)
    if topic is None:
        names = [t.name for t in _pictures(source)]
        pairs = [(a, b) for a in names for b, first in counterparts(a, names).items() if first]
        if len(pairs) == 1:
            return pairs[0]
    return _with_partner(source, choose_topic(source, topic), AUTO)


def _with_partner(source: BagSource, topic: str, partner: str) -> tuple[str, str]:
    """Return the pair. Candidates are topics of camera images, never of depth, and the named topics."""
    names = [t.name for t in _pictures(source)]
    named = [name for name in (topic, partner) if name != AUTO and name not in names]
    return topic, choose_partner(str(source.path), [*names, *named], topic, partner)
