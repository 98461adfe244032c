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
    found = np.array([_by_half(groups, n, k) for groups in different])
    for at in range(0, len(different), _AT_ONCE):
        found[at : at + _AT_ONCE] += _by_less(different[at : at + _AT_ONCE], n, k)
    known = dict(zip(different, np.minimum(found, 1.0).tolist(), strict=True))
    return np.array([known[groups] for groups in problems])


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

    Every sample is a coin that shows heads with chance k/n. `table[p, 0, t, x]` is the chance of x
    heads so far with t answers tied at v; `table[p, 1, t, x]` counts the right ones among these.
    """
    able = (sizes >= v).sum(axis=1)
    table = np.zeros((len(sizes), 2, min(int(able[0]), k // v) + 1, k + 1))
    others = n - np.where(sizes >= v, sizes, 0).sum(axis=1)
    for row, other in enumerate(others.tolist()):
        # Answers too rare to reach v, and samples without an answer.
        pmf = _binomial(other, k / n)[: k + 1]
        table[row, 0, 0, : len(pmf)] = pmf
    for group in range(int(able[0])):
        some = int((able > group).sum())
        pmf = np.stack([_binomial(s, k / n)[: v + 1] for s in sizes[:some, group].tolist()])
        pmf = pmf[:, :, None, None, None]
        before, after = table[:some], pmf[:, 0] * table[:some]
        for heads in range(1, v):
            after[..., heads:] += pmf[:, heads] * before[..., :-heads]
        tied = pmf[:, v] * before[:, :, :-1, : k + 1 - v]
        after[:, :, 1:, v:] += tied
        after[:, 1, 1:, v:] += shares[:some, group, None, None] * tied[:, 0]
        table[:some] = after
    return np.asarray((table[:, 1, 1:, k] / np.arange(1, table.shape[2])).sum(axis=1))


@lru_cache(maxsize=4096)
def _binomial(n: int, p: float) -> Floats:
    """The chances of 0 to n heads; not to be written to."""
    from scipy.stats import binom

    return np.asarray(binom.pmf(np.arange(n + 1), n, p), dtype=float)


@lru_cache(maxsize=4096)
def _tail(n: int, size: int, k: int) -> float:
    """The chance that of k of n samples more than half are of a group of `size`."""
    from scipy.stats import hypergeom

    return float(hypergeom.sf(k // 2, n, size, k))
