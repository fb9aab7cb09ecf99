"""The one way to replace a file: readers see the old content or the new one, never a part of it. And its checksum."""

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
    """Give a path to write to; when the block ends, that file takes the place of ``path`` and is on the disk.

    An error in the block, or a kill, leaves ``path`` as it was. The folder must exist. One thread of a process at a
    time may write to the same ``path``. A device or a pipe (``/dev/stdout``) has no content to keep: it is written to
    directly.

    Args:
        path: of the file to create or replace.

    Yields:
        A path in the same folder: ``.<name>.<process>.partial``. Files of killed processes there are removed.

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
    """Replace a file's content; text becomes UTF-8. See `atomic_path`.

    Raises:
        OSError: the folder is missing or not writable, or the disk is full.
    """
    with atomic_path(path) as partial:
        partial.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)


def read_json(path: Path) -> dict[str, Any] | None:
    """Return an object of a JSON file; None: it is not there, or is none."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return values if isinstance(values, dict) else None


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Replace a JSON file as a whole, as `atomic_write` does.

    Raises:
        OSError: the folder is missing, or the disk is full.
    """
    atomic_write(path, json.dumps(values, indent=1) + "\n")


def _sync_folder(folder: Path) -> None:
    """Bring a folder's list of names to the disk, where its file system can."""
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
