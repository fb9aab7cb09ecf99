"""Loads networks from a name or a file of any supported kind."""

from __future__ import annotations

from pathlib import Path

from featdepth_ros.errors import ConfigError
from featdepth_ros.inference.backends.files import ExportedFile, NetworkFile, is_network_file, read_facts
from featdepth_ros.inference.foreign.convention import read_convention
from featdepth_ros.inference.foreign.network import ForeignFile
from featdepth_ros.models.base import FeatDepthModel
from featdepth_ros.models.checkpoints import load_model
from featdepth_ros.resources import weights_file


def load_networks(weights: str | Path, preset: str | None = None, convention: str = "") -> FeatDepthModel | NetworkFile:
    """Load weights, a network that `featdepth export` wrote, or a third-party depth network.

    Args:
        weights: a file, or the name of a model that ships. An ONNX file that `featdepth export` did not write counts
            as a third-party depth network.
        preset: see `load_model`; only for weights.
        convention: input and output format of a third-party network, see `read_convention`.

    Raises:
        FeatDepthError: the file does not exist or cannot be read; see `load_model`.
    """
    path = weights_file(str(weights))
    foreign = is_network_file(path)
    facts = read_facts(path) if foreign else None
    if convention and (facts is not None or not foreign):
        raise ConfigError(f"convention is '{convention}', and '{path.name}' needs none; leave out convention")
    if not foreign:
        return load_model(path, preset=preset)
    if facts is not None:
        return ExportedFile(path, facts)
    if path.suffix.lower() != ".onnx":
        raise ConfigError(
            f"'{path.name}' was not written by featdepth export; a third-party network must be an .onnx file"
        )
    return ForeignFile(path, read_convention(convention, path))
