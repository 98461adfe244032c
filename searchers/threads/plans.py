"""What searchers share that have a plan written and its parts worked on side by side."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

from reasoning.search import Search
from reasoning.tree import Node, Turn

_BULLET = re.compile(r"\s*(?:[-*•]|\(?\d{1,3}[.):])\s+")
_NOTHING = re.compile(r"\W*(?:none|nothing|n/a)\W*", re.IGNORECASE)
_RESULT = re.compile(r"\bRESULT\W*:\s*", re.IGNORECASE)


def listed(text: str, most: int | None = None) -> list[str]:
    """The first `most` different entries of a list, one a line, bullets and numbers taken off.

    Where any line has a bullet or a number, those without are talk; "NONE" lists nothing.
    """
    lines = [line for line in text.splitlines() if line.strip()]
    marked = [line for line in lines if _BULLET.match(line)]
    entries = [_BULLET.sub("", line, count=1).strip() for line in marked or lines]
    return list(dict.fromkeys(e for e in entries if e and not _NOTHING.fullmatch(e)))[:most]


def result(text: str) -> str:
    """What stands behind the last RESULT: of a text; all of it where there is none."""
    return _RESULT.split(text)[-1].strip()


def anew(search: Search) -> Turn:
    """The problem as it was put, whatever stands above in the tree."""
    return Turn(search.problem.messages, afresh=True)


def concluded(search: Search, at: Node, text: str, sources: Iterable[Node] = ()) -> Node:
    """A whole solution put together from what others wrote: it costs nothing, and it has ended."""
    node = search.write(at, text, turn=anew(search), sources=sources)
    node.sample = replace(node.sample, finish="end")
    return node
