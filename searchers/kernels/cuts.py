"""Where a text is cut."""

from __future__ import annotations

import re

_UNIT = re.compile(r".+?(?:\n\s*\n|(?<=[.!?])\s+|\Z)", re.DOTALL)


def beginnings(text: str, parts: int) -> list[str]:
    """The beginnings that hold floor(i L / parts) of the text's L words, for i from 1 to parts - 1.

    A word has the blanks before it, as most models' tokens have: a cut splits few of them.
    """
    if parts < 1:
        raise ValueError(f"a text is cut into 1 part or more, not {parts}")
    ends = [0, *(word.end() for word in re.finditer(r"\s*\S+", text))]
    words = len(ends) - 1
    return [text[: ends[i * words // parts]] for i in range(1, parts)]


def segments(text: str, longest: int) -> list[str]:
    """The text in parts of `longest` characters at most, cut behind sentences and paragraphs.

    A sentence that is longer is cut where it is too long. They add up to the text.
    """
    if longest < 1:
        raise ValueError(f"a segment has 1 character or more, not {longest}")
    found: list[str] = []
    for unit in _UNIT.findall(text):
        if found and len(found[-1]) + len(unit) <= longest:
            found[-1] += unit
        else:
            found += [unit[at : at + longest] for at in range(0, len(unit), longest)]
    return found
