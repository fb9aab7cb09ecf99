"""Bytes and texts that changed on the way, as strategies for hypothesis, and what every reader owes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from hypothesis import event
from hypothesis import strategies as st

from featdepth_ros.errors import FeatDepthError

T = TypeVar("T")

#: Words that break readers: no numbers, too large ones, other scripts' digits, separators, endings, nothing.
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
    """Draw bytes with a few pieces changed, cut out, doubled, swapped, replaced by a word, or the end gone."""
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
    """Fail for an error without a sentence."""
    assert str(error).strip() and "Traceback" not in str(error)


def answered(read: Callable[[], T]) -> T | None:
    """Return what a reader gives, or None for an error of the package, which must have words. All else goes through."""
    try:
        result = read()
    except FeatDepthError as error:
        has_words(error)
        event("refused")
        return None
    event("read")
    return result
