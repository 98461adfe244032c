"""Strategies at equal compute: read off their accuracy-against-tokens curves, never at equal n.

A strategy is its points (one for each n, say), each with a result and a cost for every problem.
Between points accuracy is interpolated linearly in the logarithm of the mean cost; outside them
there is no answer. Bands come from resampling problems, the same ones for both strategies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from evals.statistics.intervals import Floats, Interval, bootstrap_weights, quantile_interval
from evals.statistics.metrics import wilson
from evals.statistics.paired import without_spread


@dataclass(frozen=True, slots=True)
class Points:
    """One strategy's points: `values` [problems, points] in [0, 1], `costs` [problems, points].

    Costs are on one axis of `evals.statistics.compute.AXES`, usually generated tokens; their means
    over the problems must be above 0. Problems stand in the same order in whatever is compared.
    """

    values: Floats
    costs: Floats

    @classmethod
    def of(cls, values: ArrayLike, costs: ArrayLike) -> Points:
        """Checked, from anything like an array."""
        v, c = np.asarray(values, dtype=float), np.asarray(costs, dtype=float)
        if v.ndim != 2 or v.shape != c.shape or not v.size:
            raise ValueError(
                f"values and costs must be [problems, points] alike, got {v.shape} and {c.shape}"
            )
        if not np.all((v >= 0) & (v <= 1)):
            raise ValueError("values must be in [0, 1]")
        if not (np.all(np.isfinite(c)) and np.all(c.mean(axis=0) > 0)):
            raise ValueError("costs must be finite, with means over the problems above 0")
        return cls(v, c)

    @property
    def span(self) -> tuple[float, float]:
        """The least and the largest mean cost: where the curve is known."""
        means = self.costs.mean(axis=0)
        return float(means.min()), float(means.max())


@dataclass(frozen=True, slots=True)
class AtCost:
    """`b` against `a` where both cost `cost` on average; `difference` is accuracy of b minus a.

    `p_value` is two-sided, from the same resamples as the interval: twice the share of those in
    which the difference is 0 or of the other sign.
    """

    cost: float
    a: float
    b: float
    difference: Interval
    p_value: float


def interpolate(costs: Sequence[float], values: Sequence[float], cost: float) -> float | None:
    """The accuracy at `cost`, linear in log cost between the points; None outside them."""
    x, y = np.asarray(costs, dtype=float), np.asarray(values, dtype=float)
    if x.shape != y.shape or x.ndim != 1 or not len(x) or not np.all(x > 0) or cost <= 0:
        raise ValueError("as many costs as values are needed, 1 or more, and costs must be above 0")
    slack = 1e-9 * cost
    if not x.min() - slack <= cost <= x.max() + slack:
        return None
    return float(_read(x[None], y[None], np.array([cost]))[0, 0])


def band(
    points: Points,
    costs: Sequence[float],
    *,
    confidence: float = 0.95,
    resamples: int = 2_000,
    seed: int = 0,
) -> list[Interval | None]:
    """The curve at each of `costs` with its bootstrap interval; None outside the span.

    A resample's costs move along with its results; beyond its own ends its curve is level.
    """
    weights = bootstrap_weights(len(points.values), resamples, seed)
    draws = _draws(points, weights, costs)
    means = points.costs.mean(axis=0), points.values.mean(axis=0)
    found: list[Interval | None] = []
    for j, cost in enumerate(costs):
        value = interpolate(means[0].tolist(), means[1].tolist(), cost)
        if value is None:
            found.append(None)
        elif np.ptp(draws[:, j]) < 1e-9:  # all right, all wrong: no spread is no certainty
            n = len(points.values)
            low, high = wilson(round(value * n), n, confidence=confidence)
            found.append(Interval(value, low, high, "wilson"))
        else:
            found.append(quantile_interval(value, draws[:, j], confidence))
    return found


def at_equal_cost(
    a: Points,
    b: Points,
    costs: Sequence[float] | None = None,
    *,
    confidence: float = 0.95,
    resamples: int = 2_000,
    seed: int = 0,
) -> list[AtCost]:
    """`b` against `a` at each of `costs` that both curves reach (default: every point of either).

    Empty if their spans do not meet. The difference has a paired bootstrap interval.
    """
    if len(a.values) != len(b.values):
        raise ValueError(
            f"both must be on the same problems, got {len(a.values)} and {len(b.values)}"
        )
    low, high = max(a.span[0], b.span[0]), min(a.span[1], b.span[1])
    if costs is None:
        costs = sorted({*a.costs.mean(axis=0).tolist(), *b.costs.mean(axis=0).tolist()})
    shared = [c for c in costs if low * (1 - 1e-9) <= c <= high * (1 + 1e-9)]
    if not shared:
        return []
    weights = bootstrap_weights(len(a.values), resamples, seed)
    draws = _draws(b, weights, shared) - _draws(a, weights, shared)
    everything = np.full((1, len(a.values)), 1 / len(a.values))
    left, right = _draws(a, everything, shared)[0], _draws(b, everything, shared)[0]
    found = []
    for j, cost in enumerate(shared):
        gap = float(right[j] - left[j])
        flat = float(np.ptp(draws[:, j])) < 1e-9  # no spread is no certainty
        interval = (
            without_spread(gap, len(a.values), confidence)
            if flat
            else quantile_interval(gap, draws[:, j], confidence)
        )
        p_value = _two_sided(draws[:, j], gap)
        found.append(AtCost(cost, float(left[j]), float(right[j]), interval, p_value))
    return found


def _two_sided(draws: Floats, gap: float) -> float:
    """Never below 1 / (resamples + 1): no sample of resamples proves more."""
    against = np.sum(draws <= 0) if gap > 0 else np.sum(draws >= 0)
    return min(1.0, (1 + 2 * float(against)) / (1 + len(draws)))


def _draws(points: Points, weights: Floats, costs: Sequence[float]) -> Floats:
    """The curve at `costs` in every resample: [resamples, costs]."""
    return _read(weights @ points.costs, weights @ points.values, np.asarray(costs, dtype=float))


def _read(costs: Floats, values: Floats, at: Floats) -> Floats:
    """Rows of (costs, values) read off at `at`, linear in log cost, level beyond the ends."""
    order = np.argsort(costs, axis=1, kind="stable")
    x = np.log(np.maximum(np.take_along_axis(costs, order, axis=1), 1e-12))
    y = np.take_along_axis(values, order, axis=1)
    if x.shape[1] == 1:
        return np.repeat(y, len(at), axis=1)
    out = np.empty((len(x), len(at)))
    for j, target in enumerate(np.log(at)):
        right = np.clip((x < target).sum(axis=1), 1, x.shape[1] - 1)[:, None]
        (x0, x1), (y0, y1) = (
            [np.take_along_axis(table, right - back, axis=1)[:, 0] for back in (1, 0)]
            for table in (x, y)
        )
        gap = x1 - x0
        # Two points of equal cost count by their mean.
        share = np.where(gap > 0, (target - x0) / np.where(gap > 0, gap, 1), 0.5)
        out[:, j] = y0 + np.clip(share, 0, 1) * (y1 - y0)
    return out
