"""Observations and findings of the doctor as plain data, so that the checks need no ROS graph."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.errors import ImageError

Level = Literal["error", "warning"]

IMAGE_TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")


@dataclass(frozen=True)
class Finding:
    """One problem.

    Attributes:
        level: ``error``: depth or motion will be missing or wrong; ``warning``: they will be worse.
        code: stable name for programs, ``<subject>.<problem>``.
        what: what was observed.
        do: what to do about it.
    """

    level: Level
    code: str
    what: str
    do: str


@dataclass(frozen=True)
class Endpoint:
    """A publisher or a subscription.

    Attributes:
        node: full name of the node.
        type: message type.
        reliable: whether it offers (or requests) reliable delivery.
        latched: whether it offers (or requests) transient local durability.
    """

    node: str
    type: str
    reliable: bool
    latched: bool


@dataclass(frozen=True)
class Seen:
    """Arrival and header of one message.

    Attributes:
        arrived_ns: time of arrival by the machine's clock, nanoseconds since the epoch.
        stamp_ns: stamp of the header, nanoseconds.
        frame_id: frame of the header.
    """

    arrived_ns: int
    stamp_ns: int
    frame_id: str


@dataclass
class Stream:
    """A topic: its publishers, its subscribers, and the messages that arrived.

    Attributes:
        topic: full name; empty: no such topic was found.
        publishers: its publishers.
        subscribers: its subscribers, without the doctor.
        seen: arrived messages, in order of arrival.
        newest: the last message; None: no message arrived.
        picture: for a video stream: the decoded image, or the error of the decoder; else None.
    """

    topic: str = ""
    publishers: tuple[Endpoint, ...] = ()
    subscribers: tuple[Endpoint, ...] = ()
    seen: list[Seen] = field(default_factory=list)
    newest: Any = None
    picture: NDArray[np.uint8] | ImageError | None = None


@dataclass
class Observation:
    """Everything that was observed in a few seconds.

    Attributes:
        seconds: duration of the observation.
        domain: ROS_DOMAIN_ID.
        nodes: full names of all nodes, without the doctor.
        image_topics: image topics of cameras, without those of a depth_node.
        images: image topic of the observed camera.
        infos: camera_info topic of the observed camera.
        parents: child -> {(parent, topic)} of every received transform.
        clock_publishers: number of publishers of /clock.
        depth_nodes: full names of nodes of this package.
        sim_time: depth_node -> its use_sim_time, for the nodes that answered.
        outputs: topics of depth_nodes with subscriptions.
        diagnostics: newest statuses of depth_node: (name, level, message).
    """

    seconds: float
    domain: str = "0"
    nodes: tuple[str, ...] = ()
    image_topics: tuple[str, ...] = ()
    images: Stream = field(default_factory=Stream)
    infos: Stream = field(default_factory=Stream)
    parents: dict[str, set[tuple[str, str]]] = field(default_factory=dict)
    clock_publishers: int = 0
    depth_nodes: tuple[str, ...] = ()
    sim_time: dict[str, bool] = field(default_factory=dict)
    outputs: tuple[Stream, ...] = ()
    diagnostics: tuple[tuple[str, int, str], ...] = ()
