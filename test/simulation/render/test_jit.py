"""The cache of the renderer's compiled loops."""

from __future__ import annotations

import re
from pathlib import Path

from featdepth_ros.simulation.render import jit


def test_the_cache_depends_on_every_file_with_compiled_functions() -> None:
    """A change in a file that is missing would leave old machine code in use."""
    folder = Path(jit.__file__).parent
    compiled = {
        path.name
        for path in folder.glob("*.py")
        if re.search(r"^from featdepth_ros\.simulation\.render\.jit import", path.read_text(encoding="utf-8"), re.M)
    }
    assert compiled == set(jit._FILES)
