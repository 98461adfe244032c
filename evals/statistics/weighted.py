"""How often the answer with the highest sum of scores is right among k samples.

Exact where there are few subsets, else the mean over seeded ones: the same order of the samples
serves every k, and all k are counted in one product of matrices.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Hashable, Sequence
from functools import lru_cache
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]


class Estimate(NamedTuple):
    """A number and the standard error it has from being estimated by drawing."""

    value: float
    error: float


class Votes:
    """The samples of one problem. Those without a score do not vote, None as key is no answer.

    Raises ValueError for scores below 0, under which sums would favour rare answers.
    """

    def __init__(
        self,
        keys: Sequence[Hashable | None],
        correct: Sequence[bool],
        scores: Sequence[float | None],
    ) -> None:
        self.n = len(keys)
        if not len(correct) == len(scores) == self.n:
            raise ValueError(
                "as many keys as grades and scores are needed, "
                f"got {self.n}, {len(correct)}, {len(scores)}"
            )
        weight = np.array([0.0 if s is None else float(s) for s in scores])
        if not np.all(weight >= 0):
            raise ValueError(
                "scores must be numbers of 0 or more, or their sums favour rare answers"
            )
        answers = {key: i for i, key in enumerate(dict.fromkeys(k for k in keys if k is not None))}
        self._member = np.zeros((self.n, len(answers)))
        for i, key in enumerate(keys):
            if key is not None:
                self._member[i, answers[key]] = 1
        scored = np.array([s is not None for s in scores], dtype=bool)
        self._voting = self._member * scored[:, None]
        self._weighted = self._voting * weight[:, None]
        answered = self._member.any(axis=1)
        self._all_weigh = bool(np.all(scored[answered] & (weight[answered] > 0)))
        """Who has an answer has a weight, so an answer is there if its sum is not 0."""
        self._right = np.array(correct, dtype=float) @ self._member / self._member.sum(axis=0)

    def won(self, chosen: Floats) -> Floats:
        """For each row of `chosen` [subsets, samples], the share of its winners that is right."""
        if not self._right.any():
            return np.zeros(len(chosen))
        # An answer a row: what follows goes along rows, which are long, and not along answers.
        totals = np.asarray(self._weighted.T @ chosen.T)
        if self._all_weigh:
            present = totals > 0
        else:
            members, voters = self._member.T @ chosen.T, self._voting.T @ chosen.T
            # Where none of a subset has a score it is a plain majority, as in the aggregator.
            plain = voters.sum(axis=0) == 0
            present = np.where(plain, members, voters) > 0
            totals = np.where(plain, members, totals)
        top = totals.max(axis=0, initial=0.0)
        winners = ((totals >= top - 1e-12 * top) & present).astype(float)
        count = winners.sum(axis=0)
        return np.asarray(np.where(count, self._right @ winners / np.maximum(count, 1), 0.0))


def weighted_at_ks(
    votes: Votes, ks: Sequence[int], *, subsets: int = 1_000, seed: int = 0
) -> list[Estimate]:
    """The chance that of k samples the answer with the highest sum of scores is right, at each k.

    Tied answers win equally often (`majority_at_k` says why). Exact over all subsets if there are
    no more than `subsets`, else the mean over so many seeded ones with its standard error.
    """
    n = votes.n
    if not all(1 <= k <= n for k in ks):
        raise ValueError(f"k must be from 1 to the number of samples, {n}, got {list(ks)}")
    if subsets < 2:
        raise ValueError(f"subsets must be at least 2, got {subsets}")
    drawn = [k for k in ks if math.comb(n, k) > subsets]
    found: dict[int, Estimate] = {}
    if drawn:
        won = votes.won(_drawn(n, tuple(drawn), subsets, seed)).reshape(len(drawn), subsets)
        for k, row in zip(drawn, won, strict=True):
            found[k] = Estimate(float(row.mean()), float(row.std(ddof=1) / math.sqrt(subsets)))
    for k in set(ks) - found.keys():
        chosen = np.zeros((math.comb(n, k), n))
        for row, subset in zip(chosen, itertools.combinations(range(n), k), strict=True):
            row[list(subset)] = 1
        found[k] = Estimate(float(votes.won(chosen).mean()), 0.0)
    return [found[k] for k in ks]


@lru_cache(maxsize=1)
def _drawn(n: int, ks: tuple[int, ...], subsets: int, seed: int) -> Floats:
    """Who is in each of so many seeded subsets of each size, [sizes times subsets, n].

    It is the same for all problems with as many samples, which mostly come one after another.
    """
    order = np.argsort(np.random.default_rng(seed).random((subsets, n)), axis=1)
    chosen = (order < np.array(ks)[:, None, None]).astype(float).reshape(-1, n)
    chosen.flags.writeable = False
    return chosen


def weighted_at_k(
    keys: Sequence[Hashable | None],
    correct: Sequence[bool],
    scores: Sequence[float | None],
    k: int,
    *,
    subsets: int = 1_000,
    seed: int = 0,
) -> Estimate:
    """`weighted_at_ks` at one k."""
    return weighted_at_ks(Votes(keys, correct, scores), [k], subsets=subsets, seed=seed)[0]
