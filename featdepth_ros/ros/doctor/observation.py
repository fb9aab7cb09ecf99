"""What the doctor saw, and what it says about it. Plain data: the judges need no graph."""

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
    """One thing that is wrong.

    Attributes:
        level: ``error``: depth or motion will not come, or will be false; ``warning``: they suffer.
        code: for programs: ``<subject>.<what>``, stable.
        what: what was seen.
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
        node: full name.
        type: of its messages.
        reliable: it offers, or asks for, reliable delivery.
        latched: it keeps, or asks for, what was published before (transient local).
    """

    node: str
    type: str
    reliable: bool
    latched: bool


@dataclass(frozen=True)
class Seen:
    """One message of a topic that counts.

    Attributes:
        arrived_ns: by the clock of the doctor's machine, since the epoch.
        stamp_ns: of its header.
        frame_id: of its header.
    """

    arrived_ns: int
    stamp_ns: int
    frame_id: str


@dataclass
class Stream:
    """A topic: who is at its ends, and what came.

    Attributes:
        topic: full name; empty: none was found.
        publishers: who offers it.
        subscribers: who asks for it, the doctor left out.
        seen: what came, in order of arrival.
        newest: the last message as it is; None: nothing came.
        picture: decoded, or why not, where messages are pieces of a video; else None.
    """

    topic: str = ""
    publishers: tuple[Endpoint, ...] = ()
    subscribers: tuple[Endpoint, ...] = ()
    seen: list[Seen] = field(default_factory=list)
    newest: Any = None
    picture: NDArray[np.uint8] | ImageError | None = None


@dataclass
class Observation:
    """Everything that was seen in a few seconds.

    Attributes:
        seconds: how long was looked.
        domain: ROS_DOMAIN_ID.
        nodes: full names, the doctor's own left out.
        image_topics: of cameras, which no depth_node made.
        images: of the camera that is looked at.
        infos: its camera_info.
        parents: child -> {(parent, topic)} of every transform heard.
        clock_publishers: of /clock.
        depth_nodes: full names of nodes of this package.
        sim_time: depth_node -> its use_sim_time, where it answered.
        outputs: topics of depth_nodes with subscriptions.
        diagnostics: depth_node's newest statuses: (name, level, message).
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
