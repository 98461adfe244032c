"""What it is worth to abstain: the risk of those answers that a confidence lets through.

Selective prediction (Geifman and El-Yaniv, 2017, arXiv:1705.08500) and the area under its curve
(Geifman, Uziel and El-Yaniv, 2018, arXiv:1805.08206).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evals.statistics.intervals import Floats, Interval, bootstrap_weights, quantile_interval


@dataclass(frozen=True, slots=True)
class RiskCoverage:
    """The share of wrong answers among the surest.

    `risk` [n]: among the k surest of n, k from 1. `area` is its mean, AURC, in [0, 1], with an
    interval by resampling problems; `best` is that of a confidence that puts every right answer
    before every wrong one, and that of one that says nothing is the risk of all, `risk[-1]`.
    """

    risk: Floats
    area: Interval
    best: float

    def at(self, coverage: float) -> float:
        """The risk where the surest `coverage`, in (0, 1], of all are answered."""
        if not 0 < coverage <= 1:
            raise ValueError(f"coverage is a share in (0, 1], not {coverage}")
        return float(self.risk[max(1, round(coverage * len(self.risk))) - 1])


def risk_coverage(
    confidences: Sequence[float],
    correct: Sequence[bool],
    *,
    confidence: float = 0.95,
    resamples: int = 1_000,
    seed: int = 0,
) -> RiskCoverage:
    """The curve of answers, one a problem, by how sure they are; -inf comes last.

    Equal confidences are taken in all orders at once: their mean risk counts for each of them.
    """
    x, wrong = np.asarray(confidences, dtype=float), ~np.asarray(correct, dtype=bool)
    if x.ndim != 1 or x.shape != wrong.shape or not len(x) or np.isnan(x).any():
        raise ValueError(
            f"a confidence, which is a number, and a grade are needed for each answer, got "
            f"{x.shape} and {wrong.shape}"
        )
    n = len(x)
    order = np.argsort(-x, kind="stable")
    starts = np.flatnonzero(np.r_[True, x[order][1:] != x[order][:-1]])
    draws = np.rint(bootstrap_weights(n, resamples, seed) * n)[:, order]
    errors = draws * wrong[order]
    areas = _area(np.add.reduceat(draws, starts, axis=1), np.add.reduceat(errors, starts, axis=1))
    sizes = np.diff(np.r_[starts, n]).astype(float)
    faults = np.add.reduceat(wrong[order].astype(float), starts)
    value = float(_area(sizes[None], faults[None])[0])
    ks, right = np.arange(1, n + 1), n - int(wrong.sum())
    best = float(np.maximum(0, (ks - right) / ks).mean())
    area = quantile_interval(value, areas, confidence)
    return RiskCoverage(_risk(sizes, faults), area, best)


def _risk(sizes: Floats, faults: Floats) -> Floats:
    """The mean risk [n] over all orders within groups of equal confidence."""
    return np.repeat(faults / sizes, sizes.astype(int)).cumsum() / np.arange(1, sizes.sum() + 1)


def _area(sizes: Floats, faults: Floats) -> Floats:
    """AURC [rows] of groups of equal confidence [rows, groups], the surest first.

    Within a group of m with share r of wrong ones, after B of which E are wrong, the risk at j more
    is r + (E - r B) / (B + j): the sum over j is one of harmonic numbers.
    """
    n = int(sizes[0].sum())
    harmonic = np.r_[0.0, (1 / np.arange(1, n + 1)).cumsum()]
    rate = np.divide(faults, sizes, out=np.zeros_like(faults), where=sizes > 0)
    after = sizes.cumsum(axis=1)
    before = after - sizes
    gone = faults.cumsum(axis=1) - faults
    spread = harmonic[after.astype(int)] - harmonic[before.astype(int)]
    total: Floats = (faults + (gone - rate * before) * spread).sum(axis=1) / n
    return total
