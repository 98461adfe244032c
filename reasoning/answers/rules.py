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

from reasoning.answers.compound import in_units
from reasoning.answers.notation import respelled
from reasoning.answers.numeric import same_by_value
from reasoning.answers.quantities import (
    closed,
    is_text,
    measure,
    number,
    same_rounded,
    same_time,
    time_of_day,
)

Leaf = Callable[[str, str], "bool | None"]

_MAX_PIECES = 64  # elements of a collection that are compared pairwise


def unknown(_gold: str, _prediction: str) -> bool | None:
    """The leaf comparison that cannot tell."""
    return None


def decide(gold: str, prediction: str, leaf: Leaf = unknown) -> bool | None:
    """Whether two canonical answers are equal; None where `leaf` returned None."""
    if not gold or not prediction:
        return False
    if gold == prediction:
        return True
    a, b = respelled(gold), respelled(prediction)
    return a == b or _decide(a, b, leaf)


def _decide(gold: str, prediction: str, leaf: Leaf) -> bool | None:
    if gold == prediction:
        return True
    if _ORDER.search(gold) or _ORDER.search(prediction):
        return _regions(gold, prediction, leaf)
    (label_a, a), (label_b, b) = _label(gold), _label(prediction)
    if label_a and label_b and label_a != label_b and not _same_function(label_a, a, label_b, b):
        return leaf(gold, prediction)
    if (label_a is None and _is_equation(a)) or (label_b is None and _is_equation(b)):
        # An equation other than "x = ..." is not its right-hand side.
        return leaf(gold, prediction) if "=" in gold and "=" in prediction else False
    if (first := in_units(a)) or (second := in_units(b)):
        return first == (in_units(b) if first else second)
    return True if a == b else _pieces(a, b, leaf)


def _same_function(label_a: str, a: str, label_b: str, b: str) -> bool:
    """Whether W(x) = 1 and W(n) = 1 name one function, of whose argument the values say nothing."""
    x, y = _VALUE_AT.match(label_a), _VALUE_AT.match(label_b)
    return bool(x and y and x[1] == y[1] and x[2] not in a and y[2] not in b)


_VALUE_AT = re.compile(r"([A-Za-z]+)\(([A-Za-z])\)\Z")
_ORDER = re.compile(r"[<>]|\\(?:le|ge|ne|lor|land|mid)(?![A-Za-z])")


def _regions(a: str, b: str, leaf: Leaf) -> bool | None:
    """Inequalities, what "or" joins, and the sets that they may be equal to."""
    if any(number(x) is not None or is_text(x) for x in (a, b)):
        return False
    (kind_a, items_a), (kind_b, items_b) = _parse(a), _parse(b)
    if kind_a == kind_b == "list" and _same_elements(items_a, items_b, leaf):
        return True
    return leaf(a, b)


def _pieces(a: str, b: str, leaf: Leaf) -> bool | None:
    (kind_a, items_a), (kind_b, items_b) = _parse(a), _parse(b)
    kinds = {kind_a, kind_b}
    if kinds == {"leaf"}:
        return _leaf(a, b, leaf)
    if max(len(items_a), len(items_b)) > _MAX_PIECES:
        return False
    if kinds == {"set"} and len({any(x[:2] == "\\{" for x in i) for i in (items_a, items_b)}) > 1:
        return False  # a set of sets
    if kinds <= {"list", "set"}:
        return _same_elements(items_a, items_b, leaf)
    if kinds == {"tuple", "set"}:
        return False
    if kinds == {"row", "matrix 1"}:
        return False
    vectors = kinds <= {"tuple", "list", "matrix 1"} or kinds <= {"tuple", "list", "row"}
    if vectors or kind_a == kind_b:  # ordered
        if len(items_a) != len(items_b):
            return False
        if kind_a != kind_b:
            items_a, items_b = _by_name(items_a), _by_name(items_b)
        return _all(_decide(x, y, leaf) for x, y in zip(items_a, items_b, strict=True))
    if kinds <= {"tuple", "[]", "[)", "(]"}:
        return False
    if kinds == {"leaf", "set"} and "\\emptyset" in (a, b):
        return False  # the set of the empty set
    if "leaf" in kinds and kinds & {"list", "set"}:
        return _same_elements(items_a, items_b, leaf)
    single = a if kind_a == "leaf" else b
    if "leaf" in kinds and (number(single) is not None or is_text(single)):
        return False
    return leaf(a, b)


