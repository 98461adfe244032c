"""Statistics of benchmark results: pure functions.

Those named `..._at_k` and `..._at_n` concern the samples of one problem; a task's figure is their
mean over its problems. Subsets of samples are drawn without replacement, so every figure for k of n
samples is the expectation over all of them, and unbiased for k fresh samples.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from itertools import groupby

import numpy as np

from evals.statistics.majority import groups_of, majorities_at_k


def wilson(successes: int, n: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """The score interval for a share (Wilson, 1927), within [0, 1].

    With p = successes / n and z the normal quantile:
    (p + z²/2n ± z sqrt(p(1-p)/n + z²/4n²)) / (1 + z²/n).
    """
    if not 0 <= successes <= n or n < 1:
        raise ValueError(f"0 <= successes <= n and n >= 1 must hold, got {successes} of {n}")
    _check_confidence(confidence)
    from scipy.stats import binomtest

    interval = binomtest(successes, n).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)


def bootstrap_mean(
    values: Sequence[float], *, confidence: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> tuple[float, float]:
    """The percentile bootstrap interval for a mean over problems (Efron, 1979), in [0, 1].

    `values` in [0, 1], one a problem, are drawn again with replacement. Where they have no spread,
    as with a single problem, resampling would claim certainty; then it is the Wilson interval of as
    many yes-or-no problems, which is at least as wide as the truth.
    """
    x = np.asarray(values, dtype=float)
    if x.ndim != 1 or len(x) == 0 or not np.all((x >= 0) & (x <= 1)):
        raise ValueError(f"values must be one or more numbers in [0, 1], got {values!r:.80}")
    if resamples < 1:
        raise ValueError(f"resamples must be at least 1, got {resamples}")
    _check_confidence(confidence)
    if np.all(x == x[0]):
        total = round(float(x[0]) * len(x), 9)
        low = wilson(math.floor(total), len(x), confidence=confidence)[0]
        return low, wilson(math.ceil(total), len(x), confidence=confidence)[1]
    from scipy.stats import bootstrap

    found = bootstrap(
        (x,),
        np.mean,
        n_resamples=resamples,
        batch=max(1, 1_000_000 // len(x)),
        vectorized=True,
        confidence_level=confidence,
        method="percentile",
        random_state=np.random.default_rng(seed),
    ).confidence_interval
    return float(found.low), float(found.high)


def avg_at_n(correct: Sequence[bool]) -> float:
    """The share of a problem's samples that are correct: pass@1 from n samples, in [0, 1]."""
    if not len(correct):
        raise ValueError("avg@n needs at least one sample")
    return sum(map(bool, correct)) / len(correct)


def pass_at_k(n: int, c: int, k: int) -> float:
    """The chance that any of k samples is correct, c of n being so (arXiv:2107.03374).

    1 - C(n-c, k) / C(n, k), in integers up to one last division: no rounding, no overflow.
    """
    if not 0 <= c <= n:
        raise ValueError(f"0 <= c <= n must hold, got c={c}, n={n}")
    _check_k(k, n)
    ways = math.comb(n, k)
    return (ways - math.comb(n - c, k)) / ways


def verifier_at_k(
    correct: Sequence[bool], k: int, *, scores: Sequence[float] | None = None
) -> float:
    """The chance that the best scored of k samples is correct, in [0, 1].

    `correct` is ordered from the highest score down, or in any order beside its `scores`. Sum over
    i of correct[i] C(n-i, k-1) / C(n, k), i from 1; samples with equal scores win equally often,
    which is the expectation over all orders they could stand in.
    """
    n = len(correct)
    _check_k(k, n)
    groups = [[bool(c)] for c in correct] if scores is None else _by_score(correct, scores)
    ways, left, total = math.comb(n, k), n, 0.0
    for group in groups:
        # The best of k samples is in this group: none is from above it, not all are from below.
        rest = left - len(group)
        chance = (math.comb(left, k) - math.comb(rest, k)) / ways
        total += chance * sum(group) / len(group)
        left = rest
    return total


def majority_at_k(keys: Sequence[Hashable | None], correct: Sequence[bool], k: int) -> float:
    """The chance that the most frequent answer of k samples is correct, in [0, 1].

    `keys` says which samples agree; None is no answer and never wins. Tied answers win equally
    often: the earliest sample wins a tie, and samples drawn independently could have come in any
    order. So for k = n this is the plain majority if it has no tie, else the share of the tied that
    are correct, whatever order the samples were stored in.

    Exact, in time of about n k log n; see `evals.statistics.majority`, which does many at once.
    """
    _check_k(k, len(keys))
    return float(majorities_at_k([groups_of(keys, correct)], len(keys), k)[0])


def _by_score(correct: Sequence[bool], scores: Sequence[float]) -> list[list[bool]]:
    """Grades by score, highest first."""
    if len(scores) != len(correct):
        raise ValueError(f"as many scores as grades are needed, got {len(scores)}, {len(correct)}")
    if any(math.isnan(score) for score in scores):
        raise ValueError("a score is not a number; give samples without one -inf")
    ordered = sorted(zip(scores, correct, strict=True), key=lambda pair: -pair[0])
    return [[bool(c) for _, c in tied] for _, tied in groupby(ordered, key=lambda pair: pair[0])]


def _check_k(k: int, n: int) -> None:
    if not 1 <= k <= n:
        raise ValueError(f"k is {k}; it must be from 1 to the number of samples, {n}")


def _check_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be between 0 and 1, got {confidence}")
