"""What aggregators share: who comes first, who may win, how votes are counted."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from typing import Any

from reasoning.aggregators import Candidate, Choice, ballots
from reasoning.aggregators.ballots import Ballots

_ORDER = attrgetter("rank", "path")


def in_order(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Those with an answer, earliest first."""
    return sorted([c for c in candidates if c.answer is not None], key=_ORDER)


def usable(value: float | None) -> bool:
    """Whether a score, or the like, is a number that can be compared."""
    return value is not None and math.isfinite(value)


def ruled(
    rule: Callable[..., ballots.Picks], candidates: Sequence[Candidate], **params: Any
) -> Choice | None:
    """What a rule of `Ballots` chooses from one set of candidates; None for nobody."""
    one = Ballots.of(candidates)
    return rule(one, **params).choice(one)


def highest(
    candidates: Sequence[Candidate], worth: Callable[[Candidate], float | None]
) -> Candidate | None:
    """The earliest of those worth most; candidates without a usable worth come last."""
    choice = ruled(lambda one: ballots.highest(one, one.read(worth)), candidates)
    return None if choice is None else choice.candidate


def count(voters: Iterable[Candidate], weights: Iterable[float]) -> Choice | None:
    """The earliest candidate with the answer whose votes add up highest; None without votes.

    `voters` have an answer each and come earliest first. Confidence is the winner's share. It is
    `ballots.vote` for one set, where arrays would cost more than the votes.
    """
    totals: dict[str, float] = {}
    first: dict[str, Candidate] = {}
    for voter, weight in zip(voters, weights, strict=True):
        assert voter.answer is not None, "who votes has an answer"
        key = voter.answer.key
        totals[key] = totals.get(key, 0.0) + weight
        first.setdefault(key, voter)
    if not totals:
        return None
    winner = max(totals, key=totals.__getitem__)
    cast = 0.0
    for total in totals.values():  # one after another, as arrays add them
        cast += total
    return Choice(first[winner], totals[winner] / cast if cast > 0 else None)


def weighed(
    candidates: Sequence[Candidate], weight: Callable[[Candidate], float | None]
) -> Choice | None:
    """A vote in which each counts by `weight` times its own weight.

    Those without a usable weight do not vote; if none has one, all have the same.
    """
    return ruled(lambda one: ballots.weighed(one, one.read(weight)), candidates)
