"""A budget for all problems together: each next token where it is expected to bring most.

Where what a problem gains falls as it gets more, taking the steepest step anywhere until the budget
is gone is the best there is, and the gain for a token of the last step the price that a token has
on every problem: the multiplier of Lagrange.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from reasoning.aggregators.ballots import Floats, Ints


def allocate(values: ArrayLike, costs: ArrayLike, budget: float) -> Ints:
    """The level [problems] that each problem gets of those in `values` and `costs`.

    Both are [problems, levels]; costs rise along a row, and `budget` is for their sum. All begin
    with the first level, whatever that costs. Steps are those of each problem's upper concave
    hull, the steepest first, the earlier problem where two are equally steep; one that does not fit
    ends its problem's. Raises ValueError for costs that do not rise.
    """
    v, c = np.asarray(values, dtype=float), np.asarray(costs, dtype=float)
    if v.ndim != 2 or v.shape != c.shape or not v.size or (np.diff(c, axis=1) <= 0).any():
        raise ValueError(
            f"values and costs that rise, [problems, levels], not {v.shape}, {c.shape}"
        )
    hulls = [hull(row, cost) for row, cost in zip(v, c, strict=True)]
    level = np.zeros(len(v), np.int64)
    left = budget - float(c[:, 0].sum())
    steps = [_step(v[i], c[i], i, hulls[i], 0) for i in range(len(v)) if len(hulls[i]) > 1]
    heapq.heapify(steps)
    while steps:
        _, i, place = heapq.heappop(steps)
        to = hulls[i][place + 1]
        price = float(c[i, to] - c[i, level[i]])
        if price > left * (1 + 1e-12):
            continue
        left -= price
        level[i] = to
        if place + 2 < len(hulls[i]):
            heapq.heappush(steps, _step(v[i], c[i], i, hulls[i], place + 1))
    return level


def hull(values: Floats, costs: Floats) -> list[int]:
    """The levels on the upper concave hull, from the first to the earliest of the best."""
    found = [0]
    for level in range(1, len(values)):
        if values[level] <= values[found[-1]]:
            continue
        while len(found) > 1 and _slope(values, costs, found[-2], found[-1]) < _slope(
            values, costs, found[-1], level
        ):
            found.pop()
        found.append(level)
    return found


def _slope(values: Floats, costs: Floats, a: int, b: int) -> float:
    return float((values[b] - values[a]) / (costs[b] - costs[a]))


def _step(
    values: Floats, costs: Floats, problem: int, levels: Sequence[int], place: int
) -> tuple[float, int, int]:
    return -_slope(values, costs, levels[place], levels[place + 1]), problem, place
