"""Lists the sentences of more than 25 words: in the pages, in docstrings and comments, in YAML and in launch files.

    python tools/long_sentences.py [--limit 25] [--count] [PATH ...]

Exit code 1 when there is one. Code blocks and addresses do not count. A cell of a table, an item of a list and a
comment each stand for themselves.
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
#: What people read. Tests speak to whoever changes them, but they are read as well.
FOLDERS = ("featdepth_ros", "training", "launch", "config", "tools", "test", "docs")
#: What ends a sentence: a stop, a question mark, an empty line, a colon at the end of a line.
#: Or what comes next: an item of a list, a named argument, a row of a drawn table.
ENDS = re.compile(
    r"(?<!\be\.g)(?<!\bi\.e)(?<!\betc)(?<!\bFig)(?<!\bvs)(?<!\bal)[.!?](?=[\s\"')\]]|$)(?!\s+\()"
    r"|\n\s*\n|:\n|\n(?=\s*[-*] )|\n(?=\s*\d+\. )|\n(?=\s*[\w, /]{1,60}: )"
    r"|\n(?======|\(?\")"
)
#: A command, with the lines it goes on over.
COMMAND = re.compile(r"^\s*(featdepth|python|ros2) (.*\\\n)*.*$", re.MULTILINE)


def words_in(sentence: str) -> int:
    """Words of a sentence: runs of characters that hold a letter."""
    return sum(any(c.isalpha() for c in word) for word in sentence.split())


def sentences(text: str) -> Iterator[tuple[int, str]]:
    """Sentences of a text, each with its offset in characters."""
    text = COMMAND.sub("\n", text)
    start = 0
    for end in ENDS.finditer(text):
        yield start, text[start : end.end()]
        start = end.end()
    yield start, text[start:]


def markdown(text: str) -> Iterator[tuple[int, str]]:
    """Pieces of a page, each with its line: paragraphs, items, cells and headings."""
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
    """Docstrings and comments of a module, each with its line."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            doc = ast.get_docstring(node, clean=True)
            if doc:
                yield node.body[0].lineno, re.sub(r"::\n(\n?(    .*)?)+", ".\n", re.sub(r"``?[^`]*``?", "Code", doc))
    yield from comments(text)


def comments(text: str) -> Iterator[tuple[int, str]]:
    """Comments of Python source, those on neighbouring lines as one text."""
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
    """Comments of YAML, those on neighbouring lines as one text."""
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
    """The files to read."""
    for path in paths:
        inside = sorted(path.rglob("*")) if path.is_dir() else [path]
        yield from (p for p in inside if p.suffix in READERS and "build" not in p.parts)


def main() -> int:
    """Prints what is too long and returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="*", type=Path, default=[ROOT / f for f in FOLDERS] + sorted(ROOT.glob("*.md")))
    parser.add_argument("--limit", type=int, default=25, help="words (default: 25)")
    parser.add_argument("--count", action="store_true", help="only the number of each folder")
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
