"""Whether a judge that sees several solutions favours a place: from verdicts on shuffled lists."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from evals.statistics.intervals import Interval, bootstrap_weights, quantile_interval


@dataclass(frozen=True, slots=True)
class PlaceBias:
    """How much more often than by chance the first place won, over `verdicts` on `problems`.

    0 is fair: who stands where is drawn by lot. Pairs lie within [-.5, .5], lists of n within
    [-1/n, 1 - 1/n].
    """

    excess: Interval
    verdicts: int
    problems: int


def place_bias(
    first: Sequence[float],
    shown: Sequence[int],
    problems: Sequence[Hashable],
    *,
    confidence: float = 0.95,
    resamples: int = 2_000,
    seed: int = 0,
) -> PlaceBias | None:
    """From verdicts: how far each was for the `first` place, in [0, 1], of how many `shown`.

    The interval resamples problems, as the verdicts on one are alike. None without any.
    """
    if not len(first):
        return None
    excess = np.asarray(first, dtype=float) - 1 / np.asarray(shown, dtype=float)
    index = {name: i for i, name in enumerate(dict.fromkeys(problems))}
    owner = np.array([index[name] for name in problems])
    sums = np.bincount(owner, weights=excess, minlength=len(index))
    counts = np.bincount(owner, minlength=len(index))
    weights = bootstrap_weights(len(index), resamples, seed)
    draws = (weights @ sums) / (weights @ counts)
    value = float(excess.mean())
    return PlaceBias(quantile_interval(value, draws, confidence), len(excess), len(index))
