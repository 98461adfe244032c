"""The rules by which two canonical answers mean the same, up to a leaf comparison.

`decide` takes lists, sets, tuples, intervals, matrices, "x =" labels, units and number bases
apart and compares the pieces.  Numbers and words are settled here; whatever is left goes to
`leaf` (math-verify in a worker process, nothing in the caller's).  The answer is three-valued:
None means that only the missing leaf comparison could tell.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache

from reasoning.answers.quantities import closed, is_text, measure, number, same_rounded

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
    (label_a, a), (label_b, b) = _label(gold), _label(prediction)
    if label_a and label_b and label_a != label_b:
        return leaf(gold, prediction)
    if (label_a is None and _is_equation(a)) or (label_b is None and _is_equation(b)):
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
    if "leaf" in kinds and (number(single) is not None or is_text(single)):
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


def _leaf(a: str, b: str, leaf: Leaf) -> bool | None:
    (a, unit_a, base_a), (b, unit_b, base_b) = measure(a), measure(b)
    if (unit_a and unit_b and unit_a != unit_b) or (base_a and base_b and base_a != base_b):
        return False
    if a == b:
        return True
    x, y = number(a), number(b)
    if x is not None and y is not None:
        return x == y or same_rounded(x, y, a, b)
    if is_text(a) or is_text(b):
        return a.casefold() == b.casefold()
    return leaf(a, b)


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


def _signs(text: str) -> tuple[str, ...]:
    """ "a \\pm b" as its two values."""
    if text.count("\\pm") != 1 or "\\mp" in text:
        return (text,)
    left, right = text.split("\\pm")
    inner = left.rpartition("=")[2]
    return (f"{left}+{right}" if inner else f"{left}{right}", f"{left}-{right}")
