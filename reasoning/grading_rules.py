"""The rules by which two canonical answers mean the same, up to a leaf comparison.

`decide` takes lists, sets, tuples, intervals, matrices, "x =" labels, units and number bases
apart and compares the pieces.  Numbers and words are settled here; whatever is left goes to
`leaf` (math-verify in a worker process, nothing in the caller's).  The answer is three-valued:
None means that only the missing leaf comparison could tell.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from fractions import Fraction
from functools import lru_cache

Leaf = Callable[[str, str], "bool | None"]

_MAX_PIECES = 64  # elements of a collection that are compared pairwise
_MAX_EXPONENT = 400  # decimal exponent that is turned into an exact number


def unknown(gold: str, prediction: str) -> bool | None:
    """The leaf comparison that cannot tell."""
    return None


def decide(gold: str, prediction: str, leaf: Leaf = unknown) -> bool | None:
    """Whether two canonical answers are equal; None where `leaf` returned None."""
    if not gold or not prediction:
        return False
    if gold == prediction:
        return True
    (label_a, a), (label_b, b) = _label(gold), _label(prediction)
    if label_a and label_b and label_a != label_b:
        return leaf(gold, prediction)
    if label_a is None and _is_equation(a) or label_b is None and _is_equation(b):
        # An equation other than "x = ..." is not its right-hand side.
        return leaf(gold, prediction) if "=" in gold and "=" in prediction else False
    return True if a == b else _pieces(a, b, leaf)


def _pieces(a: str, b: str, leaf: Leaf) -> bool | None:
    (kind_a, items_a), (kind_b, items_b) = _parse(a), _parse(b)
    kinds = {kind_a, kind_b}
    if kinds == {"leaf"}:
        return _leaf(a, b, leaf)
    if max(len(items_a), len(items_b)) > _MAX_PIECES:
        return False
    if kinds <= {"list", "set"}:
        return _same_elements(items_a, items_b, leaf)
    if kinds == {"tuple", "set"}:
        return False
    vectors = kinds <= {"tuple", "list", "matrix 1"}
    if vectors or kind_a == kind_b:  # ordered
        if len(items_a) != len(items_b):
            return False
        return _all(decide(x, y, leaf) for x, y in zip(items_a, items_b, strict=True))
    if kinds <= {"tuple", "[]", "[)", "(]"}:
        return False
    if "leaf" in kinds and kinds & {"list", "set"}:
        return _same_elements(items_a, items_b, leaf)
    single = a if kind_a == "leaf" else b
    if "leaf" in kinds and (number(single) is not None or _is_text(single)):
        return False
    return leaf(a, b)


def _all(values: Iterable[bool | None]) -> bool | None:
    result: bool | None = True
    for value in values:
        if value is False:
            return False
        result = None if value is None else result
    return result


def _any(values: Iterable[bool | None]) -> bool | None:
    refuted = _all(None if value is None else not value for value in values)
    return None if refuted is None else not refuted


def _same_elements(a: tuple[str, ...], b: tuple[str, ...], leaf: Leaf) -> bool | None:
    """Equality as sets: order and repetition do not count."""
    return _all(
        _any(decide(*((x, y) if first is a else (y, x)), leaf) for y in second)
        for first, second in ((a, b), (b, a))
        for x in first
    )


# ------------------------------------------------------------------------------ pieces

_SYMBOLIC = re.compile(r"(?:[A-Za-z{}()\[\]|,:' ]|\\[A-Za-z]+|\\ )+\Z")
_NOT_SYMBOLIC = re.compile(r"\\(?:pm|mp|cdot|times|le|ge|ne|sqrt|in|cup|cap)(?![A-Za-z])")
_SUBSCRIPT = re.compile(r"_(?:\{[A-Za-z0-9,]*\}|[A-Za-z0-9])|(?<=[A-Za-z])\([A-Za-z0-9, ]*\)")
_ARITHMETIC = re.compile(r"(?:[-0-9+*/.(){}\^ %]|\\(?:frac|cdot|times|div|sqrt)(?![A-Za-z]))+\Z")


@lru_cache(maxsize=4096)
def _label(text: str) -> tuple[str | None, str]:
    """ "x=5" as ("x", "5"): what an answer is called and what it is.  "" names arithmetic."""
    left, approximately, right = text.partition("\\approx")
    if approximately and left and "=" not in left and not _is_symbol(left):
        text = left  # "1/3 \approx 0.33" states 1/3
    elif approximately:
        text = left if "=" in left else f"{left}={right}" if left else right
    if _is_equation(text):
        *names, value = text.split("=")
        if value and _is_symbol(names[0]):
            return names[0], value
        if value and all(_ARITHMETIC.match(name) or _is_symbol(name) for name in names):
            if len(names) > 1 or not any(char.isalpha() for char in value):
                return "", value  # "2+3=5"
    elif "\\in" in text:
        left, _, right = text.partition("\\in")
        if right[:1] in ("(", "[", "\\", "{") and right[:2] != "\\f" and _is_symbol(left):
            return left, right
    return None, text


def _is_equation(text: str) -> bool:
    return "=" in text and len(_split(text)) == 1


def _is_symbol(text: str) -> bool:
    bare = _SUBSCRIPT.sub("", text)
    return bool(_SYMBOLIC.match(bare)) and not _NOT_SYMBOLIC.search(bare)


_MATRIX = re.compile(r"\\begin\{([pbB]?matrix)\}(.*)\\end\{\1\}\Z")


@lru_cache(maxsize=4096)
def _parse(text: str) -> tuple[str, tuple[str, ...]]:
    """Kind and elements: list, set, tuple, an interval's brackets, matrix and columns, leaf."""
    elements = _split(text)
    if len(elements) > 1:
        return "list", tuple(dict.fromkeys(y for x in elements for y in _signs(x)))
    if found := _MATRIX.match(text):
        rows = [row.split("&") for row in found[2].removesuffix("\\\\").split("\\\\")]
        if len({len(row) for row in rows}) == 1:
            columns = 1 if len(rows) == 1 else len(rows[0])  # a row or a column is a vector
            return f"matrix {columns}", tuple(cell.strip() for row in rows for cell in row)
    if text.startswith("\\{") and text.endswith("\\}") and _closed(text[2:-2]):
        inner = _split(text[2:-2])
        if not any(sign in text for sign in ("\\mid", "|", "<", ">", "\\le", "\\ge")):
            return "set", tuple(y for x in inner for y in _signs(x))
    if len(text) > 2 and text[0] in "([" and text[-1] in ")]" and _closed(text[1:-1]):
        inner = _split(text[1:-1])
        if len(inner) > 1:
            brackets = text[0] + text[-1]
            ordered = brackets == "()" or brackets == "[]" and len(inner) > 2
            return "tuple" if ordered else brackets, tuple(inner)
    both = _signs(text)
    return "list" if len(both) == 2 else "leaf", both


