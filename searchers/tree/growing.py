"""What tree searches share: growing many nodes at once, and never leaving with empty hands."""

from __future__ import annotations

from asyncio import TaskGroup
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf

import numpy as np

from reasoning.errors import RecipeError
from reasoning.search import Search, Until
from reasoning.tree import FloatArray, Node, Turn
from reasoning.verify import Reduction, reduce_steps


@dataclass(frozen=True, slots=True)
class Growth:
    """A wish for `n` more children of `node`; with `turn` they answer that.

    The `urgency` of the calls is for engines that schedule by priority, the higher first.
    """

    node: Node
    n: int = 1
    turn: Turn | None = None
    urgency: float | None = None


async def grow(
    search: Search,
    wishes: Iterable[Growth],
    *,
    judge: Callable[[Node], Awaitable[None]] | None,
    land: Callable[[Node], None] = lambda _: None,
    until: Until = "step",
    temperature: float | None = None,
) -> list[list[Node]]:
    """Grow all wishes side by side: the children of each, in slot order, fewer if tokens run out.

    A child is judged as soon as it is there, unless verifier calls are limited: who gets the last
    ones must not depend on who is there first, so then all wait for all and are judged in the
    order of the wishes. `land` is called when a child is there, and again once it is judged.
    """
    at_once = judge is not None and not search.budget.verifier_calls.bounded

    async def verdict(child: Node) -> None:
        assert judge is not None
        await judge(child)
        land(child)

    async def one(drawn: Awaitable[Node | None]) -> Node | None:
        child = await drawn
        if child is not None:
            land(child)
            if at_once:
                await verdict(child)
        return child

    async with TaskGroup() as group:
        tasks = [
            [
                group.create_task(
                    one(
                        search.draw(
                            wish.node,
                            until=until,
                            turn=wish.turn,
                            urgency=wish.urgency,
                            temperature=temperature,
                        )
                    )
                )
                for _ in range(wish.n)
            ]
            for wish in wishes
        ]
    grown = [[child for task in row if (child := task.result())] for row in tasks]
    if judge is not None and not at_once:
        async with TaskGroup() as group:
            for child in (child for row in grown for child in row):
                group.create_task(verdict(child))
    return grown


def reward(search: Search, node: Node, reduction: Reduction = "last") -> float:
    """The score of the path, reduced over its steps; 0 if its last node has none."""
    name = search.verifier.name if search.verifier else ""
    if not node.scores.get(name):
        return 0.0
    return reduce_steps(node.step_scores(name), reduction) or 0.0


def logprobs(search: Search, node: Node) -> FloatArray:
    """The log-probabilities of the node's tokens [tokens]; RecipeError if there are none."""
    known = node.sample.logprobs
    if known is None and not node.sample.generated_tokens:
        return np.zeros(0, dtype=np.float32)
    if known is None:
        raise RecipeError(
            "this searcher weighs steps by their log-probabilities, and "
            f"{type(search.generator).__name__} gives none; use generator nano or vllm, or a "
            "server that returns them"
        )
    return known


def mean_logprob(search: Search, node: Node) -> float:
    """Of the node's own tokens, nats; -inf if it has none."""
    known = logprobs(search, node)
    return float(known.mean()) if known.size else -inf


def distinct(siblings: Iterable[Node]) -> list[Node]:
    """The first of those that say exactly the same."""
    return list({node.sample.text: node for node in reversed(list(siblings))}.values())[::-1]


def can_grow(node: Node, max_steps: int) -> bool:
    """Whether another step may follow; one that is empty leads nowhere."""
    empty = node.parent is not None and not node.sample.generated_tokens
    return not node.finished and not empty and node.depth < max_steps


async def run_out(search: Search, value: Callable[[Node], float]) -> None:
    """If no solution has been found, let the best path run to its end."""
    if best := _best_partial(search, value):
        judge = search.score if search.verifier else None
        await grow(search, [Growth(best)], judge=judge, land=emitter(search), until="end")


@contextmanager
def at_least_partial(search: Search, value: Callable[[Node], float]) -> Iterator[None]:
    """However the block ends: if no solution was put forward by then, the best path so far is."""
    try:
        yield
    finally:
        if best := _best_partial(search, value):
            search.emit(best)


def emitter(search: Search) -> Callable[[Node], None]:
    """Puts solutions forward as they land."""

    def land(node: Node) -> None:
        if node.finished:
            search.emit(node)

    return land


def _best_partial(search: Search, value: Callable[[Node], float]) -> Node | None:
    """Among all paths, unless one is a candidate: has an answer, is worth most, is deepest."""
    nodes = [node for node in search.tree if node.sample.finish not in ("failed", "cancelled")]
    if not nodes or any(node.emitted for node in nodes):
        return None
    # The tree's order is that of paths, and max() keeps the first of equals.
    return max(nodes, key=lambda n: (search.answer(n) is not None, value(n), n.depth))
