"""Text of models and files, made fit to be shown: nothing in it may act."""

from __future__ import annotations

from reasoning.text import visible as visible


def folded(text: str, limit: int) -> str:
    """`text` if it has at most `limit` characters, else its start and its end."""
    if len(text) <= limit:
        return text
    head = limit * 2 // 3
    tail = limit - head
    return f"{text[:head]} [... {len(text) - limit:,} characters left out ...] {text[-tail:]}"


def chance(p: float, equals: str = "") -> str:
    """A p-value as people read it, `equals` before its digits: none is 0."""
    return "< 0.001" if p < 0.001 else f"{equals}{p:.3f}"


def one_line(text: str, limit: int) -> str:
    """The start of `text` on one line."""
    line = " ".join(visible(text).split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def no_mathtext(text: str, limit: int = 1000) -> str:
    """The start of `text` on one line of a picture, where $...$ would be taken for a formula."""
    return one_line(text, limit).replace("$", r"\$")
