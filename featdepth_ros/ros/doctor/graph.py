"""Findings about the graph: QoS at both ends of a topic, tree of frames, clocks, depth_node's own diagnostics."""

from __future__ import annotations

from collections.abc import Iterator

from featdepth_ros.ros.doctor.observation import Finding, Observation, Stream
from featdepth_ros.ros.frames.tree import RIVAL, WORLD_FRAMES


def graph_findings(seen: Observation, base_frame: str, odom_frame: str) -> Iterator[Finding]:
    """Yield the problems between the nodes."""
    for stream in (seen.images, seen.infos, *seen.outputs):
        yield from _qos(stream)
    yield from _frames(seen, base_frame, odom_frame)
    yield from _clock(seen)
    for name, level, message in seen.diagnostics:
        if level > 0 and not _is_redundant(message):
            yield Finding("error" if level > 1 else "warning", "node.says", f"{name}: {message}", "see its log")
    if len(seen.depth_nodes) > 1:
        what = f"{len(seen.depth_nodes)} depth_nodes run: {', '.join(seen.depth_nodes)}"
        do = "use one node for several cameras (parameter cameras), or let only one of them publish TF (publish_tf)"
        yield Finding("warning", "node.several", what, do)


def _is_redundant(message: str) -> bool:
    """Return whether this diagnostic message repeats a finding of the doctor, which says more."""
    return message.startswith(("no image for", "uncalibrated", RIVAL))


def _qos(stream: Stream) -> Iterator[Finding]:
    if not stream.publishers:
        return
    for subscriber in stream.subscribers:
        if subscriber.reliable and not any(p.reliable for p in stream.publishers):
            what = (
                f"{subscriber.node} requests {stream.topic} reliable, which is offered best effort: it receives nothing"
            )
            do = "subscribe best effort (depth_node: reliability auto), or publish reliably"
            yield Finding("error", "qos.reliability", what, do)
        if subscriber.latched and not any(p.latched for p in stream.publishers):
            what = f"{subscriber.node} requests {stream.topic} transient local, which is offered volatile"
            yield Finding("error", "qos.durability", what, "subscribe volatile, or publish transient local")


def _frames(seen: Observation, base_frame: str, odom_frame: str) -> Iterator[Finding]:
    for child, parents in sorted(seen.parents.items()):
        names = sorted({parent for parent, _ in parents})
        if len(names) > 1:
            what = f"frame {child} has {len(names)} parents: {', '.join(names)}"
            do = "stop one of the publishers (publish_tf:=false for depth_node): a frame has one parent"
            yield Finding("error", "tf.parents", what, do)
    frames = {one.frame_id.lstrip("/") for one in seen.images.seen} - {""}
    if len(frames) != 1:
        return
    camera = frames.pop()
    chain = _chain(seen, camera)
    if base_frame not in chain:
        above = f"its tree ends at {chain[-1]}" if len(chain) > 1 else "it has no parent"
        do = f"publish the mounting: ros2 run tf2_ros static_transform_publisher --frame-id {base_frame} ..."
        yield Finding("warning", "tf.mounting", f"no transform {base_frame} <- {camera} ({above})", do)
        return
    yield from _above_base(seen, base_frame, odom_frame)
    joints = [
        frame for frame in chain[: chain.index(base_frame)] if all(topic == "/tf" for _, topic in seen.parents[frame])
    ]
    if joints and not seen.depth_nodes:
        what = f"{', '.join(joints)} between {camera} and {base_frame} comes on /tf"
        do = "publish what is fixed on /tf_static; a joint needs stamps of the camera's clock"
        yield Finding("warning", "tf.moving", what, do)


def _above_base(seen: Observation, base_frame: str, odom_frame: str) -> Iterator[Finding]:
    """Yield the other publishers of odom -> base, which depth_node would publish itself."""
    for frame in _chain(seen, base_frame):
        others = [(p, topic) for p, topic in seen.parents.get(frame, ()) if p == odom_frame or p in WORLD_FRAMES]
        for parent, topic in others:
            if topic == "/tf" and seen.depth_nodes and not any(RIVAL in m for _, _, m in seen.diagnostics):
                continue  # depth_node's own
            what = f"{parent} -> {frame} is already published on {topic}"
            do = "start depth_node with publish_tf:=false, or stop the other odometry"
            yield Finding("warning", "tf.odometry", what, do)


def _chain(seen: Observation, frame: str) -> list[str]:
    """Return a frame and its ancestors, up to a world frame."""
    names = [frame]
    while True:
        parents = sorted(p for p, _ in seen.parents.get(names[-1], ()) if p not in WORLD_FRAMES and p not in names)
        if not parents:
            return names
        names.append(parents[0])


def _clock(seen: Observation) -> Iterator[Finding]:
    if seen.clock_publishers > 1:
        do = "stop one of them: time jumps between two clocks"
        yield Finding("error", "clock.publishers", f"{seen.clock_publishers} nodes publish /clock", do)
    for node, simulated in sorted(seen.sim_time.items()):
        if simulated and not seen.clock_publishers:
            what, do = f"{node} has use_sim_time and nobody publishes /clock", "play the bag with --clock"
            yield Finding("error", "clock.none", what, do)
        elif not simulated and seen.clock_publishers:
            what = f"/clock is published and {node} does not use it"
            yield Finding("warning", "clock.unused", what, "start it with use_sim_time:=true")
