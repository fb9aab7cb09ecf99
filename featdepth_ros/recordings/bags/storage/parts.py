"""Reads a bag file by file: by the index of a file if it has one, else by a scan of its records."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from featdepth_ros.errors import MissingDependencyError, RecordingError
from featdepth_ros.messages.zstandard import decompress_zstd_file
from featdepth_ros.recordings.bags.salvage.backend import salvage
from featdepth_ros.recordings.bags.salvage.mcap import has_chunks
from featdepth_ros.recordings.bags.storage.files import is_compressed, kind_of, promises
from featdepth_ros.recordings.bags.storage.indexed import IndexedBackend
from featdepth_ros.recordings.bags.storage.records import BagBackend, RawMessage, RawTopic


class PartsBackend:
    """The messages of one file after the other.

    Attributes:
        notes: notes to the user about the files.

    Raises:
        RecordingError: no file has a readable message.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        self.notes: list[str] = []
        self._unpacked = tempfile.TemporaryDirectory(prefix="featdepth_bag_")
        self._parts: list[BagBackend] = []
        reasons = []
        for file in files:
            try:
                self._parts.append(self._opened(file))
            except RecordingError as error:
                reasons.append(str(error))
        if not self._parts:
            raise RecordingError("; ".join(reasons[:3]))
        if reasons:
            self.notes.append(
                f"{len(reasons)} of the bag's {len(files)} files cannot be read: {'; '.join(reasons[:3])}"
            )

    def _opened(self, file: Path) -> BagBackend:
        if is_compressed(file):
            file = self._decompressed(file)
        kind = kind_of(file)
        if kind is None:
            raise RecordingError(f"{file.name} is not a bag (ROS 1 bag, sqlite3 or MCAP)")
        reason = ""
        if kind != "mcap" or has_chunks(file):  # without chunks there is no index
            if promises(file, kind) or kind == "ros1":
                try:
                    backend: BagBackend = IndexedBackend(file)
                    if kind == "ros1" or all(topic.msgtype.count("/") != 1 for topic in backend.topics()):
                        return backend  # else these are ROS 1 messages in MCAP, which only a scan can read
                except Exception as error:  # noqa: BLE001 - damaged files raise anything, assertions included
                    reason = str(error) or type(error).__name__
            else:
                self.notes.append(f"{file.name} is a bag of kind {kind}, although its suffix says otherwise")
        walked = salvage([file])
        if walked is None:
            raise RecordingError(reason or f"{file.name} has no readable message")
        if reason:
            self.notes.append(
                f"the bag is damaged ({reason.rstrip('.')}); its {sum(t.count for t in walked.topics())} readable "
                "messages are used"
            )
        return walked

    def _decompressed(self, file: Path) -> Path:
        target = Path(self._unpacked.name) / file.stem
        try:
            decompress_zstd_file(file, target)
        except (OSError, ValueError, MissingDependencyError) as error:
            raise RecordingError(f"{file.name} cannot be decompressed: {error}") from error
        return target

    def topics(self) -> list[RawTopic]:
        """Return the topics of all files; a name may occur several times."""
        return [topic for part in self._parts for topic in part.topics()]

    def messages(self, names: Collection[str]) -> Iterator[RawMessage]:
        """Yield the messages of the named topics, file by file, in order of recording time in each."""
        for part in self._parts:
            yield from part.messages(names)
