"""Statistics of benchmark results: pure functions.

Those named `..._at_k` and `..._at_n` concern the samples of one problem; a task's figure is their
mean over its problems. Subsets of samples are drawn without replacement, so every figure for k of n
samples is the expectation over all of them, and unbiased for k fresh samples.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from statistics import NormalDist
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from evals.statistics.majority import groups_of, majorities_at_k

Floats: TypeAlias = NDArray[np.float64]
Bools: TypeAlias = NDArray[np.bool_]


def wilson(successes: int, n: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """The score interval for a share (Wilson, 1927), within [0, 1].

    With p = successes / n and z the normal quantile:
    (p + z²/2n ± z sqrt(p(1-p)/n + z²/4n²)) / (1 + z²/n).
    """
    if not 0 <= successes <= n or n < 1:
        raise ValueError(f"0 <= successes <= n and n >= 1 must hold, got {successes} of {n}")
    _check_confidence(confidence)
    z, p = NormalDist().inv_cdf((1 + confidence) / 2), successes / n
    middle = p + z * z / (2 * n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low, high = ((middle + side) / (1 + z * z / n) for side in (-half, half))
    # At the ends the interval ends there; rounding must not say otherwise.
    return (0.0 if successes == 0 else low), (1.0 if successes == n else high)


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
    grades = np.asarray(correct, dtype=bool).reshape(1, -1)
    shown = np.asarray(range(grades.size, 0, -1) if scores is None else scores, dtype=float)
    return float(verifiers_at_k(grades, shown.reshape(1, -1), [k])[0, 0])


def verifiers_at_k(correct: Bools, scores: Floats, ks: Sequence[int]) -> Floats:
    """`verifier_at_k` [problems, ks] of many problems, all [problems, samples], at each of `ks`."""
    if correct.shape != scores.shape:
        raise ValueError(
            f"as many scores as grades are needed, got {scores.shape[-1]}, {correct.shape[-1]}"
        )
    if np.isnan(scores).any():
        raise ValueError("a score is not a number; give samples without one -inf")
    problems, n = correct.shape
    for k in ks:
        _check_k(k, n)
    order = np.argsort(-scores, axis=1, kind="stable")
    ordered = np.take_along_axis(scores, order, axis=1)
    grades = np.take_along_axis(correct, order, axis=1).ravel()
    first = np.ones((problems, n), dtype=bool)  # of those with its score
    first[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    starts = np.flatnonzero(first)
    size = np.diff(np.r_[starts, problems * n])
    share = np.add.reduceat(grades.astype(float), starts) / size
    left = n - starts % n
    rows = np.flatnonzero(starts % n == 0)
    found = np.empty((problems, len(ks)))
    for column, k in enumerate(ks):
        # The best of k samples is in a group: none is from above it, not all are from below.
        below = np.array([math.comb(m, k) / math.comb(n, k) for m in range(n + 1)])
        chance = below[left] - below[left - size]
        found[:, column] = np.add.reduceat(chance * share, rows)
    return found


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


def _check_k(k: int, n: int) -> None:
    if not 1 <= k <= n:
        raise ValueError(f"k is {k}; it must be from 1 to the number of samples, {n}")


def _check_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be between 0 and 1, got {confidence}")
