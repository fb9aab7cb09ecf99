"""Bag files that changed on the way: the messages that can be saved come, or an error in words."""

from __future__ import annotations

from pathlib import Path

import pytest
from bag_files import write_plain_mcap, write_ros1, write_storage_file
from damage import answered, damaged
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from featdepth_ros.recordings import open_recording

KINDS = ("ros1.bag", "sqlite.db3", "chunks.mcap", "plain.mcap", "ros1.mcap")


def written(path: Path) -> bytes:
    if path.name == "ros1.bag":
        write_ros1(path, range(4))
    elif path.name in ("sqlite.db3", "chunks.mcap"):
        write_storage_file(path, range(4), "sqlite3" if path.suffix == ".db3" else "mcap")
    else:
        write_plain_mcap(path, range(4), ros1=path.name == "ros1.mcap")
    return path.read_bytes()


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, bytes]:
    folder = tmp_path_factory.mktemp("bags")
    return {folder / name: written(folder / name) for name in KINDS}


@pytest.mark.parametrize("kind", KINDS)
@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(data=st.data())
def test_bags(sound: dict[Path, bytes], kind: str, data: st.DataObject) -> None:
    path, content = next((p, c) for p, c in sound.items() if p.name == kind)
    path.write_bytes(data.draw(damaged(content)))
    frames = answered(lambda: list(open_recording(path)))
    assert frames is None or all(frame.image.ndim == 3 for frame in frames)
