"""The stereo partner in a bag: its pose, and the pairing of its images with the frames."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.errors import CalibrationError, ImageError, RecordingError
from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.messages.camera_info import projection_matrix
from featdepth_ros.messages.images import rgb_from_message
from featdepth_ros.messages.plausibility import usable_camera
from featdepth_ros.messages.stamps import header_stamp_ns
from featdepth_ros.recordings.bags.source import BagSource
from featdepth_ros.recordings.bags.storage.records import RawMessage
from featdepth_ros.recordings.bags.transforms import static_transform
from featdepth_ros.recordings.calibration.stereo import (
    Rig,
    as_mounted,
    between_rectified,
    longest_gap_ns,
    pair_by_stamp,
    projection_offset,
    unpaired_note,
    within,
)
from featdepth_ros.recordings.files.images import check_size
from featdepth_ros.recordings.frame import Frame, Partner

#: Largest number of frames, and of partner images, that wait for the other image. It bounds the memory if a topic ends.
_MAX_WAITING = 16


@dataclass(frozen=True)
class TopicView:
    """Facts about an image topic: CameraInfo (or None), frame_id, (width, height), whether images are rectified."""

    info: Any
    frame_id: str
    size: tuple[int, int] | None
    rectified: bool

    def before_rectification(self, model: CameraModel) -> CameraModel:
        """Return the camera before rectification from the CameraInfo; ``model`` if there is no CameraInfo."""
        recorded = None if self.info is None else usable_camera(self.info, False, self.size)[0]
        return model if recorded is None else recorded


def bag_extrinsics(
    source: BagSource,
    camera: TopicView,
    partner: TopicView,
    models: tuple[CameraModel, CameraModel],
    note: Callable[[str], None],
) -> NDArray[np.float64] | None:
    """Return T_partner_camera (4, 4) between the rectified frames of ``models``, metres, or None when not recorded.

    It comes from the P of both CameraInfos of a rectified pair: ``P[3] = -fx * baseline`` on the right. Else it comes
    from ``/tf_static`` between the two frame_ids, which are optical frames by convention (REP-103, sensor_msgs/Image).
    """
    recorded = (camera.before_rectification(models[0]), partner.before_rectification(models[1]))
    rectified = camera.rectified and partner.rectified
    projections = [None if view.info is None else projection_matrix(view.info) for view in (camera, partner)]
    if projections[0] is not None and projections[1] is not None:
        offset = projection_offset(projections[0], projections[1])
        if offset is not None:
            return offset if rectified else between_rectified(as_mounted(offset, *recorded), *models)
    if not camera.frame_id or camera.frame_id == partner.frame_id:
        return None
    T_partner_camera = static_transform(source, partner.frame_id, camera.frame_id)
    if T_partner_camera is None:
        return None
    note(f"the pose of the partner is that of frame {partner.frame_id} beside {camera.frame_id} in /tf_static")
    return between_rectified(T_partner_camera, *(recorded if rectified else models))


class BagPairing:
    """Pairs frames and partner images while a bag is read. Both wait until their pair is decided.

    Args:
        source: the bag.
        topic: topic of the partner's images.
        rig: calibration and pose of the partner.
        rate_hz: rate of the frames, which limits the time between two images of a pair.
        log_times: whether frames and partners are stamped with the recording time.
        note: receives notes to the user.
    """

    def __init__(
        self, source: BagSource, topic: str, rig: Rig, rate_hz: float, log_times: bool, note: Callable[[str], None]
    ) -> None:
        self._source, self._topic, self._rig, self._rate_hz = source, topic, rig, rate_hz
        self._log_times, self._note = log_times, note
        self._frames: deque[Frame] = deque()
        self._partners: deque[tuple[int, Any]] = deque(maxlen=_MAX_WAITING)
        self._count = self._unpaired = 0

    def offer(self, raw: RawMessage) -> None:
        """Add a message of the partner topic."""
        try:
            message = self._source.decode(raw)
        except RecordingError as error:
            self._note(f"an image of the partner is lost: {error}")
            return
        self._partners.append((raw.log_ns if self._log_times else header_stamp_ns(message), message))

    def add(self, frame: Frame) -> Iterator[Frame]:
        """Add a frame; yield the frames, in order, whose partner (or lack of one) is decided."""
        self._frames.append(frame)
        most_ns = longest_gap_ns(self._rate_hz)
        while len(self._frames) > 1 and (
            len(self._frames) > _MAX_WAITING
            or (self._partners and self._partners[-1][0] > self._frames[0].stamp_ns + most_ns)
        ):
            yield self._decided(most_ns)

    def rest(self) -> Iterator[Frame]:
        """Yield the frames that still wait at the end of the bag, and add a note on frames without a partner."""
        while self._frames:
            yield self._decided(longest_gap_ns(self._rate_hz))
        if self._unpaired:
            self._note(unpaired_note(self._topic, self._unpaired, self._count, within(self._rate_hz)))

    def _decided(self, most_ns: int) -> Frame:
        stamps = [stamp for stamp, _ in self._partners]
        index = pair_by_stamp([frame.stamp_ns for frame in self._frames], stamps, most_ns)[0]
        frame = self._frames.popleft()
        self._count += 1
        if index is None:
            self._unpaired += 1
            return frame
        stamp_ns, message = self._partners[index]
        for _ in range(index + 1):  # images before a used one cannot be partners of later frames
            self._partners.popleft()
        try:
            image = rgb_from_message(message)
            check_size(self._rig.camera, (image.shape[1], image.shape[0]), self._topic)
        except (ImageError, CalibrationError) as error:
            self._note(f"frame {frame.name} has no partner, because its image of {self._topic} is broken: {error}")
            return frame
        image = image if image.flags.writeable else image.copy()
        return replace(frame, partner=Partner(image, stamp_ns, self._rig.camera, self._rig.T_partner_camera))
