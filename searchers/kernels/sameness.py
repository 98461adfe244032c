"""When two steps, or two paths, say the same: pure functions of texts."""

from __future__ import annotations

import re

_EQUALS = re.compile(r"=([^=,;\n]+)(?=[,;\n]|$)")
_WORD = re.compile(r"\w+|[^\w\s]")


def canonical(step: str) -> str:
    """A step as it is compared: its words and marks, in small letters, whatever stands between."""
    return " ".join(_WORD.findall(step.casefold()))


def results(text: str) -> frozenset[str]:
    """What has been worked out: whatever stands behind the last "=" of a line's clauses.

    >>> sorted(results("12 * 7 = 84, so 84 + 5 = 80 + 9 = 89."))
    ['84', '89']
    """
    found = (canonical(part.strip(" .$\\()[]")) for part in _EQUALS.findall(text))
    return frozenset(part for part in found if part)


def tail(text: str, n: int) -> tuple[str, ...]:
    """The last `n` words and marks."""
    return tuple(_WORD.findall(text.casefold())[-n:])
