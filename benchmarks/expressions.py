"""Pairs of generated formulas that are equal, or different, by construction; does grading know?

    python benchmarks/expressions.py 20000 [SEED]

Equal pairs are one formula rewritten (terms in another order, brackets multiplied out, something
added and taken away again) and written in another notation. Different pairs have one number, sign,
function or variable changed, and values that are known to be apart, if only by 10^-60 of their
size: the values here are worked out by this file alone. Prints how many pairs were judged
wrongly: of the different ones none may be, of the equal ones a few are beyond the grader.
"""

from __future__ import annotations

import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from fractions import Fraction
from typing import Any, NamedTuple

import mpmath

from reasoning.answers import canonical
from reasoning.answers.pool import ComparisonError, default_pool, shutdown
from reasoning.answers.rules import decide

SECONDS = 5.0
"""Of processor time for one comparison, as grading has by default."""

Node = tuple[Any, ...]
NAMES = "abnxyzRr"


class Pair(NamedTuple):
    """Two formulas; `same` is known."""

    a: str
    b: str
    same: bool
    distance: float
    """log10 of how far apart the values are, as a share of the larger; 0 for equal ones."""


def pairs(count: int, seed: int = 0) -> Iterator[Pair]:
    """`count` pairs, half of them equal."""
    rng = random.Random(seed)
    made = 0
    while made < count:
        node = _node(rng, rng.randint(1, 4), variables=rng.random() < 0.6)
        try:
            if made % 2:
                other = _changed(node, rng)
                distance = _distance(node, other)
                if distance is None:
                    continue
            else:
                other, distance = _rewritten(node, rng), 0.0
                if _distance(node, other) is not None:
                    raise AssertionError(f"a rule of rewriting is wrong: {node} is not {other}")
        except (ZeroDivisionError, ValueError, OverflowError):
            continue
        a, b = (_text(n, rng, program=rng.random() < 0.3)[0] for n in (node, other))
        if len(a) > 300 or len(b) > 300:
            continue
        made += 1
        yield Pair(a, b, made % 2 != 0, distance)


# -------------------------------------------------------------------------------- making


def _node(rng: random.Random, depth: int, *, variables: bool) -> Node:
    if depth == 0 or rng.random() < 0.15:
        return _leaf(rng, variables=variables)

    def part() -> Node:
        return _node(rng, depth - 1, variables=variables)

    kind = rng.choices(
        ["+", "-", "*", "/", "^", "root", "sin", "cos", "ln", "exp", "!", "tiny"],
        [6, 5, 6, 4, 4, 4, 1, 1, 1, 1, 1, 1],
    )[0]
    if kind in "+-*/":
        return (kind, part(), part())
    if kind == "^":
        return ("^", part(), ("n", Fraction(rng.randint(2, 5))))
    if kind == "root":
        return ("root", rng.choice([2, 2, 2, 3]), _positive(part(), rng))
    if kind == "!":
        return ("!", ("n", Fraction(rng.randint(3, 40))))
    if kind == "tiny":
        base = Fraction(rng.choice([2, 3, 5, 7, 10]))
        return ("^", ("n", base), ("n", Fraction(-rng.randint(10, 120))))
    if kind == "exp":
        return ("exp", _leaf(rng, variables=variables))
    return (kind, _positive(_leaf(rng, variables=variables), rng))


def _positive(node: Node, rng: random.Random) -> Node:
    """A square plus a number, or a number: roots and logarithms have values everywhere."""
    if node[0] == "n":
        return ("n", abs(node[1]) + 1)
    return ("+", ("^", node, ("n", Fraction(2))), ("n", Fraction(rng.randint(1, 9))))


