"""Two strategies on the same problems: the difference, its interval and its p-value.

Everything is paired: problems differ far more than strategies do, and comparing two unpaired
intervals would throw that away.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from evals.statistics.intervals import (
    Floats,
    Interval,
    as_shares,
    bootstrap_weights,
    quantile_interval,
)
from evals.statistics.metrics import wilson


class McNemar(NamedTuple):
    """Problems that only a or only b got right, and the exact two-sided p-value."""

    only_a: int
    only_b: int
    p_value: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """Strategy `b` against `a` over `problems`: `difference` is accuracy of b minus that of a.

    `low` and `high` bound its 95 % paired bootstrap interval. `p_value` is two-sided, from `test`;
    `adjusted` is that after Holm's correction over all comparisons made together, else None.
    """

    a: str
    b: str
    problems: int
    accuracy_a: float
    accuracy_b: float
    difference: float
    low: float
    high: float
    only_a: int | None
    only_b: int | None
    p_value: float
    test: str
    adjusted: float | None = None


def mcnemar(a: Sequence[float], b: Sequence[float]) -> McNemar:
    """The exact test of McNemar (1947): under equality each discordant problem is a fair coin.

    p = P(|X - n/2| >= |only_a - n/2|) for X ~ Bin(n, 1/2), n the discordant problems; 1 if none.
    """
    x, y = _pair(a, b)
    if not _binary(x, y):
        raise ValueError("McNemar's test needs results that are right or wrong, got others")
    only_a, only_b = int(np.sum(x > y)), int(np.sum(y > x))
    if not only_a + only_b:
        return McNemar(0, 0, 1.0)
    from scipy.stats import binomtest

    return McNemar(only_a, only_b, float(binomtest(only_a, only_a + only_b).pvalue))


def paired_difference(
    a: Sequence[float],
    b: Sequence[float],
    *,
    confidence: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> Interval:
    """mean(b) - mean(a) with its paired percentile bootstrap interval, in [-1, 1].

    `a` and `b` hold one number in [0, 1] for each problem, in the same order; problems are drawn
    again together. Where all differences are equal, resampling would claim certainty; then a share
    of the problems as large as Wilson's interval for none out of n allows may differ at most.
    """
    x, y = _pair(a, b)
    d = y - x
    value = float(d.mean())
    if np.all(d == d[0]):
        return without_spread(value, len(d), confidence)
    weights = bootstrap_weights(len(d), resamples, seed)
    return quantile_interval(value, weights @ d, confidence)


def without_spread(difference: float, problems: int, confidence: float = 0.95) -> Interval:
    """The interval of a difference that is the same on all problems.

    A share of the problems as large as Wilson's interval for none of them allows may differ at
    most, and then by 1 either way.
    """
    other = wilson(0, problems, confidence=confidence)[1]
    low, high = difference - other * (1 + difference), difference + other * (1 - difference)
    return Interval(difference, low, high, "wilson")


def sign_flip_p(
    a: Sequence[float], b: Sequence[float], *, resamples: int = 9_999, seed: int = 0
) -> float:
    """The two-sided p-value of the paired permutation test (Fisher, 1935) of equal means.

    Under equality every problem's difference might as well have had the other sign. All sign
    patterns if there are at most `resamples`, else so many seeded ones, the observed one added.
    """
    x, y = _pair(a, b)
    d = y - x
    d = d[d != 0]
    if len(d) < 2:
        return 1.0  # of one difference both signs are as large
    from scipy.stats import permutation_test

    found = permutation_test(
        (d,),
        np.mean,
        permutation_type="samples",
        vectorized=True,
        n_resamples=resamples,
        batch=max(1, 1_000_000 // len(d)),
        random_state=np.random.default_rng(seed),
    )
    return float(found.pvalue)


def compare(
    a: Sequence[float],
    b: Sequence[float],
    *,
    names: tuple[str, str] = ("a", "b"),
    confidence: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> Comparison:
    """`b` against `a`: exact McNemar where every result is 0 or 1, else the sign-flip test."""
    x, y = _pair(a, b)
    gap = paired_difference(a, b, confidence=confidence, resamples=resamples, seed=seed)
    only_a: int | None
    only_b: int | None
    if _binary(x, y):
        only_a, only_b, p_value = mcnemar(a, b)
        test = "exact McNemar"
    else:
        only_a = only_b = None
        p_value, test = sign_flip_p(a, b, seed=seed), "paired permutation"
    return Comparison(
        *names,
        len(x),
        float(x.mean()),
        float(y.mean()),
        gap.value,
        gap.low,
        gap.high,
        only_a,
        only_b,
        p_value,
        test,
    )


def compare_all(
    values: Mapping[str, Sequence[float]], *, baseline: str | None = None, seed: int = 0
) -> list[Comparison]:
    """All pairs of strategies, or each against `baseline`, with Holm's correction over them.

    `values` holds for each strategy one number in [0, 1] a problem, all in the same order.
    """
    if baseline is not None and baseline not in values:
        raise ValueError(f"baseline {baseline!r} must be one of {', '.join(values)}")
    pairs = itertools.combinations(values, 2)
    if baseline is not None:
        pairs = ((baseline, name) for name in values if name != baseline)  # type: ignore[assignment]
    found = [compare(values[a], values[b], names=(a, b), seed=seed) for a, b in pairs]
    adjusted = holm([c.p_value for c in found])
    return [replace(c, adjusted=p) for c, p in zip(found, adjusted, strict=True)]


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted by Holm's step-down method (1979), in the order given.

    The i-th smallest of m becomes max over j <= i of (m - j + 1) p_(j), at most 1. Rejecting those
    below alpha errs at least once with chance alpha or less, however the tests depend.
    """
    if any(not 0 <= p <= 1 for p in p_values):
        raise ValueError(f"p-values must be in [0, 1], got {list(p_values)!r:.80}")
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * p_values[i]))
        adjusted[i] = largest
    return adjusted


def _pair(a: Sequence[float], b: Sequence[float]) -> tuple[Floats, Floats]:
    x, y = as_shares(a, "a"), as_shares(b, "b")
    if len(x) != len(y):
        raise ValueError(f"a and b must be on the same problems, got {len(x)} and {len(y)}")
    return x, y


def _binary(*vectors: Floats) -> bool:
    return all(bool(np.all((v == 0) | (v == 1))) for v in vectors)
