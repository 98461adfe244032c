"""Whether two formulas certainly differ or are certainly equal, by their values.

A formula is evaluated at a few fixed points, in rational numbers as long as they go, else in
complex floating point with a bound on the error: a ball around the number computed. Rational
values that are equal at all points make two formulas equal (by Schwartz and Zippel, but for a
chance far below one in a million for the degrees that answers have); values whose balls do not
meet make them different. For the rest there are more digits, in a worker process.

Plain Python, microseconds; no input makes it slow: numbers are bounded in length.
"""

from __future__ import annotations

import cmath
import math
import re
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple, TypeAlias

from reasoning.answers.syntax import Tree, read, variables

POINTS = 5
"""Where formulas with variables are evaluated: two points of positive coordinates, one of negative
ones, two of both."""

LONG = 10
"""Significant digits from which on a decimal stands for the number that it rounds."""

TERMS = 1000
"""Terms of a sum or a product that are written out."""

_BITS = 40_000  # of an exact number
_EPS = 2.0**-50


class Ball(NamedTuple):
    """A complex number within `error` of `value`."""

    value: complex
    error: float


Value: TypeAlias = "Fraction | Ball"


class UnknownError(Exception):
    """A value that this arithmetic cannot bound, or that there is none of."""


def same_by_value(a: str, b: str) -> bool | None:
    """Whether two formulas are equal; None where only more digits or algebra could tell.

    A variable's case counts only where one of them uses both.
    """
    kept = both_cases(a, b)
    x, y = values(a, kept), values(b, kept)
    if x is None or y is None:
        return None
    moved = [[[values(t, kept) or () for t in both] for both in nudged(side)] for side in (a, b)]
    allowed = tolerance(a, b)
    algebraic = len(x) == len(y) == 1 or (_rational(read(a)) and _rational(read(b)))
    sure = algebraic and not allowed
    if len(x) != len(y):  # one is constant
        x, y = (v * POINTS if len(v) == 1 else v for v in (x, y))
    sure = True
    for k, (left, right) in enumerate(zip(x, y, strict=True)):
        if left is None or right is None:
            sure = False
        elif isinstance(left, Fraction) and isinstance(right, Fraction):
            apart = abs(left - right)
            steps = [_step(value, k, by) for value, by in zip((left, right), moved, strict=True)]
            if apart and apart >= max(steps):
                return False
        else:
            (p, e), (q, f) = _ball(left), _ball(right)
            if abs(p - q) > 4 * (e + f) + float(allowed) * max(abs(p), abs(q)):
                return False
            sure = False
    return True if sure else None


_DECIMAL = re.compile(r"([0-9]+)\.([0-9]+)")
_ARITHMETIC = Fraction(1, 2**50)
"""What the arithmetic of programs may lose, which print 16 or 17 digits."""


def tolerance(*texts: str) -> Fraction:
    """Roughly how far apart two formulas may be, as a share of the larger: see `nudged`."""
    digits = [m[1] + m[2] for text in texts if "." in text for m in _DECIMAL.finditer(text)]
    long = [bare for text in digits if len(bare := text.lstrip("0")) >= LONG]
    return max((Fraction(_last(bare), int(bare)) for bare in long), default=Fraction(0))


def _last(bare: str) -> int:
    """How many units of its last place a long decimal may be off."""
    return max(1, math.ceil(int(bare) * _ARITHMETIC)) if len(bare) in (16, 17) else 1


@lru_cache(maxsize=8192)
def nudged(text: str) -> tuple[tuple[str, str], ...]:
    """The formula with each long decimal, one at a time, a unit of its last place larger; smaller.

    A long decimal stands for a number less than that away: what the formula's value moves by, at
    least, is what it may be off.
    """
    found = []
    for decimal in _DECIMAL.finditer(text) if "." in text else ():
        digits = decimal[1] + decimal[2]
        if len(bare := digits.lstrip("0")) >= LONG:
            off, places = _last(bare), len(decimal[2])
            both = (str(int(digits) + n).zfill(len(digits)) for n in (off, -off))
            spelled = [f"{number[:-places]}.{number[-places:]}" for number in both]
            more, less = (text[: decimal.start()] + n + text[decimal.end() :] for n in spelled)
            found.append((more, less))
    return tuple(found)


