"""Means over problems with their intervals; the problems are what is resampled, always.

A mean of yes-or-no results, one a problem, has a Wilson interval; a mean of shares (several samples
a problem) has a percentile bootstrap interval over problems. `method` says which.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evals.statistics.metrics import bootstrap_mean, wilson

Floats: TypeAlias = NDArray[np.float64]
Method: TypeAlias = Literal["wilson", "bootstrap"]


class Interval(NamedTuple):
    """An estimate and the interval around it; `method` says how that was found."""

    value: float
    low: float
    high: float
    method: Method

    @property
    def signed(self) -> str:
        """A difference as people read it: `+0.010 (-0.002 to +0.021)`, and nothing below 0 by
        less than can be seen."""
        return f"{self.value:+z.3f} ({self.low:+z.3f} to {self.high:+z.3f})"


def accuracy(values: Sequence[float], *, confidence: float = 0.95, seed: int = 0) -> Interval:
    """The mean of `values` (one a problem, in [0, 1]) with its interval.

    Wilson where every value is 0 or 1, so one answer a problem; else bootstrap over problems.
    """
    x = as_shares(values, "values")
    value = float(x.mean())
    if np.all((x == 0) | (x == 1)):
        return Interval(value, *wilson(int(x.sum()), len(x), confidence=confidence), "wilson")
    low, high = bootstrap_mean(x.tolist(), confidence=confidence, seed=seed)
    # Without any spread `bootstrap_mean` falls back on Wilson's interval.
    return Interval(value, low, high, "wilson" if np.all(x == x[0]) else "bootstrap")


def column_means(
    table: ArrayLike,
    *,
    confidence: float = 0.95,
    resamples: int = 2_000,
    seed: int = 0,
) -> list[Interval]:
    """`accuracy` of every column of `table` [problems, columns], all from the same resamples.

    Much quicker than one call a column. Columns without spread get the Wilson interval that
    `bootstrap_mean` gives.
    """
    x = np.asarray(table, dtype=float)
    if x.ndim != 2 or not x.shape[0]:
        raise ValueError(f"table must be [problems, columns] with a problem, got shape {x.shape}")
    weights = bootstrap_weights(len(x), resamples, seed)
    low, high = np.quantile(weights @ x, _tails(confidence), axis=0)
    found = []
    for j, column in enumerate(x.T):
        flat = bool(np.all(column == column[0]))
        if flat or np.all((column == 0) | (column == 1)):
            found.append(accuracy(column.tolist(), confidence=confidence))
        else:
            found.append(Interval(float(column.mean()), float(low[j]), float(high[j]), "bootstrap"))
    return found


def bootstrap_weights(problems: int, resamples: int, seed: int) -> Floats:
    """Weights [resamples, problems] of bootstrap samples: how often each problem was drawn, over n.

    `weights @ table` is a statistic's mean in every resample. One matrix for two strategies is what
    pairs them; the mean of every row is 1 / problems. Not to be written to.
    """
    if problems < 1 or resamples < 1:
        raise ValueError(
            f"problems and resamples must be at least 1, got {problems} and {resamples}"
        )
    return _weights(problems, resamples, seed)


@lru_cache(maxsize=1)
def _weights(problems: int, resamples: int, seed: int) -> Floats:
    """Of ten thousand problems they take a second, and mostly the same are asked for again."""
    rng = np.random.default_rng(seed)
    found = np.empty((resamples, problems))
    for row in found:
        row[:] = np.bincount(rng.integers(problems, size=problems), minlength=problems)
    found /= problems
    found.flags.writeable = False
    return found


def quantile_interval(value: float, draws: Floats, confidence: float = 0.95) -> Interval:
    """The percentile bootstrap interval from the statistic's values in the resamples."""
    low, high = np.quantile(draws, _tails(confidence))
    return Interval(value, float(low), float(high), "bootstrap")


def as_shares(values: ArrayLike, name: str) -> Floats:
    """`values` as a vector of numbers in [0, 1]; ValueError if they are anything else."""
    x = np.asarray(values, dtype=float)
    if x.ndim != 1 or not len(x) or not np.all((x >= 0) & (x <= 1)):
        raise ValueError(f"{name} must be one or more numbers in [0, 1], got {values!r:.80}")
    return x


def _tails(confidence: float) -> tuple[float, float]:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be between 0 and 1, got {confidence}")
    return (1 - confidence) / 2, (1 + confidence) / 2
