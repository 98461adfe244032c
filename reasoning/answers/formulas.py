"""Formulas in a text, told from amounts of money, which wear dollars too."""

from __future__ import annotations

import re
from collections import deque

from reasoning.answers.amounts import amount_at

MATH = re.compile(
    r"(?<!\\)\$\$(?P<a>[^$]+)\$\$"
    r"|(?<!\\)\$(?=\S)(?P<b>(?:[^$\\\n]|\\[^\n])+)(?<![ \t])\$(?!\d)"
    r"|(?<!\\)\$(?=[ \t])(?P<e>(?:[^$\\\n]|\\[^\n])+)(?<=[ \t])\$(?![ \t]?\d)"
    r"|\\\[(?P<c>(?:[^\\]|\\(?![\[\]]))*)\\\]|\\\((?P<d>(?:[^\\]|\\(?![()]))*)\\\)"
)
"""A dollar opens a formula before a character and closes one behind a character and before no
digit (or has blanks on both sides), so "$15 each, so three cost $45" has none."""

_MONEY = re.compile(r"(?<![\\$])\$[ \t]?(?=[-−]?\.?\d)")
_BARE = re.compile(r"[\d,.]*\d")
_SYMBOL = re.compile(r"\s*(?:[A-Za-z]|\\[A-Za-z]+)(?:_\{?\w\}?)?\s*")
_TOLD = re.compile(
    r"[ ](?:is|equals|=|are|was)[ ](?:equal to[ ]|approximately[ ])?(?=[-−]?\$?\.?\d)"
)
_ASIDE = re.compile(
    r"(?i)\b(?:where|for|all|any|each|every|of|in|when|if|since|let|and|both|variables?) \Z"
)
_MEANS = re.compile(r",? (?:is|are|denotes?|represents?|stands? for)\b|,? and \$")
_PROSE = re.compile(r"(?<![\\A-Za-z{])[A-Za-z]{3,}(?![A-Za-z(^_])")


def is_prose(content: str) -> bool:
    """Whether what stands between two dollars is text between two amounts of money."""
    content = re.sub(r"\\(?:text\w*|mathrm|mbox|operatorname)\s*\{[^{}]*\}", "", content)
    if not re.match(r"\s*[-−]?\.?\d", content):
        return False
    words = _PROSE.findall(content)
    return len(words) > 2 or (bool(words) and bool(re.search(r"[.,;:!?]\s|\s\Z", content)))


def content(match: re.Match[str]) -> str:
    """What a formula holds, without its delimiters."""
    return next(filter(None, match.groups()), "")


def _last(text: str) -> re.Match[str] | None:
    found = (match for match in MATH.finditer(text) if content(match).strip())
    kept = [
        match
        for match in reversed(deque(found, maxlen=16))
        if not (match["b"] or match["e"]) or not is_prose(content(match))
    ]
    return next((match for match in kept if not _explained(text, match)), next(iter(kept), None))


def _explained(text: str, match: re.Match[str]) -> bool:
    """Whether a formula is a symbol that is only spoken of: "$n=5$, where $n$ is the number"."""
    if not _SYMBOL.fullmatch(content(match)) or _TOLD.match(text, match.end()):
        return False
    before = text[max(0, match.start() - 12) : match.start()]
    return bool(_ASIDE.search(before) or _MEANS.match(text, match.end()))


def last_math(text: str) -> str | None:
    """The content of the last `$...$`, `$$...$$`, `\\(...\\)` or `\\[...\\]`.

    Of a symbol whose value follows as a number ("$x$ is 5") that number.
    """
    found = _last(text)
    if found is None:
        return None
    told = _TOLD.match(text, found.end()) if _SYMBOL.fullmatch(content(found)) else None
    return (amount_at(text, told.end()) if told else None) or content(found)


def last_money(text: str) -> str | None:
    """The last amount of money such as -$5, if it stands behind the last formula."""
    found = _last(text)
    start = found.end() if found else 0
    last = next(iter(deque(_MONEY.finditer(text, start), maxlen=1)), None)
    if last is None or (found and found[0][0] == "$" and _BARE.fullmatch(text, last.end())):
        return None  # the last formula is cut off
    return amount_at(text, last.end())