def _by_name(items: tuple[str, ...]) -> tuple[str, ...]:
    """y = 3, x = 2 as x = 2, y = 3: the order of a tuple is that of the names."""
    names = [_label(item)[0] for item in items]
    if not all(names):
        return items
    return tuple(item for _, item in sorted(zip(names, items, strict=True)))


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
        _any(_decide(*((x, y) if first is a else (y, x)), leaf) for y in second)
        for first, second in ((a, b), (b, a))
        for x in first
    )


def _leaf(a: str, b: str, leaf: Leaf) -> bool | None:
    if (timed := _times(a, b)) is not None:
        return timed
    if any(_DATE.match(x) or _years(x) or _ALONE.search(x) for x in (a, b)):
        return False  # equal in spelling only
    if _SYMBOLS.match(a) and _SYMBOLS.match(b) and a.casefold() == b.casefold():
        return measure(a).unit is not None and measure(a) == measure(b)  # 5 Mg is not 5 mg
    first, second = measure(a), measure(b)
    if not first.agrees(second):
        return False
    a, b = first.number, second.number
    if a == b:
        return True
    x, y = number(a), number(b)
    if x is not None and y is not None:
        return x == y or same_rounded(x, y, a, b)
    if is_text(a) or is_text(b):
        return a.casefold() == b.casefold()
    if a.isalnum() and b.isalnum() and not (a + b).isdigit():
        constants = (a + b).isalpha() or not set(a) ^ set(b) & set("eEiI")  # 2e is not 2E
        return (constants and a.casefold() == b.casefold()) or _same_product(a, b)
    if ":" in a or ":" in b:
        return _ratios(a, b, leaf)
    if _MATRICES.search(a) or _MATRICES.search(b):
        return False  # the order of factors may count: they are equal in spelling only
    a, b = _spelled(a, x), _spelled(b, y)
    value = same_by_value(a, b)
    return leaf(a, b) if value is None else value


_DATE = re.compile(  # and numbers to be called, neither of which is a difference
    r"[0-9]{4}-[0-1][0-9]-[0-3][0-9]\Z|[0-9]{1,2}([-/])[0-9]{1,2}\1[0-9]{4}\Z"
    r"|(?:[0-9]-)?(?:[0-9]{3}-)?[0-9]{3}-[0-9]{4}\Z"
)
_YEARS = re.compile(r"(1[0-9]|20)([0-9]{2})-(1[0-9]|20)?([0-9]{2})\Z")
_ALONE = re.compile(  # cross products and derivatives
    r"\\(?:vec|hat|widehat|overrightarrow|overline|boldsymbol)\b.*\\times\b|\\nabla\b"
    r"|\\frac\{(?:d|\\partial)[^{}]*\}\{(?:d|\\partial ?)[a-z]\}"
)
_SYMBOLS = re.compile(r".*[0-9}] [A-Za-z]{2,3}\Z")
_MATRICES = re.compile(r"[A-Z]\^(?:\{-1\}|-1|T|\{T\})")


def _years(text: str) -> bool:
    """From one year to a later one: 2023-24, 1999-00, 1914-1918."""
    if not (found := _YEARS.match(text)):
        return False
    return found[4] == "00" or found[1] + found[2] < (found[3] or found[1]) + found[4]


def _spelled(text: str, value: Fraction | None) -> str:
    """A number that has a form of its own (1e-5, 2 1/2) as a fraction; anything else as it is."""
    if value is None or not re.search(r"[eE ]", text):
        return text
    return f"\\frac{{{value.numerator}}}{{{value.denominator}}}"


_PRODUCT = re.compile(r"([0-9]*)([abcp-z]{1,3})\Z")


def _same_product(a: str, b: str) -> bool:
    """Whether 2xy and 2yx, of few letters that variables have; AB, cat and B2 are names."""
    x, y = _PRODUCT.match(a), _PRODUCT.match(b)
    return bool(x and y and x[1] == y[1] and sorted(x[2]) == sorted(y[2]) and (x[1] or len(a) < 3))


_ZERO = re.compile(r":0[0-9]")


def _times(a: str, b: str) -> bool | None:
    """Whether two times of day are one; None where they may be something else."""
    x, y = time_of_day(a), time_of_day(b)
    if x and y:
        return same_time(x, y)
    if (x and _ZERO.search(a)) or (y and _ZERO.search(b)):
        return False  # 7:05 is not 7 to 5
    if (x and x.said) or (y and y.said):
        time, other = (x, number(b)) if x else (y, number(a))
        return bool(time and other == (time.hour or 12) and not time.minute and not time.second)
    return None


