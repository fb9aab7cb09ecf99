"""The pages people read: links lead somewhere, verbs exist, sentences are short, the README is."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from featdepth_ros.cli.main import VERBS

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "featdepth_ros" / "weights").glob("*.md")])
README_WORDS = 1100


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_links_and_pictures_exist(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    targets = [t for t in re.findall(r"\]\(([^)#]+)[^)]*\)", text) if not re.match(r"[a-z]+:", t)]
    assert not [target for target in targets if not (page.parent / target).exists()]


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_commands_name_verbs_that_exist(page: Path) -> None:
    pattern = r"^(?:\$ )?(?:\.venv/bin/)?featdepth ([a-z]+)"
    verbs = set(re.findall(pattern, page.read_text(encoding="utf-8"), flags=re.MULTILINE))
    assert verbs <= set(VERBS)


def test_the_readme_is_short_and_links_and_commands_are_found_in_it() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.split()) <= README_WORDS
    assert len(re.findall(r"\]\(([^)#]+)\)", text)) > 5
    assert len(re.findall(r"^(?:\.venv/bin/)?featdepth ([a-z]+)", text, flags=re.MULTILINE)) > 2


def test_long_sentences_are_found(tmp_path: Path) -> None:
    """The tool that holds the length of sentences sees one of 26 words, in a page and in a docstring."""
    tool = ROOT / "tools" / "long_sentences.py"
    long = " ".join(["word"] * 26) + ".\n"
    for name, text in {"page.md": long, "module.py": f'"""{long}"""\n', "values.yaml": f"# {long}"}.items():
        file = tmp_path / name
        for content, code in ((text, 1), (text.replace("word word", "word"), 0)):
            file.write_text(content, encoding="utf-8")
            done = subprocess.run([sys.executable, tool, file], capture_output=True, text=True, check=False)
            assert done.returncode == code, done.stderr


def test_no_sentence_of_the_pages_is_long() -> None:
    """The pages, the README and the cards of the weights hold no sentence of more than 25 words."""
    paths = [ROOT / name for name in ("docs", "README.md", "CONTRIBUTING.md", "featdepth_ros/weights")]
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "long_sentences.py", *paths], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
