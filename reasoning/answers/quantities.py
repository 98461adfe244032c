"""The quantities inside answers: exact numbers, units, number bases, words."""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache

_MAX_EXPONENT = 400  # decimal exponent that is turned into an exact number

_BASE = re.compile(r"([0-9A-F]+)_(?:\{?([0-9]{1,2}|\\text\{[a-z]+\})\}?)\Z")
_ORDINAL = re.compile(r"(?:\^\{?)?(?:\\text\{(?:th|st|nd|rd)\}|(?<=[0-9])(?:th|st|nd|rd)\b)\}?")
_WORD = re.compile(r"[A-Za-z]{3}")
_MONEY = re.compile(r"(-?)(?:\\\$|([€£¥]))")
_SUFFIX = re.compile(
    r"\s*(?:%|\^\\circ\s?(?:\\text\{)?[CF]?\}?|\\[$]|[€£¥]"
    r"|\\text\{(?P<text>[^{}]*)\}(?:\^\{?(?P<power>[0-9])\}?)?"
    r"|(?<=[0-9)}\s])(?P<words>[A-Za-z]{2,}(?: [A-Za-z]{2,})*)(?:\^(?P<exponent>[23]))?)\Z"
)
_ALIASES = {
    "cm": "cm centimeter centimetre", "m": "m meter metre", "km": "km kilometer kilometre",
    "mm": "mm millimeter millimetre", "in": "in inch", "ft": "ft foot feet", "yd": "yd yard",
    "mi": "mi mile", "g": "g gram", "kg": "kg kilogram", "lb": "lb lbs pound", "oz": "oz ounce",
    "s": "s sec second", "min": "min minute", "h": "h hr hour", "day": "day", "week": "week",
    "month": "month", "year": "year yr", "L": "l liter litre", "ml": "ml milliliter millilitre",
    "$": "dollar usd", "cent": "cent", "°": "degree deg", "rad": "radian rad", "%": "percent pct",
    "mph": "mph", "kph": "kph kmh", "cup": "cup", "pint": "pint", "quart": "quart",
    "gallon": "gallon",
}  # fmt: skip
_UNITS = {word: unit for unit, words in _ALIASES.items() for word in words.split()}


@lru_cache(maxsize=4096)
def measure(text: str) -> tuple[str, str | None, str | None]:
    """A quantity's number, its known unit and the base it is written in."""
    unit = None
    if money := _MONEY.match(text):
        text, unit = money[1] + text[money.end() :], money[2] or "$"
    while (found := _SUFFIX.search(text)) and any(char.isdigit() for char in text[: found.start()]):
        words = found["text"] if found["text"] is not None else found["words"]
        if words and len(words) == 1 and words.casefold() not in _UNITS:
            break  # a symbol
        if found["words"] and not all(w in _UNITS or len(w) > 3 for w in words.casefold().split()):
            if not _ORDINAL.search(text):
                break
        elif words is None:
            unit = _symbol_unit(found[0]) or unit
        else:
            unit = _word_unit(words, found["power"] or found["exponent"]) or unit
        text = _ORDINAL.sub("", text[: found.start()] if not _ORDINAL.match(found[0]) else text)
        text = text.rstrip("^ ")
    if found := _BASE.match(text):
        return found[1], unit, found[2]
    return text.strip(), unit, None


def _symbol_unit(text: str) -> str:
    symbol = text.strip().replace("\\$", "$")
    return "°" if symbol.startswith("^") else symbol


def _word_unit(words: str, power: str | None) -> str | None:
    """The known unit in a phrase, with its power: "square inches" is in^2."""
    listed = [w for w in re.split(r"[^a-z]+", words.casefold()) if w]
    for name, exponent in (("square", "2"), ("sq", "2"), ("cubic", "3")):
        power = exponent if name in listed else power
    units = [_UNITS[s] for w in listed for s in (w, w[:-1], w[:-2]) if s in _UNITS][:3]
    return "/".join(units) + (f"^{power}" if power else "") if units else None


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
    r"|(?:\\times|\\cdot)10\^\{?(?P<g>-?[0-9]{1,4})\}?)?)\Z"
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


def same_rounded(x: Fraction, y: Fraction, a: str, b: str) -> bool:
    """A decimal of ten or more significant digits equals the number it rounds."""
    long = any("." in t and len(re.sub(r"\D", "", t).lstrip("0")) >= 10 for t in (a, b))
    return long and abs(x - y) * 10**9 <= max(abs(x), abs(y))


def closed(inside: str) -> bool:
    """Whether the brackets around `inside` are each other's."""
    depth = 0
    for found in re.finditer(r"[({\[]|[)}\]]", inside):
        depth += 1 if found[0] in "([{" else -1
        if depth < 0:
            return False
    return True
