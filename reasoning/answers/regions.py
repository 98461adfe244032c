"""Sets of real numbers: intervals, inequalities in one variable, unions, "or", exceptions.

A region is a list of intervals that do not touch, in order; a point is an interval of its own.
Ends are numbers of as many digits as the caller's `number` gives; infinite ones are `inf`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from reasoning.answers.quantities import closed
from reasoning.answers.rules import at_top

Number = Callable[[str], Any]
"""The value of a formula without variables, comparable and finite; None where there is none."""

_INFINITE = float("inf")
_SIGN = re.compile(r"\\(?:le|ge|ne)(?![A-Za-z])|[<>]")
_VARIABLE = re.compile(r"(?:[A-Za-z]|\\(?!pi)[a-z]+)(?:_[A-Za-z0-9])?\Z")
_JOINS = (
    (re.compile(r"\\lor(?![A-Za-z])"), "or"), (re.compile(r"\\cup(?![A-Za-z])"), "or"),
    (re.compile(r"\\land(?![A-Za-z])|,"), "and"), (re.compile(r"\\cap(?![A-Za-z])"), "and"),
    (re.compile(r"\\setminus(?![A-Za-z])"), "without"),
)  # fmt: skip
_BRACKETS = re.compile(r"\\?[({\[]|\\?[)}\]]")


class Interval(NamedTuple):
    """From `low` to `high`, each with whether it belongs to it."""

    low: Any
    has_low: bool
    high: Any
    has_high: bool


Region = tuple[Interval, ...]
ALL: Region = (Interval(-_INFINITE, False, _INFINITE, False),)


class Reading(NamedTuple):
    """What a text says: of which variable, if it names one, and where that lies."""

    variable: str | None
    region: Region


def read_region(text: str, number: Number) -> Reading | None:
    """The region that a text states; None where it states none, or not only that."""
    text = text.strip()
    for join, how in _JOINS:
        parts = _split(text, join)
        if len(parts) > 1:
            if "," in join.pattern and not any(_SIGN.search(p) or "\\in" in p for p in parts):
                return None  # a list
            return _joined([read_region(part, number) for part in parts], how)
    if builder := re.match(r"\\\{(.*?)(?:\\mid|\||:)(.*)\\\}\Z", text):
        found = read_region(builder[2], number)
        named = re.match(r"[A-Za-z]", builder[1].strip())
        return found if found and named and found.variable == named[0] else None
    if _SIGN.search(text):
        return _inequality(text, number)
    variable, within, rest = text.partition("\\in")
    if within and not rest[:1].isalpha():
        inner = read_region(rest, number)
        named = _VARIABLE.match(variable.strip())
        return Reading(named[0], inner.region) if inner and named and not inner.variable else None
    variable, equals, rest = text.partition("=")
    if equals and _VARIABLE.match(variable):
        value = number(rest)
        return None if value is None else Reading(variable, _points([value]))
    return _set(text, number)


def same_region(a: Reading, b: Reading, equal: Callable[[Any, Any], bool]) -> bool:
    """Whether two readings speak of one variable, as far as they name it, and of one region."""
    if a.variable and b.variable and a.variable.lower() != b.variable.lower():
        return False
    return len(a.region) == len(b.region) and all(
        x.has_low == y.has_low
        and x.has_high == y.has_high
        and (x.low == y.low or equal(x.low, y.low))
        and (x.high == y.high or equal(x.high, y.high))
        for x, y in zip(a.region, b.region, strict=True)
    )


def _split(text: str, join: re.Pattern[str]) -> list[str]:
    marks = [(m.start(), m.end(), 0) for m in join.finditer(text)]
    marks += [
        (m.start(), m.end(), 1 if m[0][-1] in "([{" else -1) for m in _BRACKETS.finditer(text)
    ]
    parts, depth, start = [], 0, 0
    for begin, end, step in sorted(marks):
        depth += step
        if not step and not depth:
            parts.append(text[start:begin])
            start = end
    return [*parts, text[start:]]


def _joined(parts: Sequence[Reading | None], how: str) -> Reading | None:
    readings = [part for part in parts if part]
    names = {r.variable.lower() for r in readings if r.variable}
    if len(readings) < len(parts) or len(names) > 1:
        return None
    region = readings[0].region
    for reading in readings[1:]:
        other = reading.region if how != "without" else _complement(reading.region)
        region = _union(region, other) if how == "or" else _meet(region, other)
    return Reading(next((r.variable for r in readings if r.variable), None), region)


def _inequality(text: str, number: Number) -> Reading | None:
    signs = _SIGN.findall(text)
    sides = [side.strip() for side in _SIGN.split(text)]
    if len(sides) == 2 and not (_VARIABLE.match(sides[0]) or _SIZE.match(sides[0])):
        sides.reverse()
        signs = [_TURNED.get(s, s) for s in signs]
    if len(sides) == 2 and _VARIABLE.match(sides[0]):
        ray = _ray(signs[0], number(sides[1]) if sides[1] not in _ENDS else _ENDS[sides[1]])
        return Reading(sides[0], ray) if ray is not None else None
    if len(sides) == 2 and (size := _SIZE.match(sides[0])) and signs[0] in _TURNED:
        return _around(size, signs[0], sides[1], number)
    if len(sides) == 3 and _VARIABLE.match(sides[1]) and "\\ne" not in signs:
        first = read_region(f"{sides[0]}{signs[0]} {sides[1]}", number)
        second = read_region(f"{sides[1]}{signs[1]} {sides[2]}", number)
        if first and second and any(set(signs) <= same for same in _SAME_WAY):
            return Reading(sides[1], _meet(first.region, second.region))
    return None


_SIZE = re.compile(r"\|(?P<name>[A-Za-z](?:_[A-Za-z0-9])?)(?P<shift>[-+][^|]+)?\|\Z")
_TURNED = {"<": ">", ">": "<", "\\le": "\\ge", "\\ge": "\\le"}


def _around(size: re.Match[str], sign: str, radius: str, number: Number) -> Reading | None:
    """The region of |x - a| < r and the like."""
    name, centre = size["name"], f"-(0{size['shift'] or ''})"
    sides = (f"{name}{sign} {centre}+({radius})", f"{name}{_TURNED[sign]} {centre}-({radius})")
    how = "and" if sign in ("<", "\\le") else "or"
    return _joined([read_region(side, number) for side in sides], how)


_SAME_WAY = ({"<", "\\le"}, {">", "\\ge"})
_ENDS = {"\\infty": _INFINITE, "-\\infty": -_INFINITE, "+\\infty": _INFINITE}


def _ray(sign: str, end: Any) -> Region | None:
    if end is None:
        return None
    infinite = end in (_INFINITE, -_INFINITE)
    if sign == "\\ne":
        return None if infinite else _complement(_points([end]))
    closed_end = sign in ("\\le", "\\ge") and not infinite
    if sign in ("<", "\\le"):
        return _clean([Interval(-_INFINITE, False, end, closed_end)])
    return _clean([Interval(end, closed_end, _INFINITE, False)])


def _set(text: str, number: Number) -> Reading | None:
    if text in ("\\mathbb{R}", "\\R", "\\Reals"):
        return Reading(None, ALL)
    if text in ("\\emptyset", "\\{\\}"):
        return Reading(None, ())
    if text[:2] == "\\{" and text[-2:] == "\\}":
        values = [number(part) for part in at_top(text[2:-2], ",")]
        return None if None in values else Reading(None, _points(values))
    if text[:1] in ("(", "[") and text[-1:] in (")", "]") and closed(text[1:-1]):
        ends = at_top(text[1:-1], ",")
        if len(ends) == 1 and text[0] == "(" and text[-1] == ")":
            return read_region(ends[0], number)
        if len(ends) != 2:
            return None
        low, high = (_ENDS[end] if end in _ENDS else number(end) for end in map(str.strip, ends))
        if low is None or high is None or low > high:
            return None
        return Reading(None, _clean([Interval(low, text[0] == "[", high, text[-1] == "]")]))
    return None


def _points(values: Sequence[Any]) -> Region:
    return _clean([Interval(value, True, value, True) for value in values])


def _clean(intervals: Sequence[Interval]) -> Region:
    """In order, empty ones left out, ends at infinity open, those that touch joined."""
    found: list[Interval] = []
    for low, has_low, high, has_high in sorted(intervals, key=lambda i: (i.low, not i.has_low)):
        has_low, has_high = has_low and low != -_INFINITE, has_high and high != _INFINITE
        if low > high or (low == high and not (has_low and has_high)):
            continue
        if found and (
            low < found[-1].high or (low == found[-1].high and (has_low or found[-1].has_high))
        ):
            last = found.pop()
            end = max((last.high, last.has_high), (high, has_high))
            low, has_low, (high, has_high) = last.low, last.has_low, end
        found.append(Interval(low, has_low, high, has_high))
    return tuple(found)


def _union(a: Region, b: Region) -> Region:
    return _clean([*a, *b])


def _meet(a: Region, b: Region) -> Region:
    both = []
    for x in a:
        for y in b:
            low = max((x.low, not x.has_low), (y.low, not y.has_low))
            high = min((x.high, x.has_high), (y.high, y.has_high))
            both.append(Interval(low[0], not low[1], high[0], high[1]))
    return _clean(both)


def _complement(region: Region) -> Region:
    gaps, low, has_low = [], -_INFINITE, False
    for interval in region:
        gaps.append(Interval(low, has_low, interval.low, not interval.has_low))
        low, has_low = interval.high, not interval.has_high
    return _clean([*gaps, Interval(low, has_low, _INFINITE, False)])
