"""Where a text is cut."""

from __future__ import annotations

import re


def beginnings(text: str, parts: int) -> list[str]:
    """The beginnings that hold floor(i L / parts) of the text's L words, for i from 1 to parts - 1.

    A word has the blanks before it, as most models' tokens have: a cut splits few of them.
    """
    if parts < 1:
        raise ValueError(f"a text is cut into 1 part or more, not {parts}")
    ends = [0, *(word.end() for word in re.finditer(r"\s*\S+", text))]
    words = len(ends) - 1
    return [text[: ends[i * words // parts]] for i in range(1, parts)]