def _step(value: Fraction, k: int, moved: Sequence[Sequence[tuple[Value | None, ...]]]) -> Fraction:
    """How far the value at point k is moved by all that is nudged."""
    total = Fraction(0)
    for both in moved:
        there = (by[min(k, len(by) - 1)] for by in both if by)
        total += min((abs(v - value) for v in there if isinstance(v, Fraction)), default=0)
    return total


@lru_cache(maxsize=8192)
def _rational(tree: Tree | None) -> bool:
    """Whether a tree is a quotient of polynomials: no root, no absolute value, no power by x."""
    if tree is None or tree[0] in ("root", "abs", "sum", "prod"):
        return False
    if tree[0] == "power" and variables(tree[2]):
        return False
    return all(_rational(part) for part in tree if isinstance(part, tuple))


@lru_cache(maxsize=8192)
def _letters(text: str) -> frozenset[str]:
    return frozenset(re.sub(r"\\[A-Za-z]+", " ", text)) - frozenset(" 0123456789{}()+-*/^_")


def both_cases(a: str, b: str) -> frozenset[str]:
    """The letters, lower-cased, that one of the two formulas uses in both cases."""
    kept = set()
    for letters in (_letters(a), _letters(b)):
        kept |= {x.lower() for x in letters if x.isupper() and x.lower() in letters}
    return frozenset(kept)


@lru_cache(maxsize=8192)
def values(text: str, kept: frozenset[str]) -> tuple[Value | None, ...] | None:
    """A formula's values at the points; one if it is constant; None if it cannot be read."""
    if (tree := read(text)) is None:
        return None
    names = variables(tree)
    found: list[Value | None] = []
    for k in range(POINTS if names else 1):
        try:
            found.append(_value(tree, {name: point(name, k, kept) for name in names}))
        except (UnknownError, OverflowError, ZeroDivisionError, ValueError):
            found.append(None)
    return tuple(found)


def point(name: str, k: int, kept: frozenset[str]) -> Fraction:
    """The coordinate of a variable at point k: between 1/4 and 8, negative at some from k = 2."""
    if name[0] != "\\" and name[0].lower() not in kept and name not in ("E", "I"):
        name = name.lower()
    digest = blake2b(f"{name}/{k}".encode(), digest_size=8).digest()
    top = int.from_bytes(digest[:4], "big") | 1
    value = Fraction(2**30 + top % (2**32 if k % 2 else 2**30), 2**29 if k % 2 else 2**31)
    return -value if k == 2 or (k > 2 and digest[7] % 2) else value


def _ball(value: Value) -> Ball:
    if isinstance(value, Fraction):
        x = float(value)
        return Ball(complex(x), abs(x) * _EPS + 1e-300)
    return value


def _value(tree: Tree, at: Mapping[str, Fraction]) -> Value:
    kind = tree[0]
    if kind == "number":
        return Fraction(tree[1])
    if kind == "variable":
        return at[tree[1]]
    if kind == "constant":
        exact = {"pi": complex(math.pi), "e": complex(math.e), "i": 1j}[tree[1]]
        return Ball(exact, 0.0 if tree[1] == "i" else 1e-15)
    if kind in ("sum", "prod"):
        return _series(tree, at)
    if kind == "power" and tree[1] == ("constant", "e"):
        return _exp(_value(tree[2], at))
    arguments = [_value(part, at) for part in tree[1:]]
    value = _OPERATIONS[kind](*arguments) if kind in _OPERATIONS else _function(kind, *arguments)
    if isinstance(value, Fraction):
        if value.numerator.bit_length() + value.denominator.bit_length() > _BITS:
            raise UnknownError
    elif not (cmath.isfinite(value.value) and math.isfinite(value.error)):
        raise UnknownError
    return value


