"""A holdout that many questions may be asked of: Thresholdout (Dwork et al., 2015,
arXiv:1411.2664)."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np

from evals.statistics.intervals import Floats

LEAST = 0.04
MOST = 0.1
"""Thresholds: the authors' for thousands of examples, and where a difference is no longer small."""
DEVIATIONS = 2.0


def threshold_for(problems: int) -> float:
    """The threshold that halves of so many problems can bear.

    Two standard deviations of the difference of two halves' accuracies where problems are right by
    a coin, so that who is not overfit seldom spends anything. Raises ValueError where that is above
    0.1: with fewer than 400 problems.
    """
    found = max(LEAST, DEVIATIONS * sqrt(2 * 0.25 / max(1, problems // 2)))
    if found > MOST + 1e-9:
        least = 2 * int(np.ceil((DEVIATIONS / MOST) ** 2 / 2))
        raise ValueError(
            f"halves of {problems} problems differ by chance by up to {found:.2f}, and a guard "
            f"that lets more than {MOST} pass protects from nothing; {least} problems are needed"
        )
    return found


@dataclass
class Thresholdout:
    """Answers to questions about one holdout, in accuracies in [0, 1].

    `sigma` scales Laplace noise, `eta` is that of the threshold, `left` are the answers that may
    still come from the holdout, `flags` those that have.
    """

    threshold: float
    sigma: float
    left: int
    eta: float
    flags: int = 0

    @classmethod
    def begun(
        cls, threshold: float, budget: int, rng: np.random.Generator, sigma: float | None = None
    ) -> Thresholdout:
        """With a fresh threshold; sigma is a quarter of it unless it is stated, as in practice."""
        sigma = threshold / 4 if sigma is None else sigma
        return cls(threshold, sigma, budget, _laplace(rng, sigma))

    def answer(self, tune: float, hold: float, rng: np.random.Generator) -> float | None:
        """The mean on the half to tune on, unless that on the holdout is another by more than the
        threshold: then the latter with noise, for one of the budget. None once that is spent."""
        if self.left < 1:
            return None
        if abs(tune - hold) <= self.threshold + self.eta:
            return tune
        self.left, self.flags = self.left - 1, self.flags + 1
        self.eta = _laplace(rng, self.sigma)
        return min(1.0, max(0.0, hold + _laplace(rng, self.sigma)))


def _laplace(rng: np.random.Generator, scale: float) -> float:
    return float(rng.laplace(0.0, scale)) if scale > 0 else 0.0


def means(grades: Floats, half: Floats) -> tuple[float, float]:
    """Of [problems], the mean where `half` is 0 (to tune on) and where it is 1 (the holdout)."""
    x, h = np.asarray(grades, dtype=float), np.asarray(half, dtype=bool)
    return float(x[~h].mean()), float(x[h].mean())
