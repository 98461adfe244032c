"""How far a verifier's scores can be believed: ranking (AUROC) and calibration (bins, ECE).

Samples of one problem are alike, so intervals resample problems, never single samples.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from evals.statistics.intervals import Floats, Interval, bootstrap_weights, quantile_interval
from evals.statistics.metrics import wilson

Bools: TypeAlias = NDArray[np.bool_]
Integers: TypeAlias = NDArray[np.int64]

_PLACES = 16_384
"""Scores that are told apart in resamples."""


@dataclass(frozen=True, slots=True)
class Bin:
    """Samples with scores in [low, high] (open above but for the last bin).

    `accuracy` is the share that is correct, `ci95` its Wilson interval, which takes the samples
    for independent; both None for an empty bin.
    """

    low: float
    high: float
    count: int
    mean_score: float | None
    accuracy: float | None
    ci95: tuple[float, float] | None


def auroc(scores: Sequence[float], correct: Sequence[bool]) -> float | None:
    """The chance that a correct sample outscores a wrong one, ties counting half; in [0, 1].

    The Mann-Whitney U statistic over its maximum; 0.5 is no skill. None without samples of both
    kinds. Minus infinity is a valid score, a number that is none is not.
    """
    x, y = _checked(scores, correct)
    right = int(y.sum())
    wrong = len(y) - right
    if not right or not wrong:
        return None
    _, place, count = np.unique(x, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(count) - (count - 1) / 2)[place]  # of those that are tied, their mean
    return float((ranks[y].sum() - right * (right + 1) / 2) / (right * wrong))


def auroc_interval(
    scores: Sequence[float],
    correct: Sequence[bool],
    problems: Sequence[Hashable] | None = None,
    *,
    confidence: float = 0.95,
    resamples: int = 1_000,
    seed: int = 0,
) -> Interval | None:
    """`auroc` with a bootstrap interval over `problems` (one name a sample; samples if None).

    Resamples without correct or without wrong samples are left out. None where `auroc` is.
    """
    value = auroc(scores, correct)
    if value is None:
        return None
    x, y = _checked(scores, correct)
    names = list(range(len(x))) if problems is None else list(problems)
    if len(names) != len(x):
        raise ValueError(f"as many problems as scores are needed, got {len(names)} and {len(x)}")
    index = {name: i for i, name in enumerate(dict.fromkeys(names))}
    cluster = np.array([index[name] for name in names])
    weights = bootstrap_weights(len(index), resamples, seed)
    found = _weighted_auroc(x, y, cluster, weights.T)
    return quantile_interval(value, found[np.isfinite(found)], confidence)


def _weighted_auroc(x: Floats, y: Bools, cluster: Integers, w: Floats) -> Floats:
    """AUROC [resamples] with a sample of each cluster counting `w` [clusters, resamples] times.

    NaN without both kinds. Of more than _PLACES samples neighbours are taken for tied, as many as
    it takes: what is among so few is far below what an interval tells.
    """
    from scipy.sparse import csr_array

    order = np.argsort(x, kind="stable")
    first = np.r_[True, x[order][1:] > x[order][:-1]]
    # Where the first of those with its score stands, in steps that are few enough.
    stands = np.maximum.accumulate(np.where(first, np.arange(len(x)), 0)) * _PLACES // len(x)
    place = np.empty(len(x), dtype=int)
    place[order] = np.cumsum(np.r_[0, np.diff(stands) > 0])
    shape = (int(place.max()) + 1, len(w))
    right, wrong = (
        csr_array((np.ones(int(of.sum())), (place[of], cluster[of])), shape=shape) @ w
        for of in (y, ~y)
    )
    below = np.cumsum(wrong, axis=0) - wrong / 2
    pairs = right.sum(axis=0) * wrong.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((right * below).sum(axis=0) / pairs, dtype=float)


def reliability(
    scores: Sequence[float],
    correct: Sequence[bool],
    *,
    bins: int = 10,
    by: Literal["width", "count"] = "width",
) -> list[Bin]:
    """The reliability diagram: scores in [0, 1] in `bins` of equal width, or of equal count.

    Bins by count may be fewer than asked for, since equal scores stay together.
    """
    x, y = _checked(scores, correct)
    if not np.all((x >= 0) & (x <= 1)):
        raise ValueError("scores must be in [0, 1] to be read as chances; map logits by a sigmoid")
    if bins < 1:
        raise ValueError(f"bins must be at least 1, got {bins}")
    edges = np.linspace(0, 1, bins + 1)
    if by == "count":
        edges = np.unique(np.r_[0, np.quantile(x, edges[1:-1]), 1])
    place = np.clip(np.searchsorted(edges, x, side="right") - 1, 0, len(edges) - 2)
    return [
        _bin(float(edges[i]), float(edges[i + 1]), x[place == i], int(y[place == i].sum()))
        for i in range(len(edges) - 1)
    ]


def ece(bins: Sequence[Bin]) -> float:
    """Expected calibration error (Naeini et al., 2015): the mean over samples of the gap.

    Sum over bins of count/n |accuracy - mean score|, in [0, 1]. Depends on the bins.
    """
    total = sum(b.count for b in bins)
    if not total:
        raise ValueError("calibration needs at least one sample, got empty bins")
    gaps = [
        b.count * abs(b.accuracy - b.mean_score)
        for b in bins
        if b.accuracy is not None and b.mean_score is not None
    ]
    return sum(gaps) / total


def brier(scores: Sequence[float], correct: Sequence[bool]) -> float:
    """The mean of (score - correct)², in [0, 1] (Brier, 1950); always saying 0.5 has 1/4."""
    x, y = _checked(scores, correct)
    if not np.all((x >= 0) & (x <= 1)):
        raise ValueError("scores must be in [0, 1] to be read as chances; map logits by a sigmoid")
    return float(np.mean((x - y) ** 2))


def _bin(low: float, high: float, inside: Floats, right: int) -> Bin:
    count = len(inside)
    if not count:
        return Bin(low, high, 0, None, None, None)
    return Bin(low, high, count, float(inside.mean()), right / count, wilson(right, count))


def _checked(scores: Sequence[float], correct: Sequence[bool]) -> tuple[Floats, Bools]:
    x, y = np.asarray(scores, dtype=float), np.asarray(correct, dtype=bool)
    if x.ndim != 1 or x.shape != y.shape or not len(x):
        raise ValueError(
            f"as many scores as grades are needed, 1 or more, got {x.shape}, {y.shape}"
        )
    if np.any(np.isnan(x)):
        raise ValueError("a score must be a number, got NaN; give samples without one -inf")
    return x, y