def _leaf(rng: random.Random, *, variables: bool) -> Node:
    draw = rng.random()
    if variables and draw < 0.6:
        return ("x", rng.choice(NAMES))
    if draw > 0.93:
        return (rng.choice(["pi", "pi", "e"]),)
    if draw > 0.85:
        return ("n", Fraction(rng.randint(1, 12), rng.choice([2, 3, 4, 5, 7, 8])))
    if draw > 0.8:
        return ("n", Fraction(rng.randint(10**6, 10**24)))
    return ("n", Fraction(rng.randint(1, 30)))


# --------------------------------------------------------------------------- changing


def _somewhere(node: Node, rng: random.Random, change: Callable[[Node], Node | None]) -> Node:
    """The tree with `change` at one random place where it applies; itself if nowhere."""
    places = [place for place in _places(node) if change(_get(node, place)) is not None]
    if not places:
        return node
    place = rng.choice(places)
    return _put(node, place, change(_get(node, place)))


def _places(node: Node, above: tuple[int, ...] = ()) -> Iterator[tuple[int, ...]]:
    yield above
    if node[0] == "!":
        return
    for i, part in enumerate(node):
        if isinstance(part, tuple) and not (node[0] == "^" and i == 2):  # whole numbers stay so
            yield from _places(part, (*above, i))


def _get(node: Node, place: tuple[int, ...]) -> Node:
    for i in place:
        node = node[i]
    return node


def _put(node: Node, place: tuple[int, ...], new: Node | None) -> Node:
    if not place:
        assert new is not None
        return new
    i, rest = place[0], place[1:]
    return (*node[:i], _put(node[i], rest, new), *node[i + 1 :])


def _rewritten(node: Node, rng: random.Random) -> Node:
    for _ in range(rng.randint(1, 4)):
        rule = rng.choice(_RULES)
        node = _somewhere(node, rng, rule)
    return node


def _commuted(n: Node) -> Node | None:
    return (n[0], n[2], n[1]) if n[0] in "+*" else None


def _multiplied_out(n: Node) -> Node | None:
    if n[0] == "*" and n[2][0] in ("+", "-"):
        return (n[2][0], ("*", n[1], n[2][1]), ("*", n[1], n[2][2]))
    if n[0] == "/" and n[1][0] in ("+", "-"):
        return (n[1][0], ("/", n[1][1], n[2]), ("/", n[1][2], n[2]))
    return None


def _regrouped(n: Node) -> Node | None:
    if n[0] in ("+", "*") and n[1][0] == n[0]:
        return (n[0], n[1][1], (n[0], n[1][2], n[2]))
    return None


def _squared_out(n: Node) -> Node | None:
    if n[0] == "^" and n[2] == ("n", Fraction(2)):
        return ("*", n[1], n[1])
    if n[0] == "^" and n[2][0] == "n" and n[2][1] > 2:
        return ("*", n[1], ("^", n[1], ("n", n[2][1] - 1)))
    return None


def _as_quotient(n: Node) -> Node | None:
    if n[0] == "^" and n[2][0] == "n" and n[2][1] < 0:
        return ("/", ("n", Fraction(1)), ("^", n[1], ("n", -n[2][1])))
    return ("*", n[1], ("/", ("n", Fraction(1)), n[2])) if n[0] == "/" else None


def _split_number(n: Node) -> Node | None:
    if n[0] == "n" and n[1] > 2:
        return ("+", ("n", n[1] - 2), ("n", Fraction(2)))
    return None


def _rooted(n: Node) -> Node | None:
    if n[0] == "n" and 0 < n[1] < 100:
        return ("root", 2, ("n", n[1] ** 2))
    if n[0] == "root" and n[1] == 2 and n[2][0] == "n":
        return ("/", ("root", 2, ("n", n[2][1] * 9)), ("n", Fraction(3)))
    return None


def _padded(n: Node) -> Node | None:
    return ("-", ("+", n, ("pi",)), ("pi",)) if n[0] in ("x", "n") else None


def _scaled(n: Node) -> Node | None:
    three = ("n", Fraction(3))
    return ("/", ("*", three, n[1]), ("*", three, n[2])) if n[0] == "/" else None


