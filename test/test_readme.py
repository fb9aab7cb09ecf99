"""The README: its links lead somewhere, its verbs exist."""

from __future__ import annotations

import re
from pathlib import Path

from featdepth_ros.cli.main import VERBS

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_links_and_pictures_exist() -> None:
    targets = [t for t in re.findall(r"\]\(([^)#]+)\)", README) if not t.startswith("http")]
    assert targets
    missing = [target for target in targets if not (ROOT / target).exists()]
    assert not missing


def test_commands_name_verbs_that_exist() -> None:
    verbs = set(re.findall(r"^(?:\.venv/bin/)?featdepth ([a-z]+)", README, flags=re.MULTILINE))
    assert verbs
    assert verbs <= set(VERBS)
