"""Storage of caches: a local folder, or any URL that fsspec supports (``s3://``, ``gs://``, ``memory://``).

Files are written atomically. A `Store` keeps nothing open, so it can be forked and pickled.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from featdepth_ros.errors import MissingDependencyError, RecordingError
from featdepth_ros.files import atomic_path

#: Environment variables for the folder with copies of remote shards, and its largest size in GB.
LOCAL_COPIES, LOCAL_LIMIT_GB = "FEATDEPTH_SHARDS", "FEATDEPTH_SHARDS_GB"
#: Space in bytes that stays free on the disk of the copies.
SPARE = 1_000_000_000


class NoSpaceError(RecordingError):
    """The disk is full, so that further files cannot be written either."""


class Store:
    """Files below one folder or URL.

    Args:
        location: folder, or URL with ``://``.

    Raises:
        RecordingError: from every method, when the location cannot be read or written.
    """

    def __init__(self, location: str | Path) -> None:
        text = str(location)
        if text.startswith("file://"):
            text = text[len("file://") :]
        self.remote = "://" in text
        self.location = text.rstrip("/") if self.remote else str(Path(text).expanduser())

    def __str__(self) -> str:
        return self.location

    @property
    def name(self) -> str:
        """The last part of the location."""
        return self.location.rstrip("/").rpartition("/")[2] or self.location

    def below(self, name: str) -> Store:
        """Return the store of the subfolder ``name``."""
        return Store(f"{self.location.rstrip('/')}/{name}")

    def names(self, prefix: str, suffix: str) -> list[str]:
        """Return the sorted names of the files in this folder with this prefix and suffix."""
        names = self._list()
        return sorted(name for name in names if name.startswith(prefix) and name.endswith(suffix))

    def folders_with(self, file: str) -> list[str]:
        """Return the sorted names of the subfolders that contain ``file``."""
        if not self.remote:
            return sorted(p.parent.name for p in Path(self.location).glob(f"*/{file}"))
        with self._reading("*"):
            fs, root = self._fs()
            fs.invalidate_cache(root)
            return sorted(str(path).split("/")[-2] for path in fs.glob(f"{root}/*/{file}"))

    def read(self, name: str) -> bytes | None:
        """Return the content of a file; None if it does not exist."""
        with self._reading(name):
            try:
                if not self.remote:
                    return Path(self.location, name).read_bytes()
                fs, root = self._fs()
                content: bytes = fs.cat_file(f"{root}/{name}")
                return content
            except (FileNotFoundError, NotADirectoryError):
                return None

    def read_all(self, names: Sequence[str]) -> list[bytes]:
        """Return the contents of many existing files in their order; an object store reads them in one request."""
        with self._reading(f"{len(names)} files"):
            if not self.remote:
                return [Path(self.location, name).read_bytes() for name in names]
            fs, root = self._fs()
            paths = [f"{root}/{name}" for name in names]
            contents = fs.cat(paths) if len(paths) > 1 else {p: fs.cat_file(p) for p in paths}
            return [contents[fs._strip_protocol(path)] if path not in contents else contents[path] for path in paths]

    def write(self, name: str, data: bytes) -> None:
        """Write a small file."""
        with self.writing(name) as partial:
            partial.write_bytes(data)

    @contextlib.contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        """Yield a local path to write to. The file appears under ``name`` at the end, but not after an error.

        Raises:
            RecordingError: no space is left, or the disk or the object store failed otherwise.
        """
        try:
            if self.remote:
                with self._uploading(name) as partial:
                    yield partial
            else:
                Path(self.location).mkdir(parents=True, exist_ok=True)
                with atomic_path(Path(self.location, name)) as partial:
                    yield partial
        except OSError as error:
            raise _storage_error(f"could not write {name} to {self}", error) from error

    def local_copy(self, name: str, tag: str, size: int) -> Path:
        """Return a local path for random access: that of the file, or of a copy that is downloaded once.

        Args:
            name: name of the file.
            tag: text that changes with the content, so that a copy of an older file is not used.
            size: size in bytes.

        Raises:
            RecordingError: the file is missing, has another size, or there is no room for the copy.
        """
        path = self._fetched(name, tag, size) if self.remote else Path(self.location, name)
        actual_size = path.stat().st_size if path.is_file() else None
        if actual_size != size:
            what = "is missing" if actual_size is None else f"has {actual_size} bytes; its index says {size}"
            raise RecordingError(
                f"shard {name} of {self} {what}; delete its .json too and run featdepth prepare again to restore it"
            )
        return path

    def _fetched(self, name: str, tag: str, size: int) -> Path:
        import fcntl

        folder = local_copies()
        path = folder / f"{hashlib.sha256(f'{self.location}/{name} {tag}'.encode()).hexdigest()[:32]}.tar"
        if path.is_file() and path.stat().st_size == size:
            with contextlib.suppress(OSError):
                os.utime(path)  # the least recently used copies are removed first
            return path
        try:
            folder.mkdir(parents=True, exist_ok=True)
            # Several loader processes may need the same shard; one downloads it, and the others wait.
            with open(path.with_suffix(".lock"), "w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                if not path.is_file():
                    make_room(folder, size)
                    self._fetch(name, path, size)
        except RecordingError:
            raise
        except Exception as error:  # each object store raises errors of its own kind
            what = f"could not fetch {name} of {self} into {folder} ({LOCAL_COPIES} names it)"
            raise _storage_error(what, error) from error
        return path

    def _fetch(self, name: str, path: Path, size: int) -> None:
        with atomic_path(path) as partial:
            fs, root = self._fs()
            fs.get_file(f"{root}/{name}", str(partial))
            actual_size = partial.stat().st_size
            if actual_size != size:
                raise RecordingError(
                    f"shard {name} of {self} has {actual_size} bytes; its index says {size}; delete it with its .json "
                    "and run featdepth prepare again to restore it"
                )

    def _put(self, path: Path, name: str) -> None:
        try:
            fs, root = self._fs()
            with contextlib.suppress(FileExistsError):
                fs.makedirs(root, exist_ok=True)
            fs.put_file(str(path), f"{root}/{name}")
        except Exception as error:  # each object store raises errors of its own kind
            raise _storage_error(f"could not write {name} to {self}", error) from error

    @contextlib.contextmanager
    def _uploading(self, name: str) -> Iterator[Path]:
        handle, path = tempfile.mkstemp(suffix=f".{name}")
        os.close(handle)
        try:
            yield Path(path)
            self._put(Path(path), name)
        finally:
            Path(path).unlink(missing_ok=True)

    def _list(self) -> list[str]:
        with self._reading(""):
            try:
                if not self.remote:
                    return os.listdir(self.location)
                fs, root = self._fs()
                fs.invalidate_cache(root)
                return [str(path).rstrip("/").rpartition("/")[2] for path in fs.ls(root, detail=False)]
            except (FileNotFoundError, NotADirectoryError):
                return []

    def _fs(self) -> tuple[Any, str]:
        """Return the file system and the path in it. It is created anew, as connections cannot be forked or pickled.

        fsspec caches instances by process and arguments, so this is cheap.
        """
        from fsspec.core import url_to_fs

        fs, root = url_to_fs(self.location)
        return fs, root.rstrip("/")

    @contextlib.contextmanager
    def _reading(self, name: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if not self.remote and not isinstance(error, OSError):
                raise
            raise _storage_error(f"could not read {name or 'the folder'} of {self}", error) from error


def local_copies() -> Path:
    """Return the folder for copies of remote shards: `LOCAL_COPIES` in the environment, else in the user's cache.

    The least recently used copies are removed when `LOCAL_LIMIT_GB` is reached or the disk is nearly full. The folder
    may be emptied at any time.
    """
    named = os.environ.get(LOCAL_COPIES)
    if named:
        return Path(named).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "featdepth_ros" / "shards"


def make_room(folder: Path, size: int) -> None:
    """Remove the least recently used copies until ``size`` bytes fit under the limit and on the disk.

    A process that has a removed copy open can still read it. A copy that is needed again is downloaded again.

    Raises:
        RecordingError: `LOCAL_LIMIT_GB` is no number.
    """
    text = os.environ.get(LOCAL_LIMIT_GB, "")
    try:
        limit = float(text) * 1e9 if text else float("inf")
    except ValueError as error:
        raise RecordingError(f"{LOCAL_LIMIT_GB} is '{text}'; expected gigabytes, for instance 100") from error
    copies = sorted(((s.st_mtime, s.st_size, p) for p in folder.glob("*.tar") if (s := p.stat())), key=lambda c: c[0])
    used = sum(bytes_ for _, bytes_, _ in copies)
    for _, bytes_, path in copies:
        if used + size <= limit and shutil.disk_usage(folder).free >= size + SPARE:
            return
        path.unlink(missing_ok=True)
        used -= bytes_


def _storage_error(what: str, error: Exception) -> RecordingError | MissingDependencyError:
    if isinstance(error, ImportError):
        return MissingDependencyError(f"{what}: {error}; pip install 'featdepth_ros[s3]' brings what s3:// needs")
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return NoSpaceError(f"{what}: no space is left; free some and run again: finished shards stay as they are")
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error) or type(error).__name__
    return RecordingError(f"{what}: {reason}")