def _series(tree: Tree, at: Mapping[str, Fraction]) -> Value:
    kind, index, lower, upper, body = tree
    first, last = _value(lower, at), _value(upper, at)
    whole = [int(x) for x in (first, last) if isinstance(x, Fraction) and x.denominator == 1]
    if len(whole) < 2 or not 0 <= whole[1] - whole[0] < TERMS:
        raise UnknownError
    total: Value = Fraction(0 if kind == "sum" else 1)
    for k in range(whole[0], whole[1] + 1):
        total = _OPERATIONS["add" if kind == "sum" else "multiply"](
            total, _value(body, {**at, index: Fraction(k)})
        )
    return total


def _add(a: Value, b: Value) -> Value:
    if isinstance(a, Fraction) and isinstance(b, Fraction):
        return a + b
    (x, e), (y, f) = _ball(a), _ball(b)
    return Ball(x + y, e + f + _EPS * abs(x + y))


def _negative(a: Value) -> Value:
    return -a if isinstance(a, Fraction) else Ball(-a.value, a.error)


def _multiply(a: Value, b: Value) -> Value:
    if isinstance(a, Fraction) and isinstance(b, Fraction):
        return a * b
    (x, e), (y, f) = _ball(a), _ball(b)
    return Ball(x * y, abs(x) * f + abs(y) * e + e * f + _EPS * abs(x * y) + 1e-300)


def _divide(a: Value, b: Value) -> Value:
    if isinstance(a, Fraction) and isinstance(b, Fraction):
        return a / b
    (x, e), (y, f) = _ball(a), _ball(b)
    if abs(y) <= 2 * f:
        raise UnknownError
    return Ball(x / y, (e + abs(x / y) * f) / (abs(y) - f) + _EPS * abs(x / y) + 1e-300)


def _exp(a: Value) -> Value:
    if a == 0:
        return Fraction(1)
    x, e = _ball(a)
    size = abs(cmath.exp(x))
    return Ball(cmath.exp(x), size * (math.expm1(e) + _EPS * (2 + abs(x))) + 1e-300)


def _ln(a: Value) -> Value:
    if a == 1:
        return Fraction(0)
    x, e = _ball(a)
    real = isinstance(a, Fraction) or x.imag == 0
    if abs(x) <= 2 * e or (x.real <= 0 if real else x.real <= 0 and abs(x.imag) <= 2 * e):
        raise UnknownError
    return Ball(cmath.log(x), e / (abs(x) - e) + _EPS * (1 + abs(cmath.log(x))))


def _power(a: Value, b: Value) -> Value:
    if isinstance(b, Fraction) and b.denominator == 1:
        return _whole_power(a, int(b))
    if isinstance(a, Fraction) and isinstance(b, Fraction) and b.denominator <= 64:
        if a < 0 and b.denominator % 2:
            raise UnknownError  # the real root, or the principal one
        return _whole_power(_root(Fraction(b.denominator), a), b.numerator)
    if isinstance(a, Fraction) and a < 0:
        return _exp(_multiply(b, _add(_ln(-a), Ball(complex(0, math.pi), 1e-15))))
    return _exp(_multiply(b, _ln(a)))


def _whole_power(a: Value, n: int) -> Value:
    if isinstance(a, Fraction):
        bits = a.numerator.bit_length() + a.denominator.bit_length()
        if (a == 0 and n <= 0) or bits * abs(n) > _BITS:
            raise UnknownError
        return a**n
    x, e = a
    relative = abs(n) * (e / abs(x) if x else math.inf)
    if not relative < 0.1:
        raise UnknownError
    value = x**n
    return Ball(value, abs(value) * (1.3 * relative + _EPS * (2 + abs(n))) + 1e-300)


