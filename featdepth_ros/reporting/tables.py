"""Formatting of numbers and tables for a terminal, an HTML page and JSON. It needs only plain Python."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from featdepth_ros.errors import EvaluationError


def number(value: Any, digits: int = 4) -> str:
    """Format a number; an unavailable one becomes ``-``."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "-"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    return f"{value:.{digits}f}" if isinstance(value, float) else f"{value}"


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Format a table for a terminal: the first column is left-aligned, the others are right-aligned."""
    widths = [max(len(str(row[i])) for row in [header, *rows]) for i in range(len(header))]
    lines = []
    for row in [header, *rows]:
        cells = [
            f"{cell:<{width}}" if i == 0 else f"{cell:>{width}}"
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def comparison_table(named: Mapping[str, Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Return a header and rows for figures by name: one row per figure, one column per name."""
    keys = list(next(iter(named.values())))
    return ["", *named], [[key, *(number(figures[key]) for figures in named.values())] for key in keys]


def finite(value: Any) -> Any:
    """Return the value with every NaN and infinity replaced by None, for JSON, also inside containers."""
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    if hasattr(value, "item"):  # numpy scalars
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def write_json(path: str | Path, figures: Mapping[str, Any]) -> None:
    """Write figures as JSON; NaN and infinity become null.

    Raises:
        EvaluationError: the file cannot be written.
    """
    target = Path(path).expanduser()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(json.dumps(finite(figures), indent=2, allow_nan=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise EvaluationError(f"{target} cannot be written: {error}") from error
