"""One version: the package's own, and the same in what ROS and citations read."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import yaml

from featdepth_ros import __version__

ROOT = Path(__file__).resolve().parents[1]


def test_package_xml_has_the_version() -> None:
    assert ElementTree.parse(ROOT / "package.xml").getroot().findtext("version") == __version__


def test_citation_has_the_version() -> None:
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["version"] == __version__


def test_changelog_speaks_of_the_version() -> None:
    headings = re.findall(
        r"^## (\S+)", (ROOT / "docs" / "CHANGELOG.md").read_text(encoding="utf-8"), flags=re.MULTILINE
    )
    assert __version__ in headings
