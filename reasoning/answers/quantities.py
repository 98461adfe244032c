"""The quantities inside answers: exact numbers, units, number bases, words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from math import prod
from typing import NamedTuple

_MAX_EXPONENT = 400  # decimal exponent that is turned into an exact number

_BASE = re.compile(r"([0-9A-F]+)_(?:\{?([0-9]{1,2}|\\text\{[a-z]+\})\}?)\Z")
_ORDINAL = re.compile(r"(?:\^\{?)?(?:\\text\{(?:th|st|nd|rd)\}|(?<=[0-9])(?:th|st|nd|rd)\b)\}?")
_WORD = re.compile(r"[A-Za-z]{3}")
_MONEY = re.compile(r"(-?)(?:\\\$|([€£¥]))")
_SUFFIX = re.compile(
    r"\s*(?:%|\^\\circ\s?(?:\\text\{)?\s*(?P<letter>[CFNSEW])?\}?|\\[$]|[€£¥]"
    r"|\\text\{(?P<text>[^{}]*)\}(?:\^\{?(?P<power>-?[0-9])\}?)?"
    r"|(?<=[0-9)}\s])(?P<words>[A-Za-z]{2,}(?: [A-Za-z]{2,})*)(?:\^(?P<exponent>[23]))?)\Z"
)
_ALIASES = {
    "cm": "cm centimeter centimetre", "m": "m meter metre", "km": "km kilometer kilometre",
    "mm": "mm millimeter millimetre", "in": "in inch inche", "ft": "ft foot feet", "yd": "yd yard",
    "mi": "mi mile", "g": "g gram", "kg": "kg kilogram", "lb": "lb lbs pound", "oz": "oz ounce",
    "s": "s sec second", "min": "min minute", "h": "h hr hour", "day": "day", "week": "week",
    "month": "month", "year": "year yr", "L": "l liter litre", "ml": "ml milliliter millilitre",
    "$": "dollar usd", "cent": "cent", "°": "degree deg", "rad": "radian rad", "%": "percent pct",
    "mph": "mph", "kph": "kph kmh", "cup": "cup", "pint": "pint", "quart": "quart",
    "gallon": "gallon", "°C": "celsius", "°F": "fahrenheit", "€": "euro eur", "£": "gbp",
}  # fmt: skip
_UNITS = {word: unit for unit, words in _ALIASES.items() for word in words.split()}
_POWERS = {"square": 2, "squared": 2, "sq": 2, "cubic": 3, "cubed": 3}
_SCALES = {
    "dozen": 12, "hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9,
    "trillion": 10**12,
}  # fmt: skip
_TELLING = {
    "half", "halve", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth",
    "hundredth", "thousandth", "millionth", "squared", "cubed", "factorial", "below", "late",
    "later", "early", "earlier", "ago", "before", "after", "ahead", "behind", "fast", "slow",
    *_SCALES,
}  # fmt: skip
"""Words that make another number of the one before them, so that they are never forgiven."""
_SAYING_NOTHING = re.compile(
    "(?:an?|and|about|approximately|are|each|exactly|for|in|is|of|on|only|or|over|roughly|so|the|to"
    "|total|units?|th|st|nd|rd)\\Z"
)
_OF = re.compile(r"(?i)\b(north|south|east|west|[NSEW]) of (?=(?:north|south|east|west|[NSEW])\b)")
"""Which of two directions is turned away from: north of east is not east of north."""
_PART = re.compile(r"[^\W\d_]+|/|\^?[({]?-?[0-9]")


def unit_named(word: str) -> str | None:
    """The unit that a word names, in one or in many; None if it names none that is known."""
    word = word.casefold()
    return _UNITS.get(word) or _UNITS.get(word.removesuffix("s"))


class Quantity(NamedTuple):
    """What an answer says beside its number: nothing of it need be there."""

    number: str
    unit: str | None
    """Known units and their powers: "m s^-2"."""
    base: str | None
    """The base that a number is written in."""
    words: frozenset[str]
    """What else is said, directions and things counted; in lower case, without a plural's s."""

    def agrees(self, other: Quantity) -> bool:
        """Whether nothing that both say differs: metres and feet, north and south, apples and cm.

        What one of them leaves out is forgiven.
        """
        if self.base and other.base and self.base != other.base:
            return False
        if (self.words ^ other.words) & _TELLING:
            return False
        if self.unit and other.unit:
            bare = {self.unit[:1], other.unit[:1]} == {"°"} and "°" in (self.unit, other.unit)
            if self.unit != other.unit and not bare:
                return False
        elif (self.unit and other.words) or (other.unit and self.words):
            return bool(self.words & other.words)
        return self.words <= other.words or other.words <= self.words


