"""Cache for the built files of back ends: a folder of limited size that persists between runs."""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import torch

from featdepth_ros.inference.config import EstimatorConfig
from featdepth_ros.models.base import FeatDepthModel

#: Version of the file layout; increase it when existing files can no longer be used.
_LAYOUT = 2
#: Folders of the code that a graph is exported from, in the package.
_EXPORTED_CODE = ("export", "geometry", "models")


def default_folder() -> Path:
    """Return ``$XDG_CACHE_HOME/featdepth_ros``, or ``~/.cache/featdepth_ros``."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if base else Path.home() / ".cache") / "featdepth_ros"


def weights_checksum(model: FeatDepthModel) -> str:
    """Return the hexadecimal SHA-256 of a model's tensors and description."""
    digest = hashlib.sha256(model.info.to_json().encode())
    for name, value in model.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


@functools.cache
def code_checksum(package: Path) -> str:
    """Return the hexadecimal SHA-256 of the code that graphs are exported from; a changed network needs new files."""
    files = (p for folder in _EXPORTED_CODE for p in sorted((package / folder).glob("*.py")) if p.is_file())
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


@dataclass(frozen=True)
class Cache:
    """A folder with one subfolder per entry.

    Attributes:
        folder: the folder; it is created with the first entry.
        most_mb: size in megabytes above which the least recently used entries are removed.
    """

    folder: Path
    most_mb: float = 500.0

    def entry(self, checksum: str, device: torch.device, size: tuple[int, int]) -> Path:
        """Return the folder of a model's files for images of ``size`` (height, width); it may not exist yet."""
        code = code_checksum(Path(__file__).resolve().parents[2])
        version = sys.modules["featdepth_ros"].__version__  # an import statement would be circular
        facts = f"{checksum} {_LAYOUT} {version} {code} {torch.__version__} {device} {size[0]}x{size[1]}"
        return self.folder / hashlib.sha256(facts.encode()).hexdigest()[:24]

    def used(self, entry: Path) -> None:
        """Mark an entry as used now, and remove old entries if the cache is too large."""
        os.utime(entry)
        folders = sorted((p for p in self.folder.iterdir() if p.is_dir()), key=lambda p: p.stat().st_mtime)
        sizes = {p: sum(f.stat().st_size for f in p.rglob("*") if f.is_file()) for p in folders}
        for folder in folders:
            if sum(sizes.values()) <= self.most_mb * 1e6 or folder == entry:
                break
            shutil.rmtree(folder, ignore_errors=True)
            del sizes[folder]


def cache_of(config: EstimatorConfig) -> Cache:
    """Return the cache of a configuration."""
    folder = Path(config.backend_cache).expanduser() if config.backend_cache else default_folder()
    return Cache(folder, config.backend_cache_mb)
