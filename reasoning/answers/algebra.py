"""Whether two formulas are equal: by as many digits as it takes, else by computer algebra.

Runs in worker processes only (`reasoning.answers.worker`), which limit its time and memory. What
`reasoning.answers.syntax` can read is evaluated at two precisions: a difference that shrinks with
the precision is rounding, one that does not is a difference, however small. Formulas beyond that go
to math-verify, read whole and compared without its rounding.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Any

import mpmath

from reasoning.answers.library import same_by_library
from reasoning.answers.numeric import TERMS, both_cases, nudged, point
from reasoning.answers.regions import read_region, same_region
from reasoning.answers.rules import at_top
from reasoning.answers.syntax import FUNCTIONS, Tree, read, variables

_DIGITS = 50
"""Of the first evaluation; the second has three times as many."""

_MOST_DIGITS = 20_000
_SIGNED = re.compile(
    r"[<>]|\\(?:le|ge|ne|lor|land|mid|cup|cap|setminus|in|mathbb|emptyset)(?![A-Za-z])"
)


_SERIES = re.compile(r"(\\(?:sum|prod)_\{[^{}]*\}\^(?:\{[^{}]*\}|\\?[A-Za-z0-9]+))([^=]*)\Z")
"""The limits of a sum or product, and what is summed."""


class UndefinedError(Exception):
    """There is no such value: a division by zero, the logarithm of a negative number."""


class SkippedError(Exception):
    """A value with two meanings: the cube root of -8 by an exponent."""


def same(a: str, b: str) -> bool:
    """Whether two respelled answers, neither a number nor a collection, are equal."""
    if _SIGNED.search(a) or _SIGNED.search(b):
        first, second = read_region(a, _end), read_region(b, _end)
        if first and second:
            return same_region(first, second, _close)
    series = _SERIES.match(a), _SERIES.match(b)
    if series[0] and series[1] and series[0][1] == series[1][1]:
        if same(series[0][2], series[1][2]):
            return True
        if "\\infty" in series[0][1]:
            return False  # in doubt; sympy would take seconds to say so
    left, right = at_top(a, "="), at_top(b, "=")
    found: bool | None = None
    if len(left) == len(right) == 2:
        f, g = _difference(*left), _difference(*right)
        if f and g:
            found = _same_equation(f, g, both_cases(a, b))
    elif len(left) == len(right) == 1:
        found = same_by_digits(a, b)
    return same_by_library(a, b) if found is None else found


def same_by_digits(a: str, b: str) -> bool | None:
    """Whether two formulas have the same values; None where they cannot be read or evaluated."""
    x, y = read(a), read(b)
    if x is None or y is None:
        return None
    moved = [[[read(text) for text in both] for both in nudged(side)] for side in (a, b)]
    agreeing = 0
    limits = _limits(x) | _limits(y)
    for at in _points(sorted(variables(x) | variables(y)), both_cases(a, b), limits):
        try:
            equal = _vanishes(("add", x, ("negative", y)), at, moved)
        except UndefinedError:
            if _defined(x, at) != _defined(y, at):
                return False
            continue
        except SkippedError:
            continue
        if not equal:
            return False
        agreeing += 1
    return True if agreeing >= (2 if variables(x) | variables(y) else 1) else None


def _points(
    names: Sequence[str], kept: frozenset[str], limits: frozenset[str] = frozenset()
) -> list[dict[str, Any]]:
    """Two points of positive coordinates, then one for each pattern of signs, sixteen at most.

    Variables that sums run to are whole numbers.
    """
    if not names:
        return [{}]
    found = [{name: point(name, k, kept) for name in names} for k in (0, 1)]
    same = {name: point(name, 0, kept) for name in names}  # R and r may be one
    distinct = sorted(set(same.values()))
    for signs in itertools.islice(itertools.product((-1, 1), repeat=len(distinct)), 16):
        sign = dict(zip(distinct, signs, strict=True))
        found.append({n: sign[same[n]] * abs(point(n, len(found) + 3, kept)) for n in names})
    if limits:
        found = [dict(at) for at in (*found, *found)][:8]
        for at, whole in zip(found, (2, 3, 4, 5, 7, 9, 11, 16), strict=False):
            at.update({n: Fraction(whole + i) for i, n in enumerate(sorted(limits))})
    return found


def _limits(tree: Tree, inside: bool = False) -> frozenset[str]:
    """The variables that the sums and products of a tree run to."""
    if tree[0] == "variable":
        return frozenset((str(tree[1]),)) if inside else frozenset()
    series = tree[0] in ("sum", "prod")
    parts = [
        _limits(part, inside or (series and i in (2, 3)))
        for i, part in enumerate(tree)
        if isinstance(part, tuple)
    ]
    return frozenset().union(*parts)


def _vanishes(tree: Tree, at: Mapping[str, Any], moved: Sequence[Sequence[Any]] = ()) -> bool:
    """Whether a difference is zero at a point, or less than what long decimals may be off.

    `moved` are the two sides with their long decimals nudged, see `numeric.nudged`.

    The more digits, the larger or smaller the numbers on the way: a product of what is met there
    is never taken for rounding.
    """
    rough, size = _evaluate(tree, at, _DIGITS)
    few = _DIGITS + (int(2 * size) if size > _DIGITS / 6 else 0)
    if 3 * few > _MOST_DIGITS:
        raise SkippedError
    if few > _DIGITS:
        rough, _ = _evaluate(tree, at, few)
    fine, _ = _evaluate(tree, at, 3 * few)
    with mpmath.workdps(3 * few):
        unit = mpmath.mpf(10) ** -few
        if abs(fine) <= max(abs(rough), unit) * unit:
            return True
        if not any(moved):
            return False
        steps = []
        for side, others in zip((tree[1], tree[2][1]), moved, strict=True):
            here, _ = _evaluate(side, at, 3 * few)
            there = ([_evaluate(form, at, 3 * few)[0] for form in both] for both in others)
            steps.append(mpmath.fsum(min(abs(value - here) for value in both) for both in there))
        return bool(abs(fine) < max(steps))


def _defined(tree: Tree, at: Mapping[str, Any]) -> bool:
    try:
        _evaluate(tree, at, _DIGITS)
    except (UndefinedError, SkippedError):
        return False
    return True


def _evaluate(tree: Tree, at: Mapping[str, Any], digits: int) -> tuple[Any, float]:
    """The value of a tree, and the largest power of ten, or of a tenth, that is met on the way."""
    extremes = [1.0]
    with mpmath.workdps(digits):
        exact = {name: mpmath.mpf(x.numerator) / x.denominator for name, x in at.items()}
        try:
            value = _value(tree, exact, extremes)
        except (ZeroDivisionError, ValueError) as error:
            raise UndefinedError from error
        except (OverflowError, mpmath.libmp.NoConvergence) as error:
            raise SkippedError from error
    return value, max(extremes)


def _value(tree: Tree, at: Mapping[str, Any], extremes: list[float]) -> Any:
    kind = tree[0]
    if kind == "number":
        value = mpmath.mpf(tree[1].numerator) / tree[1].denominator
    elif kind == "variable":
        return at[tree[1]]
    elif kind == "constant":
        return {"pi": +mpmath.pi, "e": +mpmath.e, "i": mpmath.mpc(0, 1)}[tree[1]]
    elif kind in ("sum", "prod"):
        value = _series(tree, at, extremes)
    else:
        arguments = [_value(part, at, extremes) for part in tree[1:]]
        value = _OPERATIONS[kind](*arguments)
    if not mpmath.isfinite(value):
        raise UndefinedError
    if value != 0:
        extremes.append(abs(int(mpmath.mag(value))) * 0.302)  # log10 of 2, a little more
    return value


def _series(tree: Tree, at: Mapping[str, Any], extremes: list[float]) -> Any:
    kind, index, lower, upper, body = tree
    first, last = _value(lower, at, extremes), _value(upper, at, extremes)
    if not (_whole(first) and _whole(last) and 0 <= last - first < TERMS):
        raise SkippedError
    terms = (_value(body, {**at, index: mpmath.mpf(k)}, extremes) for k in _range(first, last))
    return mpmath.fsum(terms) if kind == "sum" else mpmath.fprod(terms)


def _range(first: Any, last: Any) -> range:
    return range(int(first.real), int(last.real) + 1)


def _whole(x: Any) -> bool:
    return bool(x.imag == 0 and mpmath.isint(x.real))


def _real(x: Any) -> bool:
    """Whether a number is real but for rounding."""
    return bool(abs(x.imag) <= abs(x.real) * mpmath.mpf(10) ** (-mpmath.mp.dps // 2))


def _divide(a: Any, b: Any) -> Any:
    if b == 0:
        raise UndefinedError
    return a / b


def _power(a: Any, b: Any) -> Any:
    if a == 0 and not b.real > 0:
        raise UndefinedError
    if a.imag == 0 and a.real < 0 and _real(b) and not _whole(b):
        twice = 2 * b.real
        if not mpmath.isint(twice) and any(_near_whole(b.real * odd) for odd in range(3, 64, 2)):
            raise SkippedError
    if abs(a) not in (0, 1) and abs(b) > 10**7:
        raise SkippedError
    return a ** (int(b.real) if _whole(b) else b)


def _near_whole(x: Any) -> bool:
    return bool(abs(x - mpmath.nint(x)) < mpmath.mpf(10) ** (-mpmath.mp.dps // 2))


def _root(degree: Any, a: Any) -> Any:
    if not _whole(degree) or degree.real < 1:
        raise SkippedError
    n = int(degree.real)
    if a.imag == 0:
        if a.real >= 0:
            return mpmath.root(a.real, n)
        return -mpmath.root(-a.real, n) if n % 2 else mpmath.root(mpmath.mpc(a), n)
    return mpmath.root(a, n)


def _ln(a: Any) -> Any:
    if a == 0 or (a.imag == 0 and a.real < 0):
        raise UndefinedError
    return mpmath.log(a)


def _inverse(name: str) -> Any:
    def of(a: Any) -> Any:
        if name != "atan" and a.imag == 0 and abs(a) > 1:
            raise UndefinedError
        return getattr(mpmath, name)(a)

    return of


def _factorial(a: Any) -> Any:
    if abs(a) > 10**6 or (_whole(a) and a.real < 0):
        raise UndefinedError
    return mpmath.factorial(a)


_OPERATIONS: dict[str, Any] = {
    "add": lambda a, b: a + b, "negative": lambda a: -a, "multiply": lambda a, b: a * b,
    "divide": _divide, "power": _power, "root": _root, "abs": abs, "factorial": _factorial,
    "binomial": mpmath.binomial, "log": lambda base, a: _divide(_ln(a), _ln(base)), "ln": _ln,
    "exp": mpmath.exp, "arcsin": _inverse("asin"), "arccos": _inverse("acos"),
    "arctan": _inverse("atan"),
    **{name: getattr(mpmath, name) for name in FUNCTIONS if hasattr(mpmath, name)},
}  # fmt: skip


# --------------------------------------------------------------------- equations and ends


def _difference(left: str, right: str) -> Tree | None:
    x, y = read(left), read(right)
    return None if x is None or y is None else ("add", x, ("negative", y))


def _same_equation(f: Tree, g: Tree, kept: frozenset[str]) -> bool | None:
    """Whether f = 0 and g = 0 say the same: f is a multiple of g; None where algebra must tell.

    A zero of f where g has none makes them different.
    """
    names = sorted(variables(f) | variables(g))
    points = _points(names, kept)
    try:
        first = points[0]
        f_0, g_0 = (_constant(tree, first) for tree in (f, g))
        crossed = (("multiply", f, g_0), ("negative", ("multiply", g, f_0)))
        if all(_vanishes(("add", *crossed), at) for at in points[1:]):
            return not _vanishes(f, first) and not _vanishes(g, first)
        if any(_apart(*pair, first) for pair in ((f, g), (g, f))):
            return False
    except (UndefinedError, SkippedError):
        pass
    return None


def _constant(tree: Tree, at: Mapping[str, Any]) -> Tree:
    """The tree with numbers for its variables."""
    if tree[0] == "variable":
        return ("number", at[tree[1]]) if tree[1] in at else tree
    if tree[0] == "number":
        return tree
    if tree[0] in ("sum", "prod"):
        at = {name: value for name, value in at.items() if name != tree[1]}
    return tuple(_constant(part, at) if isinstance(part, tuple) else part for part in tree)


def _apart(f: Tree, g: Tree, at: Mapping[str, Any]) -> bool:
    """Whether g is not zero at a point where f is: found along one of f's variables, by secants."""
    with mpmath.workdps(2 * _DIGITS):
        exact = {name: mpmath.mpf(x.numerator) / x.denominator for name, x in at.items()}
        near = mpmath.mpf(10) ** (-mpmath.mp.dps * 3 // 4)
        for name in sorted(variables(f)):

            def value(x: Any, tree: Tree = f, name: str = name) -> Any:
                return _value(tree, {**exact, name: x}, [])

            try:
                start = (exact[name], exact[name] + mpmath.mpc(0.3, 0.2))
                zero = mpmath.findroot(value, start, tol=near**2)
                if abs(value(zero)) < near:
                    return bool(abs(value(zero, g)) > mpmath.sqrt(near))
            except (ArithmeticError, ValueError, UndefinedError, SkippedError):
                continue
    return False


@lru_cache(maxsize=512)
def _end(text: str) -> Any:
    """The value of an interval's end, of 100 digits; None if it is not a real constant."""
    tree = read(text.strip())
    if tree is None or variables(tree):
        return None
    try:
        value, _ = _evaluate(tree, {}, 100)
    except (UndefinedError, SkippedError):
        return None
    return value.real if value.imag == 0 else None


def _close(x: Any, y: Any) -> bool:
    if not (mpmath.isfinite(x) and mpmath.isfinite(y)):
        return bool(x == y)
    return bool(abs(x - y) <= max(abs(x), abs(y)) * mpmath.mpf(10) ** -60)