@lru_cache(maxsize=4096)
def measure(text: str) -> Quantity:
    """An answer taken apart: its number (or formula), its unit, its base, its words."""
    units: dict[str, int] = {}
    words: set[str] = set()
    if money := _MONEY.match(text):
        text = money[1] + text[money.end() :]
        units[money[2] or "$"] = 1
    while (found := _SUFFIX.search(text)) and any(char.isdigit() for char in text[: found.start()]):
        said = found["text"] if found["text"] is not None else found["words"]
        if said and len(said) == 1 and said.casefold() not in _UNITS:
            break  # a symbol
        if found["words"] and not _speaks(said.casefold().split()):
            if not _ORDINAL.search(text):
                break
            _phrase(said, None, units, words)  # 3rd of May
        elif said is None:
            _symbol(found, units, words)
        else:
            _phrase(said, found["power"] or found["exponent"], units, words)
        text = _ORDINAL.sub("", text[: found.start()] if not _ORDINAL.match(found[0]) else text)
        text = text.rstrip("^ ")
    if "°C" in units or "°F" in units:
        units.pop("°", None)
    unit = " ".join(f"{u}^{n}" if n != 1 else u for u, n in sorted(units.items())) or None
    if found := _BASE.match(text):
        return Quantity(found[1], unit, found[2], frozenset(words))
    if (scales := words & _SCALES.keys()) and (value := number(text.strip())) is not None:
        text = str(value * prod(_SCALES[word] for word in scales))  # 5 million
        words -= scales
    return Quantity(text.strip(), unit, None, frozenset(words))


def _speaks(words: Sequence[str]) -> bool:
    """Whether letters after a number are words: units, or one of four letters or more first."""
    return all(w in _UNITS for w in words) or len(words[0]) > 3 or words[0] in _UNITS


def _symbol(found: re.Match[str], units: dict[str, int], words: set[str]) -> None:
    symbol = found[0].strip().replace("\\$", "$")
    letter = found["letter"] or ""
    if letter in ("N", "S", "E", "W"):
        words.add({"N": "north", "S": "south", "E": "east", "W": "west"}.get(letter, ""))
        words.discard("")
        letter = ""
    units["°" + letter if symbol.startswith("^") else symbol] = 1


def _phrase(said: str, power: str | None, units: dict[str, int], words: set[str]) -> None:
    """Adds the known units of a phrase with their powers, and its other words."""
    sign, times, last = 1, 1, ""
    said = _OF.sub(r"\1of", said)
    parts = _PART.findall(said)
    for i, part in enumerate(parts):
        word = part.casefold()
        rest = [w for w in parts[i + 1 : i + 2] if w.isalpha()]
        unit = unit_named(word)
        if word == "in" and rest and rest[0].casefold() not in _POWERS:
            unit = None  # 12 in total
        if part == "/" or word == "per":
            sign = -1
        elif not word.isalpha():
            if last:
                units[last] *= int(re.sub(r"[^-0-9]", "", word))
        elif word in _POWERS:
            times = _POWERS[word]
            if last and word.endswith("d"):  # cm squared
                units[last], times = units[last] * times, 1
            elif len(parts) == 1:
                words.add(word)  # 5 squared
        elif unit:
            for name, n in _COMPOUND.get(unit, {unit: 1}).items():
                units[name] = units.get(name, 0) + sign * times * n
            last, times = unit, 1
        elif not _SAYING_NOTHING.match(word):
            words.add(part if len(part) <= 3 and not part.islower() else _singular(word))
    if power and last in units:
        units[last] *= int(power)


_COMPOUND = {"mph": {"mi": 1, "h": -1}, "kph": {"km": 1, "h": -1}}


def _singular(word: str) -> str:
    for ending, rest in (
        ("ies", "y"),
        ("ches", "ch"),
        ("shes", "sh"),
        ("xes", "x"),
        ("sses", "ss"),
    ):
        if word.endswith(ending):
            return word.removesuffix(ending) + rest
    return word.removesuffix("s") if len(word) > 3 and not word.endswith("ss") else word


_NOON = re.compile(r"(?:12(?::00)? ?)?(?:(noon)|midnight)\Z", re.IGNORECASE)
_CLOCK = re.compile(r" ?o'clock\Z")
_TIME = re.compile(
    r"(?:\\text\{)?(?P<hour>[0-9]{1,2})(?::(?P<minute>[0-5][0-9]))?(?::(?P<second>[0-5][0-9]))?"
    r"\s*(?:\\text\{)?\s*(?:(?P<half>[AaPp])\.? ?[Mm]\.?)?\s*\}?\Z"
)


class Time(NamedTuple):
    """A time of day; `half` is "a", "p", or "" where it does not say, `said` whether it does."""

    hour: int
    minute: int
    second: int
    half: str
    said: bool


