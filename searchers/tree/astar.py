"""A*-decoding (Chatziveroglou, 2025, arXiv:2505.13672)."""

from __future__ import annotations

from heapq import heappop, heappush
from typing import Literal, TypeAlias

from reasoning.search import Search
from reasoning.tree import Node
from searchers.tree.engine import (
    Growth,
    Positive,
    at_least_partial,
    can_grow,
    distinct,
    grow,
    run_out,
)

AGGREGATOR = "first"
STEPS = True

Cost: TypeAlias = Literal["drop", "consistent"]


async def astar(
    search: Search,
    *,
    width: Positive = 4,
    parallel: Positive = 1,
    cost: Cost = "drop",
    goals: Positive = 1,
    max_steps: Positive = 40,
) -> None:
    """Grow the path with the least f = g + h anywhere in the tree by `width` next steps.

    h = 1 - score, with scores in [0, 1] (0 where the verifier failed). Sources disagree on the cost
    of a step, whose sum is g: `drop` pays for falls of the score, max(0, h' - h), the literal
    reading, greedy and without a promise of optimality; `consistent` pays for rises,
    max(0, h - h'), which makes h consistent, and f the first h plus all falls. The first step
    is free, as the question has no score. Ties go to the lower h, then the deeper path, then the
    earlier.

    A solution is a goal when it is the least of the frontier, not when it is found; the search
    ends with the first `goals` of them. The `parallel` best paths grow side by side, none behind a
    solution. Siblings with the same text count once. If no solution is found, the best path runs
    to its end.
    """
    known: dict[Node, tuple[float, float]] = {}  # g and h

    def estimate(node: Node) -> tuple[float, float]:
        h = 1 - min(1.0, max(0.0, search.reward(node) or 0.0))
        g, before = known.get(node.parent, (0.0, h)) if node.parent else (0.0, h)
        return g + step_cost(before, h, cost), h

    def land(node: Node) -> None:
        known[node] = estimate(node)
        if node.finished:
            search.emit(node, rank=sum(known[node]))

    def worth(node: Node) -> float:
        return -sum(estimate(node))

    frontier = [(0.0, 0.0, 0, search.root.path, search.root)]
    with at_least_partial(search, worth):
        while frontier and goals:
            batch: list[Growth] = []
            while frontier and len(batch) < parallel and not frontier[0][-1].finished:
                f, *_, node = heappop(frontier)
                batch.append(Growth(node, width, urgency=-f))
            if not batch:
                search.emit(heappop(frontier)[-1], rank=-goals)  # before all that were not popped
                goals -= 1
            wishes = [wish for wish in batch if can_grow(search, wish.node, max_steps)]
            for siblings in await grow(search, wishes, judge=search.score, land=land):
                for node in distinct(siblings):
                    g, h = known[node]
                    heappush(frontier, (g + h, h, -node.depth, node.path, node))
        await run_out(search, worth)


def step_cost(before: float, after: float, cost: Cost) -> float:
    """What a step costs that changes h from `before` to `after`."""
    return max(0.0, after - before if cost == "drop" else before - after)
