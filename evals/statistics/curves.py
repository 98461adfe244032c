"""Accuracy against the number of samples, from one stored run: nothing is drawn again.

Each figure for k of n samples is the expectation over all subsets of k, so unbiased for k fresh
samples: exact for pass@k, majority@k and best@k, by seeded subsets for weighted@k where they are
too many to go through, with the Monte Carlo error stated.
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from evals.statistics.intervals import Floats, Interval, bootstrap_weights, column_means
from evals.statistics.metrics import majority_at_k, pass_at_k, verifier_at_k

Kind: TypeAlias = Literal["pass", "majority", "best", "weighted"]


@dataclass(frozen=True, slots=True)
class Samples:
    """The independent whole solutions of one problem, in the order they were stored.

    `keys` say which samples agree (None is no answer), `scores` are those of a verifier, None for
    a sample without one; `tokens` are generated tokens.
    """

    keys: Sequence[Hashable | None]
    correct: Sequence[bool]
    scores: Sequence[float | None] | None = None
    tokens: Sequence[float] | None = None


@dataclass(frozen=True, slots=True)
class Curve:
    """Accuracy for each number of samples in `ks`.

    `values` [problems, ks] are in [0, 1]; `tokens` [problems, ks] are the expected generated tokens
    of k samples, None where they are unknown; `errors` [ks] are the standard errors of the mean
    that come from drawing subsets, 0 where it is exact.
    """

    kind: Kind
    ks: tuple[int, ...]
    values: Floats
    tokens: Floats | None
    errors: Floats

    def intervals(self, *, confidence: float = 0.95, seed: int = 0) -> list[Interval]:
        """The mean over problems at each k, with its interval."""
        return column_means(self.values, confidence=confidence, seed=seed)


class Estimate(NamedTuple):
    """A number and the standard error it has from being estimated by drawing."""

    value: float
    error: float


def at_k_curve(
    problems: Sequence[Samples],
    kind: Kind,
    ks: Sequence[int] | None = None,
    *,
    subsets: int = 1_000,
    seed: int = 0,
) -> Curve:
    """The curve of `kind` over `ks` (powers of two and the fewest samples any problem has).

    Raises ValueError for best and weighted without scores.
    """
    if not problems:
        raise ValueError("a curve needs at least one problem, got none")
    n = min(len(p.correct) for p in problems)
    points = tuple(powers_of_two(n) if ks is None else ks)
    values, errors = np.zeros((len(problems), len(points))), np.zeros((len(problems), len(points)))
    for i, problem in enumerate(problems):
        for j, k in enumerate(points):
            values[i, j], errors[i, j] = _at_k(problem, kind, k, subsets, seed + i)
    tokens = None
    if all(p.tokens is not None for p in problems):
        means = [float(np.mean(p.tokens)) for p in problems if p.tokens is not None]
        tokens = np.outer(means, points)
    return Curve(kind, points, values, tokens, np.sqrt((errors**2).sum(axis=0)) / len(problems))


def powers_of_two(n: int) -> list[int]:
    """1, 2, 4, ... up to n, and n itself."""
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    return sorted({*(2**i for i in range(n.bit_length())), n})


def _at_k(problem: Samples, kind: Kind, k: int, subsets: int, seed: int) -> Estimate:
    correct = [bool(c) for c in problem.correct]
    if kind == "pass":
        return Estimate(pass_at_k(len(correct), sum(correct), k), 0.0)
    if kind == "majority":
        return Estimate(majority_at_k(problem.keys, correct, k), 0.0)
    if problem.scores is None:
        raise ValueError(f"{kind}@k needs the scores of a verifier, got samples without")
    if kind == "best":
        known = [
            -math.inf if score is None or key is None else score
            for score, key in zip(problem.scores, problem.keys, strict=True)
        ]
        return Estimate(verifier_at_k(correct, k, scores=known), 0.0)
    if kind == "weighted":
        return weighted_at_k(problem.keys, correct, problem.scores, k, subsets=subsets, seed=seed)
    raise ValueError(f"kind must be pass, majority, best or weighted, got {kind!r}")


def weighted_at_k(
    keys: Sequence[Hashable | None],
    correct: Sequence[bool],
    scores: Sequence[float | None],
    k: int,
    *,
    subsets: int = 1_000,
    seed: int = 0,
) -> Estimate:
    """The chance that of k samples the answer with the highest sum of scores is correct.

    Samples without a score do not vote, and those without an answer never win; tied answers win
    equally often (`majority_at_k` says why). Exact over all subsets if there are no more than
    `subsets`, else the mean over so many seeded ones with its standard error. Scores are 0 or more.
    """
    n = len(keys)
    if not len(correct) == len(scores) == n or not 1 <= k <= n:
        raise ValueError(
            "as many keys as grades and scores are needed and k must be from 1 to that number, "
            f"got {n}, {len(correct)}, {len(scores)} and k={k}"
        )
    if subsets < 2:
        raise ValueError(f"subsets must be at least 2, got {subsets}")
    weight = np.array([0.0 if s is None else float(s) for s in scores])
    if not np.all(weight >= 0):
        raise ValueError("scores must be numbers of 0 or more, or their sums favour rare answers")
    if math.comb(n, k) <= subsets:
        chosen = np.zeros((math.comb(n, k), n))
        for row, subset in zip(chosen, itertools.combinations(range(n), k), strict=True):
            row[list(subset)] = 1
        return Estimate(float(_won(chosen, keys, correct, scores, weight).mean()), 0.0)
    order = np.argsort(np.random.default_rng(seed).random((subsets, n)), axis=1)
    chosen = (order < k).astype(float)
    won = _won(chosen, keys, correct, scores, weight)
    return Estimate(float(won.mean()), float(won.std(ddof=1) / math.sqrt(subsets)))


def _won(
    chosen: Floats,
    keys: Sequence[Hashable | None],
    correct: Sequence[bool],
    scores: Sequence[float | None],
    weight: Floats,
) -> Floats:
    """For each row of `chosen` [subsets, samples], the share of its winners that is right."""
    answers = list(dict.fromkeys(key for key in keys if key is not None))
    member = np.array([[key == answer for answer in answers] for key in keys], dtype=float)
    member = member.reshape(len(keys), len(answers))
    if not answers:
        return np.zeros(len(chosen))
    voting = member * np.array([s is not None for s in scores], dtype=float)[:, None]
    # Where none of a subset has a score it is a plain majority, as in the aggregator.
    plain = (chosen @ voting).sum(axis=1) == 0
    present = np.where(plain[:, None], chosen @ member, chosen @ voting)
    totals = np.where(plain[:, None], present, chosen @ (voting * weight[:, None]))
    totals = np.where(present > 0, totals, -np.inf)
    top = totals.max(axis=1, keepdims=True)
    winners = (totals >= top - 1e-12 * np.abs(np.where(np.isfinite(top), top, 0))) & (present > 0)
    right = np.array(correct, dtype=float) @ member / member.sum(axis=0)
    count = winners.sum(axis=1)
    return np.where(count, winners @ right / np.maximum(count, 1), 0.0)


@dataclass(frozen=True, slots=True)
class CoverageLaw:
    """c(k) = exp(a k^b), a <= 0 (Large Language Monkeys, 2024, arXiv:2407.21787).

    `a_error` and `b_error` are standard errors; `method` says of which kind. `rmse` is the root
    mean square of the residuals of log c.
    """

    a: float
    b: float
    a_error: float
    b_error: float
    rmse: float
    method: Literal["least squares", "bootstrap over problems"]

    def __call__(self, k: float) -> float:
        """The coverage the law predicts for k samples."""
        return math.exp(self.a * k**self.b)


def fit_coverage(ks: Sequence[int], coverage: Sequence[float]) -> CoverageLaw:
    """Least squares of log c on a k^b over log-spaced `ks`, `coverage` being pass@k in (0, 1].

    The standard errors are those of the fit and take its residuals for independent, which pass@k
    from the same samples is not: `fit_coverage_table` has those from resampling problems.
    """
    a, b, covariance, rmse = _fit(ks, np.asarray(coverage, dtype=float))
    errors = [math.sqrt(max(0.0, v)) for v in np.diag(covariance)]
    return CoverageLaw(a, b, errors[0], errors[1], rmse, "least squares")


def fit_coverage_table(
    ks: Sequence[int], table: Floats, *, resamples: int = 200, seed: int = 0
) -> CoverageLaw:
    """The law of the mean of `table` [problems, ks] of pass@k, with bootstrap standard errors.

    Problems are drawn again and the law is fitted to each resample; those that cannot be fitted
    (no coverage at some k, full coverage at all, no growth of that form) are left out.
    """
    table = np.asarray(table, dtype=float)
    a, b, _, rmse = _fit(ks, table.mean(axis=0))
    rows = bootstrap_weights(len(table), resamples, seed) @ table
    draws = [found[:2] for row in rows if (found := _fit_or_none(ks, row))]
    if len(draws) < 2:
        raise ValueError(
            "coverage must be in (0, 1], below 1 for two ks or more, in at least two resamples"
        )
    a_error, b_error = np.std(np.array(draws), axis=0, ddof=1)
    return CoverageLaw(a, b, float(a_error), float(b_error), rmse, "bootstrap over problems")


def _fit_or_none(ks: Sequence[int], coverage: Floats) -> tuple[float, float, Floats, float] | None:
    try:
        return _fit(ks, coverage)
    except ValueError:
        return None


def _fit(ks: Sequence[int], coverage: Floats) -> tuple[float, float, Floats, float]:
    """a, b, their covariance and the root mean square residual of log c."""
    k, c = np.asarray(ks, dtype=float), np.asarray(coverage, dtype=float)
    if k.ndim != 1 or k.shape != c.shape or len(set(k)) < 3:
        raise ValueError(f"three different ks with their coverage are needed, got {k.shape}")
    if not (np.all(k >= 1) and np.all((c > 0) & (c <= 1)) and np.sum(c < 1) > 1):
        raise ValueError("ks must be 1 or more and coverage in (0, 1], below 1 for two ks or more")
    from scipy.optimize import OptimizeWarning, curve_fit

    y, inside = np.log(c), c < 1
    slope, start = np.polyfit(np.log(k[inside]), np.log(-y[inside]), 1)
    start = -math.exp(start)

    def law(k: Floats, a: float, b: float) -> Floats:
        return np.asarray(a * k**b, dtype=float)

    # On its way to a fit, or to none, k^b may overflow.
    with (
        warnings.catch_warnings(category=OptimizeWarning, action="ignore"),
        np.errstate(all="ignore"),
    ):
        try:
            (a, b), covariance = curve_fit(law, k, y, p0=(start, slope), maxfev=10_000)
        except RuntimeError as error:
            raise ValueError(f"coverage must follow exp(a k^b) to be fitted: {error}") from None
    if not b < 100 / math.log(k.max()):  # beyond, k^b is no number to reckon with
        raise ValueError(f"coverage must follow exp(a k^b) to be fitted, got b = {b:g}")
    rmse = float(np.sqrt(np.mean((y - law(k, a, b)) ** 2)))
    return float(a), float(b), np.asarray(covariance, dtype=float), rmse


def log_spaced(n: int, points: int = 12) -> list[int]:
    """Up to `points` different whole numbers from 1 to n, evenly spaced in their logarithm."""
    if n < 1 or points < 2:
        raise ValueError(f"n must be at least 1 and points at least 2, got {n} and {points}")
    return sorted({round(float(k)) for k in np.geomspace(1, n, points)})
