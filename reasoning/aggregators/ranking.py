"""From rankings, or from wins in pairs, to one order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

EXACT = 20
"""Up to so many items the best order is found for certain, in O(2^n n) steps and bytes (84 MB)."""


def disagreements(rankings: Sequence[Sequence[int]], n: int) -> NDArray[np.int64]:
    """[i, j]: how many rankings put j before i; items that one leaves out are skipped in pairs."""
    table = np.zeros((n, n), np.int64)
    for ranking in rankings:
        for at, first in enumerate(ranking):
            for second in ranking[at + 1 :]:
                table[second, first] += 1
    return table


def kemeny(rankings: Sequence[Sequence[int]], n: int) -> list[int]:
    """The order of 0..n-1 with the fewest pairs against the rankings (Kendall tau, summed).

    Exact for up to `EXACT` items, by dynamic programming over sets; for more, Borda's order with
    neighbours swapped as long as that gains. Borda's order itself if none is better.
    """
    start = borda(rankings, n)
    cost = disagreements(rankings, n)[np.ix_(start, start)]
    # cost[i, j] is paid where i stands before j.
    order = _exact(cost) if n <= EXACT else _swapped(cost)
    return [start[i] for i in order]


def borda(rankings: Sequence[Sequence[int]], n: int) -> list[int]:
    """By mean place, those never ranked last; ties to the lower number."""
    places: list[list[int]] = [[] for _ in range(n)]
    for ranking in rankings:
        for place, item in enumerate(ranking):
            places[item].append(place)
    return sorted(range(n), key=lambda i: (_mean(places[i], n), i))


def copeland(wins: NDArray[np.float64]) -> list[float]:
    """For each the number of others that it beats, ties a half; wins[i, j] in [0, 1], .5 a tie."""
    beats = (wins > 0.5) + 0.5 * (wins == 0.5)
    np.fill_diagonal(beats, 0.0)
    return [float(x) for x in beats.sum(axis=1)]


def _mean(places: Sequence[int], n: int) -> float:
    return sum(places) / len(places) if places else float(n)


def _exact(cost: NDArray[np.int64]) -> list[int]:
    """The cheapest order; best[mask] is the least that the items of `mask` cost as the first."""
    n = len(cost)
    masks = np.arange(1 << n, dtype=np.int32)
    # added[i, mask]: what putting i behind those of `mask` adds.
    added = np.zeros((n, 1 << n), np.int32)
    for j in range(n):
        added[:, 1 << j : 2 << j] = added[:, : 1 << j] + cost[j][:, None]
    best = np.full(1 << n, np.iinfo(np.int32).max, np.int32)
    last = np.zeros(1 << n, np.int8)
    best[0] = 0
    size = np.zeros(1 << n, np.int8)
    for j in range(n):
        size[1 << j : 2 << j] = size[: 1 << j] + 1
    for k in range(n):
        here = masks[size == k]
        for i in range(n):
            free = here[(here >> i) & 1 == 0]
            total, after = best[free] + added[i, free], free | (1 << i)
            better = total <= best[after]  # of equals the later one comes last
            best[after[better]], last[after[better]] = total[better], i
    order, mask = [], (1 << n) - 1
    while mask:
        order.append(int(last[mask]))
        mask ^= 1 << order[-1]
    return order[::-1]


def _swapped(cost: NDArray[np.int64]) -> list[int]:
    order = list(range(len(cost)))
    gained = True
    while gained:
        gained = False
        for k in range(len(order) - 1):
            a, b = order[k], order[k + 1]
            if cost[b, a] < cost[a, b]:
                order[k], order[k + 1], gained = b, a, True
    return order
