"""Regular expressions in programs of prompts: only those that no text can make take long.

A repetition that may give way, by leaving to what stands behind it a character that it could have
taken, is tried at every length, and those behind it walk the rest of the line each time: with one
of these a line of n characters takes some n^2 / 2 steps for each way through alternatives and `?`,
with two n^3 / 6. Others stop where they have to.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from re import _compiler as sre_compiler  # type: ignore[attr-defined]
from re import _constants as sre  # type: ignore[attr-defined]
from re import _parser as sre_parser  # type: ignore[attr-defined]
from typing import Any, TypeAlias

GIVING, REPEATS, WAYS = 1, 6, 16
"""Repetitions that may give way, and all that there may be, and ways through what is optional."""

_SIMPLE = (sre.LITERAL, sre.NOT_LITERAL, sre.ANY, sre.IN)
_USUAL = frozenset(map(chr, range(0x180))) | frozenset("\u2003\u2028ΩωЖжאあ中٣")
"""Characters of every kind that patterns ask for, and some beyond."""

Chars: TypeAlias = frozenset[str]


@cache
def compiled_pattern(pattern: str) -> re.Pattern[str]:
    """The pattern, capitals or not. Raises ValueError for one that is none, or that could take
    long: with a repetition, alternatives or `?` within a repetition, a look aside or back, or more
    than `GIVING`, `REPEATS` and `WAYS` allow."""
    try:
        compiled = re.compile(pattern, re.IGNORECASE)
        parts = sre_parser.parse(pattern, re.IGNORECASE)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"{pattern!r} is no regular expression: {error}") from None
    size = _Sizer(parts, _USUAL | frozenset(_named(parts))).sequence(parts, frozenset(), False)
    if size.giving > GIVING:
        raise ValueError(
            f"{pattern!r} may take long: {size.giving} repetitions may leave to what follows what "
            f"they could have taken, and {GIVING} is the most; say [^:]*: for .*: there"
        )
    if size.repeats > REPEATS or size.ways > WAYS:
        raise ValueError(
            f"{pattern!r} may take long: {REPEATS} repetitions (*, +, {{}}) and {WAYS} ways "
            "through alternatives and ? are the most"
        )
    return compiled


def groups(pattern: str) -> list[str]:
    """The names of a pattern's groups; none if they have no names."""
    return list(compiled_pattern(pattern).groupindex)


@dataclass(frozen=True, slots=True)
class _Size:
    """How many repetitions there are, how many that may give way, how many ways through what may be
    there or not, and which characters it may begin with, those behind it included if it may be
    empty."""

    first: Chars
    repeats: int = 0
    giving: int = 0
    ways: int = 1


class _Sizer:
    """Sizes parts of a pattern; `alphabet` stands for all characters."""

    def __init__(self, parts: Any, alphabet: Chars) -> None:
        self._state = parts.state
        self._alphabet = alphabet

    def sequence(self, parts: Any, after: Chars, within: bool) -> _Size:
        """Of parts one behind another, `after` which those characters may follow."""
        repeats, giving, ways = 0, 0, 1
        for op, argument in reversed(list(parts)):
            size = self.part(op, argument, after, within)
            repeats, giving = repeats + size.repeats, giving + size.giving
            ways, after = ways * size.ways, size.first
        return _Size(after, repeats, giving, ways)

    def part(self, op: Any, argument: Any, after: Chars, within: bool) -> _Size:
        if op in _SIMPLE:
            return _Size(self.chars(op, argument))
        if op is sre.AT:
            return _Size(after)
        if within and op is not sre.SUBPATTERN:
            raise ValueError(
                "a repetition holds characters alone: what varies within it may take for ever"
            )
        if op is sre.SUBPATTERN:
            return self.sequence(argument[-1], after, within)
        if op in (sre.MAX_REPEAT, sre.MIN_REPEAT):
            least, most, inner = argument
            size = self.sequence(inner, frozenset() if most > 1 else after, most > 1)
            first = size.first if least else size.first | after
            if most <= 1:
                return _Size(first, size.repeats, size.giving, 1 + size.ways)
            return _Size(first, 1, int(bool(size.first & after)))
        if op is sre.BRANCH:
            sizes = [self.sequence(inner, after, within) for inner in argument[1]]
            first = frozenset[str]().union(*(size.first for size in sizes))
            counts = (sum(s.repeats for s in sizes), sum(s.giving for s in sizes))
            return _Size(first, *counts, sum(s.ways for s in sizes))
        raise ValueError(f"{str(op).lower()} may take for ever; leave it out")

    def chars(self, op: Any, argument: Any) -> Chars:
        """What a part takes that is one character."""
        part = sre_parser.SubPattern(self._state, [(op, argument)])
        takes = sre_compiler.compile(part, re.IGNORECASE).fullmatch
        return frozenset(char for char in self._alphabet if takes(char))


def _named(parts: Any) -> Iterator[str]:
    """Every character that a pattern names, ends of ranges too, and their neighbours."""
    for code in _codes(list(parts)):
        near = (chr(c) for c in (code - 1, code, code + 1) if 0 <= c < 0x110000)
        yield from (form for char in near for form in {char, char.lower(), char.upper()})


def _codes(node: Any) -> Iterator[int]:
    if isinstance(node, int) and not isinstance(node, bool):
        yield int(node)
    elif isinstance(node, Iterable) and not isinstance(node, str):
        for inner in node:
            yield from _codes(inner)
