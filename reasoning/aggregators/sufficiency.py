"""Answer or abstain by information sufficiency (Chlon et al., 2025, arXiv:2509.11208)."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pydantic import Field

from reasoning.aggregators import Candidate, Choice
from reasoning.aggregators.majority import majority
from reasoning.search import Search
from reasoning.tree import Turn

VOTES = True
STRENGTHS = (0.25, 0.35, 0.5, 0.65, 0.8, 0.9)
_EVIDENCE = re.compile(r"\d+(?:[.,]\d+)*|\b[A-Z][\w'-]*")

Share = Annotated[float, Field(gt=0, lt=1)]


async def sufficiency(
    candidates: Sequence[Candidate],
    search: Search,
    *,
    error: Share = 0.05,
    n: Annotated[int, Field(ge=1)] = 5,
    strengths: Annotated[tuple[Share, ...], Field(min_length=1)] = STRENGTHS,
    temperature: Annotated[float, Field(ge=0)] = 0.3,
    margin: Annotated[float, Field(ge=0)] = 0.2,
) -> Choice | None:
    """The most frequent answer, if the question told enough of it; else nothing.

    The question is asked again with numbers and names hidden, each with a chance of `strengths`, n
    times for each. How much likelier the answer is with the whole question (nats, at most 12, mean
    over the weakened ones) has to reach what lifts the least of these chances to 1 - `error`, by
    `margin` more. Confidence is the highest probability that so many nats allow. An answer that
    every weakened question gives is known without it, and is not held back. It assumes that hiding
    evidence takes information away and adds none. Costs n calls for each strength.
    """
    choice = majority(candidates)
    if choice is None or choice.candidate is None or choice.candidate.node is None:
        return choice
    said = choice.candidate.node
    drawn = []
    for i, strength in enumerate(strengths):
        text = weakened(search.problem.question, strength, search.rng("sufficiency", i))
        turn = Turn.user(text, afresh=True)
        nodes = await search.draws(search.root, n, until="end", turn=turn, temperature=temperature)
        found = await search.answers(said, *nodes)
        own = found[0].key if found[0] else None
        drawn.append(sum(a is not None and a.key == own for a in found[1:]))
    chances = [max(count / n, 1 / (n + 2)) for count in drawn]
    whole = choice.confidence or 0.0
    nats = sum(_gain(whole, q) for q in chances) / len(chances)
    needed = bits_to_trust(min(chances), error)
    enough = needed == 0 or nats >= needed + margin
    sure = most_probable(nats, sum(chances) / len(chances))
    return Choice(choice.candidate if enough else None, sure)


def weakened(question: str, strength: float, rng: np.random.Generator) -> str:
    """The question with each number and name hidden with a chance of `strength`."""
    return _EVIDENCE.sub(lambda m: "[...]" if rng.random() < strength else m[0], question)


def divergence(p: float, q: float) -> float:
    """KL(Bernoulli(p) || Bernoulli(q)) in nats."""
    parts = ((p, q), (1 - p, 1 - q))
    return sum(a * (math.log(a / b) if b > 0 else math.inf) for a, b in parts if a > 0)


def bits_to_trust(q: float, error: float) -> float:
    """Nats that lift a chance q to 1 - error; 0 if it is there."""
    return 0.0 if q >= 1 - error else divergence(1 - error, q)


def most_probable(nats: float, q: float) -> float:
    """The largest p of q or more with KL(p || q) of at most `nats`, by bisection to 1e-9."""
    low, high = min(q, 1.0), 1.0
    if divergence(1.0, q) <= nats:
        return 1.0
    while high - low > 1e-9:
        middle = (low + high) / 2
        low, high = (middle, high) if divergence(middle, q) <= nats else (low, middle)
    return low


def _gain(whole: float, q: float) -> float:
    return min(12.0, max(0.0, math.log(whole / q))) if whole > 0 else 0.0
