"""Critiques of candidates, a layer of Archon (2024, arXiv:2409.15254)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Annotated

from pydantic import Field

from reasoning.aggregators import Candidate
from reasoning.aggregators.judging import said
from reasoning.answers import after_thoughts
from reasoning.search import Search
from reasoning.tree import Node

AGGREGATOR = "majority"
MODELS = ("model",)
_ASK = "Say what is strong and what is weak or wrong in your solution. Do not solve it anew."


async def critique(
    search: Search,
    *,
    model: str = "",
    drafts: Annotated[int, Field(ge=1)] = 4,
    ask: Annotated[str, Field(min_length=1)] = _ASK,
) -> None:
    """Have a model criticise each candidate of the stage before it, and pass them all on.

    `gensynthesis`, as a later stage, shows the critiques with the solutions. A critique answers the
    turn `ask` behind its solution. Without a stage before it, `drafts` samples are criticised. One
    call a candidate, side by side; nobody is left out, so that by itself it changes no answer.
    """
    if search.given:
        for c in search.given:
            if c.node is not None:
                search.emit(c.node, c.weight, rank=c.rank)
    else:
        await search.draws(search.root, drafts, until="end", land=search.emit)
    nodes = [c.node for c in search.candidates if c.node is not None]
    draw = partial(search.draw, until="end", turn=ask, model=model, land=_mark)
    await search.side_by_side([partial(draw, node) for node in nodes])


def _mark(node: Node) -> None:
    node.sample = replace(node.sample, info={**(node.sample.info or {}), "critique": True})


def critiques(candidate: Candidate) -> list[Node]:
    """The critiques of a candidate, in the order of their slots."""
    below = [] if candidate.node is None else candidate.node.children
    return [node for node in below if (node.sample.info or {}).get("critique")]


def criticised(candidates: Sequence[Candidate]) -> str:
    """The candidates, numbered from 1, each with the critiques that it has."""
    shown = []
    for i, candidate in enumerate(candidates, start=1):
        shown.append(f"Solution {i}:\n{said(candidate)}")
        shown += [f"Critique:\n{after_thoughts(node.text)}" for node in critiques(candidate)]
    return "\n\n".join(shown)
