"""How soon the best strategy would have been known (Saad et al., 2023, arXiv:2306.02723)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from evals.measures.finding import Cell, Finding, NotMeasuredError
from evals.measures.stored import Stored
from evals.report.numbers import grades
from evals.statistics.intervals import Interval, quantile_interval
from evals.statistics.paired import mcnemar

MEANS = (
    "If strategies were dropped as soon as they are significantly worse than the leader: what "
    "share of the evaluations would have been enough, and whether the best strategy would be "
    "left. A guide to how many problems the next comparison of this kind needs."
)
NOT = (
    "Replayed on stored results in random orders: no run was shorter for it. The guarantee (the "
    "truly best one is dropped with chance 0.05 at most) is about fresh problems of the same kind; "
    "strategies that are equally good are never told apart, however many problems there are."
)

DELTA = 0.05
FIRST = 8
ORDERS = 50


class Raced(NamedTuple):
    """The strategies left, by place, the best first, and how many evaluations were made."""

    left: list[int]
    used: int


def eliminate(values: ArrayLike, *, delta: float = DELTA, first: int = FIRST) -> Raced:
    """Successive elimination over `values` [strategies, problems] of 0 and 1, problems in order.

    Looks after `first` problems and at every doubling. A strategy is dropped if the leader beats it
    by the exact McNemar test at delta / (looks x (strategies - 1)). With delta 0 none is dropped.
    """
    x = np.asarray(values, dtype=float)
    if x.ndim != 2 or not x.size or not np.all((x == 0) | (x == 1)):
        raise ValueError(f"values must be [strategies, problems] of 0 and 1, got {x.shape}")
    strategies, problems = x.shape
    looks = sorted({*(first * 2**i for i in range(64) if first * 2**i < problems), problems})
    level = delta / (len(looks) * max(1, strategies - 1))
    left, used, before = list(range(strategies)), 0, 0
    for look in looks:
        used += len(left) * (look - before)
        before = look
        left.sort(key=lambda i: (-x[i, :look].mean(), i))
        seen = {i: x[i, :look].tolist() for i in left}
        leader = left[0]
        left = [i for i in left if i == leader or not _worse(seen[i], seen[leader], level)]
        if len(left) == 1:
            break
    return Raced(left, used)


def _worse(values: Sequence[float], leader: Sequence[float], level: float) -> bool:
    found = mcnemar(values, leader)
    return found.only_b > found.only_a and found.p_value < level


def measure(stored: Stored) -> Finding:
    runs, shared = stored.runs, stored.runs.common
    if len(runs.strategies) < 2 or len(shared) <= FIRST:
        raise NotMeasuredError(f"this needs two strategies on more than {FIRST} common problems")
    values = np.array([grades(s, shared) for s in runs.strategies])
    best = int(values.mean(axis=1).argmax())
    rng = np.random.default_rng(0)
    raced = [eliminate(values[:, rng.permutation(len(shared))]) for _ in range(ORDERS)]
    used = _over_orders([r.used / values.size for r in raced])
    kept = _over_orders([float(best in r.left) for r in raced])
    left = _over_orders([float(len(r.left)) for r in raced])
    rows: list[tuple[Cell, ...]] = [
        ("share of the evaluations made", used),
        ("strategies left at the end", left),
        ("orders that keep the best", kept.value),
    ]
    for place, strategy in enumerate(runs.strategies):
        share = float(np.mean([place in r.left for r in raced]))
        rows.append((f"orders that keep {strategy.label}", share))
    return Finding(
        f"With early elimination {used.value:.0%} ({used.low:.0%} to {used.high:.0%}, over "
        f"{ORDERS} orders) of {values.size:,} evaluations would have been made; {left.value:.1f} "
        f"of {len(values)} strategies are left, {runs.strategies[best].label} in "
        f"{kept.value:.0%} of the orders.",
        ("elimination", "value"),
        rows,
    )


def _over_orders(values: Sequence[float]) -> Interval:
    """The mean, and between what 95 % of the orders lie."""
    return quantile_interval(float(np.mean(values)), np.asarray(values, dtype=float))
