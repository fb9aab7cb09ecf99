"""A self-contained HTML page with embedded images, which loads nothing from elsewhere."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from featdepth_ros.errors import EvaluationError
from featdepth_ros.reporting.figures import png_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 1180px; margin: 2em auto; padding: 0 1.2em; }
h1 { font-size: 1.6em; } h2 { font-size: 1.2em; margin-top: 2em; border-bottom: 1px solid #ddd; }
table { border-collapse: collapse; margin: 0.8em 0; }
td, th { padding: 0.25em 0.9em; border-bottom: 1px solid #e5e5e5; }
td, th { text-align: right; font-variant-numeric: tabular-nums; } td:first-child, th:first-child { text-align: left; }
figure { margin: 1em 0; } img { max-width: 100%; height: auto; } figcaption { color: #555; font-size: 0.9em; }
.note { color: #7a4b00; background: #fff6e5; padding: 0.5em 0.9em; border-left: 3px solid #e69f00; }
.tiles { display: flex; flex-wrap: wrap; gap: 0.8em; margin: 1em 0; }
.tile { border: 1px solid #ddd; border-radius: 6px; padding: 0.5em 1em; min-width: 7.5em; }
.tile b { display: block; font-size: 1.35em; } .tile span { color: #555; font-size: 0.85em; }
"""


class Page:
    """Collects the parts of a page in order; `write` writes them to a file."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._parts: list[str] = [f"<h1>{html.escape(title)}</h1>"]

    def heading(self, text: str) -> None:
        """Add a section heading."""
        self._parts.append(f"<h2>{html.escape(text)}</h2>")

    def text(self, text: str) -> None:
        """Add a paragraph."""
        self._parts.append(f"<p>{html.escape(text)}</p>")

    def note(self, text: str) -> None:
        """Add a highlighted paragraph, for warnings."""
        self._parts.append(f'<p class="note">{html.escape(text)}</p>')

    def tiles(self, tiles: Sequence[tuple[str, str]]) -> None:
        """Add tiles with the most important figures, as (value, label)."""
        inner = "".join(
            f'<div class="tile"><b>{html.escape(value)}</b><span>{html.escape(label)}</span></div>'
            for value, label in tiles
        )
        self._parts.append(f'<div class="tiles">{inner}</div>')

    def table(self, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Add a table."""
        head = "".join(f"<th>{html.escape(cell)}</th>" for cell in header)
        body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
        self._parts.append(f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")

    def figure(self, figure: Figure, caption: str = "", dpi: int = 90) -> None:
        """Add a plot with a caption, which is also its alternative text."""
        data = base64.b64encode(png_bytes(figure, dpi)).decode("ascii")
        words = html.escape(caption, quote=True)
        self._parts.append(
            f'<figure><img src="data:image/png;base64,{data}" alt="{words}"><figcaption>{words}</figcaption></figure>'
        )

    def render(self) -> str:
        """Return the page as HTML text."""
        return (
            '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>{html.escape(self._title)}</title><style>{_STYLE}</style></head>\n<body>\n"
            + "\n".join(self._parts)
            + "\n</body></html>\n"
        )

    def write(self, path: str | Path) -> Path:
        """Write the page and return its path; missing folders are created.

        Raises:
            EvaluationError: the file cannot be written.
        """
        target = Path(path).expanduser()
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(self.render(), encoding="utf-8")
        except OSError as error:
            raise EvaluationError(f"{target} cannot be written: {error}") from error
        return target