_RULES = (
    _commuted, _multiplied_out, _regrouped, _squared_out, _as_quotient, _split_number, _rooted,
    _padded, _scaled, _commuted, _commuted,
)  # fmt: skip


def _changed(node: Node, rng: random.Random) -> Node:
    step = rng.choice([Fraction(1), Fraction(-1), Fraction(1, 10**12), Fraction(10), Fraction(2)])

    def change(n: Node) -> Node | None:
        if n[0] == "n" and n[1] + step > 0 and (n[1].denominator > 1 or step.denominator == 1):
            return ("n", n[1] + step)
        if n[0] == "x":
            # R and r are told apart only where a formula has both
            return ("x", "abnxyz"[(NAMES.index(n[1]) + 1) % 6])
        if n[0] == "^" and n[2][0] == "n":
            return ("^", n[1], ("n", n[2][1] + 1))
        if n[0] == "!":
            return ("!", ("n", n[1][1] + 1))
        swap = {"+": "-", "-": "+", "*": "+", "/": "*", "sin": "cos", "cos": "sin", "ln": "sin"}
        return (swap[n[0]], *n[1:]) if n[0] in swap else None

    return _somewhere(node, rng, change)


# -------------------------------------------------------------------------------- values

_POINTS = tuple(
    {name: mpmath.mpf(3 * i + 7 * k + 2) / (5 + i + 2 * k) for i, name in enumerate(NAMES)}
    for k in range(3)
)


def _distance(a: Node, b: Node) -> float | None:
    """log10 of the largest share by which values differ; None where they agree in 200 digits."""
    with mpmath.workdps(400):
        x, y = ([_value(node, point) for point in _POINTS] for node in (a, b))
        gaps = [abs(p - q) / max(abs(p), abs(q)) for p, q in zip(x, y, strict=True) if p != q]
        largest = max(gaps, default=mpmath.mpf(0))
        return float(mpmath.log10(largest)) if largest > mpmath.mpf(10) ** -200 else None


def _value(node: Node, at: Mapping[str, Any]) -> Any:
    kind = node[0]
    if kind == "n":
        return mpmath.mpf(node[1].numerator) / node[1].denominator
    if kind == "x":
        return at[node[1]]
    if kind in ("pi", "e"):
        return +getattr(mpmath, kind)
    if kind == "root":
        return mpmath.root(_value(node[2], at), node[1])
    parts = [_value(part, at) for part in node[1:]]
    if kind == "/" and parts[1] == 0:
        raise ZeroDivisionError
    found = {
        "+": lambda: parts[0] + parts[1], "-": lambda: parts[0] - parts[1],
        "*": lambda: parts[0] * parts[1], "/": lambda: parts[0] / parts[1],
        "^": lambda: parts[0] ** int(parts[1]), "sin": lambda: mpmath.sin(parts[0]),
        "cos": lambda: mpmath.cos(parts[0]), "ln": lambda: mpmath.log(parts[0]),
        "exp": lambda: mpmath.exp(parts[0]), "!": lambda: mpmath.factorial(parts[0]),
    }[kind]()  # fmt: skip
    if abs(found) > mpmath.mpf(10) ** 300:
        raise OverflowError
    return found


# -------------------------------------------------------------------------------- writing


