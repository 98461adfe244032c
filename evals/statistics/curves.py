"""Accuracy against the number of samples, from one stored run: nothing is drawn again.

Each figure for k of n samples is the expectation over all subsets of k, so unbiased for k fresh
samples: exact for pass@k, majority@k and best@k, by seeded subsets for weighted@k where they are
too many to go through, with the Monte Carlo error stated.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from evals.statistics.intervals import Floats, Interval, bootstrap_weights, column_means
from evals.statistics.majority import groups_of, majorities_at_k
from evals.statistics.metrics import pass_at_k, verifiers_at_k
from evals.statistics.weighted import Votes, weighted_at_ks

Kind: TypeAlias = Literal["pass", "majority", "best", "weighted"]

_AT_ONCE = 500_000
"""Numbers of subsets that are worked on together: some megabytes."""


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
    alike: dict[int, list[int]] = {}
    for i, problem in enumerate(problems):
        alike.setdefault(len(problem.keys), []).append(i)
    for rows in alike.values():
        found = _at_ks([problems[i] for i in rows], kind, points, subsets, seed)
        values[rows], errors[rows] = found
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


def _at_ks(
    problems: Sequence[Samples], kind: Kind, ks: Sequence[int], subsets: int, seed: int
) -> tuple[Floats, Floats]:
    """Values and their errors, [problems, ks] each, of problems with as many samples each."""
    n = len(problems[0].keys)
    exact = np.zeros((len(problems), len(ks)))
    if kind == "pass":
        table = np.array([[pass_at_k(n, c, k) for k in ks] for c in range(n + 1)])
        return table[[sum(map(bool, p.correct)) for p in problems]], exact
    if kind == "majority":
        groups = [groups_of(p.keys, p.correct) for p in problems]
        return np.stack([majorities_at_k(groups, n, k) for k in ks], axis=1), exact
    if kind not in ("best", "weighted"):
        raise ValueError(f"kind must be pass, majority, best or weighted, got {kind!r}")
    scores = [p.scores for p in problems if p.scores is not None]
    if len(scores) < len(problems):
        raise ValueError(f"{kind}@k needs the scores of a verifier, got samples without")
    if kind == "weighted":
        return _weighted(problems, scores, ks, subsets, seed)
    known = [
        [-math.inf if s is None or key is None else s for s, key in zip(row, p.keys, strict=True)]
        for row, p in zip(scores, problems, strict=True)
    ]
    correct = np.array([p.correct for p in problems], dtype=bool)
    return verifiers_at_k(correct, np.array(known, dtype=float), ks), exact


def _weighted(
    problems: Sequence[Samples],
    scores: Sequence[Sequence[float | None]],
    ks: Sequence[int],
    subsets: int,
    seed: int,
) -> tuple[Floats, Floats]:
    """In pieces of so many problems that their subsets fit in memory, other ones in each piece."""
    many = max(1, _AT_ONCE // (subsets * len(ks) * len(problems[0].keys)))
    parts = []
    for at in range(0, len(problems), many):
        some = problems[at : at + many]
        votes = Votes([p.keys for p in some], [p.correct for p in some], scores[at : at + many])
        parts.append(weighted_at_ks(votes, ks, subsets=subsets, seed=seed + at))
    values, errors = zip(*parts, strict=True)
    return np.concatenate(values), np.concatenate(errors)


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
