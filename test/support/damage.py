"""Hypothesis strategies for damaged bytes and texts, and the requirements on every reader of such data."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from hypothesis import event
from hypothesis import strategies as st

from featdepth_ros.errors import FeatDepthError

T = TypeVar("T")

#: Words that may break readers: non-numbers, huge numbers, digits of other scripts, separators, line ends, nothing.
WORDS = (
    *(
        b"nan",
        b"inf",
        b"-1",
        b"0",
        b"1e999",
        b"9" * 40,
        b"1" + b"0" * 400,
        b"0x10",
        b"1_0",
        b"2001-01-01",
        b"true",
        b"null",
    ),
    *(
        "\u00b2".encode(),
        "\u0663".encode(),
        b"",
        b"\0",
        b"\xff\xfe",
        b"\xef\xbb\xbf",
        b"\r",
        b"\n",
        b",",
        b":",
        b"#",
        b"- ",
    ),
    *(b"{", b"[", b"}", b"&a *a", b"!!python/name:os", b"~", b"'", b'"', b"%", b"..", b"/", b"---\n"),
)


@st.composite
def damaged(draw: st.DrawFn, data: bytes) -> bytes:
    """Draw damaged bytes: a few pieces are changed, removed, doubled, swapped or replaced, or the end is missing."""
    result = bytearray(data)
    for _ in range(draw(st.integers(1, 4))):
        if not result:
            break
        at = draw(st.integers(0, len(result) - 1))
        length = draw(st.integers(1, 12))
        kind = draw(st.sampled_from(("byte", "cut", "double", "word", "noise", "swap", "end")))
        if kind == "byte":
            result[at] = draw(st.integers(0, 255))
        elif kind == "cut":
            del result[at : at + length]
        elif kind == "double":
            result[at:at] = result[at : at + length]
        elif kind == "word":
            result[at : at + draw(st.integers(0, 6))] = draw(st.sampled_from(WORDS))
        elif kind == "noise":
            result[at : at + length] = draw(st.binary(min_size=length, max_size=length))
        elif kind == "swap":
            other = draw(st.integers(0, len(result) - 1))
            result[at], result[other] = result[other], result[at]
        else:
            del result[at:]
    return bytes(result)


def has_words(error: Exception) -> None:
    """Fail if the message of an error is not a sentence."""
    assert str(error).strip() and "Traceback" not in str(error)


def answered(read: Callable[[], T]) -> T | None:
    """Return the result of a reader, or None for an error of the package with a message; other errors are raised."""
    try:
        result = read()
    except FeatDepthError as error:
        has_words(error)
        event("refused")
        return None
    event("read")
    return result