def _text(node: Node, rng: random.Random, program: bool) -> tuple[str, int]:
    """The text and how tightly it binds: 0 a sum, 1 a product, 2 a power, 3 an atom."""
    kind = node[0]

    def part(n: Node, least: int) -> str:
        text, level = _text(n, rng, program)
        left, right = ("(", ")") if program or rng.random() < 0.5 else (r"\left(", r"\right)")
        return text if level >= least else f"{left}{text}{right}"

    if kind == "n":
        return _number(node[1], rng, program)
    if kind == "x":
        return node[1], 3
    if kind in ("pi", "e"):
        return (kind if program or kind == "e" else r"\pi "), 3
    if kind in "+-":
        return f"{part(node[1], 0)} {kind} {part(node[2], 1)}", 0
    if kind == "*":
        sign = "*" if program else rng.choice([r" \cdot ", r" \times "])
        return f"{part(node[1], 1)}{sign}{part(node[2], 2)}", 1
    if kind == "/":
        if program:
            return f"{part(node[1], 2)}/{part(node[2], 3)}", 1
        return rf"\frac{{{part(node[1], 0)}}}{{{part(node[2], 0)}}}", 3
    if kind == "^":
        if program:
            return f"{part(node[1], 3)}**({part(node[2], 0)})", 2
        return f"{part(node[1], 3)}^{{{part(node[2], 0)}}}", 2
    if kind == "root":
        if program:
            inner = part(node[2], 0)
            return (f"sqrt({inner})", 3) if node[1] == 2 else (f"({inner})**(1/{node[1]})", 2)
        degree = "" if node[1] == 2 else f"[{node[1]}]"
        return rf"\sqrt{degree}{{{part(node[2], 0)}}}", 3
    if kind == "!":
        return f"{part(node[1], 3)}!", 2
    if kind == "exp":
        inner = part(node[1], 0)
        return (f"exp({inner})", 3) if program else (f"e^{{{inner}}}", 2)
    name = kind if program else "\\" + kind
    return f"{name}({part(node[1], 0)})", 3 if program else 1


def _number(value: Fraction, rng: random.Random, program: bool) -> tuple[str, int]:
    if value.denominator == 1:
        return (str(value), 3) if value >= 0 else (str(value), 0)
    if rng.random() < 0.3 and value.denominator in (2, 4, 5, 8):
        return str(float(value)), 3
    if program:
        return f"{value.numerator}/{value.denominator}", 1
    return rf"\frac{{{value.numerator}}}{{{value.denominator}}}", 3


# -------------------------------------------------------------------------------- judging


def judge(
    found: Iterable[Pair], same: Callable[[str, str], bool | None], every: int = 1000
) -> tuple[Counter[str], list[Pair]]:
    """How many pairs of each kind were judged how, and those judged wrongly.

    `same` is asked both ways; None is a comparison that was given up, which grading calls
    different. Says on stderr how far it is after `every` so many pairs.
    """
    counts: Counter[str] = Counter()
    wrong = []
    start = time.perf_counter()
    for pair in found:
        got = same(pair.a, pair.b), same(pair.b, pair.a)
        counts["equal" if pair.same else "different"] += 1
        if any(bool(x) != pair.same for x in got):
            counts["equal, called different" if pair.same else "different, called equal"] += 1
            wrong.append(pair)
        counts["given up"] += None in got
        counts["not symmetric"] += got[0] != got[1]
        if (done := counts["equal"] + counts["different"]) % every == 0:
            took = time.perf_counter() - start
            print(f"{done} pairs, {len(wrong)} wrong, {took:.0f} s", file=sys.stderr, flush=True)
    return +counts, wrong


def same(a: str, b: str) -> bool | None:
    """What grading decides, as it does: in a worker with a limit of time; None if that is over."""
    a, b = canonical(a), canonical(b)
    if (quick := decide(a, b)) is not None:
        return quick
    try:
        return default_pool().submit(a, b, SECONDS).result()
    except ComparisonError:
        return None


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    made = list(pairs(count, seed))
    counts, wrong = judge(made, same)
    shutdown()
    for pair in wrong:
        print(f"{pair.a!r} / {pair.b!r} are {'equal' if pair.same else 'different'}")
    print(*(f"{name}: {n}" for name, n in counts.items()), sep="\n")
    print(f"nearest different pair: apart by 10^{min(p.distance for p in made):.0f} of its size")
    sys.exit(1 if counts["different, called equal"] else 0)


if __name__ == "__main__":
    main()
