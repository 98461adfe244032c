"""What the rest of a task may hold, told from a few of its problems."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its 95 % interval; `low` and `high` are None where one problem says nothing."""

    value: float
    low: float | None
    high: float | None

    def to_json(self) -> dict[str, float | None]:
        return {"value": self.value, "low": self.low, "high": self.high}

    def times(self, factor: float) -> Estimate:
        low, high = (None if x is None else x * factor for x in (self.low, self.high))
        return Estimate(self.value * factor, low, high)


def counts(seen: int, total: int, resamples: int, seed: int) -> Counts:
    """How often each of `seen` problems stands in each of many whole tasks [resamples, seen].

    Those seen are in every task once; the other `total - seen` are drawn from a bootstrap sample of
    them, so that both are there: what is not known of the task, and the luck of the draw.
    """
    if not 1 <= seen <= total:
        raise ValueError(f"a pilot sees from 1 to all of {total} problems, got {seen}")
    rng = np.random.default_rng(seed)
    again = rng.multinomial(seen, np.full(seen, 1 / seen), size=resamples) / seen
    rest = np.stack([rng.multinomial(total - seen, row) for row in again])
    found: Counts = 1 + rest
    return found


def estimate(value: float, draws: Floats, seen: int) -> Estimate:
    """`value` with the percentile interval of `draws`, widened as befits so few problems.

    A bootstrap of k problems has a spread of sqrt((k - 1) / k) of the true one, and its quantiles
    are the normal's and not Student's.
    """
    if seen < 2:
        return Estimate(value, None, None)
    from scipy.stats import norm, t

    wider = math.sqrt(seen / (seen - 1)) * t.ppf(0.975, seen - 1) / norm.ppf(0.975)
    low, high = np.quantile(draws, (0.025, 0.975))
    return Estimate(
        value,
        float(max(0.0, value - wider * max(0.0, value - low))),
        float(value + wider * max(0.0, high - value)),
    )
