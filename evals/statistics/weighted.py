"""How often the answer with the highest sum of scores is right among k samples.

Exact where there are few subsets, else the mean over seeded ones: the same order of the samples
serves every k, and all k of many problems are counted in one product of matrices.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Hashable, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]


class Estimate(NamedTuple):
    """A number and the standard error it has from being estimated by drawing."""

    value: float
    error: float


class Votes:
    """The samples of problems that have as many each; all arrays are [problems, answers, samples].

    Samples without a score do not vote, None as key is no answer. Raises ValueError for scores
    below 0, under which sums would favour rare answers.
    """

    def __init__(
        self,
        keys: Sequence[Sequence[Hashable | None]],
        correct: Sequence[Sequence[bool]],
        scores: Sequence[Sequence[float | None]],
    ) -> None:
        self.n = len(keys[0])
        sizes = {(len(k), len(c), len(s)) for k, c, s in zip(keys, correct, scores, strict=True)}
        if sizes != {(self.n,) * 3}:
            told = ", ".join(map(str, sizes.pop()))
            raise ValueError(f"as many keys as grades and scores are needed, got {told}")
        weight = np.array([[0.0 if s is None else float(s) for s in row] for row in scores])
        if not np.all(weight >= 0):
            raise ValueError(
                "scores must be numbers of 0 or more, or their sums favour rare answers"
            )
        places = [_places(row) for row in keys]
        member = np.zeros((len(keys), max(map(max, places), default=-1) + 2, self.n))
        who, where = np.arange(len(keys))[:, None], np.array(places)
        member[who, where, np.arange(self.n)] = 1  # the last row is of those without an answer
        self._member = member[:, :-1]
        scored = np.array([[s is not None for s in row] for row in scores], dtype=bool)
        self._voting = self._member * scored[:, None]
        self._weighted = self._voting * weight[:, None]
        self._all_weigh = bool(np.all((where < 0) | (scored & (weight > 0))))
        """Who has an answer has a weight, so an answer is there if its sum is not 0."""
        right = (self._member * np.array(correct, dtype=float)[:, None]).sum(axis=2)
        self._right = right / np.maximum(self._member.sum(axis=2), 1)

    def __len__(self) -> int:
        return len(self._member)

    def won(self, chosen: Floats) -> Floats:
        """For each row of `chosen` [problems or 1, subsets, samples], how much of its winners is
        right [problems, subsets]."""
        subsets = chosen.transpose(0, 2, 1)
        totals = np.asarray(self._weighted @ subsets)
        counts: Floats | None = None
        if self._all_weigh:
            present = totals > 0
        else:
            members, voters = self._member @ subsets, self._voting @ subsets
            # Where none of a subset has a score it is a plain majority, as in the aggregator.
            plain = voters.sum(axis=1, keepdims=True) == 0
            counts = np.where(plain, members, voters)
            present = counts > 0
            totals = np.where(plain, members, totals)
        top = totals.max(axis=1, keepdims=True, initial=0.0)
        winners = ((totals >= top - 1e-12 * top) & present).astype(float)
        if np.any(winners.sum(axis=1) > 1):  # the earliest sample decides, so the more the likelier
            winners *= self._member @ subsets if counts is None else counts
        count = winners.sum(axis=1)
        right = (self._right[:, None] @ winners)[:, 0]
        return np.asarray(np.where(count, right / np.maximum(count, 1), 0.0))


def _places(keys: Sequence[Hashable | None]) -> list[int]:
    """Which answer each sample has, in the order they come in; -1 for none."""
    known: dict[Hashable, int] = {}
    return [-1 if key is None else known.setdefault(key, len(known)) for key in keys]


def weighted_at_ks(
    votes: Votes, ks: Sequence[int], *, subsets: int = 1_000, seed: int = 0
) -> tuple[Floats, Floats]:
    """The chance that of k samples the answer with the highest sum of scores is right.

    Two arrays [problems, ks]: the chances, and the standard errors they have from being estimated.
    Of tied answers that of the earliest sample wins: over all orders, each as often as it has
    samples among theirs. Exact over all subsets if there are no more than `subsets`, else the mean
    over so many seeded ones, others for each problem.
    """
    n, problems = votes.n, len(votes)
    if not all(1 <= k <= n for k in ks):
        raise ValueError(f"k must be from 1 to the number of samples, {n}, got {list(ks)}")
    if subsets < 2:
        raise ValueError(f"subsets must be at least 2, got {subsets}")
    values, errors = np.zeros((problems, len(ks))), np.zeros((problems, len(ks)))
    drawn = [i for i, k in enumerate(ks) if math.comb(n, k) > subsets]
    if drawn:
        order = np.argsort(np.random.default_rng(seed).random((problems, subsets, n)), axis=2)
        chosen = order[:, None] < np.array([ks[i] for i in drawn])[:, None, None]
        won = votes.won(chosen.reshape(problems, -1, n).astype(float))
        won = won.reshape(problems, len(drawn), subsets)
        values[:, drawn] = won.mean(axis=2)
        errors[:, drawn] = won.std(axis=2, ddof=1) / math.sqrt(subsets)
    for i in set(range(len(ks))) - set(drawn):
        values[:, i] = votes.won(_all(n, ks[i])[None]).mean(axis=1)
    return values, errors


def _all(n: int, k: int) -> Floats:
    """Every subset of k of n, a row each."""
    chosen = np.zeros((math.comb(n, k), n))
    for row, subset in zip(chosen, itertools.combinations(range(n), k), strict=True):
        row[list(subset)] = 1
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
    """`weighted_at_ks` of one problem at one k."""
    votes = Votes([keys], [correct], [scores])
    value, error = weighted_at_ks(votes, [k], subsets=subsets, seed=seed)
    return Estimate(float(value[0, 0]), float(error[0, 0]))
