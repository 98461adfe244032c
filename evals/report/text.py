"""Text of models and files, made fit to be shown: nothing in it may act."""

from __future__ import annotations

import re

# Control characters but tab and newline, surrogates, marks that reorder or hide text.
_ACTING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060\u2066-\u2069"
    "\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)


def visible(text: str) -> str:
    """`text` with every character that would act on its surroundings spelled out, as in <U+202E>.

    Line ends become newlines; other control characters, bidirectional marks and surrogates show.
    """
    plain = text.replace("\r\n", "\n").replace("\r", "\n")
    return _ACTING.sub(lambda found: f"<U+{ord(found[0]):04X}>", plain)


def folded(text: str, limit: int) -> str:
    """`text` if it has at most `limit` characters, else its start and its end."""
    if len(text) <= limit:
        return text
    head = limit * 2 // 3
    tail = limit - head
    return f"{text[:head]} [... {len(text) - limit:,} characters left out ...] {text[-tail:]}"


def one_line(text: str, limit: int) -> str:
    """The start of `text` on one line."""
    line = " ".join(visible(text).split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"
