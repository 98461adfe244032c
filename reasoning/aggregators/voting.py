"""What aggregators share: who comes first, who may win, how votes are counted."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter

from reasoning.aggregators import Candidate, Choice

_ORDER = attrgetter("rank", "path")


def in_order(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Those with an answer, earliest first."""
    return sorted([c for c in candidates if c.answer is not None], key=_ORDER)


def usable(value: float | None) -> bool:
    """Whether a score, or the like, is a number that can be compared."""
    return value is not None and math.isfinite(value)


def highest(
    candidates: Sequence[Candidate], worth: Callable[[Candidate], float | None]
) -> Candidate | None:
    """The earliest of those worth most; candidates without a usable worth come last."""
    top, most = None, -math.inf
    for candidate in in_order(candidates):
        value = worth(candidate)
        value = value if value is not None and math.isfinite(value) else -math.inf
        if top is None or value > most:
            top, most = candidate, value
    return top


def count(voters: Iterable[Candidate], weights: Iterable[float]) -> Choice | None:
    """The earliest candidate with the answer whose votes add up highest; None without votes.

    `voters` have an answer each and come earliest first. Confidence is the winner's share.
    """
    totals: dict[str, float] = {}
    first: dict[str, Candidate] = {}
    for candidate, weight in zip(voters, weights, strict=True):
        key = candidate.answer.key  # type: ignore[union-attr]  # they have one each
        if key in totals:
            totals[key] += weight
        else:
            totals[key] = 0.0 + weight
            first[key] = candidate
    if not totals:
        return None
    # max() keeps the first of equals, and the keys stand in order of first appearance.
    winner = max(totals, key=totals.__getitem__)
    cast = sum(totals.values())
    return Choice(first[winner], totals[winner] / cast if cast > 0 else None)


def weighed(
    candidates: Sequence[Candidate], weight: Callable[[Candidate], float | None]
) -> Choice | None:
    """A vote in which each counts by `weight` times its own weight.

    Those without a usable weight do not vote; if none has one, all have the same.
    """
    ordered = in_order(candidates)
    weights = [weight(c) for c in ordered]
    known = [i for i, w in enumerate(weights) if usable(w)]
    if not known:
        return count(ordered, [c.weight for c in ordered])
    voters = [ordered[i] for i in known]
    return count(voters, [(weights[i] or 0.0) * ordered[i].weight for i in known])