def _root(degree: Value, a: Value) -> Value:
    if not isinstance(degree, Fraction) or degree.denominator != 1 or not 2 <= degree <= 64:
        raise UnknownError
    n = int(degree)
    if isinstance(a, Fraction):
        if a < 0:
            found = _root(degree, -a)
            if n % 2:
                return _negative(found)
            turn = Ball(cmath.exp(1j * math.pi / n), 1e-15) if n > 2 else Ball(1j, 0.0)
            return _multiply(found, turn)
        if a.numerator.bit_length() < 900 and a.denominator.bit_length() < 900:
            top, bottom = (round(int(part) ** (1 / n)) for part in (a.numerator, a.denominator))
            if bottom and Fraction(top, bottom) ** n == a:
                return Fraction(top, bottom)
    x, e = _ball(a)
    if abs(x) <= 4 * e or (x.real <= 0 and abs(x.imag) <= 2 * e):
        raise UnknownError
    value: complex = x ** (1 / n)
    return Ball(value, abs(value) * (e / (abs(x) - e) + 4 * _EPS))


def _absolute(a: Value) -> Value:
    return abs(a) if isinstance(a, Fraction) else Ball(complex(abs(a.value)), a.error)


def _factorial(a: Value) -> Value:
    if not isinstance(a, Fraction) or a.denominator != 1 or not 0 <= a <= 3000:
        raise UnknownError
    return Fraction(math.factorial(int(a)))


def _binomial(a: Value, b: Value) -> Value:
    whole = [x for x in (a, b) if isinstance(x, Fraction) and x.denominator == 1]
    if len(whole) < 2 or not 0 <= whole[1] <= whole[0] <= 10_000:
        raise UnknownError
    return Fraction(math.comb(int(whole[0]), int(whole[1])))


def _log(base: Value, a: Value) -> Value:
    return _divide(_ln(a), _ln(base))


_OPERATIONS: dict[str, Callable[..., Value]] = {
    "add": _add, "negative": _negative, "multiply": _multiply, "divide": _divide, "power": _power,
    "root": _root, "abs": _absolute, "factorial": _factorial, "binomial": _binomial, "log": _log,
    "ln": _ln, "exp": _exp,
}  # fmt: skip


def _function(name: str, a: Value) -> Value:
    """A trigonometric function, its error from the largest slope near by."""
    if a == 0 and name in ("sin", "tan", "arcsin", "arctan", "sinh", "tanh"):
        return Fraction(0)
    x, e = _ball(a)
    if e > 0.1:
        raise UnknownError
    if name in ("sin", "cos"):
        slope = math.cosh(abs(x.imag) + e)
        return Ball(getattr(cmath, name)(x), slope * (e + _EPS * (2 + abs(x))))
    if name in ("sinh", "cosh"):
        slope = math.cosh(abs(x.real) + e)
        return Ball(getattr(cmath, name)(x), slope * (e + _EPS * (2 + abs(x))))
    if name[:3] == "arc":
        return _inverse(name, a)
    top, bottom = {
        "tan": ("sin", "cos"), "cot": ("cos", "sin"), "sec": ("", "cos"), "csc": ("", "sin"),
        "tanh": ("sinh", "cosh"),
    }[name]  # fmt: skip
    return _divide(_function(top, a) if top else Fraction(1), _function(bottom, a))


def _inverse(name: str, a: Value) -> Value:
    x, e = _ball(a)
    if x.imag or (name != "arctan" and abs(x) > 1):
        raise UnknownError
    if name == "arctan":
        return Ball(cmath.atan(x), 2 * e + _EPS)
    if isinstance(a, Fraction):
        error = 1e-7 if abs(x) > 1 - 1e-9 and abs(a) != 1 else 4 * _EPS
        if abs(x) <= 1 - 1e-9:
            error += e / math.sqrt(1 - abs(x))
    elif abs(x) + 4 * e >= 1:
        raise UnknownError
    else:
        error = e / math.sqrt(1 - (abs(x) + 2 * e)) + 4 * _EPS
    return Ball(cmath.asin(x) if name == "arcsin" else cmath.acos(x), error)