def _ratios(a: str, b: str, leaf: Leaf) -> bool | None:
    """a : b : c equals its multiples, a : b the fraction."""
    (*first,), (*second,) = ([_group(part) for part in at_top(x, ":")] for x in (a, b))
    if any(part == "{}" for part in (*first, *second)):
        return False
    if len(first) != len(second):
        if {len(first), len(second)} != {1, 2}:
            return False
        (*single,), (top, bottom) = sorted((first, second), key=len)
        return _leaf(f"\\frac{top}{bottom}", single[0][1:-1], leaf)
    if len(first) == 1:
        return leaf(a, b)
    pairs = zip(first[1:], second[1:], strict=True)
    return _all(_leaf(first[0] + y, second[0] + x, leaf) for x, y in pairs)


def _group(text: str) -> str:
    return "{" + text.strip() + "}"


# ------------------------------------------------------------------------------ pieces

_SYMBOLIC = re.compile(r"(?:[A-Za-z{}()\[\]|,:' ]|\\[A-Za-z]+|\\ )+\Z")
_NOT_SYMBOLIC = re.compile(r"\\(?:pm|mp|cdot|times|le|ge|ne|sqrt|in|cup|cap)(?![A-Za-z])")
_SUBSCRIPT = re.compile(r"_(?:\{[A-Za-z0-9,]*\}|[A-Za-z0-9])|(?<=[A-Za-z])\([A-Za-z0-9, ]*\)")
_ARITHMETIC = re.compile(r"(?:[-0-9+*/.(){}\^ %]|\\(?:frac|cdot|times|div|sqrt)(?![A-Za-z]))+\Z")


@lru_cache(maxsize=4096)
def _label(text: str) -> tuple[str | None, str]:
    """ "x=5" as ("x", "5"): what an answer is called and what it is.  "" names arithmetic."""
    left, approximately, right = text.partition("\\approx")
    if approximately and left and len(at_top(left, "=")) == 1 and not _is_symbol(left):
        text = left  # "1/3 \approx 0.33" states 1/3
    elif approximately:
        text = left if "=" in left else f"{left}={right}" if left else right
    if _is_equation(text):
        *names, value = at_top(text, "=")
        if value and _is_symbol(names[0]):
            return names[0], value
        arithmetic = all(_ARITHMETIC.match(name) or _is_symbol(name) for name in names)
        constant = not re.search(r"(?<![A-Za-z\\])[A-Za-z]", re.sub(r"\\[A-Za-z]+", " ", value))
        if value and (arithmetic and (constant or len(names) > 1)):
            return "", value  # "2+3=5"
        if constant and len(names) > 1 and _ARITHMETIC.match(names[-1]):
            return "", value  # "a+b=2+3=5"
    elif "\\in" in text:
        left, _, right = text.partition("\\in")
        if right[:1] in ("(", "[", "\\", "{") and right[:2] != "\\f" and _is_symbol(left):
            return left, right
    return None, text


def _is_equation(text: str) -> bool:
    return "=" in text and len(at_top(text, "=")) > 1 and len(_split(text)) == 1


@lru_cache(maxsize=4096)
def at_top(text: str, sign: str) -> tuple[str, ...]:
    """The parts between the signs that no bracket encloses: of \\sum_{k=1} there is one."""
    parts, depth, start = [], 0, 0
    for found in re.finditer(rf"\\?[({{\[]|\\?[)}}\]]|{re.escape(sign)}", text):
        if found[0] != sign:
            depth += 1 if found[0][-1] in "([{" else -1
        elif depth == 0:
            parts.append(text[start : found.start()])
            start = found.end()
    return (*parts, text[start:])


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
            kind = "row" if len(rows) == 1 < len(rows[0]) else f"matrix {len(rows[0])}"
            return kind, tuple(cell.strip() for row in rows for cell in row)
    if len(text) > 4 and text[:2] == "\\{" and text[-2:] == "\\}" and closed(text[2:-2]):
        inner = _split(text[2:-2])
        if not any(sign in text for sign in ("\\mid", "|", "<", ">", "\\le", "\\ge")):
            return "set", tuple(y for x in inner for y in _signs(x))
    if len(text) > 2 and text[0] in "([" and text[-1] in ")]" and closed(text[1:-1]):
        inner = _split(text[1:-1])
        if len(inner) > 1:
            brackets = text[0] + text[-1]
            ordered = brackets == "()" or (brackets == "[]" and len(inner) > 2)
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


_PLUS_MINUS = re.compile(r"\\pm(?![A-Za-z])")


def _signs(text: str) -> tuple[str, ...]:
    """ "a \\pm b" as its two values."""
    if len(_PLUS_MINUS.findall(text)) != 1 or "\\mp" in text:
        return (text,)
    left, right = _PLUS_MINUS.split(text)
    inner = left.rpartition("=")[2]
    return (f"{left}+{right}" if inner else f"{left}{right}", f"{left}-{right}")
