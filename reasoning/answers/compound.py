"""Amounts told in several units: 3 ft 2 in, 2 hours and 30 minutes, 5'3"."""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise

from reasoning.answers.quantities import unit_named

_LADDERS = (
    ("mi", "yd", "ft", "in"), ("km", "m", "cm", "mm"), ("week", "day", "h", "min", "s"),
    ("year", "month", "week", "day"), ("lb", "oz"), ("kg", "g"), ("L", "ml"), ("$", "cent"),
    ("gallon", "quart", "pint", "cup"),
)  # fmt: skip
"""Units of one thing, each smaller than the one before it."""

_MARKS = {"'": "ft", "''": "in", '"': "in"}
_PIECE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s?([A-Za-z]{1,12}|''|['\"])\.?(?:\s*,)?(?:\s+and)?\s*")
_TEXT = re.compile(r"\\text\{([^{}]*)\}")
_BEFORE = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?\s?[A-Za-z]{1,12}\.?(?:\s*,)?(?:\s+and)?\s+){1,3}\Z")
_AFTER = re.compile(r"\s?[A-Za-z]{1,12}")


@lru_cache(maxsize=4096)
def in_units(text: str) -> tuple[tuple[Fraction, str], ...] | None:
    """The numbers and units of an amount told in two units or more; None for anything else."""
    text = _TEXT.sub(r" \1 ", text).strip() if "\\" in text else text
    pieces: list[tuple[Fraction, str]] = []
    at = 0
    while found := _PIECE.match(text, at):
        unit = _MARKS.get(found[2]) or unit_named(found[2])
        if unit is None:
            return None
        pieces.append((Fraction(found[1]), unit))
        at = found.end()
    units = [unit for _, unit in pieces]
    if at < len(text) or len(pieces) < 2 or not any(_descend(units, x) for x in _LADDERS):
        return None
    return tuple(pieces)


def _descend(units: list[str], ladder: tuple[str, ...]) -> bool:
    places = [ladder.index(unit) for unit in units if unit in ladder]
    return len(places) == len(units) and all(a < b for a, b in pairwise(places))


def told_before(before: str, number: str, after: str) -> tuple[int, str] | None:
    """The whole amount whose last number stands between `before` and `after`.

    With it how many characters of `before` belong to it; None where that is no such amount.
    """
    found, unit = _BEFORE.search(before), _AFTER.match(after)
    if not found or not unit:
        return None
    whole = found[0] + number + unit[0]
    return (len(found[0]), whole) if in_units(whole) else None
