"""Files of bags: which belong together, in which order, what they are, and what of a damaged index can be had."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import cv2
import numpy as np
import pytest
from bag_files import TOPIC, stamp, write_plain_mcap, write_ros1, write_ros2, write_storage_file

from featdepth_ros.errors import RecordingError
from featdepth_ros.recordings import open_recording
from featdepth_ros.recordings.bags.source import BagSource
from featdepth_ros.recordings.bags.storage.files import is_bag, kind_of, parts_of
from featdepth_ros.recordings.recording import Recording


def numbers(recording: Recording) -> list[int]:
    """Return the numbers of the frames, out of their pixels, after checking their stamps."""
    frames = list(recording)
    values = [int(frame.image[0, 0, 0]) for frame in frames]
    assert [frame.stamp_ns for frame in frames] == [stamp(value) for value in values]
    return values


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["old_10.db3", "old_2.db3", "old_0.db3"], ["old_0.db3", "old_2.db3", "old_10.db3"]),
        (["2_drive_2026_01_01-10_02_00.mcap", "10_drive_2026_01_01-10_10_00.mcap"],
         ["2_drive_2026_01_01-10_02_00.mcap", "10_drive_2026_01_01-10_10_00.mcap"]),
        (["x_2026-01-01-10-10-00_10.bag", "x_2026-01-01-10-02-00_2.bag"],
         ["x_2026-01-01-10-02-00_2.bag", "x_2026-01-01-10-10-00_10.bag"]),
        (["a_1.MCAP", "a_0.mcap.zstd"], ["a_0.mcap.zstd", "a_1.MCAP"]),
        (["whole.db3"], ["whole.db3"]),
        (["a_0.mcap", "._a_0.mcap"], ["a_0.mcap"]),  # what macOS leaves beside a copied file
        (["a_0.db3", "a_0.db3.zstd", "a_1.db3.zstd"], ["a_0.db3", "a_1.db3.zstd"]),  # what ros2 bag play leaves
    ],
)  # fmt: skip
def test_parts_are_put_together_by_their_numbers(tmp_path: Path, names: list[str], expected: list[str]) -> None:
    for name in (*names, "notes.txt"):
        (tmp_path / name).touch()
    assert is_bag(tmp_path) and [file.name for file in parts_of(tmp_path)] == expected


@pytest.mark.parametrize(
    "names",
    [
        ["morning.mcap", "evening.mcap"],
        ["a_0.db3", "b_0.db3"],
        ["bag_2026_01_01-10_00_00_0.db3", "bag_2026_01_02-10_00_00_0.db3"],
    ],
)
def test_several_recordings_in_a_folder_are_named(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        (tmp_path / name).touch()
    with pytest.raises(RecordingError, match="holds 2 recordings; name one") as error:
        open_recording(tmp_path)
    assert all(name in str(error.value) for name in names)


@pytest.mark.parametrize("storage", ["sqlite3", "mcap"])
def test_a_split_bag_without_metadata_is_read_in_order(tmp_path: Path, storage: str) -> None:
    for part in range(12):
        name = f"drive_{part}.db3" if storage == "sqlite3" else f"{part}_drive_2026_01_01-10_00_{part:02d}.mcap"
        (tmp_path / "bag").mkdir(exist_ok=True)
        write_storage_file(tmp_path / "bag" / name, range(3 * part, 3 * part + 3), storage)
    recording = open_recording(tmp_path / "bag")
    assert numbers(recording) == list(range(36)) and len(recording) == 36
    assert any("no metadata.yaml" in note for note in recording.notes)


def test_a_split_ros1_bag_and_the_part_that_was_being_written(tmp_path: Path) -> None:
    for part in range(11):
        write_ros1(tmp_path / f"drive_{part}.bag", range(2 * part, 2 * part + 2))
    last = tmp_path / "drive_10.bag"
    (tmp_path / "drive_10.bag.active").write_bytes(last.read_bytes()[:-200])
    last.unlink()
    assert numbers(open_recording(tmp_path)) == list(range(22))
    assert numbers(open_recording(tmp_path / "drive_10.bag.active")) == [20, 21]


def test_content_counts_before_the_suffix(tmp_path: Path) -> None:
    write_storage_file(tmp_path / "named.bag", range(3), "mcap")
    write_storage_file(tmp_path / "named.mcap", range(3, 6))
    write_ros1(tmp_path / "x.bag", range(6, 9))
    (tmp_path / "x.bag").rename(tmp_path / "NAMED.DB3")
    write_storage_file(tmp_path / "upper.MCAP", range(9, 12), "mcap")
    for name, first in (("named.bag", 0), ("named.mcap", 3), ("NAMED.DB3", 6), ("upper.MCAP", 9)):
        assert numbers(open_recording(tmp_path / name)) == list(range(first, first + 3)), name
    (tmp_path / "colmap.db").write_bytes(b"SQLite format 3\0" + bytes(100))
    assert kind_of(tmp_path / "colmap.db") is None  # any program's database


@pytest.mark.parametrize("storage", ["sqlite3", "mcap"])
@pytest.mark.parametrize("compression", ["file", "message"])
def test_compressed_bags_without_metadata(tmp_path: Path, storage: str, compression: str) -> None:
    folder = write_ros2(tmp_path / "bag", range(4), storage, compression)
    (folder / "metadata.yaml").unlink()
    assert numbers(open_recording(folder)) == [0, 1, 2, 3]


def test_ros1_messages_in_mcap(tmp_path: Path) -> None:
    write_plain_mcap(tmp_path / "converted.mcap", range(4), ros1=True)
    assert numbers(open_recording(tmp_path / "converted.mcap")) == [0, 1, 2, 3]
    topic = BagSource(tmp_path / "converted.mcap").topics[TOPIC]
    assert topic.ros1 and topic.msgtype == "sensor_msgs/msg/Image"


@pytest.mark.parametrize("summary", [False, True])
def test_unsorted_messages_come_in_order_of_time(tmp_path: Path, summary: bool) -> None:
    order = [0, 3, 1, 2, 4, 7, 5, 6, 9, 8]
    write_plain_mcap(tmp_path / "x.mcap", order, summary=summary)
    assert numbers(open_recording(tmp_path / "x.mcap")) == sorted(order)


def test_a_clock_that_jumped_back_a_minute_leaves_the_order_written(tmp_path: Path) -> None:
    write_plain_mcap(tmp_path / "x.mcap", [701, 0, 1])
    source = BagSource(tmp_path / "x.mcap")
    assert [m.log_ns for m in source.messages([TOPIC])] == [stamp(701), stamp(0), stamp(1)]


def test_what_the_index_hides_is_walked_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_storage_file(tmp_path / "x.mcap", range(6), "mcap")
    source = BagSource(tmp_path / "x.mcap")
    whole = source._backend.messages  # an index that ends early, as one of a file that was written on has it
    monkeypatch.setattr(source._backend, "messages", lambda names: list(whole(names))[:2])
    assert [m.log_ns for m in source.messages([TOPIC])] == [stamp(i) for i in range(6)]
    assert [m.log_ns for m in source.messages([TOPIC])] == [stamp(i) for i in range(6)]


def test_an_index_that_counts_too_many_is_noted(tmp_path: Path) -> None:
    folder = write_ros2(tmp_path / "bag", range(6))
    with sqlite3.connect(folder / "bag.db3") as database:
        database.execute("DELETE FROM messages WHERE id > 4")
    database.close()
    recording = open_recording(folder)
    assert numbers(recording) == [0, 1, 2, 3]
    assert any("its index counts 6" in note for note in recording.notes)


def test_a_part_that_cannot_be_read_does_not_take_the_others_along(tmp_path: Path) -> None:
    for part in range(3):
        write_storage_file(tmp_path / f"a_{part}.db3", range(2 * part, 2 * part + 2))
    (tmp_path / "a_1.db3").write_bytes(b"nothing")
    recording = open_recording(tmp_path)
    assert numbers(recording) == [0, 1, 4, 5] and any("1 of the bag's 3 files" in note for note in recording.notes)


def test_a_folder_of_bag_folders(tmp_path: Path) -> None:
    (tmp_path / "bags").mkdir()
    write_ros2(tmp_path / "bags" / "one", range(3))
    assert numbers(open_recording(tmp_path / "bags")) == [0, 1, 2]
    shutil.copytree(tmp_path / "bags" / "one", tmp_path / "bags" / "two")
    with pytest.raises(RecordingError, match="holds 2 recordings; name one: one, two"):
        open_recording(tmp_path / "bags")


@pytest.mark.parametrize("name", ["run", "run_0"])
def test_a_recording_beside_its_conversion_is_not_read_twice(tmp_path: Path, name: str) -> None:
    write_storage_file(tmp_path / f"{name}.db3", range(3))
    write_storage_file(tmp_path / f"{name}.mcap", range(3), "mcap")
    with pytest.raises(RecordingError, match=rf"holds '{name}' twice.*{name}\.db3, {name}\.mcap"):
        open_recording(tmp_path)
    assert numbers(open_recording(tmp_path / f"{name}.mcap")) == [0, 1, 2]


def test_a_metadata_file_of_another_program_makes_no_bag(tmp_path: Path) -> None:
    (tmp_path / "metadata.yaml").write_text("title: pictures of a garden\n")
    for index in range(3):
        cv2.imwrite(str(tmp_path / f"{index}.png"), np.full((8, 8, 3), index, np.uint8))
    recording = open_recording(tmp_path)
    assert recording.kind == "images" and len(recording) == 3
    folder = write_ros2(tmp_path / "bag", range(2))
    (folder / "metadata.yaml").write_text("rosbag2_bagfile_inf")  # cut off
    assert numbers(open_recording(folder)) == [0, 1]