@lru_cache(maxsize=4096)
def time_of_day(text: str) -> Time | None:
    """7:30, 7:30 PM, 19:30, 7 p.m., 3 o'clock, 12 noon; None for anything else."""
    if noon := _NOON.match(text):
        return Time(0, 0, 0, "p" if noon[1] else "a", True)
    text = _CLOCK.sub(":00", text)
    found = _TIME.match(text)
    if not found or (found["minute"] is None and found["half"] is None):
        return None
    hour, half = int(found["hour"]), (found["half"] or "").casefold()
    if hour > 24 or (half and not 1 <= hour <= 12):
        return None
    said = bool(half)
    if not half and (hour > 12 or hour == 0):
        half = "a" if hour in (0, 24) else "p"
    return Time(hour % 12, int(found["minute"] or 0), int(found["second"] or 0), half, said)


def same_time(a: Time, b: Time) -> bool:
    """Equal times; a missing AM or PM is forgiven where the other one says it in so many words."""
    if a[:3] != b[:3]:
        return False
    if bool(a.half) == bool(b.half):
        return a.half == b.half
    return a.said or b.said


@lru_cache(maxsize=4096)
def is_text(text: str) -> bool:
    """Words, or anything with letters beyond ASCII: compared as strings, never as algebra."""
    if not text.isascii():
        return any(char.isalpha() for char in text if not char.isascii())
    letters = sum(char.isalpha() for char in text)
    return (
        letters > 3
        and bool(_WORD.search(text))
        and all(char.isalpha() or char in " -'.,!?:" for char in text)
    )


_N = r"[0-9]+(?:\.[0-9]+)?"
_NUMBER = re.compile(
    rf"(?P<sign>[+-]?)(?:(?P<whole>[0-9]+)(?: (?={_N}/)| ?(?=\\frac)))?(?:"
    rf"(?P<a>{_N})/(?P<b>{_N})|\\frac\{{(?P<c>-?{_N})\}}\{{(?P<d>-?{_N})\}}"
    rf"|(?P<e>{_N})(?:[eE](?P<f>[+-]?[0-9]{{1,4}})"
    r"|(?:\\times|\\cdot) ?10\^\{?(?P<g>-?[0-9]{1,4})\}?)?)\Z"
)


@lru_cache(maxsize=8192)
def number(text: str) -> Fraction | None:
    """The exact value of an integer, decimal, fraction, mixed number or a*10^b; else None."""
    while text[:1] in ("(", "{") and text[-1:] in (")", "}") and closed(text[1:-1]):
        text = text[1:-1]
    if not text.isascii() or not (found := _NUMBER.match(text)):
        return None
    exponent = int(found["f"] or found["g"] or 0)
    if abs(exponent) > _MAX_EXPONENT:
        return None
    if found["e"]:
        value = Fraction(found["e"]) * Fraction(10) ** exponent
    else:
        top, bottom = (found["a"], found["b"]) if found["a"] else (found["c"], found["d"])
        if not Fraction(bottom):
            return None
        value = Fraction(top) / Fraction(bottom)
    if found["whole"]:
        if value < 0:
            return None
        value += int(found["whole"])
    return -value if found["sign"] == "-" else value


LONG = 10
"""Significant digits from which on a decimal stands for the number that it rounds or cuts off."""

_DECIMAL = re.compile(
    r"[+-]?([0-9]+)\.([0-9]+)(?:[eE]([+-]?[0-9]+)|\\cdot ?10\^\{?(-?[0-9]+)\}?)?\Z"
)


@lru_cache(maxsize=4096)
def last_place(text: str) -> tuple[Fraction, int] | None:
    """The value of a long decimal's last digit and its significant digits; None for the rest."""
    if not (found := _DECIMAL.match(text)):
        return None
    digits = len((found[1] + found[2]).lstrip("0"))
    exponent = int(found[3] or found[4] or 0) - len(found[2])
    if digits < LONG or abs(exponent) > _MAX_EXPONENT + 100:
        return None
    return Fraction(10) ** exponent, digits


def same_rounded(x: Fraction, y: Fraction, a: str, b: str) -> bool:
    """Whether a long decimal among `a` and `b`, of values x and y, stands for the other one.

    They are apart by less than one unit of its last place; of two, of the coarser one's. Decimals
    of 16 and 17 digits, which programs print, may be off by what their arithmetic loses.
    """
    places = [place for text in (a, b) if (place := last_place(text))]
    if not places:
        return False
    if abs(x - y) < max(places)[0]:
        return True
    return max(places)[1] in (16, 17) and abs(x - y) * 2**50 <= max(abs(x), abs(y))


def closed(inside: str) -> bool:
    """Whether the brackets around `inside` are each other's."""
    depth = 0
    for found in re.finditer(r"[({\[]|[)}\]]", inside):
        depth += 1 if found[0] in "([{" else -1
        if depth < 0:
            return False
    return True
