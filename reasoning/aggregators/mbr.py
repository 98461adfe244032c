"""Minimum Bayes risk, with evidence of its own if wanted (X-MBR; arXiv:2506.20544)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from reasoning.aggregators import Candidate
from reasoning.aggregators.judging import Pairs, equal
from reasoning.aggregators.voting import highest, in_order
from reasoning.errors import RecipeError
from reasoning.search import Search
from reasoning.tree import Turn

MODELS = ("model", "witness")


async def mbr(
    candidates: Sequence[Candidate],
    search: Search,
    *,
    utility: Literal["equal", "judge"] = "equal",
    evidence: Annotated[int, Field(ge=0)] = 0,
    prompt: str = "{question}",
    witness: str = "",
    model: str = "",
) -> Candidate | None:
    """The candidate with the highest utility, on average over the evidence.

    The evidence are the candidates (by their weights) and, with `evidence`, as many more samples
    of the problem asked by `prompt`, or of another model (`witness`): they speak for a candidate
    and are never chosen (X-MBR asks in another language). Utility "equal" is 1 for the same answer
    and 0 for others, which without more evidence is exactly `majority`; "judge" is how often a
    model (`model`) that sees both prefers it: n (n - 1) + n * evidence calls. Ties to the earliest.
    """
    if "{question}" not in prompt:
        raise RecipeError(
            f"mbr: the prompt {prompt!r} has no {{question}}; put it where it belongs"
        )
    ordered = in_order(candidates)
    spoken = [(c, c.weight) for c in ordered]
    if evidence and ordered:
        turn = Turn.user(prompt.replace("{question}", search.problem.question), afresh=True)
        drawn = await search.draws(search.root, evidence, until="end", turn=turn, model=witness)
        found = await search.answers(*(c.node for c in ordered if c.node), *drawn)
        answers = found[len(found) - len(drawn) :]
        more = [Candidate(n.path, a, node=n) for n, a in zip(drawn, answers, strict=True) if a]
        spoken += [(c, 1.0) for c in more]
    worth = dict.fromkeys((c.path for c in ordered), 0.0)
    if utility == "equal":
        for c in ordered:
            worth[c.path] = sum(w for e, w in spoken if equal(c, e))
    else:
        pairs = [(c, e, w) for c in ordered for e, w in spoken if c is not e]
        shares = await Pairs(search, model).better((c, e) for c, e, _ in pairs)
        for (c, _, w), share in zip(pairs, shares, strict=True):
            worth[c.path] += w * share
    return highest(ordered, lambda c: worth[c.path])
