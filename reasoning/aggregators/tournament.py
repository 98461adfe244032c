"""Tournaments of pairs, judged by a model."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Annotated, Literal, TypeAlias

import numpy as np
from pydantic import Field

from reasoning.aggregators import Candidate
from reasoning.aggregators.judging import Pairs, shuffled
from reasoning.aggregators.ranking import copeland
from reasoning.aggregators.voting import highest, in_order
from reasoning.search import Search

MODELS = ("model",)
Form: TypeAlias = Literal["knockout", "pivots", "round_robin"]


async def tournament(
    candidates: Sequence[Candidate],
    search: Search,
    *,
    form: Form = "knockout",
    pivots: Annotated[int, Field(ge=1)] = 2,
    model: str = "",
    graded: bool = False,
    both: bool = True,
    criteria: tuple[str, ...] = (),
) -> Candidate | None:
    """The candidate that wins most comparisons of two.

    "knockout": a drawn order, neighbours meet, winners go on: n - 1 pairs in ceil(log2 n) rounds.
    "round_robin": all n (n - 1) / 2 pairs at once, and Copeland's count of those beaten, which a
    judge that prefers in circles cannot upset. "pivots": a drawn ring of n pairs finds the best
    `pivots`, which then meet all: at most n + k (n - k) + k (k - 1) / 2 pairs, by the mean share of
    wins. A pair costs one call for each of `criteria`, twice that with `both` orders; pairs with
    the same answer cost nothing and are a tie; see `reasoning.aggregators.judging.Pairs`. Ties to
    the earliest. Comparisons are what costs (arXiv:2505.24643): each round is one batch.
    """
    ordered = in_order(candidates)
    judge = Pairs(search, model, graded, both, criteria)
    drawn = shuffled(ordered, search, "tournament")
    if len(ordered) < 2:
        return ordered[0] if ordered else None
    if form == "knockout":
        return await _knockout(drawn, judge)
    if form == "round_robin":
        points = await _round_robin(drawn, judge)
    else:
        points = await _pivoted(drawn, judge, pivots)
    worth = {c.path: value for c, value in zip(drawn, points, strict=True)}
    return highest(ordered, lambda c: worth[c.path])


async def _knockout(left: list[Candidate], judge: Pairs) -> Candidate:
    while len(left) > 1:
        pairs = list(zip(left[::2], left[1::2], strict=False))
        shares = await judge.better(pairs)
        free = left[len(pairs) * 2 :]
        left = [_winner(a, b, share) for (a, b), share in zip(pairs, shares, strict=True)] + free
    return left[0]


def _winner(a: Candidate, b: Candidate, share: float) -> Candidate:
    return in_order((a, b))[0] if share == 0.5 else a if share > 0.5 else b


async def _round_robin(drawn: Sequence[Candidate], judge: Pairs) -> list[float]:
    wins = np.full((len(drawn), len(drawn)), 0.5)
    places = list(combinations(range(len(drawn)), 2))
    shares = await judge.better((drawn[i], drawn[j]) for i, j in places)
    for (i, j), share in zip(places, shares, strict=True):
        wins[i, j], wins[j, i] = share, 1 - share
    return copeland(wins)


async def _pivoted(drawn: Sequence[Candidate], judge: Pairs, k: int) -> list[float]:
    """The mean share of wins of each, in the ring and against the best `k` of it."""
    n = len(drawn)
    wins: list[list[float]] = [[] for _ in drawn]

    async def meet(places: Sequence[tuple[int, int]]) -> None:
        shares = await judge.better((drawn[i], drawn[j]) for i, j in places)
        for (i, j), share in zip(places, shares, strict=True):
            wins[i].append(share)
            wins[j].append(1 - share)

    ring = [(i, (i + 1) % n) for i in range(n)]
    await meet(ring)
    best = sorted(range(n), key=lambda i: (-sum(wins[i]), i))[:k]
    met = {frozenset(pair) for pair in ring}
    every = [(i, j) for i in best for j in range(n) if i != j and (j not in best or i < j)]
    await meet([pair for pair in every if frozenset(pair) not in met])
    return [sum(shares) / len(shares) for shares in wins]
