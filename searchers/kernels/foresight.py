"""What phi-Decoding computes between its calls: pruning, weighting, drawing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from searchers.kernels.clusters import kmeans, sizes, tfidf

Array: TypeAlias = NDArray[np.float64]
Combine: TypeAlias = Literal["mean", "exp"]


def log_softmax(values: Array) -> Array:
    """Logarithms of the softmax weights [n]; minus infinity has weight 0, unless all are so."""
    if np.isneginf(values).all():
        values = np.zeros_like(values)
    shifted = values - values.max()
    return np.asarray(shifted - np.log(np.exp(shifted).sum()))


def in_width(
    scores: Sequence[float],
    *,
    deviations: float = 1.0,
    at_least: int = 0,
    temperature: float = 0.1,
    rng: np.random.Generator,
) -> list[int]:
    """Which steps are worth a look ahead: those at most so many deviations below the mean.

    If fewer than `at_least` are, pruned ones are added at random, softmax(score / temperature).
    Indices in ascending order.
    """
    values = np.asarray(scores, dtype=np.float64)
    # A hair lower, so that rounding in the mean prunes none of many equal scores.
    floor = values.mean() - deviations * values.std() - 1e-9
    kept = np.flatnonzero(values >= floor).tolist()
    pruned = np.flatnonzero(values < floor)
    short = min(at_least - len(kept), len(pruned))
    if short > 0:
        added = draw(log_softmax(values[pruned] / temperature), short, rng)
        kept += pruned[added].tolist()
    return sorted(kept)


def log_weights(
    advantages: Array,
    shares: Array | None,
    *,
    advantage_temperature: float = 0.1,
    cluster_temperature: float = 1.0,
    combine: Combine = "mean",
    temperature: float = 1.0,
) -> Array:
    """Logarithms [n] of the weights steps are drawn by, up to a constant.

    R adds softmax(advantage / tau_1) and softmax(share of its cluster / tau_2). By `mean` a weight
    is R / 2 (the authors' code), by `exp` it is exp(R / temperature) (the paper's text). Without
    shares (nothing could be clustered) it is the first softmax alone.
    """
    advantage = log_softmax(advantages / advantage_temperature)
    if shares is None:
        return advantage
    total = np.exp(advantage) + np.exp(log_softmax(shares / cluster_temperature))
    return np.asarray(np.log(total / 2) if combine == "mean" else total / temperature)


def draw(log_weights: Array, size: int, rng: np.random.Generator) -> list[int]:
    """`size` indices without replacement, one after another in proportion to their weights.

    By Gumbel's trick, so that weights too small for exp() still work; in the order drawn.
    """
    keys = log_weights + rng.gumbel(size=len(log_weights))
    return [int(i) for i in np.argsort(-keys, kind="stable")[:size]]


@dataclass(frozen=True, slots=True)
class Selection:
    """How paths are drawn by what was seen ahead of them: advantages [n] and texts [n].

    Only those with a text may be drawn, and with `rise_only` only those with an advantage above 0.
    """

    clusters: int = 3
    advantage_temperature: float = 0.1
    cluster_temperature: float = 1.0
    combine: Combine = "mean"
    rise_only: bool = True

    def several(
        self,
        advantages: Array,
        texts: Sequence[str],
        size: int,
        *,
        least: int,
        rng: np.random.Generator,
    ) -> tuple[list[int], float]:
        """Up to `size` indices in ascending order, and the share of the largest cluster.

        With fewer than `least` that may be drawn all may be, by advantage alone, and the share
        is 0.
        """
        able, shares = self._able(advantages, texts), None
        if len(able) >= least:
            shares = sizes(kmeans(tfidf([texts[i] for i in able]), self.clusters, rng))
        else:
            able = list(range(len(texts)))
        weights = log_weights(
            advantages[able],
            shares,
            advantage_temperature=self.advantage_temperature,
            cluster_temperature=self.cluster_temperature,
            combine=self.combine,
        )
        drawn = sorted(able[i] for i in draw(weights, size, rng))
        return drawn, 0.0 if shares is None else float(shares.max())

    def one(self, advantages: Array, texts: Sequence[str], *, rng: np.random.Generator) -> int:
        """An index by advantage from the larger of two clusters, the first if they are equal."""
        able = self._able(advantages, texts) or list(range(len(texts)))
        labels = kmeans(tfidf([texts[i] for i in able]), 2, rng)
        larger = labels[np.argmax(sizes(labels))]
        able = [i for i, label in zip(able, labels, strict=True) if label == larger]
        drawn = draw(log_softmax(advantages[able] / self.advantage_temperature), 1, rng)[0]
        return able[drawn]

    def _able(self, advantages: Array, texts: Sequence[str]) -> list[int]:
        return [
            i
            for i, (advantage, text) in enumerate(zip(advantages, texts, strict=True))
            if text and (advantage > 0 or not self.rise_only)
        ]
