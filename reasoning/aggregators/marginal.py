"""The answer's probability, averaged over traces (Prystawski et al., 2023, arXiv:2304.03843)."""

from __future__ import annotations

import math
from asyncio import TaskGroup
from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from reasoning.aggregators import Candidate, Choice
from reasoning.aggregators.majority import majority
from reasoning.aggregators.voting import in_order
from reasoning.search import Search

VOTES = True
_SUFFIX = "\n\nTherefore, the answer is"


async def marginal(
    candidates: Sequence[Candidate],
    search: Search,
    *,
    suffix: str = _SUFFIX,
    top: Annotated[int, Field(ge=2)] = 20,
) -> Choice | None:
    """The answer with the highest mean probability over all traces.

    Behind every trace and `suffix` the next token is looked at (one token a trace); what it gives
    the answers of the pool is renormalised, then averaged: self-consistency with its last draw
    integrated out, so with the same mean and never a larger variance. For answers that begin with
    tokens of their own: options, yes or no, numbers of one token. A trace that tells nothing of
    them votes for its own answer. After long thoughts the probabilities are near 0 and 1
    (arXiv:2501.09775), and this is `majority`; it gains most on short or truncated ones.
    """
    ordered = in_order(candidates)
    texts: dict[str, str] = {}
    for c in ordered:
        assert c.answer is not None
        texts.setdefault(c.answer.key, c.answer.text.strip())
    if len(texts) < 2:
        return majority(ordered)
    shares: dict[tuple[int, ...], dict[str, float]] = {}

    async def look(candidate: Candidate) -> None:
        assert candidate.node is not None
        found = await search.probe(candidate.node, suffix, top=top)
        if found is not None and found.sample.top_logprobs is not None:
            shares[candidate.path] = shares_of(texts, found.sample.top_logprobs.at(0))

    async with TaskGroup() as group:
        for candidate in ordered:
            if candidate.node is not None:
                group.create_task(look(candidate))
    total = dict.fromkeys(texts, 0.0)
    for c in ordered:
        assert c.answer is not None
        for key, share in (shares.get(c.path) or {c.answer.key: 1.0}).items():
            total[key] += c.weight * share
    winner = max(total, key=total.__getitem__)
    cast = sum(total.values())
    chosen = next(c for c in ordered if c.answer is not None and c.answer.key == winner)
    return Choice(chosen, total[winner] / cast if cast > 0 else None)


def shares_of(texts: dict[str, str], logprobs: dict[str, float]) -> dict[str, float]:
    """For each answer's key its share of the probability of next tokens (nats by text).

    A token speaks for the answer whose text begins with it, if it is only one; none speak: empty.
    """
    mass = dict.fromkeys(texts, 0.0)
    for token, logprob in logprobs.items():
        word = token.strip()
        fits = [key for key, text in texts.items() if word and text.startswith(word)]
        if len(fits) == 1:
            mass[fits[0]] += math.exp(logprob)
    whole = sum(mass.values())
    return {key: value / whole for key, value in mass.items()} if whole > 0 else {}
