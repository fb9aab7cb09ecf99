"""List sentences of more than 25 words in documentation pages, docstrings, comments, YAML and launch files.

    python tools/long_sentences.py [--limit 25] [--count] [PATH ...]

The exit code is 1 if there is such a sentence. Code blocks and URLs are ignored. Every table cell, list item and
comment is checked separately.
"""

from __future__ import annotations

import argparse
import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
#: Folders to check. Tests are included, because people read them too.
FOLDERS = ("featdepth_ros", "training", "launch", "config", "tools", "test", "docs")
#: The end of a sentence: a full stop, a question mark, an empty line, or a colon at the end of a line.
#: A sentence also ends before a list item, a named argument or a table row.
ENDS = re.compile(
    r"(?<!\be\.g)(?<!\bi\.e)(?<!\betc)(?<!\bFig)(?<!\bvs)(?<!\bal)[.!?](?=[\s\"')\]]|$)(?!\s+\()"
    r"|\n\s*\n|:\n|\n(?=\s*[-*] )|\n(?=\s*\d+\. )|\n(?=\s*[\w, /]{1,60}: )"
    r"|\n(?======|\(?\")"
)
#: A command with its continuation lines.
COMMAND = re.compile(r"^\s*(featdepth|python|ros2) (.*\\\n)*.*$", re.MULTILINE)


def words_in(sentence: str) -> int:
    """Return the number of words in a sentence; a word contains at least one letter."""
    return sum(any(c.isalpha() for c in word) for word in sentence.split())


def sentences(text: str) -> Iterator[tuple[int, str]]:
    """Yield the sentences of a text, each with its offset in characters."""
    text = COMMAND.sub("\n", text)
    start = 0
    for end in ENDS.finditer(text):
        yield start, text[start : end.end()]
        start = end.end()
    yield start, text[start:]


def markdown(text: str) -> Iterator[tuple[int, str]]:
    """Yield the paragraphs, list items, table cells and headings of a page, each with its line number."""
    fenced = False
    piece: list[str] = []
    begin = 1
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
        starts = re.match(r"\s*([-*] |\d+\. |#|\||>|!\[)", line)
        if fenced or starts or not line.strip():
            if piece:
                yield begin, "\n".join(piece)
            piece, begin = [], number
        if fenced or line.lstrip().startswith("```"):
            continue
        bare = re.sub(r"`[^`]*`", "Code", re.sub(r"\]\([^)]*\)", "]", line))
        if bare.lstrip().startswith("|"):
            for cell in bare.strip().strip("|").split("|"):
                yield number, cell
        elif bare.strip():
            if not piece:
                begin = number
            piece.append(re.sub(r"^\s*([-*] |\d+\. |#+ |> )", "", bare))
    if piece:
        yield begin, "\n".join(piece)


def python(text: str) -> Iterator[tuple[int, str]]:
    """Yield the docstrings and comments of a module, each with its line number."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            doc = ast.get_docstring(node, clean=True)
            if doc:
                yield node.body[0].lineno, re.sub(r"::\n(\n?(    .*)?)+", ".\n", re.sub(r"``?[^`]*``?", "Code", doc))
    yield from comments(text)


def comments(text: str) -> Iterator[tuple[int, str]]:
    """Yield the comments of Python source; comments on consecutive lines are one text."""
    piece, begin, last = "", 0, -2
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type != tokenize.COMMENT:
            continue
        said = token.string.lstrip("#:! ")
        alone = token.line.lstrip().startswith("#")
        if alone and token.start[0] == last + 1:
            piece += "\n" + said
        else:
            if piece:
                yield begin, piece
            piece, begin = said, token.start[0]
        last = token.start[0] if alone else -2
    if piece:
        yield begin, piece


def hashed(text: str) -> Iterator[tuple[int, str]]:
    """Yield the comments of YAML; comments on consecutive lines are one text."""
    piece, begin, last = "", 0, -2
    for number, line in enumerate(text.splitlines(), 1):
        match = re.match(r"(\s*)#+ ?(.*)|.*\s#\s(.*)", line)
        if not match:
            continue
        said, alone = match[2] if match[2] is not None else match[3], match[2] is not None
        if alone and number == last + 1:
            piece += "\n" + said
        else:
            if piece:
                yield begin, piece
            piece, begin = said, number
        last = number if alone else -2
    if piece:
        yield begin, piece


READERS = {".md": markdown, ".py": python, ".yaml": hashed, ".yml": hashed}


def files(paths: list[Path]) -> Iterator[Path]:
    """Yield the files to check."""
    for path in paths:
        inside = sorted(path.rglob("*")) if path.is_dir() else [path]
        yield from (p for p in inside if p.suffix in READERS and "build" not in p.parts)


def main() -> int:
    """Print the long sentences and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="*", type=Path, default=[ROOT / f for f in FOLDERS] + sorted(ROOT.glob("*.md")))
    parser.add_argument("--limit", type=int, default=25, help="words (default: 25)")
    parser.add_argument("--count", action="store_true", help="print only the number per folder")
    given = parser.parse_args()
    counts: dict[str, int] = {}
    for path in files(given.paths):
        text = path.read_text(encoding="utf-8")
        place = path.resolve()
        place = place.relative_to(ROOT) if place.is_relative_to(ROOT) else path
        for line, piece in READERS[path.suffix](text):
            for offset, sentence in sentences(piece):
                if words_in(sentence) <= given.limit:
                    continue
                counts[place.parts[0]] = counts.get(place.parts[0], 0) + 1
                if not given.count:
                    print(f"{place}:{line + piece[:offset].count(chr(10))}: {' '.join(sentence.split())}")
    print(", ".join(f"{folder} {count}" for folder, count in counts.items()) or "none", file=sys.stderr)
    return int(bool(counts))


if __name__ == "__main__":
    sys.exit(main())
