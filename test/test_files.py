"""Replacing a file: whole or not at all, whatever happens on the way."""

from __future__ import annotations

import errno
import hashlib
import os
import signal
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from featdepth_ros import files
from featdepth_ros.files import atomic_path, atomic_write, sha256_of


def test_the_content_is_replaced_and_nothing_is_left_beside(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    atomic_write(path, "old")
    with atomic_path(path) as partial:
        partial.write_text("new")
        assert path.read_text() == "old" and partial.parent == tmp_path and partial.name.startswith(".a.json.")
    assert path.read_text() == "new" and os.listdir(tmp_path) == ["a.json"]
    atomic_write(path, b"\x00\xff")
    assert path.read_bytes() == b"\x00\xff"


def test_an_error_leaves_the_old_content(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), atomic_path(path) as partial:  # noqa: PT012 - a body that is interrupted
        partial.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["a"]
    with pytest.raises(FileNotFoundError), atomic_path(path):
        pass  # nobody wrote
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["a"]


def test_a_full_disk_is_an_error_and_leaves_the_old_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    path.write_text("old")

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        atomic_write(path, "new")
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["a"]


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        atomic_write(tmp_path / "missing" / "a", "new")
    assert not os.listdir(tmp_path)


def test_a_new_file_has_the_rights_of_any_new_file(tmp_path: Path) -> None:
    atomic_write(tmp_path / "a", "")
    (tmp_path / "b").touch()
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == stat.S_IMODE((tmp_path / "b").stat().st_mode)


def test_what_a_killed_process_left_is_removed_and_what_a_live_one_writes_stays(tmp_path: Path) -> None:
    script = tmp_path / "writer.py"
    script.write_text(
        textwrap.dedent(f"""
        import os, signal
        from featdepth_ros.files import atomic_path
        with atomic_path({str(tmp_path / "a")!r}) as partial:
            partial.write_text("half")
            os.kill(os.getpid(), signal.SIGKILL)
        """)
    )
    done = subprocess.run([sys.executable, str(script)], timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL and not (tmp_path / "a").exists()
    left = list(tmp_path.glob(".a.*.partial"))
    assert len(left) == 1
    alive = tmp_path / f".a.{os.getppid()}.partial"
    alive.write_text("somebody is at it")
    atomic_write(tmp_path / "b", "another file's leftovers are not looked at")
    assert left[0].exists()
    atomic_write(tmp_path / "a", "whole")
    assert not left[0].exists() and alive.exists() and (tmp_path / "a").read_text() == "whole"


def test_a_device_or_a_pipe_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        atomic_write(pipe, "said")
        assert os.read(reader, 10) == b"said"
    finally:
        os.close(reader)
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_the_checksum_of_a_file_is_sha_256(tmp_path: Path) -> None:
    """FIPS 180-2 gives that of "abc"; the other is longer than one block of reading."""
    (tmp_path / "short").write_bytes(b"abc")
    (tmp_path / "long").write_bytes(b"a" * 3_000_000)
    assert sha256_of(tmp_path / "short") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256_of(str(tmp_path / "long")) == hashlib.sha256(b"a" * 3_000_000).hexdigest()