_TOKEN = re.compile(r"\\begin|\\end|\\?[({\[]|\\?[)}\]]|[,;]")


def _split(text: str) -> list[str]:
    """The parts between the commas (or else semicolons) that no bracket encloses."""
    if "," not in text and ";" not in text:
        return [text]
    cuts: dict[str, list[int]] = {",": [], ";": []}
    depth = 0
    for found in _TOKEN.finditer(text):
        token = found[0]
        if token in cuts and depth == 0:
            cuts[token].append(found.start())
        elif token not in cuts:
            depth += 1 if token == "\\begin" or token[-1] in "([{" else -1
    chosen = cuts[";"] or cuts[","]
    ends = zip([-1, *chosen], [*chosen, len(text)], strict=True)
    return [part for i, j in ends if (part := text[i + 1 : j].strip())] or [text]


def _closed(inside: str) -> bool:
    """Whether the brackets around `inside` are each other's."""
    depth = 0
    for found in re.finditer(r"[({\[]|[)}\]]", inside):
        depth += 1 if found[0] in "([{" else -1
        if depth < 0:
            return False
    return True


def _signs(text: str) -> tuple[str, ...]:
    """ "a \\pm b" as its two values."""
    if text.count("\\pm") != 1 or "\\mp" in text:
        return (text,)
    left, right = text.split("\\pm")
    inner = left.rpartition("=")[2]
    return (f"{left}+{right}" if inner else f"{left}{right}", f"{left}-{right}")


# ------------------------------------------------------------------------------ leaves

_BASE = re.compile(r"([0-9A-F]+)_(?:\{?([0-9]{1,2}|\\text\{[a-z]+\})\}?)\Z")
_ORDINAL = re.compile(r"(?:\^\{?)?(?:\\text\{(?:th|st|nd|rd)\}|(?<=[0-9])(?:th|st|nd|rd)\b)\}?")
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
    "mph": "mph", "kph": "kph kmh",
}  # fmt: skip
_UNITS = {word: unit for unit, words in _ALIASES.items() for word in words.split()}


def _leaf(a: str, b: str, leaf: Leaf) -> bool | None:
    (a, unit_a, base_a), (b, unit_b, base_b) = _measure(a), _measure(b)
    if unit_a and unit_b and unit_a != unit_b or base_a and base_b and base_a != base_b:
        return False
    if a == b:
        return True
    x, y = number(a), number(b)
    if x is not None and y is not None:
        return x == y or _same_rounded(x, y, a, b)
    if _is_text(a) or _is_text(b):
        return a.casefold() == b.casefold()
    return leaf(a, b)


@lru_cache(maxsize=4096)
def _measure(text: str) -> tuple[str, str | None, str | None]:
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


def _is_text(text: str) -> bool:
    """Words, or anything with letters beyond ASCII: compared as strings, never as algebra."""
    if not text.isascii():
        return any(char.isalpha() for char in text if not char.isascii())
    letters = sum(char.isalpha() for char in text)
    return letters > 3 and all(char.isalpha() or char in " -'.,!?:" for char in text)


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
    while text[:1] in ("(", "{") and text[-1:] in (")", "}") and _closed(text[1:-1]):
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


def _same_rounded(x: Fraction, y: Fraction, a: str, b: str) -> bool:
    """A decimal of ten or more significant digits equals the number it rounds."""
    long = any("." in t and len(re.sub(r"\D", "", t).lstrip("0")) >= 10 for t in (a, b))
    return long and abs(x - y) * 10**9 <= max(abs(x), abs(y))
