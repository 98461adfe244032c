"""Beam search over reasoning steps (Snell et al., 2024, arXiv:2408.03314)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, TypeAlias

import numpy as np

from reasoning.search import Search
from searchers.kernels.allocate import evenly, sibling_penalty, top
from searchers.tree.engine import Natural, NonNegative, Positive, at_least_partial, grow_in_rounds
from searchers.tree.leaf import Leaf, ahead, is_open

AGGREGATOR = "best"
STEPS = True

Finished: TypeAlias = Literal["keep", "free"]


async def beam_search(
    search: Search,
    *,
    width: Positive,
    expansions: Positive = 4,
    finished: Finished = "keep",
    lookahead: Natural = 0,
    diverse: NonNegative = 0.0,
    merge_duplicates: bool = False,
    max_steps: Positive = 40,
) -> None:
    """Keep the best `width` paths after every step and give each `expansions` next steps.

    The first round draws width * expansions steps. Sources disagree on paths that have ended: one
    that makes it into the beam keeps its place for good (`keep`: Snell et al., OpenR), or leaves
    and the best open paths share out all width * expansions steps again (`free`: Hugging Face
    search-and-learn, whose recipes merge duplicates too). All solutions are candidates, also those
    that ended below the beam. The last of `max_steps` steps runs on to the end of the solution, as
    in search-and-learn.

    `lookahead` judges a step by where it gets when rolled out greedily by that many more steps
    (search-and-learn generates these in its beam search and does not score them); the rollout is
    paid for and dropped. `diverse` is taken off the score for every better sibling (Li et al.,
    2016, arXiv:1611.08562). `merge_duplicates` drops siblings that repeat a text.
    """
    with at_least_partial(search):
        await beam(
            search,
            width,
            expansions,
            finished=finished,
            lookahead=lookahead,
            diverse=diverse,
            merge_duplicates=merge_duplicates,
            max_steps=max_steps,
        )


async def beam(
    search: Search,
    width: int,
    expansions: int,
    *,
    finished: Finished = "keep",
    lookahead: int,
    diverse: float = 0.0,
    merge_duplicates: bool,
    max_steps: int,
) -> None:
    """The search itself, which may leave with empty hands."""
    places = width

    def allocate(leaves: list[Leaf], _: int) -> Iterable[int]:
        nonlocal places
        parents = np.array([id(leaf.node.parent) for leaf in leaves])
        values, running = sibling_penalty(ahead(leaves), parents, diverse), is_open(leaves)
        if finished == "free":
            return evenly(top(values, width, running), width * expansions)
        beam = top(values, places)
        places -= int((beam & ~running).sum())
        return (beam & running) * expansions

    await grow_in_rounds(
        search,
        width * expansions,
        allocate,
        max_steps=max_steps,
        lookahead=lookahead,
        merge_duplicates=merge_duplicates,
        last_step="end",
    )
