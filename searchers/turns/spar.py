"""Tree search over refinements, as SPaR does (2024, arXiv:2412.11605)."""

from __future__ import annotations

import re
from functools import partial
from typing import Annotated

from pydantic import Field

from reasoning.answers import after_thoughts
from reasoning.search import Search
from reasoning.tree import Node

AGGREGATOR = "first"
MODELS = ("judge",)
_ASK = (
    "Check your solution step by step and say what is wrong in it, if anything. End with one line, "
    "'Verdict: good' or 'Verdict: bad'."
)
_AGAIN = "Write a better solution, in the same form as before."


async def spar(
    search: Search,
    *,
    branch: Annotated[int, Field(ge=1, le=1000)] = 3,
    keep: Annotated[int, Field(ge=1)] = 2,
    depth: Annotated[int, Field(ge=0)] = 3,
    votes: Annotated[int, Field(ge=1, le=1000)] = 5,
    judge: str = "",
    ask: str = _ASK,
    again: str = _AGAIN,
) -> None:
    """Judge solutions by a vote of critiques, and refine the best of each level, breadth first.

    The value of a solution is the share of its `votes` critiques that call it good, among those
    that say either. Above 1/2 it is taken at once; else the `keep` best of the level are refined
    `branch` times each, behind the first critique that says what most say, `depth` levels deep, and
    the best one seen is the answer. A tie counts as bad (the authors judge it anew). It assumes
    that several critiques err less than one. branch=1 is self-refine with a vote for a critic.
    """
    level = await search.draws(search.root, 1, until="end", land=search.emit)
    for d in range(depth + 1):
        ask_for = partial(search.draw, until="end", turn=ask, model=judge)
        critiques: dict[Node, list[Node]] = {node: [] for node in level}
        await search.side_by_side(
            [partial(ask_for, n, land=critiques[n].append) for n in level for _ in range(votes)]
        )
        values = {node: _good(said) for node, said in critiques.items()}
        for node, value in values.items():
            critiques[node].sort(key=lambda said: said.path)
            search.emit(node, rank=-value)
        if d == depth or max(values.values(), default=1.0) > 0.5:
            return
        best = sorted((n for n in level if critiques[n]), key=lambda n: (-values[n], n.path))[:keep]
        told = [min(critiques[n], key=lambda said: _verdict(said) is not False) for n in best]
        refine = partial(search.draw, until="end", turn=again)
        calls = [partial(refine, critique) for critique in told for _ in range(branch)]
        level = await search.side_by_side(calls, search.emit)


def _verdict(critique: Node) -> bool | None:
    """Whether it says good or bad; None if neither."""
    found = re.findall(r"verdict\W*(good|bad)\b", after_thoughts(critique.text), re.IGNORECASE)
    return found[-1].lower() == "good" if found else None


def _good(critiques: list[Node]) -> float:
    said = [v for v in map(_verdict, critiques) if v is not None]
    return sum(said) / len(said) if said else 0.0
