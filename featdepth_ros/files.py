"""Atomic replacement of files, so that readers see either the old or the new content; and checksums of files."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a path to write to; at the end of the block, that file replaces ``path`` and is synchronised to disk.

    If the block fails, or the process is killed, ``path`` stays unchanged. The folder must exist. Only one thread of a
    process at a time may write to the same ``path``. A device or a pipe (``/dev/stdout``) is written directly, because
    it has no content to keep.

    Args:
        path: the file to create or replace.

    Yields:
        A path in the same folder: ``.<name>.<process>.partial``. Such files of killed processes are removed.

    Raises:
        OSError: the folder is missing or not writable, or the disk is full.
    """
    path = Path(path)
    if path.exists() and not path.is_file():
        yield path
        return
    _remove_abandoned(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def atomic_write(path: str | Path, content: bytes | str) -> None:
    """Replace a file's content; text is encoded as UTF-8. See `atomic_path`.

    Raises:
        OSError: the folder is missing or not writable, or the disk is full.
    """
    with atomic_path(path) as partial:
        partial.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)


def read_json(path: Path) -> dict[str, Any] | None:
    """Return the object in a JSON file; None if the file is missing, or if it is not a JSON object."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return values if isinstance(values, dict) else None


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Replace a JSON file atomically, see `atomic_write`.

    Raises:
        OSError: the folder is missing, or the disk is full.
    """
    atomic_write(path, json.dumps(values, indent=1) + "\n")


def _sync_folder(folder: Path) -> None:
    """Synchronise a folder's entries to disk, if its file system supports that."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _remove_abandoned(path: Path) -> None:
    prefix = f".{path.name}."
    with contextlib.suppress(OSError):
        for name in os.listdir(path.parent):
            process = name.removeprefix(prefix).removesuffix(".partial")
            if name == f"{prefix}{process}.partial" and process.isdecimal() and not _is_alive(int(process)):
                path.with_name(name).unlink(missing_ok=True)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # a process of another user
        return True
    return True


def sha256_of(path: str | Path) -> str:
    """Return the SHA-256 of a file, hexadecimal.

    Raises:
        OSError: the file cannot be read.
    """
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()
