"""``gt_depths.npz``: read without unpickling anything, written as others read it, judged in the order of the split."""

from __future__ import annotations

import json
import zipfile
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from featdepth_ros.cli.main import main
from featdepth_ros.errors import EvaluationError
from featdepth_ros.reporting.datasets import open_dataset
from featdepth_ros.reporting.truth_archive import read_truth_archive, write_truth_archive

RNG = np.random.default_rng(4)
MAPS: list[NDArray[np.floating]] = [
    RNG.uniform(1, 60, size).astype(np.float32) for size in ((12, 30), (11, 31), (12, 30))
]


def objects(maps: list[NDArray[np.floating]]) -> NDArray[np.object_]:
    values = np.empty(len(maps), dtype=object)
    values[:] = maps
    return values


def packed(path: Path, pickled: bytes) -> Path:
    """An archive whose array of objects is this pickle."""
    header = BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|O", "fortran_order": False, "shape": (3,)})
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data.npy", header.getvalue() + pickled)
    return path


@pytest.mark.parametrize("compressed", [True, False])
def test_what_numpy_writes_is_read(tmp_path: Path, compressed: bool) -> None:
    save = np.savez_compressed if compressed else np.savez
    save(tmp_path / "gt.npz", data=objects(MAPS))
    for read, written in zip(read_truth_archive(tmp_path / "gt.npz"), MAPS, strict=True):
        np.testing.assert_array_equal(read, written)
    turned = [np.asfortranarray(MAPS[0].astype(np.float64)), MAPS[1].astype(">f4")]
    save(tmp_path / "odd.npz", data=objects(turned))
    for read, written in zip(read_truth_archive(tmp_path / "odd.npz"), turned, strict=True):
        np.testing.assert_array_equal(read, written)
    save(tmp_path / "plain.npz", data=np.stack([MAPS[0], MAPS[2]]))
    np.testing.assert_array_equal(read_truth_archive(tmp_path / "plain.npz")[1], MAPS[2])


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_protocol_that_numpy_has_used(tmp_path: Path, protocol: int) -> None:
    import pickle

    file = packed(tmp_path / "gt.npz", pickle.dumps(objects(MAPS), protocol))
    for read, written in zip(read_truth_archive(file), MAPS, strict=True):
        np.testing.assert_array_equal(read, written)


def test_nothing_is_called(tmp_path: Path) -> None:
    """A pickle that would write a file is refused by name, and the file is not there."""
    import pickle

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            import os

            return os.system, (f"touch {tmp_path / 'called'}",)

    file = packed(tmp_path / "evil.npz", pickle.dumps(Evil(), 3))
    with pytest.raises(EvaluationError, match=r"it would call '(posix|os).system'"):
        read_truth_archive(file)
    assert not (tmp_path / "called").exists()
    for wrong in (b"", b"\x80\x03", pickle.dumps(objects(MAPS), 3)[:-40], pickle.dumps([1, 2], 3), pickle.dumps({}, 3)):
        with pytest.raises(EvaluationError, match=r"cannot be read|holds objects that are not arrays"):
            read_truth_archive(packed(tmp_path / "wrong.npz", wrong))


def test_what_is_written_is_what_others_read(tmp_path: Path) -> None:
    holes = MAPS[0].copy()
    holes[3:5] = np.nan
    write_truth_archive(tmp_path / "gt.npz", [holes, MAPS[1]])
    with np.load(tmp_path / "gt.npz", allow_pickle=True) as archive:
        data = archive["data"]
    assert data.shape == (2,) and data.dtype == object and data[0].dtype == np.float32
    assert (data[0][3:5] == 0).all() and (data[1] == MAPS[1]).all()
    assert (read_truth_archive(tmp_path / "gt.npz")[0] == data[0]).all()


def test_predictions_are_judged_in_the_order_of_their_names(tmp_path: Path) -> None:
    predictions, figures = tmp_path / "pred", tmp_path / "figures.json"
    predictions.mkdir()
    for number, depth in enumerate(MAPS):
        np.save(predictions / f"{number:06d}.npy", 1.1 * depth)
    write_truth_archive(tmp_path / "gt.npz", MAPS)
    line = ["eval", "depth", "--pred", str(predictions), "--gt", str(tmp_path / "gt.npz"), "--json", str(figures)]
    assert main(line) == 0
    assert json.loads(figures.read_text())["abs_rel"] == pytest.approx(0.1, rel=2e-3)
    np.save(predictions / "000003.npy", MAPS[0])
    assert main(line) == 1


def test_a_split_of_kitti_takes_its_truth_from_the_archive(tmp_path: Path) -> None:
    drive = tmp_path / "2011_09_26/2011_09_26_drive_0001_sync"
    for number in (5, 6):
        file = drive / f"image_02/data/{number:010d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(file), np.full((12, 30, 3), number, np.uint8))
    split = tmp_path / "test_files.txt"
    split.write_text("".join(f"2011_09_26/2011_09_26_drive_0001_sync {n:010d} l\n" for n in (6, 5)))
    write_truth_archive(tmp_path / "gt.npz", [MAPS[0], MAPS[2]])
    first, second = open_dataset("kitti_raw", tmp_path, split, archive=tmp_path / "gt.npz")
    assert first.image()[0, 0, 0] == 6 and second.image()[0, 0, 0] == 5
    np.testing.assert_array_equal(first.truth(), MAPS[0])
    write_truth_archive(tmp_path / "short.npz", MAPS[:1])
    with pytest.raises(EvaluationError, match=r"holds 1 maps, .* names 2 frames; expected one map"):
        open_dataset("kitti_raw", tmp_path, split, archive=tmp_path / "short.npz")
    out = tmp_path / "again.npz"
    line = ["eval", "depth", "--dataset", "kitti_raw", "--root", str(tmp_path), "--split", str(split)]
    assert main([*line, "--gt", str(tmp_path / "gt.npz"), "--write-gt", str(out)]) == 0
    np.testing.assert_array_equal(read_truth_archive(out)[1], MAPS[2])
