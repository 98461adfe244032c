"""Diverse beam search over reasoning steps (Vijayakumar et al., 2016, arXiv:1610.02424)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np

from reasoning.search import Search
from searchers.kernels.allocate import top
from searchers.kernels.sameness import canonical
from searchers.tree.engine import NonNegative, Positive, at_least_partial, grow_in_rounds
from searchers.tree.leaf import Leaf, is_open, values

AGGREGATOR = "best"
STEPS = True


async def diverse_beam(
    search: Search,
    *,
    groups: Positive,
    width: Positive = 1,
    expansions: Positive = 4,
    penalty: NonNegative = 0.2,
    max_steps: Positive = 40,
) -> None:
    """Groups of beams, each of which is kept off the steps that those before it have taken.

    Every group grows `width` paths by `expansions` next steps each. The groups choose one after the
    other: a path's score is lowered by `penalty` (lambda) for each earlier group that keeps, in
    this round, a path with the same last step, blanks and letter case aside. The score itself
    stays as it is, and so the last choice among all solutions.

    The paper penalises single tokens, which over a server would take a call for each; here it is
    steps. With a penalty of 0 the groups are independent beams (for a width of 1 those of dvts).
    A path that has ended keeps its place in its group's beam; all solutions are candidates.
    """
    start = max((child.slot for child in search.root.children), default=-1) + 1
    places = [width] * groups

    def allocate(leaves: list[Leaf], _: int) -> Iterable[int]:
        group = np.array([(leaf.node.path[0] - start) // (width * expansions) for leaf in leaves])
        steps = [canonical(leaf.node.sample.text) for leaf in leaves]
        taken: Counter[str] = Counter()
        kept = np.zeros(len(leaves), dtype=bool)
        for g in range(groups):
            lowered = values(leaves) - penalty * np.array([taken[step] for step in steps])
            beam = top(lowered, places[g], group == g)
            places[g] -= int((beam & ~is_open(leaves)).sum())
            taken.update({step for step, chosen in zip(steps, beam, strict=True) if chosen})
            kept |= beam
        return (kept & is_open(leaves)) * expansions

    with at_least_partial(search):
        first = groups * width * expansions
        await grow_in_rounds(search, first, allocate, max_steps=max_steps, last_step="end")
