"""SEAT, rounds of answers that read the last round (2025, arXiv:2507.06829)."""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import Field

from reasoning.aggregators.judging import listed
from reasoning.search import Search
from reasoning.tree import Node, Turn
from searchers.thinking.stops import entropy

AGGREGATOR = "majority"
_ASK = """\
{question}

Attempts at this, any of which may be wrong:

{solutions}

Think about what they get right and wrong, and answer in the same form."""


async def seat(
    search: Search,
    *,
    m: Annotated[int, Field(ge=2)] = 4,
    rounds: Annotated[int, Field(ge=1)] = 4,
    threshold: Annotated[float, Field(ge=0)] | None = None,
) -> None:
    """Draw m answers a round, each having read the round before, until they agree enough.

    What decides is the entropy of the round's answers, by meaning, in nats; samples without an
    answer count each as one of its own. With a `threshold` the first round at or below it is the
    last. Without one, as by the secretary's rule: the first floor(rounds / e) rounds, one at least,
    are watched, and the next with a lower entropy than theirs is taken, else the last. The vote is
    that round's alone. Agreement is taken for being right, which small models do not bear out: they
    soon agree on what is wrong.
    """
    watched, lowest = max(1, int(rounds / math.e)), math.inf
    last: list[Node] = []
    for i in range(rounds):
        turn = None
        if last:
            given = [c for c in search.candidates if c.node in last]
            text = _ASK.format(question=search.problem.question, solutions=listed(given))
            turn = Turn.user(text, afresh=True)
        nodes = await search.draws(
            search.root, m, until="end", turn=turn, sources=last, land=search.emit
        )
        if not nodes:
            return
        for node in last:
            search.emit(node, 0.0)
        last = nodes
        answers = await search.answers(*nodes)
        here = entropy([a.key if a else f"none {i}" for i, a in enumerate(answers)])
        if here <= threshold if threshold is not None else i >= watched and here < lowest:
            return
        lowest = min(lowest, here)
