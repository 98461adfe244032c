"""Where more samples stop paying (2025, arXiv:2505.20522): F(N) = F_max (1 - (1 - p)^N)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from evals.measures.finding import Cell, Chart, Finding, NotMeasuredError
from evals.measures.stored import Stored
from evals.statistics.curves import Kind, at_k_curve
from evals.statistics.intervals import Floats, Interval, bootstrap_weights, quantile_interval
from searchers.kernels.saturation import enough, saturating

MEANS = (
    "The accuracy that votes (and any-is-right) tend to, and the number of samples after which "
    "one more gains less than 0.01."
)
NOT = (
    "Fitted to the samples there are: a curve that has not bent yet says nothing of its end, "
    "which shows in a wide interval. The law has one p for all problems, so it saturates sooner "
    "than a mix of easy and hard ones does."
)

GAIN = 0.01


class Saturation(NamedTuple):
    """F(N) = limit (1 - (1 - p)^N)."""

    limit: float
    p: float

    def __call__(self, n: float) -> float:
        return self.limit * (1 - math.pow(1 - self.p, n))

    def samples(self, gain: float = GAIN) -> int:
        """The least N from which one sample more gains `gain` or less; 1 at least."""
        return enough(self.limit, self.p, gain)


def fit(ns: Sequence[int], accuracy: Sequence[float] | Floats) -> Saturation:
    """Least squares. Raises ValueError for fewer than three different ns, or nothing ever right."""
    if len(set(ns)) < 3 or not np.any(np.asarray(accuracy) > 0):
        raise ValueError(f"three different ns with accuracies above 0 are needed, got {list(ns)}")
    return Saturation(*saturating(ns, accuracy))


def measure(stored: Stored) -> Finding:
    n = stored.at_least(4)
    rows: list[tuple[Cell, ...]] = []
    said, series = "", dict[str, list[tuple[float, Interval]]]()
    kinds: dict[Kind, str] = {"majority": "the vote", "pass": "any is right"}
    for kind, name in kinds.items():
        curve = at_k_curve(stored.samples, kind)
        if not curve.values.any():
            raise NotMeasuredError("no sample is right")
        law = fit(curve.ks, curve.values.mean(axis=0))
        draws = [
            fit(curve.ks, row)
            for row in bootstrap_weights(len(curve.values), 200, 0) @ curve.values
            if row.any()
        ]
        table = np.array([(d.limit, d.p, d.samples()) for d in draws])
        limit, p, last = (
            quantile_interval(v, table[:, i]) for i, v in enumerate((*law, law.samples()))
        )
        rows.append((name, limit, p, last))
        series[name] = list(zip(map(float, curve.ks), curve.intervals(), strict=True))
        series[f"{name}, law"] = [
            (float(k), quantile_interval(law(k), np.array([d(k) for d in draws])))
            for k in (*curve.ks, 2 * n)
        ]
        if kind == "majority":
            said = (
                f"The vote tends to {limit.value:.3f} ({limit.low:.3f} to {limit.high:.3f}); from "
                f"{last.value:.0f} samples ({last.low:.0f} to {last.high:.0f}) one more gains less "
                f"than {GAIN}; {n} are stored."
            )
    head = ("accuracy by", "limit", "p", f"samples to a gain of {GAIN}")
    return Finding(said, head, rows, chart=Chart("samples a problem", "accuracy", series))
