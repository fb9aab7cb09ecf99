"""Tables of data sets as editors, spreadsheets and broken recorders leave them; truth never spoils the images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from featdepth_ros.errors import RecordingError
from featdepth_ros.recordings import Frame, Recording, open_recording

COUNT = 6
EPOCH_NS = 1_403_636_579_763_555_584


def _image(path: Path, value: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((48, 64, 3), value, np.uint8))


def _truth_lines(bad: dict[int, str] | None = None, separator: str = " ", unit: int = 1) -> list[str]:
    """Return lines of stamp and pose, 1 m apart along x; ``bad`` replaces some."""
    lines = []
    for index in range(COUNT):
        stamp = EPOCH_NS + index * 50_000_000
        text = str(stamp) if unit == 1 else f"{stamp // unit}.{stamp % unit:09d}"
        pose = (index, 0, 0, 1, 0, 0, 0) if separator == "," else (index, 0, 0, 0, 0, 0, 1)
        lines.append(separator.join(map(str, (text, *pose))))
    for index, text in (bad or {}).items():
        lines[index] = text
    return lines


def _tum(folder: Path, truth: Sequence[str], encoding: str = "utf-8", heading: str = "# color images\n") -> Path:
    listed = []
    for index in range(COUNT):
        stamp = EPOCH_NS + index * 50_000_000
        name = f"rgb/{stamp // 10**9}.{stamp % 10**9:09d}.png"
        _image(folder / name, index)
        listed.append(f"{name[4:-4]} {name}\n")
    (folder / "rgb.txt").write_text(heading + "".join(listed), encoding=encoding)
    (folder / "groundtruth.txt").write_text("\n".join(truth) + "\n", encoding=encoding)
    return folder


def _euroc(
    folder: Path, truth: Sequence[str], encoding: str = "utf-8", heading: str = "#timestamp [ns],filename\n",
    order: Sequence[int] = range(COUNT),
) -> Path:  # fmt: skip
    camera, table = folder / "mav0" / "cam0", folder / "mav0" / "state_groundtruth_estimate0" / "data.csv"
    for index in range(COUNT):
        _image(camera / "data" / f"{EPOCH_NS + index * 50_000_000}.png", index)
    stamps = [EPOCH_NS + index * 50_000_000 for index in order]
    (camera / "data.csv").write_text(heading + "".join(f"{s},{s}.png\n" for s in stamps), encoding=encoding)
    table.parent.mkdir()
    table.write_text("#timestamp,p_x\n" + "\n".join(truth) + "\n", encoding=encoding)
    return folder


def _kitti(root: Path, poses: Sequence[str]) -> Path:
    folder = root / "sequences" / "09"
    for index in range(COUNT):
        _image(folder / "image_2" / f"{index:06d}.png", index)
    (folder / "calib.txt").write_text("\ufeffP2: 40 0 31.5 0 0 40 23.5 0 0 0 1 0\n", encoding="utf-8")
    (folder / "times.txt").write_text("".join(f"{0.1 * index:.6e}\n" for index in range(COUNT)))
    (root / "poses").mkdir()
    (root / "poses" / "09.txt").write_text("\n".join(poses) + "\n")
    return folder


def _positions(recording: Recording) -> list[float | None]:
    return [None if f.T_world_camera is None else float(f.T_world_camera[0, 3]) for f in recording]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("heading", ["", "# timestamp filename\n", "timestamp filename\n"])
def test_byte_order_marks_and_headings(tmp_path: Path, encoding: str, heading: str) -> None:
    tum = open_recording(_tum(tmp_path / "tum", _truth_lines(unit=10**9), encoding, heading))
    euroc = open_recording(
        _euroc(tmp_path / "euroc", _truth_lines(separator=","), encoding, heading.replace(" f", ",f"))
    )
    for recording in (tum, euroc):
        assert _positions(recording) == list(range(COUNT)) and not recording.notes


def test_an_unsorted_table_is_sorted(tmp_path: Path) -> None:
    recording = open_recording(_euroc(tmp_path, _truth_lines(separator=","), order=(3, 0, 5, 1, 2, 4)))
    assert [int(frame.image[0, 0, 0]) for frame in recording] == list(range(COUNT))


@pytest.mark.parametrize(
    ("bad", "missing"),
    [
        ({3: "1403636579.913555584 nan 0 0 0 0 0 1"}, [3]),
        ({3: "1403636579.913555584 3 0 0 0 0 0 0"}, [3]),
        ({5: "1403636580.013555584 5 0"}, [5]),
        ({2: "1403636579.863555584 2 zero 0 0 0 0 1", 3: "x 3 0 0 0 0 0 1"}, []),  # bridged by neighbours: 100 ms
    ],
)
def test_bad_lines_of_tums_truth(tmp_path: Path, bad: dict[int, str], missing: list[int]) -> None:
    recording = open_recording(_tum(tmp_path, _truth_lines(bad, unit=10**9)))
    positions = _positions(recording)
    assert len(positions) == COUNT and f"{len(bad)} lines of true poses are left out" in recording.notes[0]
    if 5 in missing:
        assert positions == [0, 1, 2, 3, 4, None]
    elif missing:
        assert positions[3] == pytest.approx(3.0)  # between its neighbours, 100 ms apart
    else:
        assert positions[2] is None and positions[3] is None  # 150 ms are too far


def test_bad_lines_of_eurocs_truth(tmp_path: Path) -> None:
    bad = {5: f"{EPOCH_NS + 250_000_000},nan,0,0,1,0,0,0"}
    recording = open_recording(_euroc(tmp_path, _truth_lines(bad, ",")))
    assert _positions(recording) == [0, 1, 2, 3, 4, None] and "line 7" in recording.notes[0]


def test_a_truth_table_that_is_none_is_noted(tmp_path: Path) -> None:
    recording = open_recording(_tum(tmp_path, ["just words"]))
    assert _positions(recording) == [None] * COUNT and "the true poses are not used" in recording.notes[0]


def test_kittis_poses_may_be_few_or_broken(tmp_path: Path) -> None:
    lines = [f"1 0 0 {index} 0 1 0 0 0 0 1 0" for index in range(COUNT)]
    assert _positions(open_recording(_kitti(tmp_path / "few", lines[:4]))) == [0, 1, 2, 3, None, None]
    lines[2] = lines[2].replace("0 1 0 0", "0 2 0 0")  # stretches
    recording = open_recording(_kitti(tmp_path / "broken", lines))
    assert (
        _positions(recording) == [0, 1, None, 3, 4, 5]
        and "line 3: the pose is not a finite rotation" in recording.notes[0]
    )


def _raw_drive(root: Path, frames: Sequence[int], lines: Sequence[str]) -> Path:
    folder = root / "2011_09_26" / "2011_09_26_drive_0009_sync"
    for index in frames:
        _image(folder / "image_02" / "data" / f"{index:010d}.png", index)
    (folder / "image_02" / "timestamps.txt").write_text("\n".join(lines) + "\n")
    (folder.parent / "calib_cam_to_cam.txt").write_text("P_rect_02: 40 0 31.5 0 0 40 23.5 0 0 0 1 0\n")
    return folder


def _moment(index: int) -> str:
    return f"2011-09-26 13:02:{25 + index // 10}.{index % 10 * 100_000_000:09d}"


def _tenths(frames: Sequence[Frame]) -> list[float]:
    return [(frame.stamp_ns - 1_317_042_145_000_000_000) / 1e8 for frame in frames]


def test_an_empty_line_of_kittis_stamps_counts(tmp_path: Path) -> None:
    lines = ["" if index == 3 else _moment(index) for index in range(8)]
    frames = list(open_recording(_raw_drive(tmp_path / "lost", [0, 1, 2, 4, 5, 6, 7], lines)))
    assert _tenths(frames) == [int(frame.name) for frame in frames] == [0, 1, 2, 4, 5, 6, 7]
    recording = open_recording(_raw_drive(tmp_path / "there", range(8), lines))
    assert _tenths(list(recording)) == [0, 1, 2, 4, 5, 6, 7] and "1 of the 8 images have no stamp" in recording.notes[0]


def test_a_cut_drive_has_one_time_base(tmp_path: Path) -> None:
    drive = _raw_drive(tmp_path / "cut", range(4, 12), [_moment(index) for index in range(4, 12)])
    assert _tenths(list(open_recording(drive))) == list(range(4, 12))
    with pytest.raises(RecordingError, match="has 5 lines for 8 images up to number 11"):
        open_recording(_raw_drive(tmp_path / "short", range(4, 12), [_moment(index) for index in range(5)]))


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["1403636579763555584", "1403636579813555584"], [1_403_636_579_763_555_584, 1_403_636_579_813_555_584]),
        (["1305031102.1753", "1305031102.09"], [1_305_031_102_090_000_000, 1_305_031_102_175_300_000]),
        (["frame_1403636579763555", "frame_1403636579813555"], [1_403_636_579_763_555_000, 1_403_636_579_813_555_000]),
        (["1403636579763", "1403636579813"], [1_403_636_579_763_000_000, 1_403_636_579_813_000_000]),
        (["1403636579-063555584", "1403636579-813555584"], [1_403_636_579_063_555_584, 1_403_636_579_813_555_584]),
        (["1403636579_5000000", "1403636579_105000000"], [1_403_636_579_005_000_000, 1_403_636_579_105_000_000]),
        (["1403636579_05", "1403636579_105000001"], [1_403_636_579_050_000_000, 1_403_636_579_105_000_001]),
        (["1403636579-1", "1403636579-2"], [0, 100_000_000]),
        (["000001", "000010"], [0, 100_000_000]),
        (["1²3", "1²10"], [0, 100_000_000]),
        (["1403636579763555584", "cover"], [0, 100_000_000]),
    ],
)
def test_stamps_in_names(tmp_path: Path, names: list[str], expected: list[int]) -> None:
    for index, name in enumerate(names):
        _image(tmp_path / f"{name}.png", index)
    recording = open_recording(tmp_path)
    assert [frame.stamp_ns for frame in recording] == expected
    assert [frame.stamp_ns for frame in open_recording(tmp_path, rate_hz=5.0)] == [0, 200_000_000]
