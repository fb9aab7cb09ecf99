"""The images of one topic of a bag as a `Recording`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from featdepth_ros.errors import CalibrationError, ImageError, RecordingError
from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.messages.camera_info import is_calibrated, names_rectified
from featdepth_ros.messages.plausibility import usable_camera
from featdepth_ros.messages.stamps import header_stamp_ns
from featdepth_ros.messages.video import PictureReader
from featdepth_ros.recordings.bags.ground_truth import BagTruth
from featdepth_ros.recordings.bags.source import BagSource
from featdepth_ros.recordings.bags.stereo import BagPairing, TopicView, bag_extrinsics
from featdepth_ros.recordings.bags.storage.records import RawMessage
from featdepth_ros.recordings.bags.topics import choose_pair, choose_topic
from featdepth_ros.recordings.bags.types import CAMERA_INFO, sibling_topic
from featdepth_ros.recordings.calibration.extrinsics import make_rig, partner_argument
from featdepth_ros.recordings.calibration.files import CameraArgument, resolve_camera
from featdepth_ros.recordings.calibration.stereo import PartnerRequest, Rig
from featdepth_ros.recordings.files.images import check_size
from featdepth_ros.recordings.frame import Frame
from featdepth_ros.recordings.recording import Recording, median_rate_hz

#: Number of messages that are read to find the nominal rate and the first readable image.
_PEEK = 40


class BagRecording(Recording):
    """Images of one topic, stamped by their headers, with the calibration of the sibling CameraInfo topic.

    A bag as `write_ros2_bag` writes it also gives each frame its true depth and pose (see `BagTruth`).

    Attributes:
        source: the whole bag.
        topic: the image topic.
        frame_id: frame_id of its first image; empty: it has none.
        has_stamps: whether the headers of the images have stamps; else the recording times are used.

    Raises:
        RecordingError: there is no image topic, there are several and none is named, or the named one does not exist.
        CalibrationError: the given ``camera`` does not fit the images, or the CameraInfo is malformed. An implausible
            CameraInfo, or one of another size, is ignored with an entry in `notes`.
    """

    kind = "bag"

    def __init__(
        self,
        path: Path,
        topic: str | None,
        camera: CameraArgument,
        rate_hz: float | None,
        partner: PartnerRequest | None = None,
    ) -> None:
        super().__init__(path.stem, None, rate_hz or 0.0)
        self.source = BagSource(path)
        if partner is None:
            self.topic = choose_topic(self.source, topic)
        else:
            self.topic, self.partner_name = choose_pair(self.source, topic, partner.name)
        view, stamps = self._view(self.topic, with_info=camera is None or partner is not None)
        self._log_time_stamps = bool(stamps) and not any(stamps)
        self.frame_id, self.has_stamps = view.frame_id, not self._log_time_stamps
        self.rate_hz = rate_hz or median_rate_hz(stamps)
        self.camera = resolve_camera(camera, view.size)
        if self.camera is None and view.info is not None:
            self.camera = self._recorded_camera(view, self.topic)
        if self.camera is not None and view.size is not None:
            check_size(self.camera, view.size, self.topic)
        pinhole = self.camera is not None and self.camera.is_pinhole
        self._truth = BagTruth(self.source, self.topic, view.frame_id) if pinhole else None
        self._pictures = PictureReader()
        self._rig = None if partner is None else self._make_rig(partner, camera, view)
        for note in self.source.notes:
            self.note(note)
        if self._log_time_stamps:
            self.note(f"the headers on {self.topic} have no stamps; recording times are used")

    def __len__(self) -> int:
        return self.source.topics[self.topic].count

    def _make_rig(self, request: PartnerRequest, camera: CameraArgument, view: TopicView) -> Rig:
        name = str(self.partner_name)
        other, stamps = self._view(name)
        if bool(stamps) and not any(stamps) and not self._log_time_stamps:
            raise RecordingError(
                f"the headers on {name} have no stamps, those on {self.topic} have; stereo pairs need both"
            )
        recorded = None
        if other.info is not None and partner_argument(camera, request.camera) is None:
            recorded = self._recorded_camera(other, name)
        rig = make_rig(
            name, request, camera, self.camera, other.size, recorded,
            lambda *models: bag_extrinsics(self.source, view, other, models, self.note),
        )  # fmt: skip
        if other.size is not None:
            check_size(rig.camera, other.size, name)
        return rig

    def _recorded_camera(self, view: TopicView, topic: str) -> CameraModel | None:
        camera, reason = usable_camera(view.info, view.rectified, view.size)
        if reason:
            self.note(f"the camera_info of {topic} is not used, and its images count as uncalibrated: {reason}")
        return camera

    def _view(self, topic: str, with_info: bool = True) -> tuple[TopicView, list[int]]:
        """Return the `TopicView` from the first messages of an image topic and its CameraInfo, and the first stamps.

        Stamps are in nanoseconds.
        """
        size, frame_id, stamps, pictures = None, "", [], PictureReader()
        for raw in islice(self.source.messages([topic]), _PEEK):
            try:
                message = self.source.decode(raw)
                stamps.append(header_stamp_ns(message))
                if size is None:
                    rgb = pictures.read(message)
                    size, frame_id = (rgb.shape[1], rgb.shape[0]), str(message.header.frame_id)
            except (RecordingError, ImageError):
                continue
        rectified = names_rectified(topic)
        info = self._info(topic, frame_id) if with_info else None
        return TopicView(info, frame_id, size, rectified), stamps

    def _info(self, topic: str, frame_id: str) -> Any:
        infos = [t.name for t in self.source.topics.values() if t.msgtype == CAMERA_INFO and t.convertible and t.count]
        sibling = sibling_topic(topic)
        if sibling in infos:
            infos = [sibling]
        for name in infos:
            message = self._first(name)
            if message is None or (name != sibling and str(message.header.frame_id) != frame_id):
                continue
            if name != sibling:
                self.note(f"there is no {sibling}; the calibration is taken from {name}, which has the same frame")
            return message
        return None

    def _first(self, topic: str) -> Any:
        """Return the first calibrated CameraInfo of a topic, else the first: some drivers send zeros at first."""
        first = None
        for raw in islice(self.source.messages([topic]), _PEEK):
            try:
                message = self.source.decode(raw)
            except RecordingError as error:
                self.note(str(error))
                continue
            if is_calibrated(message):
                return message
            first = first or message
        return first

    def _frames(self) -> Iterator[Frame]:
        self._pictures = PictureReader()
        if self._rig is None:
            yield from self._camera_frames(None)
        else:
            pairing = BagPairing(self.source, self._rig.name, self._rig, self.rate_hz, self._log_time_stamps, self.note)
            for frame in self._camera_frames(pairing):
                yield from pairing.add(frame)
            yield from pairing.rest()
        for note in self.source.notes:
            self.note(note)

    def _camera_frames(self, pairing: BagPairing | None) -> Iterator[Frame]:
        names = [self.topic] if self._rig is None else [self.topic, self._rig.name]
        if self._truth is not None and self._truth.depth_topic is not None:
            names.append(self._truth.depth_topic)
        index = 0
        waiting: Frame | None = None  # waits for its depth, which follows the image
        for raw in self.source.messages(names):
            if pairing is not None and self._rig is not None and raw.topic == self._rig.name:
                pairing.offer(raw)
                continue
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
        image = self._pictures.read(message)
        if not image.flags.writeable:  # the message's own bytes
            image = image.copy()
        if self.camera is not None:
            check_size(self.camera, (image.shape[1], image.shape[0]), self.topic)
        stamp_ns = raw.log_ns if self._log_time_stamps else header_stamp_ns(message)
        if stamp_ns == 0:  # recording times are of another clock
            raise RecordingError("its header has no stamp, while those of other images have")
        pose = None if self._truth is None else self._truth.pose(stamp_ns)
        return Frame(image, stamp_ns, name, self.camera, None, pose)
