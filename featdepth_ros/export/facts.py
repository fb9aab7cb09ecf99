"""Description of an exported graph, as text entries that every format can store."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from featdepth_ros.errors import CheckpointError
from featdepth_ros.models.info import ModelInfo

#: Prefix of every entry, to separate them from entries of other tools.
PREFIX = "featdepth_"


@dataclass(frozen=True)
class GraphFacts:
    """Facts of an exported graph.

    Attributes:
        info: description of the weights: depth range, scale, focal length, licence.
        weights_sha256: SHA-256 of the weights file, hexadecimal.
        precision: ``fp32``, ``fp16`` or ``int8``.
        size: (height, width) of ``image``, pixels.
        batch: fixed batch size; 0: any.
        inputs, outputs: names of inputs and outputs, in order.
    """

    info: ModelInfo
    weights_sha256: str
    precision: str
    size: tuple[int, int]
    batch: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def entries(self) -> dict[str, str]:
        """Return the text entries to store."""
        values = {
            "info": self.info.to_json(),
            "weights_sha256": self.weights_sha256,
            "precision": self.precision,
            "size": json.dumps(self.size),
            "batch": str(self.batch),
            "inputs": json.dumps(self.inputs),
            "outputs": json.dumps(self.outputs),
            "licence": self.info.licence,
        }
        return {PREFIX + key: value for key, value in values.items()}

    @classmethod
    def from_entries(cls, entries: Mapping[str, str]) -> GraphFacts | None:
        """Return the facts in stored entries; None if this package did not export the file.

        Raises:
            CheckpointError: some entries are missing or damaged.
        """
        if PREFIX + "info" not in entries:
            return None
        try:
            height, width = json.loads(entries[PREFIX + "size"])
            return cls(
                info=ModelInfo.from_json(entries[PREFIX + "info"]),
                weights_sha256=entries[PREFIX + "weights_sha256"],
                precision=entries[PREFIX + "precision"],
                size=(int(height), int(width)),
                batch=int(entries[PREFIX + "batch"]),
                inputs=tuple(json.loads(entries[PREFIX + "inputs"])),
                outputs=tuple(json.loads(entries[PREFIX + "outputs"])),
            )
        except (KeyError, ValueError, TypeError) as error:
            raise CheckpointError(
                f"the exported file's description cannot be read ({error!r}); export it again"
            ) from error
