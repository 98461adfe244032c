"""How often the plain majority of k samples is right, exactly, for many problems at once.

The counts of k samples without replacement are independent binomial counts given that they add up
to k, and these are summed over the winner's count. What is done for one problem is done for all in
the same step, so that ten thousand of them take seconds.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Complexes: TypeAlias = NDArray[np.complex128]
Groups: TypeAlias = tuple[tuple[int, float], ...]
"""The size of every answer's group, the largest first, and the share in it that is right."""

_AT_ONCE = 128
"""Problems whose tables, some 100 kB each for n = 64, are in memory together."""


def groups_of(keys: Sequence[Hashable | None], correct: Sequence[bool]) -> Groups:
    """`keys` says which samples agree; None is no answer and never wins."""
    if len(correct) != len(keys):
        raise ValueError(f"as many keys as grades are needed, got {len(keys)} and {len(correct)}")
    sizes = Counter(key for key in keys if key is not None)
    right: dict[Hashable, int] = defaultdict(int)
    for key, grade in zip(keys, correct, strict=True):
        right[key] += bool(grade)
    return tuple(sorted(((s, right[key] / s) for key, s in sizes.items()), reverse=True))


def majorities_at_k(problems: Sequence[Groups], n: int, k: int) -> Floats:
    """The chance that the most frequent answer of k of n samples is right, a problem [problems].

    Tied answers win equally often. Work grows as the number of different `problems` and about as
    n k log n for each.
    """
    different = list(dict.fromkeys(problems))
    if k == n:
        found = np.array([_of_all(groups) for groups in different])
    else:
        found = np.array([_by_half(groups, n, k) for groups in different])
        for at in range(0, len(different), _AT_ONCE):
            found[at : at + _AT_ONCE] += _by_less(different[at : at + _AT_ONCE], n, k)
    known = dict(zip(different, np.minimum(found, 1.0).tolist(), strict=True))
    return np.array([known[groups] for groups in problems])


def _of_all(groups: Groups) -> float:
    """The share of the largest groups that is right."""
    most = [share for size, share in groups if size == groups[0][0]]
    return sum(most) / len(most) if most else 0.0


def _by_half(groups: Groups, n: int, k: int) -> float:
    """The chance that a right answer has more than half of k samples."""
    winners = [(size, share) for size, share in groups if share and size > k // 2]
    return math.fsum(share * _tail(n, size, k) for size, share in winners)


def _by_less(problems: Sequence[Groups], n: int, k: int) -> Floats:
    """The chance that a right answer wins with at most half of k samples, a problem."""
    sizes, shares = _table(problems)
    counts = (sizes > 0).sum(axis=1)
    silent = n - sizes.sum(axis=1)
    fewest = np.maximum(1, -(-(k - silent) // np.maximum(1, counts)))
    most = np.minimum(k // 2, np.where(shares > 0, sizes, 0).max(axis=1, initial=0))
    wins = np.zeros(len(problems))
    for v in range(int(fewest.min(initial=1)), int(most.max(initial=0)) + 1):
        rows = np.flatnonzero((fewest <= v) & (v <= most))
        # Those with most groups first: each step below is for the first so many of them.
        rows = rows[np.argsort(-(sizes[rows] >= v).sum(axis=1), kind="stable")]
        if len(rows):
            wins[rows] += _won_with(v, sizes[rows], shares[rows], n, k)
    return wins / float(_binomial(n, k / n)[k])


def _table(problems: Sequence[Groups]) -> tuple[NDArray[np.int64], Floats]:
    """Sizes and shares [problems, groups], 0 behind the last group of a problem."""
    most = max(map(len, problems), default=0)
    sizes = np.zeros((len(problems), most), np.int64)
    shares = np.zeros((len(problems), most))
    for row, groups in enumerate(problems):
        for column, (size, share) in enumerate(groups):
            sizes[row, column], shares[row, column] = size, share
    return sizes, shares


def _won_with(v: int, sizes: NDArray[np.int64], shares: Floats, n: int, k: int) -> Floats:
    """The chance of k heads, of most heads in one answer being v and of a right answer winning.

    Every sample is a coin that shows heads with chance k/n. Numbers of heads are polynomials in z,
    known by their values at roots of unity: those of independent answers are multiplied, and one
    coefficient of the product is taken. Who is tied with j others wins with chance 1/(j+1), the
    integral of u^j from 0 to 1: each that has v heads counts u, and the integral over u is Gauss's,
    which is exact for so few powers.
    """
    able = (sizes >= v).sum(axis=1)
    z, heads = _roots(n, k)
    tied = min(int(able[0]), k // v)
    u, weight = np.polynomial.legendre.leggauss((tied + 1) // 2)
    u, weight = (u[:, None] + 1) / 2, weight / 2
    below, exactly = _values(v, n, k)
    # Answers too rare to reach v, and samples without an answer.
    others = n - np.where(sizes >= v, sizes, 0).sum(axis=1)
    none = np.repeat(((1 + k / n * (z - 1)) ** others[:, None])[:, None], len(u), axis=1)
    right = np.zeros_like(none)  # of the products, what has a right answer at v
    for group in range(int(able[0])):
        some = int((able > group).sum())
        size = sizes[:some, group]
        here = exactly[size][:, None]
        factor = below[size][:, None] + u * here
        right[:some] *= factor
        right[:some] += none[:some] * (shares[:some, group, None, None] * here)
        none[:some] *= factor
    return np.asarray(((weight @ right) @ heads).real)


@lru_cache(maxsize=64)
def _roots(n: int, k: int) -> tuple[Complexes, Complexes]:
    """Points, and what values of a polynomial of degree n there are multiplied with to get the real
    part of its coefficient of z^k: of two conjugate points one is enough."""
    count = max(k, n - k) + 1  # so many that no other coefficient is taken for that one
    z = np.exp(2j * np.pi / count * np.arange(count // 2 + 1))
    alone = np.isclose(z.imag, 0)
    return z, np.where(alone, 1, 2) * z**-k / count


@lru_cache(maxsize=1024)
def _values(v: int, n: int, k: int) -> tuple[Complexes, Complexes]:
    """At the roots [sizes, points], heads of an answer of each size: of less than v, of v."""
    z, _ = _roots(n, k)
    powers = z ** np.arange(v + 1)[:, None]
    pmf = np.zeros((n + 1, v + 1))
    for size in range(n + 1):
        known = _binomial(size, k / n)[: v + 1]
        pmf[size, : len(known)] = known
    return pmf[:, :v] @ powers[:v], pmf[:, v:] * powers[v]


@lru_cache(maxsize=4096)
def _binomial(n: int, p: float) -> Floats:
    """The chances of 0 to n heads, 0 < p < 1; not to be written to."""
    # The largest in whole numbers, which neither round nor overflow; each next one from the last.
    above, whole = p.as_integer_ratio()
    mode = int((n + 1) * p)
    ways = math.comb(n, mode) * above**mode * (whole - above) ** (n - mode)
    heads, odds = np.arange(n), p / (1 - p)
    step = (n - heads) / (heads + 1) * odds
    up, down = np.cumprod(step[mode:]), np.cumprod(1 / step[:mode][::-1])
    return np.asarray(np.concatenate([down[::-1], [1.0], up]) * (ways / whole**n))


@lru_cache(maxsize=4096)
def _tail(n: int, size: int, k: int) -> float:
    """The chance that of k of n samples more than half are of a group of `size`."""
    heads = range(k // 2 + 1, min(k, size) + 1)
    return sum(math.comb(size, h) * math.comb(n - size, k - h) for h in heads) / math.comb(n, k)
