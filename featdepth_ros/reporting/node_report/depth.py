"""Evaluation of the node's recorded depth maps against ground truth, and the frames that a report shows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.errors import EvaluationError, FeatDepthError
from featdepth_ros.metrics import DepthProtocol, associate
from featdepth_ros.reporting.depth_evaluation import DepthPair, DepthResult, Picture, evaluate_pairs, relative_sigma
from featdepth_ros.reporting.depth_figures import chosen_frames
from featdepth_ros.reporting.node_report.bag import InOrder, Stamps, Topics, decoded_at, read_stamps

if TYPE_CHECKING:
    from featdepth_ros.recordings.bags.source import BagSource
    from featdepth_ros.reporting.node_report.result import RecordingOptions


@dataclass(frozen=True)
class RecordedDepth:
    """Evaluation of the node's depth in a recording.

    Attributes:
        result: metrics against ground truth; None if they cannot be computed.
        coverage: share of the pixels with ground truth in the protocol's range for which the node gave a depth.
        pictures: frames for the report.
    """

    result: DepthResult | None = None
    coverage: float | None = None
    pictures: tuple[Picture, ...] = ()


def recorded_depth(
    bag: BagSource,
    truth_bag: BagSource,
    topics: Topics,
    frames: Stamps,
    options: RecordingOptions,
    relative: bool,
    notes: list[str],
) -> RecordedDepth:
    """Evaluate the depth images of a recording, with their sigma if it was recorded for every frame.

    Args:
        bag: bag with the node's topics.
        truth_bag: bag with the ground truth; it may be the same.
        topics: roles of the topics.
        frames: stamps of the depth images.
        options: see `RecordingOptions`.
        relative: whether the node reported a relative scale.
        notes: list to which remarks for the reader are appended.
    """
    if topics.depth is None:
        notes.append("the recording holds no depth image of the node")
        return RecordedDepth()
    pairs: list[tuple[int, int]] = []
    if topics.truth_depth is None:
        notes.append("the recording holds no true depth: the depth is shown, but not evaluated")
    else:
        truth = read_stamps(truth_bag, topics.truth_depth)
        pairs = _pair_positions(truth, frames, round(options.max_difference_s * 1e9))
        if not pairs:
            notes.append(f"no true depth on {topics.truth_depth} within {options.max_difference_s:g} s of a frame")
        elif len(pairs) < len(frames):
            notes.append(f"{len(frames) - len(pairs)} of {len(frames)} depth images have no true depth")
    if not pairs:
        return RecordedDepth(pictures=_pictures_without_truth(bag, topics, frames, options.pictures))
    assert topics.truth_depth is not None
    scale: Any = ("median" if relative else "none") if options.scale == "auto" else options.scale
    protocol = DepthProtocol(options.min_depth, options.cap, "none", scale, skip_invalid=True)
    positions = [position for _, position in pairs]
    shown = [positions[i] for i in chosen_frames(len(pairs), options.pictures)]
    reader = _Reader(bag, topics, frames, positions, shown, notes)
    next_truth = InOrder(truth_bag, topics.truth_depth, [position for position, _ in pairs])
    try:
        judged = [reader.pair(position, next_truth, of_truth) for of_truth, position in pairs]
        result = evaluate_pairs(judged, protocol, pictures=options.pictures)
    except EvaluationError as error:
        notes.append(f"depth cannot be evaluated: {error}")
        return RecordedDepth(pictures=_pictures_without_truth(bag, topics, frames, options.pictures))
    compared, skipped = result.summary.pixels, sum(image.skipped for image in result.images)
    notes += [note for note in result.notes if "not finite" not in note]
    return RecordedDepth(result, compared / (compared + skipped), result.pictures)


class _Reader:
    """Reads the messages that belong to a frame of the node, each topic once and in the order of the bag."""

    def __init__(
        self,
        bag: BagSource,
        topics: Topics,
        frames: Stamps,
        positions: Sequence[int],
        shown: Sequence[int],
        notes: list[str],
    ) -> None:
        assert topics.depth is not None
        self._frames, self._notes = frames, notes
        self._next_map = InOrder(bag, topics.depth, positions)
        self._images = _images_at(bag, topics.image, frames, shown)
        self._tracks = _images_at(bag, topics.tracks, frames, shown)
        self._networks = _at_frames(bag, topics.network_depth, frames, shown, _map)
        self._sigma_at = _same_stamps(bag, topics.sigma, frames, positions)
        if self._sigma_at and len(self._sigma_at) < len(positions):
            notes.append(
                f"sigma was recorded for {len(self._sigma_at)} of {len(positions)} frames: it is shown, but not "
                "evaluated"
            )
        if topics.sigma is not None:
            self._next_sigma = InOrder(bag, topics.sigma, list(self._sigma_at.values()))

    def pair(self, position: int, next_truth: InOrder, truth_position: int) -> DepthPair:
        """Return one frame and its ground truth, which are read on access: the depth before its sigma."""
        image, tracks = self._images.get(position), self._tracks.get(position)
        network = self._networks.get(position)
        shape: list[tuple[int, ...]] = []

        def depth() -> NDArray[np.float64]:
            values = self._known(lambda: self._next_map(position), position, "depth")
            shape.append(values.shape)
            return values

        def sigma() -> NDArray[np.float64]:
            values = self._known(lambda: self._next_sigma(self._sigma_at[position]), position, "sigma")
            return values if values.shape == shape[-1] else np.full(shape[-1], np.nan)

        return DepthPair(
            name=_name(self._frames, position),
            prediction=depth,
            truth=lambda: self._known(lambda: next_truth(truth_position), position, "true depth"),
            image=None if image is None else (lambda: image),
            sigma=sigma if position in self._sigma_at else None,
            tracks=None if tracks is None else (lambda: tracks),
            network=None if network is None else (lambda: network.astype(np.float32)),
        )

    def _known(self, read: Callable[[], Any], position: int, what: str) -> NDArray[np.float64]:
        try:
            return _map(read())
        except FeatDepthError as error:  # a malformed message does not stop the evaluation of the others
            self._notes.append(f"frame {position}: {what} cannot be read: {error}")
            return np.full((1, 1), np.nan)


def _name(frames: Stamps, position: int) -> str:
    return f"frame {position}, {(frames.header_ns[position] - frames.header_ns[0]) * 1e-9:.2f} s"


def _picture(message: Any) -> NDArray[np.uint8]:
    from featdepth_ros.messages.images import rgb_from_message

    return rgb_from_message(message)


def _map(message: Any) -> NDArray[np.float64]:
    from featdepth_ros.messages.images import depth_from_message

    return depth_from_message(message).astype(np.float64)


def _pair_positions(truth: Stamps, frames: Stamps, max_difference_ns: int) -> list[tuple[int, int]]:
    """Return positions (in true depth, in the node's depth) of matching messages, in the order of the bag."""
    true_stamps, true_first = np.unique(truth.header_ns, return_index=True)
    stamps, first = np.unique(frames.header_ns, return_index=True)
    of_truth, of_frames = associate(true_stamps, stamps, max_difference_ns)
    pairs = zip(true_first[of_truth].tolist(), first[of_frames].tolist(), strict=True)
    return sorted(pairs, key=lambda pair: pair[1])


def _same_stamps(bag: BagSource, topic: str | None, frames: Stamps, positions: Sequence[int]) -> dict[int, int]:
    """Return, by a frame's position, the position in another topic of the message with the same stamp."""
    if topic is None or not positions:
        return {}
    index_of = {int(stamp): i for i, stamp in enumerate(read_stamps(bag, topic).header_ns)}
    stamps = {position: int(frames.header_ns[position]) for position in positions}
    return {position: index_of[stamp] for position, stamp in stamps.items() if stamp in index_of}


def _at_frames(
    bag: BagSource, topic: str | None, frames: Stamps, positions: Sequence[int], read: Callable[[Any], NDArray[Any]]
) -> dict[int, NDArray[Any]]:
    """Return the decoded content of a topic's messages with the stamps of the given frames, by the frames' position."""
    frame_of = {index: position for position, index in _same_stamps(bag, topic, frames, positions).items()}
    by_frame = {}
    for index, message in decoded_at(bag, topic, list(frame_of)) if topic is not None and frame_of else ():
        try:
            by_frame[frame_of[index]] = read(message)
        except FeatDepthError:  # a message that cannot be shown does not stop the evaluation
            continue
    return by_frame


def _images_at(
    bag: BagSource, topic: str | None, frames: Stamps, positions: Sequence[int]
) -> dict[int, NDArray[np.uint8]]:
    return _at_frames(bag, topic, frames, positions, _picture)


def _pictures_without_truth(bag: BagSource, topics: Topics, frames: Stamps, count: int) -> tuple[Picture, ...]:
    positions = chosen_frames(len(frames), count)
    images, tracks = (_images_at(bag, topic, frames, positions) for topic in (topics.image, topics.tracks))
    of_depth = (topics.depth, topics.sigma, topics.network_depth)
    depths, sigmas, networks = (_at_frames(bag, topic, frames, positions, _map) for topic in of_depth)
    return tuple(
        Picture(
            _name(frames, at),
            depth.astype(np.float32),
            None,
            images.get(at),
            relative_sigma(sigmas.get(at), depth),
            tracks.get(at),
            networks.get(at),
        )
        for at, depth in sorted(depths.items())
    )
