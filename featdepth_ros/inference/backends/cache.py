"""Files that back ends were built into, kept between runs in a folder of limited size."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import torch

from featdepth_ros.inference.config import EstimatorConfig
from featdepth_ros.models.base import FeatDepthModel

#: Raised when files of an earlier layout are of no use any more.
_LAYOUT = 2


def default_folder() -> Path:
    """``$XDG_CACHE_HOME/featdepth_ros``, or ``~/.cache/featdepth_ros``."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if base else Path.home() / ".cache") / "featdepth_ros"


def weights_checksum(model: FeatDepthModel) -> str:
    """Return the SHA-256 of a model's tensors and facts, hexadecimal."""
    digest = hashlib.sha256(model.info.to_json().encode())
    for name, value in model.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class Cache:
    """A folder of entries, each a folder itself.

    Attributes:
        folder: made when something is stored.
        most_mb: size beyond which the entries that were used longest ago are removed.
    """

    folder: Path
    most_mb: float = 500.0

    def entry(self, checksum: str, device: torch.device, size: tuple[int, int]) -> Path:
        """Return the folder of a model's files for images of ``size`` (height, width); it need not exist."""
        version = sys.modules["featdepth_ros"].__version__  # an import would close a circle
        facts = f"{checksum} {_LAYOUT} {version} {torch.__version__} {device} {size[0]}x{size[1]}"
        return self.folder / hashlib.sha256(facts.encode()).hexdigest()[:24]

    def used(self, entry: Path) -> None:
        """Note that an entry was used just now, and remove others where there are too many."""
        os.utime(entry)
        folders = sorted((p for p in self.folder.iterdir() if p.is_dir()), key=lambda p: p.stat().st_mtime)
        sizes = {p: sum(f.stat().st_size for f in p.rglob("*") if f.is_file()) for p in folders}
        for folder in folders:
            if sum(sizes.values()) <= self.most_mb * 1e6 or folder == entry:
                break
            shutil.rmtree(folder, ignore_errors=True)
            del sizes[folder]


def cache_of(config: EstimatorConfig) -> Cache:
    """Return the cache that a configuration names."""
    folder = Path(config.backend_cache).expanduser() if config.backend_cache else default_folder()
    return Cache(folder, config.backend_cache_mb)
