"""Best-first search with recombination (Xu, Jonnalagadda and Durrett, 2021, arXiv:2112.07660)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection
from dataclasses import replace
from heapq import heappop, heappush
from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from reasoning.search import Search
from reasoning.tree import Node, Path
from searchers.kernels.sameness import results, tail
from searchers.tree.engine import (
    Positive,
    at_least_partial,
    can_grow,
    distinct,
    emitter,
    logprobs,
    run_out,
)

AGGREGATOR = "majority"
STEPS = True

Merge: TypeAlias = Literal["results", "suffix", "never"]


async def lattice(
    search: Search,
    *,
    expansions: Positive,
    width: Positive = 2,
    merge: Merge = "results",
    suffix: Positive = 4,
    alpha: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0,
    max_steps: Positive = 40,
) -> None:
    """Grow the likeliest path to its end, then the next, and never twice from the same state.

    An expansion draws `width` next steps and goes on at once with the likeliest; the others wait. A
    path is worth sum(log p) / tokens ** alpha. A step that leads to a state known already is merged
    into it and does not grow by itself, but whatever is found from there counts for both ways: a
    solution votes with the number of ways through the lattice that lead to it.

    States are the same when the same results have been worked out (`results`: what stands behind
    "="; the paper is about free text), when paths end in the same `suffix` words (`suffix`, the
    paper's rule), or `never`: then this is best-first search, and every solution has one vote.
    What would lead from a state back to itself is not merged. A merged step's `info` in the tree
    says `merged_into`.
    """
    states = States(lambda n: results(n.text) if merge == "results" else tail(n.text, suffix))
    waiting: list[tuple[float, Path, Node]] = []

    def worth(node: Node) -> float:
        total = sum(float(logprobs(search, step).sum()) for step in node.lineage())
        return float(total / max(1, node.generated_tokens) ** alpha)

    def goes_on(node: Node) -> bool:
        return can_grow(search, node, max_steps) and (merge == "never" or states.new(node))

    with at_least_partial(search, worth):
        node: Node | None = search.root
        for _ in range(expansions):
            if node is None and not waiting:
                break
            node = node or heappop(waiting)[-1]
            drawn = await search.draws(node, width, land=emitter(search))
            best_first = sorted(filter(goes_on, distinct(drawn)), key=lambda n: (-worth(n), n.path))
            for other in best_first[1:]:
                heappush(waiting, (-worth(other), other.path, other))
            node = best_first[0] if best_first else None
        for candidate in search.candidates:
            if candidate.node and candidate.node.finished:
                search.emit(candidate.node, states.ways(candidate.node))
        await run_out(search, worth)


class States:
    """Which nodes stand for the same state, by `state(node)`; what that holds nothing of is apart.

    `into` are the nodes from which merged steps lead into one, beside its parent.
    """

    def __init__(self, state: Callable[[Node], Collection[str]]) -> None:
        self._state = state
        self._known: dict[Collection[str], Node] = {}
        self.into: defaultdict[Node, list[Node]] = defaultdict(list)

    def new(self, node: Node) -> bool:
        """Whether nothing known stands for the node's state; else it is merged into what does,
        unless that would close a circle."""
        state = self._state(node)
        master = self._known.setdefault(state, node) if state else node
        if master is node or self._follows(node, master):
            return True
        assert node.parent is not None
        self.into[master].append(node.parent)
        told = {**(node.sample.info or {}), "merged_into": list(master.path)}
        node.sample = replace(node.sample, info=told)
        return False

    def ways(self, node: Node) -> int:
        """How many ways through the lattice lead to `node`."""
        counts: dict[Node, int] = {}
        stack = [node]
        while stack:
            before = self._before(stack[-1])
            if open_ones := [n for n in before if n not in counts]:
                stack.extend(open_ones)
            else:
                counts[stack.pop()] = sum(counts[n] for n in before) or 1
        return counts[node]

    def _follows(self, node: Node, other: Node) -> bool:
        """Whether a way leads from `other` to `node`."""
        seen, stack = {node}, [node]
        while stack:
            fresh = [n for n in self._before(stack.pop()) if n not in seen]
            seen.update(fresh)
            stack.extend(fresh)
        return other in seen

    def _before(self, node: Node) -> list[Node]:
        return [*self.into.get(node, ()), *([node.parent] if node.parent else [])]
