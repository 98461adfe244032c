"""Hint marginalization (2024, arXiv:2412.13292)."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from pydantic import Field

from reasoning.search import Search
from reasoning.tree import Node
from searchers.turns.progressive_hints import HINT
from searchers.turns.rounds import asked

AGGREGATOR = "majority"
VOTES = True


async def hint_marginalization(
    search: Search,
    *,
    n: Annotated[int, Field(ge=1)] = 8,
    m: Annotated[int, Field(ge=1)] = 4,
    rounds: Annotated[int, Field(ge=0)] = 1,
    hint: str = HINT,
) -> None:
    """Weigh answers by how often they come back when each answer so far is given as a hint.

    p_0(y) is the share of y among n samples, and p_{r+1}(y) = sum over y' of p_r(y') p(y | x, hint
    y'): every different answer y' is hinted at in m samples, which weigh p_r(y') / m' each, m' of
    them having an answer. The answer with the most of p_rounds wins; counts of rounds are never
    pooled. It assumes that right answers are more stable under hints than wrong ones. How many
    samples the authors take a round could not be found. rounds=0 is self-consistency.
    """
    last = await search.draws(search.root, n, until="end", land=search.emit)
    answers = [a for a in await search.answers(*last) if a is not None]
    weights = dict.fromkeys(last, 1 / len(answers)) if answers else {}
    for _ in range(rounds):
        found = zip(last, await search.answers(*last), strict=True)
        mass: dict[str, float] = {}
        said: dict[str, tuple[str, Node]] = {}
        for node, answer in found:
            if answer is not None:
                mass[answer.key] = mass.get(answer.key, 0.0) + weights[node]
                said.setdefault(answer.key, (answer.text, node))
        rows: dict[str, list[Node]] = {key: [] for key in mass}

        def land(row: list[Node], node: Node) -> None:
            row.append(node)
            search.emit(node, 0.0)  # it weighs once its round is complete

        draw = partial(search.draw, search.root, until="end")
        calls = []
        for key, (text, node) in said.items():
            turn = asked(search, hint, answers=text)
            calls += [partial(draw, turn=turn, sources=[node], land=partial(land, rows[key]))] * m
        hinted = await search.side_by_side(calls[: search.affordable(len(calls))])
        if not any(search.answer(node) is not None for node in hinted):
            return
        weights = {}
        for key, row in rows.items():
            votes = [node for node in row if search.answer(node) is not None]
            weights |= {node: mass[key] / len(votes) for node in votes}
        for node in last:
            search.emit(node, 0.0)
        last = hinted
        for node in hinted:
            search.emit(node, weights.get(node, 0.0))
